use clap::Args;

use super::{
    Session,
    arguments::{AnsibleArgs, ClusterArg},
};
use crate::{error::Result, operation};

#[derive(Args, Debug)]
pub(crate) struct ConfigureArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    #[command(flatten)]
    pub(crate) ansible: AnsibleArgs,
    /// Run Ansible in check mode: show what would change, without changing anything
    #[arg(long)]
    pub(crate) check: bool,
}

pub(crate) async fn run(session: &Session, args: ConfigureArgs) -> Result<u8> {
    let (mitogen, check) = (!args.ansible.no_mitogen, args.check);
    session
        .act(&operation::CONFIGURE, &args.name.name, async |run, deployment| {
            operation::configure(run, deployment, mitogen, check).await
        })
        .await
}
