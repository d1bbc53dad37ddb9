//! The switchover that an administrator requests.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{process, shell, target::FaultTarget};
use crate::{
    component::{patroni, postgres},
    error::{Error, Result},
    model::InstanceKey,
};

/// Refusals come within this time.
const REFUSAL: Duration = Duration::from_millis(500);

/// How long the promotion may take: Patroni limits the stop of the old primary itself.
const PROMOTED_WITHIN: Duration = Duration::from_secs(60);

/// The pause between two looks for the new primary.
const LOOK: Duration = Duration::from_millis(20);

pub(super) async fn inject(leader: &[InstanceKey], cluster: &FaultTarget<'_>) -> Result<()> {
    for key in leader {
        patroni::switchover(cluster.access, cluster.node(key)?, REFUSAL).await.map_err(|said| {
            Error::failed("drill-fault", "switch over from", key)
                .cause(said)
                .hint(format!("Run `hactl status {}` to see whether a replica can take over", cluster.plan.cluster))
        })?;
    }
    Ok(())
}

/// The leader that another member sees instead of the old one.
pub(super) async fn new_leader(old: &[InstanceKey], cluster: &FaultTarget<'_>) -> Option<InstanceKey> {
    for node in cluster.fleet.data_nodes().filter(|node| !old.contains(node.key())) {
        let leader = patroni::leader(cluster.access, node).await.ok().flatten();
        let leader = leader.map(|member| cluster.fleet.key_of(&member));
        let leader = leader.and_then(|leader| InstanceKey::new(leader).ok());
        if let Some(leader) = leader.filter(|leader| !old.contains(leader)) {
            return Some(leader);
        }
    }
    None
}

/// Switches over, and kills the postmaster of the new primary as soon as it has left recovery. Gives the member and the
/// process.
pub(super) async fn kill_promoted(old: &[InstanceKey], cluster: &FaultTarget<'_>) -> Result<(InstanceKey, u32)> {
    inject(old, cluster).await?;
    let deadline = Instant::now() + PROMOTED_WITHIN;
    while Instant::now() < deadline {
        if let Some(key) = promoted(old, cluster).await {
            let fault = process::kill_postgres(cluster.node(&key)?);
            let noted = shell::noted(cluster, &key, &fault.inject("")).await?;
            return Ok((key, noted));
        }
        tokio::time::sleep(LOOK).await;
    }
    let seen = format!("no other member left recovery within {} s after the switchover", PROMOTED_WITHIN.as_secs());
    Err(Error::failed("drill-fault", "kill the new primary of", &cluster.plan.cluster)
        .cause(seen)
        .hint(format!("Run `hactl status {}` to see whether a replica can take over", cluster.plan.cluster)))
}

/// The member other than the old primary that accepts writes.
async fn promoted(old: &[InstanceKey], cluster: &FaultTarget<'_>) -> Option<InstanceKey> {
    let others = cluster.fleet.data_nodes().filter(|node| !old.contains(node.key()));
    let asked = others.map(async |node| {
        let client = postgres::superuser(cluster.access, node, "postgres").await.ok()?;
        let seen = tokio::time::timeout(REFUSAL, postgres::recovery(&client)).await.ok()?.ok()?;
        (!seen.in_recovery).then(|| node.key().clone())
    });
    join_all(asked).await.into_iter().flatten().next()
}
