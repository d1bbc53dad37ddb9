//! Who is struck: pure, from what is so now.

use super::target::FaultTarget;
use crate::{
    component::patroni::Member,
    error::{Error, Kind, Result},
    health::Health,
    model::InstanceKey,
    plan::{Dcs, Durability, Plan},
    verify::catalogue::{Drill, Fault, Target},
};

/// Why the cluster as it is planned has too little for `drill`; none when it has enough.
pub(super) fn too_few(drill: &Drill, plan: &Plan) -> Option<String> {
    let data = plan.data_nodes().count();
    let voters = plan.voter_count();
    if data < drill.data_nodes {
        return Some(format!("it needs {} data nodes, and there are {data}", drill.data_nodes));
    }
    if let Some(reason) = of_etcd(drill, plan) {
        return Some(reason);
    }
    if voters < drill.voters && matches!(plan.dcs, Dcs::Etcd { .. }) {
        return Some(format!("it needs {} voters of etcd, and there are {voters}", drill.voters));
    }
    let waits = plan.patroni.durability != Durability::Async;
    (drill.target == Target::SyncReplica && !waits)
        .then(|| "no replica is waited for under durability async".to_owned())
}

/// Why a drill that is about etcd cannot be done on this cluster; none when it can.
fn of_etcd(drill: &Drill, plan: &Plan) -> Option<String> {
    let strikes = drill.fault == Fault::KillEtcd;
    let cuts = matches!(drill.fault, Fault::CutFromEtcd | Fault::SlowEtcd);
    match &plan.dcs {
        Dcs::Other(dcs) if strikes || cuts => {
            return Some(format!("it is about etcd, and this cluster's DCS is {dcs}"));
        }
        Dcs::Other(dcs) if drill.voters > 1 => {
            return Some(format!(
                "where {dcs}, this cluster's DCS, runs is not known: it would have to be cut off, too"
            ));
        }
        Dcs::Etcd { outside, .. } if strikes && !outside.is_empty() => {
            let outside: Vec<String> = outside.iter().map(ToString::to_string).collect();
            return Some(format!("voters of etcd are not among the file's instances: {}", outside.join(", ")));
        }
        _ => {}
    }
    // What would come of it is no surprise: without failsafe mode the primary steps down.
    (drill.failsafe && !plan.patroni.failsafe).then(|| {
        "failsafe_mode is off: the primary stops taking writes, as soon as it does not reach etcd, by its own choice"
            .to_owned()
    })
}

/// The nodes that `drill` strikes.
///
/// # Errors
/// When the cluster has no such node now.
pub fn targets(drill: &Drill, health: &Health, cluster: &FaultTarget<'_>) -> Result<Vec<InstanceKey>> {
    let none = |what: &str| {
        Error::new(Kind::Unproved, "drill-target", "choose what to strike by", drill.title())
            .cause(format!("the cluster has no {what} now"))
            .hint(format!("`hactl status {}` shows what there is", cluster.plan.cluster))
    };
    let one = |key: Option<InstanceKey>, what: &str| key.map(|key| vec![key]).ok_or_else(|| none(what));
    match drill.target {
        Target::Primary => one(health.leader.clone(), "primary"),
        Target::Replica => one(replica(health, &["replica", "sync_standby", "quorum_standby"]), "replica"),
        Target::Replicas => {
            let replicas = cluster.fleet.data_nodes().map(|node| node.key().clone());
            Ok(replicas.filter(|key| Some(key) != health.leader.as_ref()).collect())
        }
        Target::SyncReplica => one(replica(health, &["sync_standby", "quorum_standby"]), "synchronous replica"),
        Target::EtcdLeader => {
            let leader = health.etcd.leader.clone().and_then(|name| InstanceKey::new(name).ok());
            one(leader, "leader of etcd")
        }
        Target::EtcdMajority => Ok(majority(health, cluster)),
        Target::All => Ok(cluster.members().map(|node| node.key().clone()).collect()),
    }
}

/// Patroni before 3.1 calls a replica that streams running.
fn runs(member: &Member) -> bool {
    matches!(member.state.as_str(), "streaming" | "running")
}

/// The first member in one of `roles` that runs.
fn replica(health: &Health, roles: &[&str]) -> Option<InstanceKey> {
    let mut members = health.members.iter();
    let found = members.find(|member| roles.contains(&member.role.as_str()) && runs(member))?;
    InstanceKey::new(found.name.clone()).ok()
}

/// As many voters as leave no quorum, the primary's own only where the others are not enough.
fn majority(health: &Health, cluster: &FaultTarget<'_>) -> Vec<InstanceKey> {
    let mut voters: Vec<InstanceKey> = cluster.fleet.voters().map(|node| node.key().clone()).collect();
    voters.sort_by_key(|key| Some(key) == health.leader.as_ref());
    voters.truncate(voters.len().div_ceil(2));
    voters
}
