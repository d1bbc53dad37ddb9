//! The cluster as it exists: what its file asks for, what earlier runs recorded, its secrets, and its locks.
//!
//! ```text
//! cluster         NAME -> file -> Spec -> Plan, with what was chosen once
//! known           what earlier runs recorded, in three cases: absent, unreadable, known
//! fleet_file      the machines of the last run here
//! state_location  where runs elsewhere keep the same
//! shared_record   what they keep there; [pull] takes it over
//! secrets         the secrets file, opened once
//! running         a cluster that runs: plan, machines and access
//! lock            keeps other runs from changing or drilling it
//! ```

mod access;
mod client_files;
mod cluster;
mod connection;
mod conninfo;
pub(crate) mod fleet_file;
mod known;
pub mod lock;
mod pull;
mod running;
mod secrets;
mod secrets_file;
mod shared_record;
pub(crate) mod ssh_keys;
mod state_location;
#[cfg(test)]
mod tests;

pub(crate) use access::access;
pub(crate) use client_files::client_files;
pub use cluster::Cluster;
pub(crate) use connection::{WayIn, as_owner, as_owner_by, endpoints, hosts, login};
pub use conninfo::{Conninfo, for_psql};
pub use known::{Known, Recorded};
pub use running::RunningCluster;
pub(crate) use shared_record::{record, settled_record};

use self::secrets_file::Secrets;

/// A cluster, opened once and handed on.
pub struct Deployment {
    /// What its file asks for.
    pub cluster: Cluster,
    /// What earlier runs recorded.
    pub known: Known,
    secrets: Option<Secrets>,
}

impl Deployment {
    /// The cluster as its file and the records here mean it. Nothing has been asked or changed yet.
    #[must_use]
    pub fn open(cluster: Cluster) -> Self {
        let machines = fleet_file::read(&cluster.dir().fleet(), cluster.name());
        Self { cluster, known: Known { machines, ..Known::default() }, secrets: None }
    }

    /// Reads the record of the machines again, now that no other run here writes it. What was pulled from a shared state is
    /// newer than that.
    pub fn reread(&mut self) {
        if self.cluster.state_location().is_none() {
            self.known.machines = fleet_file::read(&self.cluster.dir().fleet(), self.cluster.name());
        }
    }
}
