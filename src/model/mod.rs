//! Plain types that every stage may use: names, roles, versions, paths and secrets.

pub mod account;
pub mod arch;
pub mod backend;
pub mod backup;
pub mod certificate;
pub mod cluster;
pub mod distribution;
pub mod dns;
pub mod drill;
pub mod endpoint;
pub mod entry_point;
pub mod hardware;
pub mod hosts;
pub mod locale;
pub mod machine;
pub mod name;
pub mod nearest;
pub mod platform;
pub mod power;
pub mod proxmox;
pub mod reboot;
pub mod reserved;
pub mod role;
pub mod secret;
pub mod slot;
pub mod ssh;
pub mod version;

pub use account::{ACCOUNTS, Account, RepositorySecret};
pub use arch::Arch;
pub use backend::{BACKENDS, Backend, BackendKind, ConnStr};
pub use backup::{Backup, Period, ProvedRestore, Retention, S3Repository, Schedule};
pub use certificate::{Authority, Certificate, Purpose};
pub use cluster::*;
pub use distribution::Distribution;
pub use dns::{DEFAULT_PORT, DEFAULT_TTL, Dns, DnsServer, DomainName, KeyAlgorithm};
pub use drill::{DEFAULT_DRILLS, DEFAULT_DRILLS_BY_SSH, DRILL_NAMES};
pub use endpoint::Endpoint;
pub use entry_point::{Endpoints, EntryPoint, PoolMode};
pub use hardware::{DiskFlags, ExtraNic, Hardware, Startup};
pub use hosts::{AdoptedHosts, Host, HostMachine, Hosts, Passed, RootModule};
pub use locale::{DatabaseLocale, IcuLocales, Locale, LocaleProvider, is_same_icu_locale};
pub use machine::{Machine, Outputs, can_be_of_a_machine};
pub use name::{
    BackupLabel, BridgeName, ClusterName, DatabaseName, HostName, Hypervisor, InstanceKey, PoolName, RepositoryName,
    StanzaName, StorageName, Tag,
};
pub use nearest::nearest;
pub use platform::*;
pub use power::{PLACEHOLDERS, PowerCommands, nearest_placeholder, placeholders};
pub use proxmox::{Guest, GuestAddress, Proxmox, ProxmoxKind, SINGLE_KEY, Template, derived_suffix};
pub use reboot::{Change, Reboot, Reboots};
pub use reserved::{RESERVED_DATABASES, RESERVED_ROLES};
pub use role::Role;
pub use secret::Secret;
pub use slot::{IgnoredSlot, Slot, SlotKind};
pub use ssh::{Bastion, Hop, SSH_PORT, Ssh, SshKeySource, SshTarget, needs_sudo};
pub use version::{EtcdSource, EtcdVersion, PostgresMajor, PythonVersion};
