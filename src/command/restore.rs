use clap::Args;
use jiff::Timestamp;

use super::{
    Session,
    arguments::{AnsibleArgs, ClusterArg},
};
use crate::{
    error::Result,
    operation::{self, RestoreRequest},
};

#[derive(Args, Debug)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// The new cluster: the name or path of its cluster file
    #[arg(long, value_name = "NEW")]
    pub(crate) to: String,
    /// The moment to restore, with its offset from UTC, such as 2026-11-30T08:15:00Z; by default the newest that the repository
    /// has
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
    #[command(flatten)]
    pub(crate) ansible: AnsibleArgs,
}

pub(crate) async fn run(session: &Session, args: RestoreArgs) -> Result<u8> {
    let source = session.deployment(&args.name.name).await?;
    source.cluster.must_be_made_here(operation::RESTORE.command)?;
    let request = RestoreRequest { at: args.at, mitogen: !args.ansible.no_mitogen };
    session
        .act(&operation::RESTORE, &args.to, async |run, deployment| {
            operation::restore(run, deployment, source, &request).await
        })
        .await
}
