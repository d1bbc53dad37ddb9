//! The cluster that exists: what its file asks for, what earlier runs recorded, what opens it, and who holds it.

mod cluster;
mod conninfo;
pub mod lock;
pub mod look;
pub mod shared_record;
pub(crate) mod ssh_keys;

pub use cluster::Cluster;
pub use conninfo::Conninfo;
pub use look::{Door, RunningCluster, StatusProbe, door, fleet, ssh};
pub use shared_record::{force_unlock, pull};
