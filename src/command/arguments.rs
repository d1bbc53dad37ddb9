//! Arguments that several commands share.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, ValueEnum};

use crate::{model::InstanceKey, terraform::Consent};

#[derive(Args, Debug)]
pub(crate) struct GlobalArgs {
    /// Format of results and progress
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
    /// Show the output of the tools, and every Ansible task on every machine
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// With progress bars on a terminal, plain lines otherwise
    #[default]
    Text,
    /// One event per line for commands that act, one object for queries
    Json,
    /// As text, for a GitHub workflow: stages as groups, errors as annotations, a step summary and step outputs
    Github,
}

/// The cluster that a command works on.
#[derive(Args, Debug)]
pub(crate) struct ClusterArg {
    /// A cluster file, the NAME of NAME.yaml, a cluster recorded in .hactl, or a built-in blueprint
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// What the command may do to existing machines.
#[derive(Args, Debug)]
pub(crate) struct ConsentArgs {
    /// Allow hactl to destroy or replace this machine; on platform terraform, the resource with this address. Can be
    /// given several times
    #[arg(long, value_name = "NODE", value_parser = machine_or_address)]
    pub(crate) allow_destroy: Vec<String>,
    /// Allow hactl to stop and start this machine; can be given several times
    #[arg(long, value_name = "NODE")]
    pub(crate) allow_restart: Vec<InstanceKey>,
    /// Allow Terraform to change this attribute of this machine while the machine runs; can be given several times
    #[arg(long, value_name = "NODE:ATTRIBUTE", value_parser = machine_and_attribute)]
    pub(crate) allow_change: Vec<(InstanceKey, String)>,
}

impl From<ConsentArgs> for Consent {
    fn from(agreed: ConsentArgs) -> Self {
        let mut change: BTreeMap<InstanceKey, BTreeSet<String>> = BTreeMap::new();
        for (key, attribute) in agreed.allow_change {
            change.entry(key).or_default().insert(attribute);
        }
        Self {
            change,
            destroy: agreed.allow_destroy.iter().filter_map(|text| text.parse().ok()).collect(),
            addresses: agreed.allow_destroy.into_iter().collect(),
            restart: agreed.allow_restart.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// Accepts an instance's key and the name of an attribute, as `plan` prints them.
fn machine_and_attribute(text: &str) -> Result<(InstanceKey, String), String> {
    let (key, attribute) = text.split_once(':').ok_or("expected NODE:ATTRIBUTE, such as node1:network_device")?;
    let is_name = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if !attribute.split('.').all(is_name) {
        return Err(format!("`{attribute}` is not the name of an attribute, such as network_device or cpu.type"));
    }
    Ok((key.parse::<InstanceKey>().map_err(|error| error.to_string())?, attribute.to_owned()))
}

/// Accepts an instance's key, or a resource's address, which contains a dot.
fn machine_or_address(text: &str) -> Result<String, String> {
    if !text.contains('.') {
        text.parse::<InstanceKey>().map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct AnsibleArgs {
    /// Run Ansible over plain SSH pipelining, without Mitogen
    #[arg(long)]
    pub(crate) no_mitogen: bool,
}
