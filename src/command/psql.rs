use super::Session;
use crate::{cli, error::Result, exec::Command, pipeline};

pub(super) async fn run(session: &Session, args: &cli::Psql) -> Result<u8> {
    let cluster = session.cluster_as_it_is(&args.name.name).await?;
    session
        .query(async |context| {
            let door = pipeline::door(context, &cluster).await?;
            let psql = Command::new("psql").arg(&door.dsn).args(args.args.iter().cloned());
            tokio::select! {
                done = psql.attach(context) => done,
                () = door.serve() => unreachable!("a door is open until it is dropped"),
            }
        })
        .await
}
