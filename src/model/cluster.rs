//! What a cluster consists of, apart from its names: the durability of a commit, the timers, and the choices that later
//! runs keep.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddrV4,
};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DatabaseName, EtcdVersion, IcuLocales, IgnoredSlot, InstanceKey, Locale, PostgresMajor, Slot};

/// The store of Patroni's leader key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dcs {
    Etcd {
        /// The leader key's name; none if etcd's v3 API cannot read it.
        leader_key: Option<String>,
        /// Client addresses of voters outside the cluster's machines.
        outside: Vec<SocketAddrV4>,
    },
    /// Another store, by the name of its section in Patroni's configuration.
    Other(String),
}

/// What an acknowledged commit means.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// An acknowledged commit is on two nodes; writes wait while that is impossible.
    QuorumStrict,
    /// An acknowledged commit is on two nodes while two are up; a primary left alone accepts writes without that
    /// protection.
    Quorum,
    /// As quorum-strict, on the replicas that Patroni has named: when one of them is lost, writes wait until Patroni
    /// has named another. Only on adopted clusters.
    #[schemars(skip)]
    SyncStrict,
    /// As sync-strict while two nodes are up; a primary left alone accepts writes without that protection.
    #[schemars(skip)]
    Sync,
    /// An acknowledged commit is on the primary only.
    Async,
}

impl Durability {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QuorumStrict => "quorum-strict",
            Self::Quorum => "quorum",
            Self::SyncStrict => "sync-strict",
            Self::Sync => "sync",
            Self::Async => "async",
        }
    }

    /// The default for a cluster of `data_nodes`.
    #[must_use]
    pub const fn default_for(data_nodes: usize) -> Self {
        match data_nodes {
            0 | 1 => Self::Async,
            2 => Self::Quorum,
            _ => Self::QuorumStrict,
        }
    }

    /// The number of data nodes that this promise needs.
    #[must_use]
    pub const fn least_data_nodes(self) -> usize {
        match self {
            Self::QuorumStrict | Self::Quorum | Self::SyncStrict | Self::Sync => 2,
            Self::Async => 1,
        }
    }

    /// Whether writes wait while no replica can hold them.
    #[must_use]
    pub const fn is_strict(self) -> bool {
        self.synchronous().strict
    }

    /// Whether commits wait for named replicas, and not for the first that answers.
    #[must_use]
    pub const fn waits_for_named(self) -> bool {
        matches!(self, Self::SyncStrict | Self::Sync)
    }

    /// What a cluster with these settings of Patroni promises.
    #[must_use]
    pub fn of(mode: &str, strict: bool) -> Self {
        match (mode, strict) {
            ("quorum", true) => Self::QuorumStrict,
            ("quorum", false) => Self::Quorum,
            ("on", true) => Self::SyncStrict,
            ("on", false) => Self::Sync,
            _ => Self::Async,
        }
    }

    /// Patroni's settings that give this promise.
    #[must_use]
    pub const fn synchronous(self) -> Synchronous {
        match self {
            Self::QuorumStrict => Synchronous { mode: "quorum", strict: true },
            Self::Quorum => Synchronous { mode: "quorum", strict: false },
            Self::SyncStrict => Synchronous { mode: "on", strict: true },
            Self::Sync => Synchronous { mode: "on", strict: false },
            Self::Async => Synchronous { mode: "off", strict: false },
        }
    }
}

impl std::fmt::Display for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Patroni's `synchronous_mode` and `synchronous_mode_strict`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Synchronous {
    /// `quorum`, `on` or `off`.
    pub mode: &'static str,
    pub strict: bool,
}

/// The section `postgres` of the cluster file; a plan adds what the machines decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Postgres {
    /// The major version.
    #[schemars(with = "u32")]
    pub major: PostgresMajor,
    /// The packages that install it on the nodes' distribution.
    #[serde(default)]
    pub packages: Vec<String>,
    /// The suite of the PostgreSQL project's repository, when the distribution lacks this version.
    pub pgdg_suite: Option<String>,
    /// All parameters that hactl sets: those derived from the machines' size, overridden by those of the cluster file.
    pub parameters: BTreeMap<String, Value>,
    /// Names of the parameters that the cluster file sets.
    #[serde(skip)]
    pub given: Vec<String>,
    /// Databases and the role that owns each.
    pub databases: BTreeMap<DatabaseName, DatabaseName>,
    /// The locale of the cluster, fixed when its data is made; absent in the plans of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
    /// Databases with a locale of ICU, fixed when the database is made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub icu_locales: IcuLocales,
    /// Networks that may connect, in addition to the cluster's machines and, with `own_network`, to their networks.
    #[schemars(with = "Vec<String>")]
    pub access: Vec<IpNet>,
    /// Networks of monitoring: they may query Patroni's REST API.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub monitoring: Vec<IpNet>,
    /// Networks of load balancers: they may connect, and query Patroni's REST API.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub load_balancers: Vec<IpNet>,
    /// Whether the networks of the machines may connect.
    #[serde(default)]
    pub own_network: bool,
    /// The memory in MiB that the parameters are sized for: that of the cluster file, else that of the smallest data node.
    #[serde(default)]
    pub memory_mib: Option<u32>,
    /// Whether the cluster file says so.
    #[serde(skip)]
    pub memory_is_given: bool,
    /// The version of the parameters for new clusters with which the cluster was created; 0 for none.
    #[serde(default)]
    pub birth: u32,
}

