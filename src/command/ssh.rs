use super::Session;
use crate::{cli, deployment, error::Result};

pub(super) async fn run(session: &Session, args: &cli::Ssh) -> Result<u8> {
    let cluster = session.cluster_as_it_is(&args.name.name).await?;
    let command = deployment::ssh(&session.dirs, &cluster, &args.node)?.args(args.command.iter().cloned());
    session.query(async |context| command.attach(context).await).await
}
