//! Arguments that several commands share.

use clap::{Args, ValueEnum};

use crate::{model::InstanceKey, terraform::Consent};

#[derive(Args, Debug)]
pub(crate) struct GlobalArgs {
    /// How results and progress are shown
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: OutputFormat,
    /// Show the tools' own output, and every task of every node
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Bars on a terminal, plain lines in pipes
    #[default]
    Text,
    /// Event lines for acting commands, one object for queries
    Json,
    /// As text, in GitHub's workflow log: stages as groups, errors as annotations, summary and outputs of the step
    Github,
}

/// The cluster that a command is about.
#[derive(Args, Debug)]
pub(crate) struct ClusterArg {
    /// A cluster file, the NAME of NAME.yaml, a cluster made from here, or a built-in blueprint
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// What may happen to machines that exist.
#[derive(Args, Debug)]
pub(crate) struct ConsentArgs {
    /// Let this machine be destroyed, or replaced by a new one; on platform terraform the resource with this address. May be
    /// given several times
    #[arg(long, value_name = "NODE", value_parser = machine_or_address)]
    pub(crate) allow_destroy: Vec<String>,
    /// Let this machine be stopped and started; may be given several times
    #[arg(long, value_name = "NODE")]
    pub(crate) allow_restart: Vec<InstanceKey>,
}

impl From<ConsentArgs> for Consent {
    fn from(agreed: ConsentArgs) -> Self {
        Self {
            destroy: agreed.allow_destroy.iter().filter_map(|text| text.parse().ok()).collect(),
            addresses: agreed.allow_destroy.into_iter().collect(),
            restart: agreed.allow_restart.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// A machine, or the address of a resource, which has a dot in it.
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
