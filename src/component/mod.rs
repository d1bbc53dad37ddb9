//! What hactl knows of each program that makes up a cluster, one folder for each.

pub mod etcd;
pub mod patroni;
pub mod postgres;
mod probe;

pub use probe::Observed;
pub(crate) use probe::{Reached, reach};
