//! Plan + Outputs -> Fleet: the machines that exist, and how to reach them.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    model::{ClusterName, Endpoint, HostName, InstanceKey, Role, Ssh, needs_sudo},
    plan::{Plan, PlannedInstance},
};

pub use crate::model::{Hop, Machine, Outputs, SshTarget};

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
    pub node: PlannedInstance,
    pub address: Ipv4Addr,
    /// Its id on the platform, where hactl asks the platform about it again, or where another id means another machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    pub ssh: SshTarget,
    /// The disk of PostgreSQL's data, where it has one of its own that the roles must mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_device: Option<String>,
    /// What was found there; none where hactl's roles made everything.
    #[serde(default)]
    pub found: Option<FoundServices>,
}

/// What was found on a machine that hactl did not configure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundServices {
    /// Patroni's name of the member.
    pub member: String,
    pub patroni: Endpoint,
    pub postgres: Endpoint,
    pub etcd: Endpoint,
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

impl FleetNode {
    #[must_use]
    pub const fn key(&self) -> &InstanceKey {
        &self.node.key
    }

    #[must_use]
    pub const fn hostname(&self) -> &HostName {
        &self.node.hostname
    }

    /// The member's name in Patroni.
    #[must_use]
    pub fn member(&self) -> &str {
        self.found.as_ref().map_or(self.node.key.as_str(), |found| &found.member)
    }

    /// Where a service of the roles answers that listens on `port`.
    pub(crate) fn endpoint(&self, port: u16) -> Endpoint {
        Endpoint { host: self.address.to_string(), port, tls: true }
    }

    /// The addresses by which other members reach it.
    #[must_use]
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        self.found.as_ref().map_or_else(|| vec![self.address], |found| found.addresses.clone())
    }
}

/// How `machine` is reached: what Terraform says of it goes before what holds for all.
fn target(ssh: &Ssh, machine: &Machine, address: Ipv4Addr) -> SshTarget {
    let user = machine.ssh_user.clone().unwrap_or_else(|| ssh.user.clone());
    SshTarget {
        host: machine.ssh_host.clone().unwrap_or_else(|| address.to_string()),
        port: machine.ssh_port.unwrap_or(ssh.port),
        sudo: needs_sudo(&user),
        user,
        host_key: machine.host_key.clone(),
        bastion: machine.ssh_bastion.clone().or_else(|| ssh.bastion.clone()).map(Hop::from),
    }
}

/// A machine that Terraform made.
fn made(plan: &Plan, ssh: &Ssh, node: &PlannedInstance, machine: &Machine, address: Ipv4Addr) -> FleetNode {
    let machine_id = plan.platform.tells_machine_ids().then(|| machine.id.clone());
    let (ssh, data_device) = (target(ssh, machine, address), machine.data_device.clone());
    FleetNode { node: node.clone(), address, machine_id, ssh, data_device, found: None }
}

impl Fleet {
    /// Joins the plan with what Terraform created. An error names every machine that does not fit.
    ///
    /// # Errors
    /// When a planned node is missing from the outputs or has no address.
    pub fn new(plan: &Plan, outputs: &Outputs) -> Result<Self> {
        let mut problems = Vec::new();
        let mut nodes = BTreeMap::new();
        let ssh = plan.platform.ssh();
        for node in plan.nodes.values() {
            match outputs.get(&node.key).map(|machine| (machine, machine.ipv4)) {
                None => problems.push(format!("{} is not in Terraform's output `vms`", node.key)),
                Some((_, None)) => problems.push(plan.platform.no_address(&node.key)),
                Some((machine, Some(address))) => {
                    nodes.insert(node.key.clone(), made(plan, &ssh, node, machine, address));
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
        Err(error.hint(format!("Run `hactl provision {}` and check its diagnostics", plan.cluster)))
    }

    /// The existing machines of `nodes`, as they were planned when Terraform created them.
    #[must_use]
    pub fn known(plan: &Plan, nodes: &BTreeMap<InstanceKey, PlannedInstance>, outputs: &Outputs) -> Self {
        let ssh = plan.platform.ssh();
        let node = |(key, node): (&InstanceKey, &PlannedInstance)| {
            let machine = outputs.get(key)?;
            let address = machine.ipv4?;
            Some((key.clone(), made(plan, &ssh, node, machine, address)))
        };
        Self { cluster: plan.cluster.clone(), nodes: nodes.iter().filter_map(node).collect() }
    }

    /// The node that is called `word`.
    ///
    /// # Errors
    /// When there is none, with the names that there are.
    pub fn node(&self, word: &str) -> Result<&FleetNode> {
        self.nodes.values().find(|node| node.key().as_str() == word).ok_or_else(|| {
            let names: Vec<&str> = self.nodes.keys().map(InstanceKey::as_str).collect();
            Error::usage("node-unknown", "find instance", word).cause(format!(
                "the instances of {} are {}",
                self.cluster,
                names.join(", ")
            ))
        })
    }

    /// The key of the machine that Patroni calls `member`; `member` itself for any other.
    #[must_use]
    pub fn key_of(&self, member: &str) -> String {
        let found = self.nodes.values().find(|node| node.member() == member);
        found.map_or_else(|| member.to_owned(), |node| node.key().to_string())
    }

    /// The machines that vote in etcd, in the order of their keys.
    pub fn voters(&self) -> impl Iterator<Item = &FleetNode> {
        self.nodes.values().filter(|node| node.node.is_voter())
    }

    /// The machines with PostgreSQL, in the order of their keys.
    pub fn data_nodes(&self) -> impl Iterator<Item = &FleetNode> {
        self.nodes.values().filter(|node| node.node.is_data_node())
    }

    /// Nodes that hold `role`, in the order of their keys.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &FleetNode> {
        self.nodes.values().filter(move |node| node.node.roles.contains(&role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_target_combines_platform_settings_and_terraform_outputs() {
        let ssh = Ssh {
            user: "debian".to_owned(),
            port: 2222,
            bastion: Some("me@bastion:2022".parse().unwrap()),
            ..Ssh::default()
        };
        let machine = Machine { id: "100".to_owned(), name: "pg-node1".to_owned(), ..Machine::default() };
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let reached = target(&ssh, &machine, address);
        assert_eq!((reached.host.as_str(), reached.port, reached.sudo), ("10.0.0.1", 2222, true));
        let hop = reached.bastion.unwrap();
        assert_eq!((hop.user.as_str(), hop.host.as_str(), hop.port, hop.host_key), ("me", "bastion", 2022, None));

        let own = Machine {
            ssh_user: Some("root".to_owned()),
            ssh_bastion: Some("you@other".parse().unwrap()),
            ..machine.clone()
        };
        let reached = target(&ssh, &own, address);
        let hop = reached.bastion.unwrap();
        assert_eq!((reached.user.as_str(), reached.sudo, hop.host.as_str(), hop.port), ("root", false, "other", 22));

        let machine =
            Machine { ssh_host: Some("nat".to_owned()), ssh_port: Some(22), host_key: Some("k".to_owned()), ..machine };
        let reached = target(&Ssh::default(), &machine, address);
        assert_eq!((reached.host.as_str(), reached.port, reached.sudo), ("nat", 22, false));
        assert_eq!((reached.host_key.as_deref(), reached.bastion), (Some("k"), None));
    }
}
