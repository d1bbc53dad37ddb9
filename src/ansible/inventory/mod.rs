//! Fleet -> Inventory: what Ansible reads.
//!
//! In come the plan, the machines, and the material (passwords, certificates, directories of downloads); out goes an
//! [`Inventory`], a value that holds every variable of every host, with the secrets separate. Building and rendering
//! are pure, and the same inventory always gives the same bytes.

mod build;
mod digest;
mod json;
mod literal;
mod material;
mod render;
mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

pub use self::{
    build::build,
    json::{Reader, json},
    material::Material,
    render::{ini, yaml},
    write::{Written, write},
};
use crate::{assets::Assets, model::InstanceKey};

/// Variables by name, sorted so that their order is stable.
pub type Vars = BTreeMap<String, Value>;

/// Everything that Ansible is given. Not `Debug` or `Serialize` as a whole, because it holds secrets.
#[derive(Clone)]
pub struct Inventory {
    pub cluster: String,
    /// Groups and their hosts, including groups without hosts, because plays name them.
    pub groups: BTreeMap<String, BTreeSet<InstanceKey>>,
    /// Variables of all hosts.
    pub vars: Vars,
    /// Every host, plain machines without a role included, with its own variables.
    pub hosts: BTreeMap<InstanceKey, Vars>,
    assets: Assets,
    secrets: Vars,
    host_secrets: BTreeMap<InstanceKey, Vars>,
}

/// The secrets of all hosts, for the files and readers that may hold them.
impl Inventory {
    const fn secrets(&self) -> &Vars {
        &self.secrets
    }

    const fn host_secrets(&self) -> &BTreeMap<InstanceKey, Vars> {
        &self.host_secrets
    }

    /// SHA-256, in hexadecimal, of everything that is configured: roles, variables and secrets.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.secrets.get("hactl_digest").and_then(Value::as_str).unwrap_or_default()
    }
}

/// The part of an inventory that anyone may read, as templates get it.
#[derive(Serialize)]
struct Readable<'a> {
    cluster: &'a str,
    groups: Vec<Group<'a>>,
    hosts: Vec<Host<'a>>,
    vars: Vec<Var<'a>>,
}

#[derive(Serialize)]
struct Group<'a> {
    name: &'a str,
    hosts: Vec<&'a str>,
}

#[derive(Serialize)]
struct Host<'a> {
    name: &'a str,
    vars: Vec<Var<'a>>,
}

/// A variable, with its value as the format writes it.
#[derive(Serialize)]
struct Var<'a> {
    name: &'a str,
    value: String,
}
