//! Where the machines come from, and what follows from that alone. Code that talks to a platform is in `platform/`.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{
    AdoptedHosts, Distribution, Hosts, Hypervisor, InstanceKey, PowerCommands, Proxmox, ProxmoxKind, RootModule, Ssh,
};

/// Where the machines come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    Local(Local),
    Proxmox(Proxmox),
    Hosts(Hosts),
    Adopted(AdoptedHosts),
    Terraform(RootModule),
}

impl Platform {
    /// Whether the machines run a cluster that hactl did not make: hactl observes and drills it but never changes it.
    #[must_use]
    pub const fn is_adopted(&self) -> bool {
        matches!(self, Self::Adopted(_))
    }

    /// Whether its machines belong to the user: hactl makes no assumptions about them and must not destroy them.
    #[must_use]
    pub const fn has_users_machines(&self) -> bool {
        matches!(self, Self::Hosts(_) | Self::Terraform(_))
    }

    /// The user's own Terraform module, if it makes the machines.
    #[must_use]
    pub const fn own_module(&self) -> Option<&RootModule> {
        match self {
            Self::Terraform(module) => Some(module),
            _ => None,
        }
    }

    /// Whether the machines stay after a teardown.
    #[must_use]
    pub const fn machines_stay(&self) -> bool {
        match self {
            Self::Hosts(_) => true,
            Self::Terraform(module) => !module.destroy,
            Self::Local(_) | Self::Proxmox(_) | Self::Adopted(_) => false,
        }
    }

    /// How hactl reaches its machines by SSH.
    #[must_use]
    pub fn ssh(&self) -> Ssh {
        match self {
            Self::Proxmox(Proxmox { ssh, .. })
            | Self::Hosts(Hosts { ssh, .. })
            | Self::Terraform(RootModule { ssh, .. }) => ssh.clone(),
            // Local nodes accept only hactl's own key; each adopted machine has its own settings.
            Self::Local(_) | Self::Adopted(_) => Ssh::default(),
        }
    }

