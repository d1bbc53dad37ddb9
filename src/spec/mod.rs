//! Cluster file -> Spec: what the user wrote, checked as a whole.
//!
//! The input is a name or a path, the output a [`Spec`] that later stages may trust: names are valid,
//! references resolve, defaults are filled in. Every problem of a file is reported at once, with its
//! place, its field, and the word that was probably meant. Later stages need not check their input.

mod backend;
mod backup;
mod blueprint;
mod check;
mod checker;
mod connections;
mod endpoint;
mod file;
mod hosts;
mod load;
mod local;
mod power;
mod problem;
mod proxmox;
mod record;
mod reference;
mod sections;
mod settings;
mod shape;
mod source;
mod ssh;
mod yaml;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{
    blueprint::blueprints,
    file::{Template, init_text},
    load::load,
    problem::{FileProblem, Problems},
    record::Record,
    reference::reference,
    source::{Origin, Source, resolve},
};
use crate::model::{
    Account, Backend, Backup, ClusterName, Dns, EntryPoint, EtcdSource, EtcdVersion, HostName, InstanceKey, Patroni,
    Platform, Postgres, Role,
};

/// A cluster as its file describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    pub name: ClusterName,
    pub app: HostName,
    pub env: HostName,
    pub platform: Platform,
    pub instances: BTreeMap<InstanceKey, Instance>,
    /// Where Terraform keeps its state, when not on this machine.
    pub backend: Option<Backend>,
    /// Where the machines get DNS records, if at all.
    pub dns: Option<Dns>,
    pub etcd: EtcdVersion,
    /// What the file sets of that which otherwise stays as it is.
    pub pinned: Pinned,
    /// Where etcd comes from, when the file says so.
    pub etcd_source: Option<EtcdSource>,
    pub postgres: Postgres,
    pub patroni: Patroni,
    /// Where backups go, if hactl makes any.
    pub backup: Option<Backup>,
    /// The entry point for applications, if the cluster has one.
    pub endpoint: Option<EntryPoint>,
    /// Commands that print passwords, used instead of the secrets file.
    pub secrets: Vec<SecretCommand>,
    /// The directory with changed roles, playbooks, templates and modules, when the file names one.
    pub assets: Option<PathBuf>,
    /// What `hactl verify` runs by default: words of [`crate::model::DRILL_NAMES`].
    pub drills: Vec<String>,
    /// The longest write gap that the user accepts, in milliseconds by word of [`crate::model::DRILL_NAMES`].
    pub limits_ms: BTreeMap<String, u64>,
    /// Whether the machines refuse new connections from other networks.
    pub firewall: bool,
    /// Whether the kernels of the machines may be changed.
    pub tune: bool,
    /// Whether Patroni uses the watchdog devices of the machines.
    pub watchdog: bool,
    pub disposable: bool,
}

/// What the file sets of that which otherwise stays as it is on a cluster that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// etcd's minor version, or all of it.
    pub etcd: Pin,
    pub patroni: bool,
    pub postgres: bool,
    /// Whether it says who may connect from the machines' networks.
    pub own_network: bool,
    /// Whether it says how many replicas hold a commit.
    pub synchronous_nodes: bool,
    /// How many voters it asks for.
    pub voters: Option<u8>,
}

/// How much of a version the file sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pin {
    #[default]
    Nothing,
    Minor,
    Full,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub hostname: HostName,
    pub memory_mib: u32,
    pub cores: u32,
    /// The size of its disk in GiB.
    pub disk_gb: Option<u32>,
    /// The roles of the machine; none when the plan decides.
    pub roles: Option<BTreeSet<Role>>,
}

impl Instance {
    /// Whether PostgreSQL runs on it.
    #[must_use]
    pub fn is_data_node(&self) -> bool {
        self.roles.as_ref().is_none_or(Role::holds_data)
    }
}

/// A command that prints the password of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecretCommand {
    pub account: Account,
    /// Program and arguments, never none.
    pub command: Vec<String>,
}

impl Spec {
    /// How many machines run PostgreSQL.
    #[must_use]
    pub fn data_nodes(&self) -> usize {
        self.instances.values().filter(|instance| instance.is_data_node()).count()
    }
}

/// The JSON Schema of the cluster file, for editors and `hactl schema`.
#[must_use]
pub fn schema() -> Value {
    file::schema()
}
