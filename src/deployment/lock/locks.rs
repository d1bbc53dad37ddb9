//! The locks of one run.

use super::cluster::{ClusterLock, LockRequest};
use crate::{
    context::RunContext,
    deployment::{Deployment, access},
    error::{Result, codes},
    event::Stage,
};

/// The locks of one run: a drill that takes etcd away keeps whoever comes by that on the machines. None is taken of an adopted
/// cluster, and each once.
#[derive(Default)]
pub(crate) struct Locks {
    /// In the cluster's etcd.
    pub(crate) etcd: Option<ClusterLock>,
    /// On its machines.
    pub(crate) machines: Option<ClusterLock>,
}

impl Locks {
    /// For whoever may not know the machines yet, or finds them gone: the lock in etcd; the one on the machines where that
    /// does not answer, or where `both` are wanted.
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
        if fleet.voters().next().is_some() {
            locks.take_etcd(request).await?;
        }
        if locks.etcd.is_some() && !both {
            return Ok(locks);
        }
        match locks.take_machines(request).await {
            Err(error) if error.code != codes::MACHINES_LOCK => locks.give_back(Err(error)).await,
            _ => Ok(locks),
        }
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

    /// The lock in etcd; in words why there is none to ask: then nobody else can take it either.
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

    /// The same; whoever looks on is told why there is none.
    ///
    /// # Errors
    /// When another run holds it.
    pub(crate) async fn take_etcd(&mut self, request: LockRequest<'_>) -> Result<()> {
        if let Some(seen) = self.try_etcd(request).await? {
            let step = format!(
                "no lock on the cluster: {seen}; those of this directory, of the state and of the machines are held"
            );
            request.run.context.events.step(Stage::Plan, None, step).await;
        }
        Ok(())
    }

    /// Gives them back after a work with this result; one that was lost is what went wrong then.
    pub(crate) async fn give_back<T>(self, result: Result<T>) -> Result<T> {
        let result = ClusterLock::give_back(self.machines, result).await;
        ClusterLock::give_back(self.etcd, result).await
    }

    /// The same where the cluster, and its etcd with it, may be gone.
    pub(crate) async fn drop_with_cluster<T>(self, mut result: Result<T>) -> Result<T> {
        for lock in [self.machines, self.etcd].into_iter().flatten() {
            let there = result.is_err();
            result = lock.end(there).await.and(result);
        }
        result
    }
}
