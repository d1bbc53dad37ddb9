//! The locks of one run.

use super::cluster::{ClusterLock, LockRequest};
use crate::{
    context::RunContext,
    deployment::{Deployment, access},
    error::{Result, codes},
    event::Stage,
};

/// The locks of one run. The lock on the machines keeps other runs out while a drill has stopped etcd. Each lock is
/// taken once, and none of an adopted cluster.
#[derive(Default)]
pub(crate) struct Locks {
    /// In the cluster's etcd.
    pub(crate) etcd: Option<ClusterLock>,
    /// On its machines.
    pub(crate) machines: Option<ClusterLock>,
}

impl Locks {
    /// For a run that may not know the machines yet, or that finds them gone: the lock in etcd; the lock on the
    /// machines if etcd does not answer, or if `both` are wanted. The run continues without a lock that does not
    /// answer.
    pub(crate) async fn take_if_known(
        run: &RunContext,
        deployment: &Deployment,
        command: &str,
        both: bool,
    ) -> Result<Self> {
        let mut locks = Self::default();
        let cluster = &deployment.cluster;
        let (Some(fleet), Some(vault)) = (deployment.known.fleet_if_any()?, deployment.opened()) else {
            return Ok(locks);
        };
        let access = access(&run.context, cluster, vault)?;
        let request = LockRequest { run, cluster, command, fleet, access: &access };
        let mut missing = None;
        if fleet.voters().next().is_some() {
            missing = locks.try_etcd(request).await?;
        }
        if locks.etcd.is_some() && !both {
            return Ok(locks);
        }
        if let Err(error) = locks.take_machines(request).await
            && error.code != codes::MACHINES_LOCK
        {
            return locks.give_back(Err(error)).await;
        }
        // Only now is it known which locks are held.
        locks.report_missing(run, missing).await;
        Ok(locks)
    }

    /// The lock on the machines.
    ///
    /// # Errors
    /// When another run holds it, or the machine does not answer.
    pub(crate) async fn take_machines(&mut self, request: LockRequest<'_>) -> Result<()> {
        if self.machines.is_none() && request.cluster.adopted().is_none() {
            self.machines = request.machines().await?;
        }
        Ok(())
    }

    /// The lock in etcd, or the reason why no etcd can be asked: then no other run can take the lock either.
    ///
    /// # Errors
    /// When another run holds it.
    pub(crate) async fn try_etcd(&mut self, request: LockRequest<'_>) -> Result<Option<String>> {
        if self.etcd.is_some() || request.cluster.adopted().is_some() {
            return Ok(None);
        }
        match request.etcd().await? {
            Ok(lock) => self.etcd = Some(lock),
            Err(seen) => return Ok(Some(seen)),
        }
        Ok(None)
    }

    /// The same; a lock that cannot be taken is reported.
    ///
    /// # Errors
    /// When another run holds it.
    pub(crate) async fn take_etcd(&mut self, request: LockRequest<'_>) -> Result<()> {
        let missing = self.try_etcd(request).await?;
        self.report_missing(request.run, missing).await;
        Ok(())
    }

    /// Reports that the cluster lock is `missing`, with the reason, and which lock is held instead.
    async fn report_missing(&self, run: &RunContext, missing: Option<String>) {
        let Some(seen) = missing else { return };
        let held = if self.machines.is_some() { "machines lock" } else { "directory lock only" };
        let step = format!("could not take the cluster lock ({seen}); continuing with the {held}");
        run.context.events.step(Stage::Plan, None, step).await;
    }

    /// Gives them back after work with this result; a lost lock is then the error.
    pub(crate) async fn give_back<T>(self, result: Result<T>) -> Result<T> {
        let result = ClusterLock::give_back(self.machines, result).await;
        ClusterLock::give_back(self.etcd, result).await
    }

    /// The same if the cluster, and its etcd with it, may be gone.
    pub(crate) async fn drop_with_cluster<T>(self, mut result: Result<T>) -> Result<T> {
        for lock in [self.machines, self.etcd].into_iter().flatten() {
            let there = result.is_err();
            result = lock.end(there).await.and(result);
        }
        result
    }
}
