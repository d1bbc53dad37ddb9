//! Pure nouns that every stage may use: names, roles, versions, paths and secrets.

pub mod account;
pub mod arch;
pub mod backend;
pub mod cluster;
pub mod distribution;
pub mod dns;
pub mod drill;
pub mod endpoint;
pub mod hosts;
pub mod machine;
pub mod name;
pub mod nearest;
pub mod proxmox;
pub mod reboot;
pub mod role;
pub mod secret;
pub mod ssh;
pub mod version;

pub use account::Account;
pub use arch::Arch;
pub use backend::{BACKENDS, Backend, BackendKind, ConnStr};
pub use cluster::{Choices, Dcs, Durability, Local, Platform, Synchronous, Timers};
pub use distribution::Distribution;
pub use dns::{DEFAULT_PORT, DEFAULT_TTL, Dns, DnsServer, DomainName, KeyAlgorithm};
pub use drill::{DEFAULT_DRILLS, DEFAULT_DRILLS_BY_SSH, DRILL_NAMES};
pub use endpoint::Endpoint;
pub use hosts::{AdoptedHosts, Host, HostMachine, Hosts, Passed, RootModule};
pub use machine::{Machine, Outputs};
pub use name::{BridgeName, ClusterName, DatabaseName, HostName, Hypervisor, InstanceKey, PoolName, StorageName, Tag};
pub use nearest::nearest;
pub use proxmox::{Guest, GuestAddress, Proxmox, ProxmoxKind, SINGLE_KEY, Template, derived_suffix};
pub use reboot::{Change, Reboot, Reboots};
pub use role::Role;
pub use secret::Secret;
pub use ssh::{Bastion, SSH_PORT, Ssh, SshKeySource};
pub use version::{EtcdSource, EtcdVersion, PostgresMajor, PythonVersion};
