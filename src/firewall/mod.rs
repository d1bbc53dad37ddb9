//! The packet filter on the machines: one nftables table of hactl's own, `inet hactl`, which refuses new connections to the
//! components' ports, except from the cluster's machines and from the networks of the cluster file. Everything else passes.
//!
//! [`rules`] decides and is pure. [`machine`] has what runs on the machines.

mod machine;
mod rules;

pub(crate) use machine::{LoadError, STEP, admit, ask, ask_with_peers, check, keep, load, remove};
pub use rules::RefusedSource;
pub(crate) use rules::{Rules, refused_sources};
