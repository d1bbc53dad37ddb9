//! Chooses the machines that a fault is injected into. Pure.

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
        return Some(format!(
            "the drill needs {} machines with PostgreSQL, but the cluster has {data}",
            drill.data_nodes
        ));
    }
    if let Some(reason) = of_etcd(drill, plan).or_else(|| without_entry_point(drill, plan)) {
        return Some(reason);
    }
    if voters < drill.voters && matches!(plan.dcs, Dcs::Etcd { .. }) {
        return Some(format!("the drill needs {} etcd voters, but the cluster has {voters}", drill.voters));
    }
    let waits = plan.patroni.durability != Durability::Async;
    let waited_for = matches!(drill.target, Target::SyncReplica | Target::PrimaryAndSyncReplica);
    if waited_for && !waits {
        return Some("the primary waits for no replica under durability async".to_owned());
    }
    let lags = drill.before.iter().any(|before| before.fault == Fault::BulkLoad);
    if lags && !waits {
        return Some("under durability async no replica takes over that is more than 1 MiB behind".to_owned());
    }
    // A candidate needs the votes of all other replicas but as many as a commit waits for.
    (drill.target == Target::PrimaryAndSyncReplica && plan.patroni.synchronous_nodes < 2).then(|| {
        "the drill needs commits on two replicas, but they wait for one: set `patroni.synchronous_nodes: 2`".to_owned()
    })
}

/// Why a drill that is about the entry point must not be done on this cluster; none when it may.
#[must_use]
pub fn without_entry_point(drill: &Drill, plan: &Plan) -> Option<String> {
    (drill.is_through_poolers() && plan.endpoint.is_none()).then(|| {
        "the drill needs poolers and proxies, but the cluster has none: set `endpoint` in the cluster file".to_owned()
    })
}

/// Why a drill that is about etcd cannot be done on this cluster; none when it can.
fn of_etcd(drill: &Drill, plan: &Plan) -> Option<String> {
    let kills = matches!(drill.fault, Fault::KillEtcd | Fault::FreezeEtcd);
    let cuts = matches!(drill.fault, Fault::CutFromEtcd | Fault::SlowEtcd);
    match &plan.dcs {
        Dcs::Other(dcs) if kills || cuts => {
            return Some(format!("the drill needs etcd, but the cluster's DCS is {dcs}"));
        }
        Dcs::Other(dcs) if drill.voters > 1 => {
            return Some(format!(
                "the drill must also cut off the cluster's DCS, but hactl does not know where {dcs} runs"
            ));
        }
        Dcs::Etcd { outside, .. } if kills && !outside.is_empty() => {
            let outside: Vec<String> = outside.iter().map(ToString::to_string).collect();
            return Some(format!("some etcd voters are not instances of the cluster file: {}", outside.join(", ")));
        }
        _ => {}
    }
    // Without failsafe mode the primary steps down by design, so the drill would show nothing.
    (drill.failsafe && !plan.patroni.failsafe)
        .then(|| "failsafe_mode is off, so the primary steps down as soon as it cannot reach etcd".to_owned())
}

/// The nodes that `drill` disturbs.
///
/// # Errors
/// When the cluster has no such node now.
pub fn targets(drill: &Drill, health: &Health, cluster: &FaultTarget<'_>) -> Result<Vec<InstanceKey>> {
    let none = |what: &str| {
        Error::new(Kind::Unproved, "drill-target", "choose a target for", drill.title())
            .cause(format!("the cluster has no {what} now"))
            .hint(format!("Run `hactl status {}` to see the cluster's members", cluster.plan.cluster))
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
        Target::PrimaryAndSyncReplica => {
            let primary = health.leader.clone().ok_or_else(|| none("primary"))?;
            let replica = replica(health, &["sync_standby", "quorum_standby"]);
            Ok(vec![primary, replica.ok_or_else(|| none("synchronous replica"))?])
        }
        Target::EtcdLeader => {
            let leader = health.etcd.leader.clone().and_then(|name| InstanceKey::new(name).ok());
            one(leader, "etcd leader")
        }
        Target::EtcdMajority => Ok(majority(health, cluster)),
        // libpq tries the hosts of the printed string in this order.
        Target::Pooler => one(cluster.fleet.data_nodes().next().map(|node| node.key().clone()), "pooler"),
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

/// Enough voters to leave no quorum, with the primary's own only if the others are not enough.
fn majority(health: &Health, cluster: &FaultTarget<'_>) -> Vec<InstanceKey> {
    let mut voters: Vec<InstanceKey> = cluster.fleet.voters().map(|node| node.key().clone()).collect();
    voters.sort_by_key(|key| Some(key) == health.leader.as_ref());
    voters.truncate(voters.len().div_ceil(2));
    voters
}
