use clap::Args;

use super::{Session, arguments::ClusterArg};
use crate::{error::Result, query};

#[derive(Args, Debug)]
pub(crate) struct SshArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// The instance's key
    pub(crate) node: String,
    /// A command to run there instead of a shell
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}

pub(crate) async fn run(session: &Session, args: &SshArgs) -> Result<u8> {
    let deployment = session.deployment(&args.name.name).await?;
    let command = query::ssh(&deployment, &args.node)?.args(args.command.iter().cloned());
    session.query(async |context| command.attach(context).await).await
}
