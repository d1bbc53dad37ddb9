//! The handover that an administrator asks for.

use std::time::Duration;

use super::target::FaultTarget;
use crate::{
    error::{Error, Result},
    health,
    model::{InstanceKey, Role},
};

/// Refusals come within this time.
const REFUSAL: Duration = Duration::from_millis(500);

pub(super) async fn inject(leader: &[InstanceKey], cluster: &FaultTarget<'_>) -> Result<()> {
    for key in leader {
        health::switchover(cluster.node(key)?, cluster.access, REFUSAL).await.map_err(|said| {
            Error::failed("drill-fault", "ask for a switchover away from", key)
                .cause(said)
                .hint(format!("`hactl status {}` shows whether a replica could take over", cluster.plan.cluster))
        })?;
    }
    Ok(())
}

/// Whether another member sees another leader.
pub(super) async fn took_effect(old: &[InstanceKey], cluster: &FaultTarget<'_>) -> bool {
    for node in cluster.fleet.with_role(Role::Patroni).filter(|node| !old.contains(node.key())) {
        let seen = health::ask_patroni(node, cluster.fleet, cluster.access).await.ok().and_then(|view| view.cluster);
        let leader = seen.and_then(|cluster| cluster.members.into_iter().find(health::Member::is_leader));
        if leader.is_some_and(|leader| !old.iter().any(|key| key.as_str() == leader.name)) {
            return true;
        }
    }
    false
}
