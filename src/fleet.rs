//! Plan + Outputs -> Fleet: the machines that there are, and how to reach them.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    model::{ClusterName, HostName, InstanceKey, Role},
    plan::{Node, Plan},
};

pub use crate::provision::{Machine, Outputs};

/// The machines of one cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    pub cluster: ClusterName,
    pub nodes: BTreeMap<InstanceKey, FleetNode>,
}

/// One machine: what it is for, and how to reach it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetNode {
    #[serde(flatten)]
    pub node: Node,
    pub address: Ipv4Addr,
    pub ssh: SshTarget,
    /// What was found there; none where hactl's roles made everything.
    #[serde(default)]
    pub found: Option<Found>,
}

/// What was found on a machine that hactl did not configure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Patroni's name of the member.
    pub member: String,
    pub patroni: Door,
    pub postgres: Door,
    pub etcd: Door,
    /// Patroni's and etcd's units.
    pub patroni_unit: String,
    pub etcd_unit: String,
    /// The user of the system who runs Patroni and PostgreSQL.
    pub user: String,
    /// PostgreSQL's data directory.
    pub data_dir: String,
    /// Every IPv4 address by which other members reach it.
    pub addresses: Vec<Ipv4Addr>,
}

/// Where a service answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The ports, units and the user that the roles give.
pub(crate) const PATRONI_PORT: u16 = 8008;
pub(crate) const POSTGRES_PORT: u16 = 5432;
pub(crate) const ETCD_PORT: u16 = 2379;
pub(crate) const PATRONI_UNIT: &str = "patroni";
pub(crate) const ETCD_UNIT: &str = "etcd";
pub(crate) const USER: &str = "postgres";
/// The unit that stops a primary that outlives its Patroni.
pub(crate) const LEASE_GUARD: &str = "hactl-lease-guard";

/// Where SSH answers, and the key that must answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshTarget {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// Whether commands need sudo: the user is not root.
    #[serde(default)]
    pub sudo: bool,
    pub host_key: Option<String>,
}

impl FleetNode {
    #[must_use]
    pub const fn key(&self) -> &InstanceKey {
        &self.node.key
    }

    #[must_use]
    pub const fn hostname(&self) -> &HostName {
        &self.node.hostname
    }

    /// Patroni's name of it.
    #[must_use]
    pub fn member(&self) -> &str {
        self.found.as_ref().map_or(self.node.key.as_str(), |found| &found.member)
    }

    /// Patroni's REST API.
    #[must_use]
    pub fn patroni(&self) -> Door {
        self.found.as_ref().map_or_else(|| self.door(PATRONI_PORT), |found| found.patroni.clone())
    }

    #[must_use]
    pub fn postgres(&self) -> Door {
        self.found.as_ref().map_or_else(|| self.door(POSTGRES_PORT), |found| found.postgres.clone())
    }

    /// etcd's client port.
    #[must_use]
    pub fn etcd(&self) -> Door {
        self.found.as_ref().map_or_else(|| self.door(ETCD_PORT), |found| found.etcd.clone())
    }

    fn door(&self, port: u16) -> Door {
        Door { host: self.address.to_string(), port, tls: true }
    }

    #[must_use]
    pub fn patroni_unit(&self) -> &str {
        self.found.as_ref().map_or(PATRONI_UNIT, |found| &found.patroni_unit)
    }

    #[must_use]
    pub fn etcd_unit(&self) -> &str {
        self.found.as_ref().map_or(ETCD_UNIT, |found| &found.etcd_unit)
    }

    /// The user of the system who runs Patroni and PostgreSQL.
    #[must_use]
    pub fn user(&self) -> &str {
        self.found.as_ref().map_or(USER, |found| &found.user)
    }

    /// The addresses by which other members reach it.
    #[must_use]
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        self.found.as_ref().map_or_else(|| vec![self.address], |found| found.addresses.clone())
    }
}

impl Fleet {
    /// Joins what was intended with what Terraform made. Every machine that does not fit is named.
    ///
    /// # Errors
    /// When a planned node is missing from the outputs or has no address.
    pub fn new(plan: &Plan, outputs: &Outputs) -> Result<Self> {
        let mut problems = Vec::new();
        let mut nodes = BTreeMap::new();
        for node in plan.nodes.values() {
            match outputs.get(&node.key).map(|machine| (machine, machine.ipv4)) {
                None => problems.push(format!("{} is not in Terraform's output `vms`", node.key)),
                Some((_, None)) => problems.push(format!("{} has no IPv4 address", node.key)),
                Some((machine, Some(address))) => {
                    let ssh = SshTarget {
                        host: machine.ssh_host.clone().unwrap_or_else(|| address.to_string()),
                        port: machine.ssh_port.unwrap_or(22),
                        user: "root".to_owned(),
                        sudo: false,
                        host_key: machine.host_key.clone(),
                    };
                    nodes.insert(node.key.clone(), FleetNode { node: node.clone(), address, ssh, found: None });
                }
            }
        }
        if problems.is_empty() {
            return Ok(Self { cluster: plan.cluster.clone(), nodes });
        }
        let mut error = Error::failed("fleet-incomplete", "find all machines of", &plan.cluster);
        for problem in problems {
            error = error.cause(problem);
        }
        Err(error.hint(format!("run `hactl provision {}` and look at its diagnostics", plan.cluster)))
    }

    /// The node that is called `word`.
    ///
    /// # Errors
    /// When there is none, with the names that there are.
    pub fn node(&self, word: &str) -> Result<&FleetNode> {
        self.nodes.values().find(|node| node.key().as_str() == word).ok_or_else(|| {
            let names: Vec<&str> = self.nodes.keys().map(InstanceKey::as_str).collect();
            Error::usage("node-unknown", "find node", word).cause(format!("{} has {}", self.cluster, names.join(", ")))
        })
    }

    /// The key of the machine that Patroni calls `member`; its own word for one that is none of these.
    #[must_use]
    pub fn key_of(&self, member: &str) -> String {
        let found = self.nodes.values().find(|node| node.member() == member);
        found.map_or_else(|| member.to_owned(), |node| node.key().to_string())
    }

    /// Nodes that hold `role`, in the order of their keys.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &FleetNode> {
        self.nodes.values().filter(move |node| node.node.roles.contains(&role))
    }
}
