use clap::Args;

use super::{
    Session,
    arguments::{AnsibleArgs, ClusterArg},
    prompt,
};
use crate::{
    error::Result,
    operation::{self, ConfigureRequest},
};

#[derive(Args, Debug)]
pub(crate) struct ConfigureArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    #[command(flatten)]
    pub(crate) ansible: AnsibleArgs,
    /// Run Ansible in check mode: show what would change, without changing anything
    #[arg(long)]
    pub(crate) check: bool,
    /// Restart the primary without asking if a change requires it; this interrupts writes
    #[arg(long, short)]
    pub(crate) yes: bool,
}

pub(crate) async fn run(session: &Session, args: ConfigureArgs) -> Result<u8> {
    let request = ConfigureRequest { mitogen: !args.ansible.no_mitogen, check: args.check, may_interrupt: args.yes };
    session
        .act(&operation::CONFIGURE, &args.name.name, async |run, deployment| {
            let name = deployment.cluster.name().clone();
            let ask = async |question: &str| prompt::agree(session, name.as_str(), question).await;
            operation::configure(run, deployment, request, ask).await
        })
        .await
}
