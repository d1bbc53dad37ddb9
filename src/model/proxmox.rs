//! Machines on Proxmox VE: what they are made from, where, and how hactl reaches them.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{BridgeName, Distribution, DomainName, Hardware, Hypervisor, InstanceKey, PoolName, Ssh, StorageName, Tag};

/// Virtual machines or containers on Proxmox VE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proxmox {
    pub kind: ProxmoxKind,
    /// The API's address; by default from PROXMOX_VE_ENDPOINT. The token comes only from PROXMOX_VE_API_TOKEN.
    pub endpoint: Option<String>,
    /// The certificate authority of the API's certificate, in addition to those of this machine.
    pub ca_cert: Option<PathBuf>,
    /// The distribution's release that the templates hold.
    pub release: Distribution,
    pub bridge: BridgeName,
    /// The pool that hactl makes for the cluster and for machines without their own pool.
    pub pool: Option<PoolName>,
    pub ssh: Ssh,
    /// The machines' name servers; empty for those of the hypervisor or of DHCP.
    pub nameservers: Vec<IpAddr>,
    pub search_domain: Option<DomainName>,
    /// Whether virtual machines have a watchdog device.
    pub watchdog: bool,
    /// Whether Proxmox refuses to remove the machines; by default those that hold data.
    pub protection: Option<bool>,
    /// Number of seconds that the guest agent may take to report a new machine's address.
    pub agent_timeout_s: u32,
    /// Machines that Terraform makes or changes at once, if the file sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u16>,
    /// Whether the one machine comes from `target_ip`.
    pub single: bool,
    pub machines: BTreeMap<InstanceKey, Guest>,
}

/// The kind of the machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxmoxKind {
    /// Virtual machines, cloned from a template.
    #[default]
    Vm,
    /// Containers, made from a template file.
    Lxc,
}

impl ProxmoxKind {
    /// The stack that makes them.
    #[must_use]
    pub const fn stack(self) -> &'static str {
        match self {
            Self::Vm => "proxmox-vm",
            Self::Lxc => "proxmox-lxc",
        }
    }
}

impl fmt::Display for ProxmoxKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Vm => "vm",
            Self::Lxc => "lxc",
        })
    }
}

/// The settings of one machine on Proxmox, apart from its size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    #[serde(rename = "node")]
    pub hypervisor: Hypervisor,
    pub template: Template,
    /// The hypervisor that has the template, if it is not the machine's own.
    #[serde(rename = "template_node")]
    pub template_hypervisor: Option<Hypervisor>,
    pub datastore: StorageName,
    pub vlan: Option<u16>,
    pub address: GuestAddress,
    pub gateway: Option<Ipv4Addr>,
    /// Whether the DHCP server always gives it the same address.
    pub reserved: bool,
    /// The machine's own pool, instead of the cluster's.
    pub pool_id: Option<PoolName>,
    pub tags: Vec<Tag>,
    /// The key that the machine had before.
    pub renamed_from: Option<InstanceKey>,
    /// The size of a disk of its own for PostgreSQL's data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_disk_gb: Option<u32>,
    /// The storage of that disk, if it is not the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_datastore: Option<StorageName>,
    #[serde(default, skip_serializing_if = "Hardware::is_empty")]
    pub hardware: Hardware,
}

/// What a machine is made from: the id of a virtual machine that is a template, or a template file in a storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Template {
    Vm(u32),
    File(String),
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vm(id) => write!(f, "{id}"),
            Self::File(file) => f.pad(file),
        }
    }
}

/// Where a machine gets its address from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestAddress {
    Dhcp,
    #[serde(untagged)]
    Fixed(Ipv4Net),
}

impl GuestAddress {
    #[must_use]
    pub const fn network(self) -> Option<Ipv4Net> {
        match self {
            Self::Dhcp => None,
            Self::Fixed(net) => Some(net),
        }
    }
}

impl fmt::Display for GuestAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dhcp => f.pad("dhcp"),
            Self::Fixed(net) => f.pad(&net.to_string()),
        }
    }
}

/// The key of the only machine in the single mode.
pub const SINGLE_KEY: &str = "default";

/// The last part of the single machine's host name, if the file does not set it; the stacks derive it the same way.
#[must_use]
pub fn derived_suffix(app: &str, env: &str, target: &str) -> String {
    let digest = Sha256::digest(format!("{app}/{env}/{target}"));
    format!("{:02x}{:02x}", digest[0], digest[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_address_in_json_is_dhcp_or_a_network() {
        for (text, address) in [
            ("\"dhcp\"", GuestAddress::Dhcp),
            ("\"192.168.1.21/24\"", GuestAddress::Fixed("192.168.1.21/24".parse().unwrap())),
        ] {
            assert_eq!(serde_json::from_str::<GuestAddress>(text).unwrap(), address);
            assert_eq!(serde_json::to_string(&address).unwrap(), text);
        }
    }

    /// `substr(sha256("pg/prod/192.168.1.60/24"), 0, 4)` in Terraform.
    #[test]
    fn single_machine_suffix_equals_the_suffix_in_terraform() {
        assert_eq!(derived_suffix("pg", "prod", "192.168.1.60/24"), "22d3");
    }
}
