use super::Session;
use crate::{cli, error::Result, pipeline};

pub(super) async fn run(session: &Session, args: &cli::Ssh) -> Result<u8> {
    let cluster = session.cluster_as_it_is(&args.name.name).await?;
    let command = pipeline::ssh(&session.dirs, &cluster, &args.node)?.args(args.command.iter().cloned());
    session.query(async |context| command.attach(context).await).await
}
