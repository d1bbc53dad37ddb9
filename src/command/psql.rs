use super::Session;
use crate::{cli, error::Result, exec::Command, pipeline};

pub(super) async fn run(session: &Session, args: &cli::Psql) -> Result<u8> {
    let cluster = session.cluster(&args.name.name)?;
    session
        .query(async |context| {
            let dsn = pipeline::dsn(context, &cluster).await?;
            Command::new("psql").arg(dsn).args(args.args.iter().cloned()).attach(context).await
        })
        .await
}
