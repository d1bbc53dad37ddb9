//! Plan + Outputs -> Fleet: the machines that there are, and how to reach them.

use std::{collections::BTreeMap, net::Ipv4Addr};

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
}

/// Where SSH answers, and the key that must answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshTarget {
    pub host: String,
    pub port: u16,
    pub user: String,
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
                        host_key: machine.host_key.clone(),
                    };
                    nodes.insert(node.key.clone(), FleetNode { node: node.clone(), address, ssh });
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

    /// Nodes that hold `role`, in the order of their keys.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &FleetNode> {
        self.nodes.values().filter(move |node| node.node.roles.contains(&role))
    }
}
