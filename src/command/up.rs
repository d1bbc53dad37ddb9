use clap::Args;

use super::{
    Session,
    arguments::{AnsibleArgs, ClusterArg, ConsentArgs},
};
use crate::{
    error::Result,
    operation::{self, UpRequest},
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
    /// Accepted for scripts; `up` never asks for confirmation
    #[arg(long)]
    pub(crate) yes: bool,
    /// Skip the failover drills on a cluster that this run has initialised
    #[arg(long)]
    pub(crate) no_verify: bool,
}

pub(crate) async fn run(session: &Session, args: UpArgs) -> Result<u8> {
    let request = UpRequest { agreed: args.agreed.into(), mitogen: !args.ansible.no_mitogen, proof: !args.no_verify };
    session
        .act(&operation::UP, &args.name.name, async |run, deployment| {
            let name = deployment.cluster.name().clone();
            let (summary, verdict) = operation::up(run, deployment, &request).await?;
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
