use super::Session;
use crate::{cli, error::Result, query};

pub(super) async fn run(session: &Session, args: &cli::Ssh) -> Result<u8> {
    let deployment = session.deployment(&args.name.name).await?;
    let command = query::ssh(&deployment, &args.node)?.args(args.command.iter().cloned());
    session.query(async |context| command.attach(context).await).await
}
