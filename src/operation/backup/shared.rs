//! What the commands about backups begin with.

use crate::{
    context::RunContext,
    deployment::RunningCluster,
    error::{Error, Result},
    fleet::FleetNode,
    health::{self, Health},
    model::Backup,
    plan::Plan,
};

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
pub(super) async fn look(run: &RunContext, cluster: &RunningCluster) -> Result<Health> {
    let looked = async { Ok(health::diagnose(&cluster.plan, &health::observe(&cluster.fleet, &cluster.access).await)) };
    let health = run.context.interruptible("look at the machines of", &cluster.plan.cluster, looked).await?;
    run.keep("health", &health)?;
    Ok(health)
}

/// The machine of the primary.
pub(super) fn primary<'a>(cluster: &'a RunningCluster, health: &Health, what: &str) -> Result<&'a FleetNode> {
    let Some(leader) = &health.leader else {
        let name = &cluster.plan.cluster;
        return Err(Error::failed("backup-refused", what, name)
            .cause("the cluster has no primary")
            .hint(format!("Run `hactl status {name}`")));
    };
    cluster.fleet.node(leader.as_str())
}
