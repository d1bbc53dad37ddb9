//! What the commands about backups begin with.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::{
    context::RunContext,
    deployment::RunningCluster,
    error::{Error, Result},
    fleet::FleetNode,
    health::{self, Health},
    model::Backup,
    plan::Plan,
};

/// How long a segment may take to arrive in the repository.
const ARCHIVED_WITHIN: Duration = Duration::from_secs(180);

/// The section of a plan.
///
/// # Errors
/// When the cluster file has none.
pub(in crate::operation) fn configured<'a>(plan: &'a Plan, what: &str) -> Result<&'a Backup> {
    plan.backup.as_ref().ok_or_else(|| {
        Error::usage("backup-not-configured", what, &plan.cluster)
            .cause("the cluster file has no `backup`")
            .hint(format!("Add `backup` to the cluster file, and run `hactl up {}`", plan.cluster))
    })
}

/// What the machines show now.
pub(in crate::operation) async fn look(run: &RunContext, cluster: &RunningCluster) -> Result<Health> {
    let looked = async { Ok(health::diagnose(&cluster.plan, &health::observe(&cluster.fleet, &cluster.access).await)) };
    let health = run.context.interruptible("inspect the machines of", &cluster.plan.cluster, looked).await?;
    run.keep("health", &health)?;
    Ok(health)
}

/// The machine of the primary.
pub(in crate::operation) fn primary<'a>(
    cluster: &'a RunningCluster,
    health: &Health,
    what: &str,
) -> Result<&'a FleetNode> {
    let Some(leader) = &health.leader else {
        let name = &cluster.plan.cluster;
        return Err(Error::failed("backup-refused", what, name)
            .cause("the cluster has no primary")
            .hint(format!("Run `hactl status {name}`")));
    };
    cluster.fleet.node(leader.as_str())
}

/// Waits until the archiver of the primary has sent a segment to the repository.
pub(in crate::operation) async fn archived(client: &Client, segment: &str, failed: &impl Fn() -> Error) -> Result<()> {
    let deadline = Instant::now() + ARCHIVED_WITHIN;
    loop {
        let query = "SELECT last_archived_wal, last_failed_wal FROM pg_stat_archiver";
        let row = client.query_one(query, &[]).await.map_err(|error| failed().cause(error.to_string()))?;
        let last: Option<String> = row.get(0);
        // Their names sort as they follow each other, those of later timelines behind.
        if last.is_some_and(|last| last.len() == segment.len() && last.as_str() >= segment) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let trouble: Option<String> = row.get(1);
            let error = failed()
                .cause(format!("segment {segment} is not in the repository after {} s", ARCHIVED_WITHIN.as_secs()));
            let error = match trouble {
                Some(trouble) => error.cause(format!("archiving {trouble} failed")),
                None => error,
            };
            return Err(error.hint("Read PostgreSQL's log on the primary's machine: it contains pgBackRest's error"));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
