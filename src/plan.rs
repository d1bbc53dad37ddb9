//! Spec -> Plan: what is intended, decided without looking at any machine.

mod adopt;
mod bounds;
mod decide;
mod memory;
pub mod safety;
pub mod steps;
mod voters;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    adopt::{Running, Watchdog, adopt},
    bounds::ELECTION,
    decide::decide,
};
use crate::model::{Backend, ClusterName, Dns, EtcdSource, EtcdVersion, HostName, InstanceKey, Role};
pub use crate::model::{Choices, Dcs, Durability, Local, Patroni, Platform, Postgres, Synchronous, Timers};

/// What is intended for one cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// First part of the host names.
    pub app: String,
    /// Second part of the host names.
    pub env: String,
    /// Where the machines come from: the platform's word, with what the cluster file says of it and its defaults.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub platform: Platform,
    /// The machines, by their instance's key.
    pub nodes: BTreeMap<InstanceKey, PlannedInstance>,
    /// Where Terraform keeps its state, when not on this machine: `backend` of the cluster file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    pub backend: Option<Backend>,
    /// Where the machines get their records, if anywhere: `dns` of the cluster file.
    #[serde(default)]
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    pub dns: Option<Dns>,
    /// etcd's full version.
    #[schemars(with = "String")]
    pub etcd: EtcdVersion,
    /// Where etcd comes from, when the file says so.
    #[serde(default)]
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    pub etcd_source: Option<EtcdSource>,
    /// The database.
    pub postgres: Postgres,
    /// What looks after it.
    pub patroni: Patroni,
    /// What holds Patroni's leader key: `etcd` with the key's name and voters on other machines, or another DCS's name.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub dcs: Dcs,
    /// The longest write gap to expect per fault.
    pub bounds: Vec<Bound>,
    /// What stops a primary that outlives its Patroni, in words.
    pub fencing: String,
    /// What the user should know before anything is made.
    pub warnings: Vec<Warning>,
    /// The drills that `hactl verify` runs by default.
    #[serde(default)]
    pub drills: Vec<String>,
    /// Whether the cluster may be broken beyond what it promises to bridge.
    pub disposable: bool,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedInstance {
    /// The instance's key.
    pub key: InstanceKey,
    /// The machine's host name.
    pub hostname: HostName,
    /// What it does in the cluster; none is a plain machine.
    pub roles: BTreeSet<Role>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Processor cores.
    pub cores: u32,
    /// The size in GiB of a disk of its own for PGDATA; without it that lies on the disk of whoever gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_gb: Option<u32>,
    /// Position of the address within the network of the local platform, from 10; sticks once given. 0 on other platforms.
    #[serde(default, rename = "slot")]
    pub address_index: u8,
}

impl PlannedInstance {
    /// Whether it votes in etcd.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        Role::votes(&self.roles)
    }

    /// Whether PostgreSQL runs on it.
    #[must_use]
    pub fn is_data_node(&self) -> bool {
        Role::holds_data(&self.roles)
    }
}

/// The longest write gap that a fault should cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bound {
    /// The fault, by its drill's name.
    pub fault: String,
    /// The bound.
    pub seconds: f64,
    /// How the figure comes about, in terms of the timers.
    pub formula: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// A stable word for scripts.
    pub code: String,
    /// What it is.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Plan {
    /// The machines that vote in etcd, in the order of their keys.
    pub fn voters(&self) -> impl Iterator<Item = &PlannedInstance> {
        self.nodes.values().filter(|node| node.is_voter())
    }

    /// The machines with PostgreSQL, in the order of their keys.
    pub fn data_nodes(&self) -> impl Iterator<Item = &PlannedInstance> {
        self.nodes.values().filter(|node| node.is_data_node())
    }

    /// How many voters etcd has, on the cluster's machines and elsewhere.
    #[must_use]
    pub fn voter_count(&self) -> usize {
        let outside = match &self.dcs {
            Dcs::Etcd { outside, .. } => outside.len(),
            Dcs::Other(_) => 0,
        };
        self.voters().count() + outside
    }

    /// The choices of this plan, to be kept for the next one.
    #[must_use]
    pub fn choices(&self) -> Choices {
        choices(&self.nodes)
    }
}

/// What was chosen for machines, to be kept for the next plan.
#[must_use]
pub fn choices(nodes: &BTreeMap<InstanceKey, PlannedInstance>) -> Choices {
    let voters = nodes.values().filter(|node| node.is_voter());
    let placed = nodes.values().filter(|node| node.address_index > 0);
    Choices {
        voters: voters.map(|node| node.key.clone()).collect(),
        address_indexes: placed.map(|node| (node.key.clone(), node.address_index)).collect(),
    }
}