    /// The platform's name in the cluster file.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::Proxmox(_) => "proxmox",
            Self::Hosts(_) | Self::Adopted(_) => "hosts",
            Self::Terraform(_) => "terraform",
        }
    }

    /// The release that its machines run, where hactl makes the cluster.
    #[must_use]
    pub const fn release(&self) -> Option<Distribution> {
        match self {
            Self::Local(local) => Some(local.release),
            Self::Proxmox(proxmox) => Some(proxmox.release),
            Self::Hosts(hosts) => Some(hosts.release),
            Self::Terraform(module) => Some(module.release),
            Self::Adopted(_) => None,
        }
    }

    /// The local platform's part of the file.
    #[must_use]
    pub const fn local(&self) -> Option<&Local> {
        match self {
            Self::Local(local) => Some(local),
            _ => None,
        }
    }

    /// Proxmox's part of the file.
    #[must_use]
    pub const fn proxmox(&self) -> Option<&Proxmox> {
        match self {
            Self::Proxmox(proxmox) => Some(proxmox),
            _ => None,
        }
    }

    /// The user's existing machines, as the file describes them.
    #[must_use]
    pub const fn hosts(&self) -> Option<&Hosts> {
        match self {
            Self::Hosts(hosts) => Some(hosts),
            _ => None,
        }
    }

    /// The machines of a cluster that hactl did not make.
    #[must_use]
    pub const fn adopted(&self) -> Option<&AdoptedHosts> {
        match self {
            Self::Adopted(hosts) => Some(hosts),
            _ => None,
        }
    }

    /// The user's commands that power the machines off and on.
    #[must_use]
    pub const fn power_commands(&self) -> Option<&PowerCommands> {
        match self {
            Self::Hosts(hosts) => hosts.power.as_ref(),
            Self::Adopted(hosts) => hosts.power.as_ref(),
            Self::Local(_) | Self::Proxmox(_) | Self::Terraform(_) => None,
        }
    }

    /// Whether the machines have disks of their own that may grow.
    #[must_use]
    pub const fn grows_disks(&self) -> bool {
        matches!(self, Self::Proxmox(Proxmox { kind: ProxmoxKind::Vm, .. }))
    }

    /// The platform with its kind, as the shared record says it.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Proxmox(proxmox) => format!("proxmox, kind {}", proxmox.kind),
            other => other.as_str().to_owned(),
        }
    }

    /// Whether the platform gives each machine an ID that distinguishes it from another machine of the same name.
    #[must_use]
    pub const fn tells_machine_ids(&self) -> bool {
        matches!(self, Self::Proxmox(_) | Self::Terraform(_))
    }

    /// The network of an instance, if the file has it.
    #[must_use]
    pub fn network(&self, key: &InstanceKey) -> Option<Ipv4Net> {
        match self {
            Self::Local(local) => local.subnet,
            Self::Proxmox(proxmox) => proxmox.machines.get(key).and_then(|guest| guest.address.network()),
            Self::Hosts(_) | Self::Adopted(_) | Self::Terraform(_) => None,
        }
    }

    /// The addresses and host names of an instance that the file has.
    #[must_use]
    pub fn addresses(&self, key: &InstanceKey) -> Vec<String> {
        match self {
            Self::Proxmox(_) => self.network(key).map(|network| network.addr().to_string()).into_iter().collect(),
            Self::Hosts(hosts) => {
                let machines = hosts.machines.get(key).into_iter();
                machines.flat_map(|host| [Some(host.address.to_string()), host.ssh_host.clone()]).flatten().collect()
            }
            Self::Adopted(hosts) => hosts.machines.get(key).map(|host| host.host.clone()).into_iter().collect(),
            Self::Local(_) | Self::Terraform(_) => Vec::new(),
        }
    }

    /// The key that an instance had before.
    #[must_use]
    pub fn renamed_from(&self, key: &InstanceKey) -> Option<&InstanceKey> {
        self.proxmox()?.machines.get(key)?.renamed_from.as_ref()
    }

    /// The hypervisor of an instance, where the cluster file says it.
    #[must_use]
    pub fn hypervisor(&self, key: &InstanceKey) -> Option<&Hypervisor> {
        self.proxmox()?.machines.get(key).map(|machine| &machine.hypervisor)
    }

    /// The hactl stack that makes the machines; none if the user's own module does.
    #[must_use]
    pub const fn stack(&self) -> Option<&'static str> {
        match self {
            Self::Local(_) => Some("local"),
            Self::Proxmox(proxmox) => Some(proxmox.kind.stack()),
            Self::Hosts(_) | Self::Adopted(_) => Some("hosts"),
            Self::Terraform(_) => None,
        }
    }

    /// How hactl can learn of machines from runs elsewhere, as the rest of a hint.
    #[must_use]
    pub const fn sharing_hint(&self) -> &'static str {
        match self {
            Self::Terraform(_) => "; to share machines with runs elsewhere, add `record` to `pass`",
            Self::Hosts(_) => "; to share machines with runs elsewhere, set a `backend`",
            Self::Local(_) | Self::Proxmox(_) | Self::Adopted(_) => "",
        }
    }

    /// The message about a machine whose address Terraform does not know.
    #[must_use]
    pub fn no_address(&self, key: &InstanceKey) -> String {
        match self {
            Self::Proxmox(Proxmox { kind: ProxmoxKind::Vm, .. }) => {
                format!("{key}: VM IP address is not available. Ensure QEMU guest agent is running.")
            }
            Self::Proxmox(Proxmox { kind: ProxmoxKind::Lxc, .. }) => format!(
                "{key}: container IP address is not available. `pct exec VMID -- ip -4 address` on the hypervisor shows what it has."
            ),
            _ => format!("{key} has no IPv4 address"),
        }
    }
}

/// Containers that run systemd on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Local {
    /// The base image, `debian:12` by default.
    pub base_image: String,
    /// The distribution's release that it holds.
    pub release: Distribution,
    /// A fixed subnet; if none, hactl chooses one without collisions when it makes the network.
    pub subnet: Option<Ipv4Net>,
}
