//! The switchover that an administrator requests.

use std::time::Duration;

use super::target::FaultTarget;
use crate::{
    component::patroni,
    error::{Error, Result},
    model::InstanceKey,
};

/// Refusals come within this time.
const REFUSAL: Duration = Duration::from_millis(500);

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

/// Whether another member sees another leader.
pub(super) async fn took_effect(old: &[InstanceKey], cluster: &FaultTarget<'_>) -> bool {
    for node in cluster.fleet.data_nodes().filter(|node| !old.contains(node.key())) {
        let leader = patroni::leader(cluster.access, node).await.ok().flatten();
        let leader = leader.map(|member| cluster.fleet.key_of(&member));
        if leader.is_some_and(|leader| !old.iter().any(|key| key.as_str() == leader)) {
            return true;
        }
    }
    false
}