impl Postgres {
    /// The value of a parameter that is a number of things, or `default` where none is set. None where it is no such number.
    #[must_use]
    pub fn count(&self, parameter: &str, default: u32) -> Option<u32> {
        let Some(value) = self.parameters.get(parameter) else { return Some(default) };
        let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
        Some(u32::try_from(number).unwrap_or(u32::MAX))
    }
}

/// What Patroni is told: the checked section of the cluster file, and what a plan hands on to the roles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Patroni {
    /// Its full version.
    pub version: String,
    /// What an acknowledged commit means, by its name in the cluster file.
    #[schemars(with = "String")]
    pub durability: Durability,
    /// In seconds: `ttl`, `loop_wait`, `retry_timeout`, `primary_start_timeout`, `primary_stop_timeout`.
    #[schemars(with = "BTreeMap<String, u32>")]
    pub timers: Timers,
    /// Whether failsafe mode keeps a primary that cannot reach the DCS.
    pub failsafe: bool,
    /// How many replicas hold a commit before it is acknowledged, unless `durability` is `async`.
    #[serde(default = "one")]
    pub synchronous_nodes: u32,
    /// Slots that every member has; absent where the cluster file says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<BTreeMap<String, Slot>>,
    /// Slots that Patroni leaves alone; absent where the cluster file says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_slots: Option<Vec<IgnoredSlot>>,
    /// Whether the slot of an absent member is kept for a day: slots cannot fill the disk.
    #[serde(default)]
    pub slots_are_bounded: bool,
}

/// How many replicas of a new cluster hold a commit before it is acknowledged. Patroni promotes a replica that has the votes
/// of all others but these: with half of the replicas, the loss of the primary and of as many replicas leaves enough.
#[must_use]
pub fn default_synchronous_nodes(data_nodes: usize) -> u32 {
    u32::try_from(data_nodes.saturating_sub(1) / 2).unwrap_or(1).max(1)
}

/// How many connections a server accepts, by its memory in MiB, where the cluster file sets no `max_connections`.
#[must_use]
pub const fn default_max_connections(memory_mib: u32) -> u32 {
    match memory_mib {
        0..4096 => 100,
        4096..16_384 => 200,
        _ => 400,
    }
}

/// What earlier releases set, whatever the number of data nodes.
const fn one() -> u32 {
    1
}

/// Patroni's timers, in seconds. `loop_wait + 2 * retry_timeout <= ttl` holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Timers {
    pub ttl: u32,
    pub loop_wait: u32,
    pub retry_timeout: u32,
    pub primary_start_timeout: u32,
    pub primary_stop_timeout: u32,
}

/// Choices of earlier runs that must not change by themselves; kept in `.hactl/NAME/cluster.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    #[serde(default)]
    pub voters: BTreeSet<InstanceKey>,
    /// Positions of the addresses of local nodes.
    #[serde(default, rename = "slots")]
    pub address_indexes: BTreeMap<InstanceKey, u8>,
    /// What runs, and what was settled with it; none before the first `up` has ended well, and in the records of earlier
    /// releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
}

/// What runs on a cluster's machines: defaults of a later hactl do not move it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    pub etcd: EtcdVersion,
    pub patroni: String,
    pub postgres: PostgresMajor,
    /// Whether the networks of the machines may connect to PostgreSQL.
    pub own_network: bool,
    /// How many replicas hold a commit before it is acknowledged.
    #[serde(default = "one")]
    pub synchronous_nodes: u32,
    /// The memory in MiB that the parameters are sized for; unknown in the records of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Which set of parameters of new clusters it began with; 0 for none.
    #[serde(default)]
    pub birth: u32,
    /// Whether it has the `archive_mode` of hactl, which it keeps when it has no backups any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archives: bool,
    /// Whether it has an entry point.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub entry_point: bool,
    /// The locale of the cluster; absent in the records of earlier releases, which had one for all clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
    /// The databases with a locale of ICU.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub icu_locales: IcuLocales,
    /// The machines with PostgreSQL; empty in the records of earlier releases.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub data_nodes: BTreeSet<InstanceKey>,
    /// The machines that vote in etcd; empty in the records of earlier releases.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub voters: BTreeSet<InstanceKey>,
}
