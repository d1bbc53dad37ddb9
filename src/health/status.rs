//! Health as `hactl status` gives it: the one JSON object of the contract.

use serde::Serialize;

use super::{
    Health,
    diagnose::{Etcd, Problem},
};
use crate::plan::Plan;

/// The shape's version; a field is never removed or changed within one.
const VERSION: u32 = 1;

/// What `hactl status --output json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub version: u32,
    pub name: String,
    pub healthy: bool,
    pub durability: &'static str,
    pub fencing: String,
    pub leader: Option<String>,
    pub dsn: String,
    pub members: Vec<StatusMember>,
    pub etcd: Etcd,
    pub problems: Vec<Problem>,
    /// What should be known and makes nobody unhealthy: what an adopted cluster serves without TLS, for example.
    pub notices: Vec<Problem>,
}

#[derive(Clone, Debug, Serialize)]
pub struct StatusMember {
    pub name: String,
    /// Patroni's words: leader, replica, sync_standby, quorum_standby, standby_leader.
    pub role: String,
    pub state: String,
    pub timeline: Option<u64>,
    /// Bytes behind the leader; null on the leader and while unknown.
    pub lag_bytes: Option<u64>,
}

/// Puts health and plan into the contract's shape.
#[must_use]
pub fn status(plan: &Plan, health: &Health, dsn: String) -> Status {
    Status {
        version: VERSION,
        name: plan.cluster.to_string(),
        healthy: health.is_healthy(),
        durability: plan.patroni.durability.as_str(),
        fencing: plan.fencing.clone(),
        leader: health.leader.as_ref().map(ToString::to_string),
        dsn,
        members: health
            .members
            .iter()
            .map(|member| StatusMember {
                name: member.name.clone(),
                role: member.role.clone(),
                state: member.state.clone(),
                timeline: member.timeline,
                lag_bytes: member.lag_bytes(),
            })
            .collect(),
        etcd: health.etcd.clone(),
        problems: health.problems.clone(),
        notices: health.notices.clone(),
    }
}
