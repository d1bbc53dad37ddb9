//! Machines as Terraform lists them.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::{Bastion, InstanceKey};

/// Whether a machine that others reach can have this address. Systems give themselves addresses in 127.0.0.0/16; those in the rest of
/// the loopback network are chosen, for servers that all run on one machine.
#[must_use]
pub const fn can_be_of_a_machine(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    !((first == 127 && second == 0) || address.is_link_local() || first == 0 || first >= 224)
}

/// Terraform's output `vms`, the only output that hactl reads.
pub type Outputs = BTreeMap<InstanceKey, Machine>;

/// One machine of the output `vms`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub id: String,
    pub name: String,
    /// The address that cluster members use.
    pub ipv4: Option<Ipv4Addr>,
    /// Where to reach SSH when that differs from `ipv4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_port: Option<u16>,
    /// The user of SSH when it differs from the cluster file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_user: Option<String>,
    /// The machine to connect through when it differs from the cluster file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_bastion: Option<Bastion>,
    /// The SSH host key in OpenSSH's form (`ssh-ed25519 AAAA...`), where the platform knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// The disk of PostgreSQL's data on the machine, such as `/dev/disk/by-id/NAME`, where it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_device: Option<String>,
    /// What fails as a whole, with all machines in it: a data centre, a rack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}
