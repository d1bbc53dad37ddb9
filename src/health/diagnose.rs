//! Observations -> Health: pure. Every problem has a code for scripts, the node it was seen on, what
//! it is and what to do.

use std::collections::BTreeMap;

use serde::Serialize;

use super::clock;
use crate::{
    component::{
        COMPONENTS, Certificates, Findings, Hint, Observations, Problem,
        etcd::Etcd,
        patroni::{Member, Watchdog},
        pgbackrest::StatusBackup,
        pgbouncer::PoolerState,
        postgres::{ArchiverView, ReplayLag, SlotView},
    },
    model::InstanceKey,
    plan::Plan,
    platform,
};

/// A cluster's state at one moment, good or bad.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Health {
    pub leader: Option<InstanceKey>,
    pub members: Vec<Member>,
    pub etcd: Etcd,
    /// The replication slots of the primary.
    pub slots: Vec<SlotView>,
    /// The poolers of the entry point.
    pub poolers: Vec<PoolerState>,
    /// How far the primary's standbys are behind with their replay, by their machines' keys.
    pub replay: BTreeMap<String, ReplayLag>,
    pub problems: Vec<Problem>,
    /// Findings that do not make the cluster unhealthy.
    pub notices: Vec<Problem>,
    /// Machines whose lease guard has not proved that it would stop a primary.
    pub unproved: Vec<InstanceKey>,
    /// What Patroni does with the watchdog devices.
    pub watchdogs: BTreeMap<InstanceKey, Watchdog>,
    /// Whether a machine runs PostgreSQL, so that one must lead.
    #[serde(skip)]
    pub needs_leader: bool,
    /// What the machines serve; nothing until [`Health::add_certificates`].
    #[serde(skip)]
    pub certificates: Certificates,
    /// The archiver of the primary; none without backups.
    #[serde(skip)]
    pub archiver: Option<ArchiverView>,
    /// The backups; none without them, and until [`Health::add_backups`].
    #[serde(skip)]
    pub backup: Option<StatusBackup>,
}

/// A cluster that was healthy when it was last asked. Only [`Health::healthy`] makes one.
#[derive(Clone, Debug)]
pub struct Healthy {
    health: Health,
    leader: InstanceKey,
}

impl Healthy {
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }
    #[must_use]
    pub const fn leader(&self) -> &InstanceKey {
        &self.leader
    }
}

impl Health {
    /// The proof, when there is no problem and a leader.
    ///
    /// # Errors
    /// The health itself, with its problems.
    pub fn healthy(self) -> Result<Healthy, Box<Self>> {
        match self.leader.clone() {
            Some(leader) if self.problems.is_empty() => Ok(Healthy { health: self, leader }),
            _ => Err(Box::new(self)),
        }
    }

    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        self.problems.is_empty() && (self.leader.is_some() || !self.needs_leader)
    }
}

/// Compares what was seen with what `plan` intends.
#[must_use]
pub fn diagnose(plan: &Plan, seen: &Observations) -> Health {
    let mut findings = Findings { adopted: plan.platform.is_adopted(), ..Findings::default() };
    for (key, view) in seen {
        if let Err(said) = &view.ssh {
            let hint = platform::unreachable_hint(plan);
            findings.add("node-unreachable", Some(key), format!("SSH does not answer: {said}"), hint);
        }
        for (unit, lines) in &view.failed_units {
            let message = format!("unit {unit} is not running:\n{}", lines.join("\n"));
            let hint = format!("Run `hactl logs {} {key} --unit {unit}` for more lines", plan.cluster);
            findings.add("unit-failed", Some(key), message, hint);
        }
    }
    for component in &COMPONENTS {
        (component.diagnose)(plan, seen, &mut findings);
    }
    clock::diagnose(seen, &mut findings);
    if plan.firewall {
        firewall(seen, &mut findings);
    }
    if findings.adopted {
        adopted(plan, seen, &mut findings);
    }
    let Findings { leader, members, etcd, slots, replay, poolers, problems, notices, unproved, archiver, .. } =
        findings;
    let watchdogs = seen.iter().filter_map(|(key, view)| Some((key.clone(), view.watchdog?))).collect();
    let (needs_leader, certificates) = (plan.data_nodes().next().is_some(), Certificates::new());
    Health {
        leader,
        members,
        etcd,
        slots,
        replay,
        poolers,
        problems,
        notices,
        unproved,
        watchdogs,
        needs_leader,
        certificates,
        archiver,
        backup: None,
    }
}

/// Machines that accept connections from everywhere, although the plan has a firewall.
fn firewall(seen: &Observations, findings: &mut Findings) {
    for (key, view) in seen {
        let Some(firewall) = view.firewall.as_ref().filter(|firewall| !firewall.loaded || firewall.armed) else {
            continue;
        };
        let ports = "the ports of the cluster accept connections from every address";
        match &firewall.refused {
            Some(reason) => {
                let hint =
                    "Install nftables or use a kernel that supports it and run `hactl up`, or set `firewall: false`";
                findings.notice("firewall-off", Some(key), format!("{ports}: {reason}"), hint);
            }
            None => {
                let hint = Hint::Up("Run `hactl up` to load the firewall".to_owned());
                let why = match firewall.loaded {
                    true => "no run has confirmed the firewall, and a timer removes it",
                    false => "the firewall is not loaded",
                };
                findings.notice("firewall-off", Some(key), format!("{ports}: {why}"), hint);
            }
        }
    }
}

/// What is different in a cluster that hactl did not make.
fn adopted(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    for (key, view) in seen.iter().filter(|(_, view)| !view.without_tls.is_empty()) {
        let message = format!("served without TLS: {}", view.without_tls.join(", "));
        findings.notice("without-tls", Some(key), message, Hint::None);
    }
    for component in &COMPONENTS {
        (component.diagnose_adopted)(plan, seen, findings);
    }
    for warning in &plan.warnings {
        let hint = warning.hint.clone().map_or(Hint::None, Hint::Text);
        findings.notice(&warning.code, None, warning.message.clone(), hint);
    }
}
