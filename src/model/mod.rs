//! Pure nouns that every stage may use: names, roles, versions, paths and secrets.

pub mod account;
pub mod backend;
pub mod certificate;
pub mod cluster;
pub mod distribution;
pub mod dns;
pub mod drill;
pub mod hosts;
pub mod name;
pub mod nearest;
pub mod platform;
pub mod proxmox;
pub mod role;
pub mod secret;
pub mod ssh;
pub mod version;

pub use account::{ACCOUNTS, Account};
pub use backend::{BACKENDS, Backend, BackendKind, ConnStr};
pub use certificate::{Authority, Certificate, Purpose};
pub use cluster::{Choices, Dcs, Durability, Synchronous, Timers};
pub use distribution::Distribution;
pub use dns::{DEFAULT_PORT, DEFAULT_TTL, Dns, DnsServer, DomainName, KeyAlgorithm};
pub use drill::{DEFAULT_DRILLS, DEFAULT_DRILLS_BY_SSH, DRILL_NAMES};
pub use hosts::{AdoptedHosts, Host, HostMachine, Hosts, Passed, RootModule};
pub use name::{BridgeName, ClusterName, DatabaseName, HostName, Hypervisor, InstanceKey, PoolName, StorageName, Tag};
pub use nearest::nearest;
pub use platform::{Local, Platform};
pub use proxmox::{Guest, GuestAddress, Proxmox, ProxmoxKind, SINGLE_KEY, Template, derived_suffix};
pub use role::Role;
pub use secret::Secret;
pub use ssh::{Bastion, Hop, SSH_PORT, Ssh, SshKeySource, SshTarget};
pub use version::{EtcdSource, EtcdVersion, PostgresMajor, PythonVersion};
