use std::io::Write;

use clap::Args;

use super::{Session, arguments::ClusterArg};
use crate::{
    deployment::Conninfo,
    env,
    error::{Error, Result},
    exec::Command,
    query,
};

#[derive(Args, Debug)]
pub(crate) struct PsqlArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// Connect through the poolers of the cluster's entry point
    #[arg(long)]
    pub(crate) pooled: bool,
    /// Arguments for psql
    #[arg(last = true)]
    pub(crate) args: Vec<String>,
}

pub(crate) async fn run(session: &Session, args: &PsqlArgs) -> Result<u8> {
    let mut deployment = session.deployment(&args.name.name).await?;
    session
        .query(async |context| {
            let connection = query::psql_connection(context, &mut deployment, args.pooled).await?;
            // As environment variables and a service, so that any argument of the user overrides them.
            let mut psql = Command::new("psql").args(args.args.iter().cloned());
            // The variables of a PostgreSQL backend describe the backend, not the cluster.
            let of_backend = deployment.cluster.plan.backend.iter().flat_map(|backend| backend.kind.passed());
            let misleading = connection.conninfo.misleading();
            for name in misleading.iter().chain(of_backend) {
                psql = psql.withhold(name);
            }
            for (name, value) in connection.conninfo.environment() {
                psql = psql.env(name, value);
            }
            let failed =
                |error: std::io::Error| Error::failed("psql-service", "write", "the service of psql").source(&error);
            let mut service = tempfile::NamedTempFile::new().map_err(failed)?;
            service.write_all(connection.conninfo.service().as_bytes()).map_err(failed)?;
            psql = psql
                .env(env::PGSERVICE, Conninfo::SERVICE)
                .env(env::PGSERVICEFILE, service.path().display().to_string());
            tokio::select! {
                done = psql.attach(context) => done,
                () = connection.serve() => unreachable!("a tunnel serves until it is dropped"),
            }
        })
        .await
}
