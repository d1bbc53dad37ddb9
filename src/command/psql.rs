use super::Session;
use crate::{cli, error::Result, exec::Command, pipeline};

pub(super) async fn run(session: &Session, args: &cli::Psql) -> Result<u8> {
    let cluster = session.cluster(&args.name.name)?;
    let fleet = pipeline::fleet(&session.dirs, &cluster)?;
    let dsn = pipeline::dsn(&session.dirs, &cluster, &fleet);
    let command = Command::new("psql").arg(dsn).args(args.args.iter().cloned());
    session.query(async |context| command.attach(context).await).await
}
