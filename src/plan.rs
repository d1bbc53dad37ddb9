//! Spec -> Plan: what the cluster should be, decided without looking at any machine.

mod adopt;
mod backup;
mod birth;
mod bounds;
mod decide;
mod disk;
mod kernel;
mod locale;
mod memory;
mod refusal;
mod roles;
pub mod rolling;
pub mod safety;
pub mod servers;
pub mod steps;
mod versions;
mod voters;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    adopt::{Running, Watchdog, adopt},
    birth::{archives, of as birth_of},
    bounds::ELECTION,
    decide::decide,
    kernel::of_containers as kernel_of_containers,
    locale::of_databases as locales_of_databases,
    refusal::Refusal,
    versions::moves,
};
use crate::model::{
    Backend, Backup, ClusterName, Dns, EntryPoint, EtcdSource, EtcdVersion, HostName, InstanceKey, Role,
};
pub use crate::model::{Choices, Dcs, Durability, Local, Patroni, Platform, Postgres, Settled, Synchronous, Timers};

/// What one cluster should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// First part of the host names.
    pub app: String,
    /// Second part of the host names.
    pub env: String,
    /// Where the machines come from: the platform's name, with its settings from the cluster file and their defaults.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub platform: Platform,
    /// The machines, by instance key.
    pub nodes: BTreeMap<InstanceKey, PlannedInstance>,
    /// Where Terraform keeps its state, when not on this machine: `backend` of the cluster file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    pub backend: Option<Backend>,
    /// Where the machines get DNS records, if at all: `dns` of the cluster file.
    #[serde(default)]
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    pub dns: Option<Dns>,
    /// etcd's full version.
    #[schemars(with = "String")]
    pub etcd: EtcdVersion,
    /// Where etcd comes from, when the cluster file says so.
    #[serde(default)]
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    pub etcd_source: Option<EtcdSource>,
    /// PostgreSQL's version and settings.
    pub postgres: Postgres,
    /// Patroni's version and settings.
    pub patroni: Patroni,
    /// Where backups go, if hactl makes any: `backup` of the cluster file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, serde_json::Value>>")]
    pub backup: Option<Backup>,
    /// The entry point for applications; absent if the cluster has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EntryPoint>,
    /// The store (DCS) of Patroni's leader key: `etcd` with the key's name and voters on other machines, or another
    /// store's name.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub dcs: Dcs,
    /// The longest write gap to expect for each fault.
    pub bounds: Vec<Bound>,
    /// What stops a primary whose Patroni no longer runs, as a sentence.
    pub fencing: String,
    /// Warnings about the plan.
    pub warnings: Vec<Warning>,
    /// The drills that `hactl verify` runs by default.
    #[serde(default)]
    pub drills: Vec<String>,
    /// The longest write gap that `verify.limits` of the cluster file allows, in milliseconds by drill.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits_ms: BTreeMap<String, u64>,
    /// Whether the machines refuse new connections to the cluster's ports from other networks than those in `postgres`.
    #[serde(default)]
    pub firewall: bool,
    /// Kernel settings of the machines with PostgreSQL, by their names for `sysctl`; empty where hactl sets none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kernel: BTreeMap<String, u64>,
    /// Whether Patroni uses the machines' watchdog devices.
    #[serde(default)]
    pub watchdog: bool,
    /// Whether drills may cause faults that the cluster does not promise to survive.
    pub disposable: bool,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedInstance {
    /// The instance's key.
    pub key: InstanceKey,
    /// The machine's host name.
    pub hostname: HostName,
    /// Its roles in the cluster; empty for a plain machine.
    pub roles: BTreeSet<Role>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Processor cores.
    pub cores: u32,
    /// The size in GiB of the machine's first disk, when the cluster file sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_gb: Option<u32>,
    /// Position of the address within the network of the local platform, from 10; never changes once assigned. 0 on
    /// other platforms.
    #[serde(default, rename = "slot")]
    pub address_index: u8,
    /// The port of the pooler on the machine; absent where none runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooler_port: Option<u16>,
}

impl PlannedInstance {
    /// Whether the machine votes in etcd.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        Role::votes(&self.roles)
    }

    /// Whether PostgreSQL runs on the machine.
    #[must_use]
    pub fn is_data_node(&self) -> bool {
        Role::holds_data(&self.roles)
    }
}

/// The longest write gap to expect from a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bound {
    /// The fault, by its drill's name.
    pub fault: String,
    /// The bound in seconds.
    pub seconds: f64,
    /// How hactl computes the bound from the timers.
    pub formula: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// A stable code for scripts.
    pub code: String,
    /// The text of the warning.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Plan {
    /// Whether no machine has a role: then there is no cluster on them.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.nodes.values().all(|node| node.roles.is_empty())
    }

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

    /// The choices that the next plan must keep.
    #[must_use]
    pub fn choices(&self) -> Choices {
        choices(&self.nodes)
    }

    /// What runs when this plan has been carried out.
    #[must_use]
    pub fn settled(&self) -> Settled {
        Settled {
            etcd: self.etcd,
            patroni: self.patroni.version.clone(),
            postgres: self.postgres.major,
            own_network: self.postgres.own_network,
            synchronous_nodes: self.patroni.synchronous_nodes,
            memory_mib: self.postgres.memory_mib,
            birth: self.postgres.birth,
            archives: birth::archives(&self.postgres.parameters),
            entry_point: self.endpoint.is_some(),
            locale: self.postgres.locale.clone(),
            icu_locales: self.postgres.icu_locales.clone(),
            data_nodes: self.data_nodes().map(|node| node.key.clone()).collect(),
            voters: self.voters().map(|node| node.key.clone()).collect(),
        }
    }
}

/// The choices about machines that the next plan must keep.
#[must_use]
pub fn choices(nodes: &BTreeMap<InstanceKey, PlannedInstance>) -> Choices {
    let voters = nodes.values().filter(|node| node.is_voter());
    let placed = nodes.values().filter(|node| node.address_index > 0);
    Choices {
        voters: voters.map(|node| node.key.clone()).collect(),
        address_indexes: placed.map(|node| (node.key.clone(), node.address_index)).collect(),
        settled: None,
    }
}
