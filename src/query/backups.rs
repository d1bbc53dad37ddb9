//! `hactl backup list`: what the repository has.

use crate::{
    component::pgbackrest::{self, Backups},
    context::Context,
    deployment::Deployment,
    error::{Error, Result},
};

/// The backups of a cluster, as a machine of it reads them.
///
/// # Errors
/// When the cluster has no repository, no machine answers, or the repository cannot be read.
pub async fn backups(context: &Context, deployment: &mut Deployment) -> Result<Backups> {
    if deployment.cluster.plan.backup.is_none() {
        let name = deployment.cluster.name();
        return Err(Error::usage("backup-not-configured", "list the backups of", name)
            .cause("the cluster file has no `backup`")
            .hint(format!("Add `backup` to the cluster file, and run `hactl up {name}`")));
    }
    let cluster = deployment.running(context).await?;
    let mut last = None;
    for node in cluster.fleet.data_nodes() {
        let asked = async { pgbackrest::ask(&cluster.access.connect(node).await?).await };
        match context.interruptible("read the backups from", node.key(), asked).await {
            Ok(seen) => return Ok(seen),
            Err(error) => last = Some(error),
        }
        if context.stop.is_cancelled() {
            break;
        }
    }
    Err(last
        .unwrap_or_else(|| Error::failed("backup-repository", "read the backups of", cluster.plan.cluster.as_str())))
}
