//! Spec -> Plan: what is intended, decided without looking at any machine.

mod adopt;
mod bounds;
mod decide;
mod memory;
mod voters;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::{
    adopt::{Running, Watchdog, adopt},
    bounds::ELECTION,
    decide::decide,
};
pub use crate::model::{Choices, Dcs, Durability, Local, Platform, Synchronous, Timers};
use crate::model::{
    ClusterName, DatabaseName, Dns, EtcdSource, EtcdVersion, HostName, InstanceKey, PostgresMajor, Role,
};

/// What is intended for one cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub cluster: ClusterName,
    pub app: String,
    pub env: String,
    pub platform: Platform,
    pub nodes: BTreeMap<InstanceKey, Node>,
    /// Where the machines get their records, if anywhere.
    #[serde(default)]
    pub dns: Option<Dns>,
    pub etcd: EtcdVersion,
    /// Where etcd comes from, when the file says so.
    #[serde(default)]
    pub etcd_source: Option<EtcdSource>,
    pub postgres: Postgres,
    pub patroni: Patroni,
    /// What holds Patroni's leader key.
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
    pub disposable: bool,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub key: InstanceKey,
    pub hostname: HostName,
    pub roles: BTreeSet<Role>,
    pub memory_mib: u32,
    pub cores: u32,
    /// The size in GiB of a disk of its own for PGDATA; without it that lies on the disk of whoever gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_gb: Option<u32>,
    /// Position of the address within the network of the local platform, from 10; sticks once given. 0 on other platforms.
    #[serde(default)]
    pub slot: u8,
}

impl Node {
    /// Whether it votes in etcd.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        self.roles.contains(&Role::Etcd)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Postgres {
    pub major: PostgresMajor,
    /// The packages that bring it on the nodes' release.
    pub packages: Vec<String>,
    /// The suite of the PostgreSQL project's repository, where the distribution lacks this version.
    pub pgdg_suite: Option<String>,
    /// All parameters that hactl sets, the user's over those that follow the machines' size.
    pub parameters: BTreeMap<String, serde_json::Value>,
    /// Databases and the role that owns each.
    pub databases: BTreeMap<DatabaseName, DatabaseName>,
    /// Networks that may connect, beside the cluster's own.
    pub access: Vec<IpNet>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Patroni {
    pub version: String,
    pub durability: Durability,
    pub timers: Timers,
    /// Whether failsafe mode holds a primary that reaches no DCS.
    pub failsafe: bool,
}

/// The longest write gap that a fault should cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    pub fault: String,
    pub seconds: f64,
    /// How the figure comes about, in terms of the timers.
    pub formula: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
}

impl Plan {
    /// Nodes that hold `role`, in the order of their keys.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(move |node| node.roles.contains(&role))
    }

    /// How many voters etcd has, on the cluster's machines and elsewhere.
    #[must_use]
    pub fn voters(&self) -> usize {
        let outside = match &self.dcs {
            Dcs::Etcd { outside, .. } => outside.len(),
            Dcs::Other(_) => 0,
        };
        self.with_role(Role::Etcd).count() + outside
    }

    /// The choices of this plan, to be kept for the next one.
    #[must_use]
    pub fn choices(&self) -> Choices {
        Choices {
            voters: self.with_role(Role::Etcd).map(|node| node.key.clone()).collect(),
            slots: self.nodes.values().filter(|node| node.slot > 0).map(|node| (node.key.clone(), node.slot)).collect(),
        }
    }
}
