//! Health as `hactl status` gives it: the one JSON object of the contract.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Health, earliest_end};
use crate::{
    component::{
        Certificates, Problem, TlsService, each_served,
        etcd::Etcd,
        patroni::{Watchdog, fencing},
        pgbackrest::StatusBackup,
        pgbouncer::PoolerState,
        postgres::SlotView,
    },
    model::Endpoints,
    plan::{self, Plan},
};

/// The shape's version; a field is never removed or changed within one.
const VERSION: u32 = 1;

/// What `hactl status --output json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Status {
    /// 1.
    pub version: u32,
    /// The cluster's name.
    pub name: String,
    /// Whether the cluster has a leader and no problem; the exit code says the same. Machines without roles need no leader.
    pub healthy: bool,
    /// What an acknowledged commit guarantees: `durability`, as in the cluster file.
    pub durability: &'static str,
    /// What stops a primary whose Patroni has failed, as text; names machines whose lease guard has proved nothing.
    pub fencing: String,
    /// What decides the kernel settings and the clock of containers, as text; null for machines with a kernel of their own.
    pub kernel: Option<&'static str>,
    /// The leader's key; null if the cluster has no leader.
    pub leader: Option<String>,
    /// A connection string for clients with every host, without a password.
    pub dsn: String,
    /// The connection strings of a cluster with an entry point; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// The poolers of the entry point; absent without one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poolers: Vec<PoolerState>,
    /// Patroni's members.
    pub members: Vec<StatusMember>,
    /// etcd, as its members report it.
    pub etcd: Etcd,
    /// The certificates that the machines serve.
    pub certificates: Vec<StatusCertificate>,
    /// The certificate that ends first, as text.
    #[serde(skip)]
    pub earliest_end: Option<String>,
    /// The CAs of these certificates, if hactl made them.
    pub authorities: Vec<StatusAuthority>,
    /// The replication slots of the primary, with the WAL that each holds.
    pub slots: Vec<SlotView>,
    /// The backups and the archive; absent if the cluster file has no `backup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<StatusBackup>,
    /// Problems that make the cluster unhealthy.
    pub problems: Vec<Problem>,
    /// Findings that do not make the cluster unhealthy, for example a service of an adopted cluster without TLS.
    pub notices: Vec<Problem>,
    /// Whether no machine has a role: then text says nothing of a cluster.
    #[serde(skip)]
    pub plain: bool,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StatusMember {
    /// The member's name: its instance's key.
    pub name: String,
    /// The role that Patroni reports: leader, replica, sync_standby, quorum_standby, standby_leader.
    pub role: String,
    /// The state that Patroni reports: `running` on a leader, `streaming` on a healthy replica.
    pub state: String,
    /// PostgreSQL's timeline; null while unknown.
    pub timeline: Option<u64>,
    /// Bytes behind the leader; null on the leader and while unknown.
    pub lag_bytes: Option<u64>,
    /// The WAL that the replica has not replayed, in bytes; null on the leader and while unknown.
    pub replay_lag_bytes: Option<u64>,
    /// The time from a commit on the primary to its replay on the replica, in seconds; null on the leader and while unknown.
    pub replay_lag_seconds: Option<f64>,
    /// What Patroni does with the machine's watchdog device; null while unknown.
    pub watchdog: Option<Watchdog>,
}

/// A certificate that a service presents to its clients.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StatusCertificate {
    /// The instance's key.
    pub node: String,
    /// The service.
    pub service: TlsService,
    /// When the certificate expires, in UTC.
    pub not_after: String,
    /// Whether it is the certificate on the machine's disk; null where hactl did not write that.
    pub read: Option<bool>,
}

/// A CA.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StatusAuthority {
    /// The service whose certificates it signs.
    pub service: TlsService,
    /// When it expires, in UTC.
    pub not_after: String,
}

/// Puts health and plan into the contract's shape.
#[must_use]
pub fn status(plan: &Plan, health: &Health, dsn: String, endpoints: Option<Endpoints>) -> Status {
    Status {
        version: VERSION,
        name: plan.cluster.to_string(),
        healthy: health.is_healthy(),
        durability: plan.patroni.durability.as_str(),
        fencing: fencing(&plan.fencing, &health.unproved),
        kernel: plan::kernel_of_containers(&plan.platform),
        leader: health.leader.as_ref().map(ToString::to_string),
        dsn,
        endpoints,
        poolers: health.poolers.clone(),
        members: health
            .members
            .iter()
            .map(|member| StatusMember {
                name: member.name.clone(),
                role: member.role.clone(),
                state: member.state.clone(),
                timeline: member.timeline,
                lag_bytes: member.lag_bytes(),
                replay_lag_bytes: health.replay.get(&member.name).map(|lag| lag.bytes),
                replay_lag_seconds: health.replay.get(&member.name).and_then(|lag| lag.seconds),
                watchdog: health
                    .watchdogs
                    .iter()
                    .find(|(key, _)| key.as_str() == member.name)
                    .map(|(_, watchdog)| *watchdog),
            })
            .collect(),
        etcd: health.etcd.clone(),
        certificates: certificates(&health.certificates),
        earliest_end: earliest_end(&health.certificates),
        authorities: authorities(&health.certificates),
        slots: health.slots.clone(),
        backup: health.backup.clone(),
        problems: health.problems.clone(),
        notices: health.notices.clone(),
        plain: plan.is_plain(),
    }
}

fn certificates(seen: &Certificates) -> Vec<StatusCertificate> {
    let all = each_served(seen);
    let served = all.filter_map(|(key, one)| {
        let served = one.served.as_ref()?;
        Some(StatusCertificate {
            node: key.to_string(),
            service: one.service,
            not_after: served.not_after.to_string(),
            read: one.file.as_ref().map(|file| file.sha256 == served.sha256),
        })
    });
    served.collect()
}

fn authorities(seen: &Certificates) -> Vec<StatusAuthority> {
    let ends =
        seen.values().flatten().flatten().filter_map(|one| Some((one.service, one.authority.as_ref()?.not_after)));
    let mut earliest = BTreeMap::new();
    for (service, not_after) in ends {
        let known = earliest.entry(service).or_insert(not_after);
        *known = not_after.min(*known);
    }
    earliest
        .into_iter()
        .map(|(service, not_after)| StatusAuthority { service, not_after: not_after.to_string() })
        .collect()
}
