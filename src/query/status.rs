//! `hactl status`: the state of a cluster, once or repeatedly.

use jiff::Timestamp;

use crate::{
    component::pgbackrest,
    context::Context,
    deployment::{Deployment, RunningCluster},
    error::Result,
    health::{self, Health, Status},
    model::ProvedRestore,
    platform,
    stage::versions,
    verify::fault::FaultTarget,
};

/// Probes a cluster, once or repeatedly, with the last time that its backups were proved to restore.
pub struct StatusProbe(RunningCluster, Option<ProvedRestore>);

impl StatusProbe {
    /// Opens the secrets and finds the machines.
    ///
    /// # Errors
    /// Those of [`Deployment::running`].
    pub async fn new(context: &Context, deployment: &mut Deployment) -> Result<Self> {
        let mut running = deployment.running(context).await?;
        if deployment.cluster.adopted().is_none() {
            // What an earlier release made has settings of its own until its next `up`.
            versions::recognize(context, deployment).await?;
            running.plan.clone_from(&deployment.cluster.plan);
        }
        Ok(Self(running, deployment.cluster.restored()))
    }

    /// Asks every node. Takes at most 10 s, however many do not answer; with backups at most 15 s more.
    pub async fn look(&self, context: &Context) -> Status {
        let RunningCluster { plan, fleet, conninfo, endpoints, .. } = &self.0;
        let ((mut health, backups), certificates, reboots) = tokio::join!(
            self.health_and_backups(),
            health::certificates(fleet, &self.0.access),
            platform::reboots(context, &plan.platform, fleet)
        );
        if let Some(said) = backups {
            health.add_backups(plan, &said, self.1, Timestamp::now());
        }
        health.add_certificates(plan, certificates);
        if let Some(ends) = self.0.own_certificate_ends {
            health.add_own_certificate(plan, ends, Timestamp::now());
        }
        if let Some(said) = reboots {
            health.add_reboots(&said);
        }
        health::status(plan, &health, conninfo.to_string(), endpoints.clone())
    }

    /// The health, and what a machine says of the repository of the backups, where the cluster has one: that of the primary, which
    /// makes the backups.
    async fn health_and_backups(&self) -> (Health, Option<Result<pgbackrest::Seen>>) {
        let health = self.health().await;
        let RunningCluster { plan, fleet, access, .. } = &self.0;
        if plan.backup.is_none() {
            return (health, None);
        }
        let leader = health.leader.as_ref().and_then(|leader| fleet.node(leader.as_str()).ok());
        let Some(node) = leader.or_else(|| fleet.data_nodes().next()) else { return (health, None) };
        let said = async { pgbackrest::look(&access.connect(node).await?).await }.await;
        (health, Some(said))
    }

    /// The same as it was diagnosed.
    pub async fn health(&self) -> Health {
        health::diagnose(&self.0.plan, &health::observe(&self.0.fleet, &self.0.access).await)
    }

    /// The same cluster, for drills to inject faults into.
    #[must_use]
    pub const fn fault_target<'b>(&'b self, context: &'b Context) -> FaultTarget<'b> {
        let RunningCluster { plan, fleet, access, short_leaves, owner, .. } = &self.0;
        let (short_leaves, owner) = (short_leaves.as_ref(), owner.as_ref());
        FaultTarget { plan, fleet, access, control: access, context, short_leaves, owner }
    }
}
