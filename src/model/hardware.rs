//! What a machine on Proxmox has beside its size, its place and its address.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BridgeName;

/// Further properties of a machine. What is absent is the template's, or the default of Proxmox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// The type of the virtual CPU; by default `x86-64-v2-AES`. Used only for new virtual machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        example = &"host",
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"),
        extend("patternErrorMessage" = "a type of CPU that Proxmox knows, such as x86-64-v2-AES")
    )]
    pub cpu_type: Option<String>,
    /// Flags of the disks that `disk_gb` and `data_disk_gb` set. Used only for new virtual machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskFlags>,
    /// Whether the machine starts with its hypervisor; by default it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = false)]
    pub on_boot: Option<bool>,
    /// When the machine starts and stops with its hypervisor. The token needs Sys.Modify on / for a virtual machine
    /// with this. Used only for new machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Startup>,
    /// The notes in Proxmox. Used only for new machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"PostgreSQL of the shop", length(max = 8192))]
    pub description: Option<String>,
    /// Whether Proxmox's firewall filters the network devices; by default it does not. Used only for new machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub firewall: Option<bool>,
    /// The MTU of the network devices; by default the bridge's. Used only for new machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 576, max = 65_520), example = 9000)]
    pub mtu: Option<u16>,
    /// A second network device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_nic: Option<ExtraNic>,
}

impl Hardware {
    /// These properties, with those of `defaults` where they say nothing.
    #[must_use]
    pub fn or(self, defaults: Self) -> Self {
        Self {
            cpu_type: self.cpu_type.or(defaults.cpu_type),
            disk: self.disk.or(defaults.disk),
            on_boot: self.on_boot.or(defaults.on_boot),
            startup: self.startup.or(defaults.startup),
            description: self.description.or(defaults.description),
            firewall: self.firewall.or(defaults.firewall),
            mtu: self.mtu.or(defaults.mtu),
            extra_nic: self.extra_nic.or(defaults.extra_nic),
        }
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Flags of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiskFlags {
    /// Whether the machine may give space back to the storage: on or ignore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        example = &"on",
        regex(pattern = "^(on|ignore)$"),
        extend("patternErrorMessage" = "on or ignore")
    )]
    pub discard: Option<String>,
    /// Whether the disk has an I/O thread of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub iothread: Option<bool>,
    /// Whether the machine sees an SSD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub ssd: Option<bool>,
    /// The cache of the disk. With `unsafe` a power cut loses what PostgreSQL has committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        example = &"none",
        regex(pattern = "^(none|directsync|writethrough|writeback|unsafe)$"),
        extend("patternErrorMessage" = "none, directsync, writethrough, writeback or unsafe")
    )]
    pub cache: Option<String>,
}

impl DiskFlags {
    /// These flags, with those of another disk where they say nothing.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            discard: self.discard.or_else(|| other.discard.clone()),
            iothread: self.iothread.or(other.iothread),
            ssd: self.ssd.or(other.ssd),
            cache: self.cache.or_else(|| other.cache.clone()),
        }
    }
}

/// When a machine starts and stops with its hypervisor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Startup {
    /// The place in the order: lower numbers start first and stop last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65_535), example = 1)]
    pub order: Option<u16>,
    /// Seconds to wait after the start, before the next machine starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65_535), example = 30)]
    pub up_delay: Option<u16>,
    /// Seconds to wait for the stop, before the next machine stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65_535), example = 60)]
    pub down_delay: Option<u16>,
}

/// A second network device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtraNic {
    /// The bridge that it is connected to; required.
    #[serde(default)]
    #[schemars(required, example = &"vmbr1")]
    pub bridge: Option<BridgeName>,
    /// The VLAN tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4094), example = 40)]
    pub vlan: Option<u16>,
    /// The IPv4 address with its prefix, or dhcp; by default the device has no address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        example = &"10.0.0.21/24",
        regex(pattern = r"^(dhcp|[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2})$"),
        extend("patternErrorMessage" = "an IPv4 address with its prefix, such as 10.0.0.21/24, or dhcp")
    )]
    pub address: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn property_that_a_machine_sets_overrides_the_default() {
        let own = Hardware { mtu: Some(9000), firewall: Some(false), ..Hardware::default() };
        let defaults = Hardware { mtu: Some(1500), firewall: Some(true), on_boot: Some(false), ..Hardware::default() };
        let both = Hardware { mtu: Some(9000), firewall: Some(false), on_boot: Some(false), ..Hardware::default() };
        assert_eq!(own.or(defaults), both);
        assert!(Hardware::default().is_empty() && !both.is_empty());
    }
}
