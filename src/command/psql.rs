use super::Session;
use crate::{cli, deployment, deployment::Conninfo, error::Result, exec::Command};

pub(super) async fn run(session: &Session, args: &cli::Psql) -> Result<u8> {
    let cluster = session.cluster_as_it_is(&args.name.name).await?;
    session
        .query(async |context| {
            let door = deployment::door(context, &cluster).await?;
            // As its environment, so that the user's arguments win, whichever they are.
            let mut psql = Command::new("psql").args(args.args.iter().cloned());
            // Variables of a backend in PostgreSQL are about that one.
            let of_backend = cluster.plan.backend.iter().flat_map(|backend| backend.kind.passed());
            for name in Conninfo::MISLEADING.iter().chain(of_backend) {
                psql = psql.withhold(name);
            }
            for (name, value) in door.conninfo.environment() {
                psql = psql.env(name, value);
            }
            tokio::select! {
                done = psql.attach(context) => done,
                () = door.serve() => unreachable!("a door is open until it is dropped"),
            }
        })
        .await
}
