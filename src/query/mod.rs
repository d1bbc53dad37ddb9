//! Commands that only look: they open a cluster and change nothing.

mod bundle;

pub use bundle::bundle;
