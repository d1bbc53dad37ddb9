//! Machines that hactl does not make: those that exist, and those of the user's own Terraform module.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Distribution, InstanceKey, PowerCommands, Ssh, SshKeySource};

/// Existing machines on which hactl makes a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hosts {
    /// The distribution that runs on all of them.
    pub release: Distribution,
    pub ssh: Ssh,
    pub machines: BTreeMap<InstanceKey, HostMachine>,
    /// What powers them off and on; none where hactl cannot.
    #[serde(default)]
    pub power: Option<PowerCommands>,
}

/// One existing machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMachine {
    /// The address that cluster members use.
    pub address: Ipv4Addr,
    /// The host for SSH, if it differs from the address.
    pub ssh_host: Option<String>,
    pub ssh_port: Option<u16>,
}

/// Machines of a running cluster that hactl did not make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdoptedHosts {
    pub machines: BTreeMap<InstanceKey, Host>,
    pub ssh_key: SshKeySource,
    /// The superuser for queries of PostgreSQL, if it is not the one in Patroni's configuration.
    pub superuser: Option<String>,
    /// Patroni's unit, if more than one Patroni runs on a machine.
    pub unit: Option<String>,
    /// What powers the machines off and on; none where hactl cannot.
    #[serde(default)]
    pub power: Option<PowerCommands>,
}

/// Where SSH of a machine answers, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub host: String,
    pub port: u16,
    pub user: String,
}

/// Machines of the user's own Terraform root module, which lists them in its output `vms`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RootModule {
    /// The directory of the module, in which Terraform runs.
    pub dir: PathBuf,
    /// Files with values, in addition to those that Terraform finds by itself.
    pub var_files: Vec<PathBuf>,
    /// The workspace, if it is not the one selected in the directory.
    pub workspace: Option<String>,
    /// Variables of the module that hactl sets.
    pub pass: Vec<Passed>,
    /// Whether `down` destroys what the module made.
    pub destroy: bool,
    pub release: Distribution,
    pub ssh: Ssh,
}

/// A variable of the user's module that hactl sets.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Passed {
    /// A list of strings: public SSH keys that the machines must accept.
    AuthorizedKeys,
    /// A string: the cluster's name.
    Cluster,
    /// A string: the cluster's UUID.
    ClusterUuid,
    /// A map, by instance, of objects with `hostname`, `memory` in MiB, `cores` and `roles`.
    Instances,
    /// A string: what hactl keeps in the state for runs on other machines. The module must return it as the output
    /// `record`.
    Record,
}

impl Passed {
    /// The variable's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizedKeys => "authorized_keys",
            Self::Cluster => "cluster",
            Self::ClusterUuid => "cluster_uuid",
            Self::Instances => "instances",
            Self::Record => "record",
        }
    }
}
