use std::path::PathBuf;

use clap::Args;

use super::{
    Session,
    arguments::{AnsibleArgs, ClusterArg, ConsentArgs},
    prompt,
};
use crate::{
    error::Result,
    operation::{self, SavedPlan, UpRequest},
    report::{self, Output},
};

#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    #[command(flatten)]
    pub(crate) ansible: AnsibleArgs,
    #[command(flatten)]
    pub(crate) agreed: ConsentArgs,
    /// Restart the primary without asking if a change requires it; this interrupts writes
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Apply the plan in this file, including the restart of the primary that it shows; refuse if anything has changed
    /// since
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Skip the failover drills on a cluster that this run has initialised
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Create the cluster again from its backups, after the loss of all its machines
    #[arg(long, conflicts_with = "plan")]
    pub(crate) from_backup: bool,
}

pub(crate) async fn run(session: &Session, args: UpArgs) -> Result<u8> {
    let request = UpRequest {
        agreed: args.agreed.into(),
        mitogen: !args.ansible.no_mitogen,
        proof: !args.no_verify,
        may_interrupt: args.yes,
        saved: args.plan.as_deref().map(SavedPlan::read).transpose()?,
        origin: None,
    };
    session
        .act(&operation::UP, &args.name.name, async |run, deployment| {
            let name = deployment.cluster.name().clone();
            let ask = async |question: &str| prompt::agree(session, name.as_str(), question).await;
            if args.from_backup {
                return operation::recover(run, deployment, &request).await;
            }
            let (summary, verdict) = operation::up(run, deployment, &request, ask).await?;
            let Some(verdict) = verdict else { return Ok(summary) };
            if session.output == Output::Text {
                report::print(&report::verify::text(&verdict));
            }
            match operation::unproved(&name, &verdict) {
                Some(error) => Err(error),
                None => Ok(summary),
            }
        })
        .await
}
