//! Observations -> Health: pure. Every problem has a code for scripts, the node it was seen on, what
//! it is and what to do.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::observe::{NodeView, Observations};
use crate::{
    component::patroni::Member,
    model::{Dcs, InstanceKey, Role},
    plan::{Durability, Plan, Platform},
};

/// A cluster's state at one moment, good or bad.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    pub leader: Option<InstanceKey>,
    pub members: Vec<Member>,
    pub etcd: Etcd,
    pub problems: Vec<Problem>,
    /// What should be known, and makes nobody unhealthy.
    pub notices: Vec<Problem>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Etcd {
    /// Whether every voter answers, votes and has raised no alarm, and one of them leads.
    pub healthy: bool,
    /// The name of etcd's leader; null where there is none, or nobody answers.
    pub leader: Option<String>,
    /// The members in etcd's own list.
    pub members: Vec<EtcdMember>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EtcdMember {
    /// The member's name: its instance's key.
    pub name: String,
    /// Hexadecimal, as etcdctl prints it.
    pub id: String,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it learns, and does not vote yet.
    pub learner: bool,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A stable word for scripts: docs/troubleshooting.md has them all.
    pub code: String,
    /// The instance that it was seen on; null for the whole cluster.
    pub node: Option<String>,
    /// What it is.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
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
        self.problems.is_empty() && self.leader.is_some()
    }
}

#[derive(Default)]
struct Problems {
    found: Vec<Problem>,
    notices: Vec<Problem>,
    /// hactl did not make the cluster: what was meant to be so there is not for hactl to say.
    adopted: bool,
}

impl Problems {
    fn add(&mut self, code: &str, node: Option<&InstanceKey>, message: impl Into<String>, hint: &str) {
        let problem = self.problem(code, node, message.into(), hint);
        self.found.push(problem);
    }

    fn notice(&mut self, code: &str, node: Option<&InstanceKey>, message: impl Into<String>, hint: &str) {
        let notice = self.problem(code, node, message.into(), hint);
        self.notices.push(notice);
    }

    /// A problem of a cluster that hactl made; of another one only something to be known.
    fn ours(&mut self, code: &str, node: Option<&InstanceKey>, message: impl Into<String>, hint: &str) {
        if self.adopted {
            self.notice(code, node, message, hint);
        } else {
            self.add(code, node, message, hint);
        }
    }

    fn problem(&self, code: &str, node: Option<&InstanceKey>, message: String, hint: &str) -> Problem {
        // `hactl up` is not for an adopted cluster.
        let useless = hint.is_empty() || self.adopted && hint.contains("`hactl up");
        let (code, node) = (code.to_owned(), node.map(ToString::to_string));
        Problem { code, node, message, hint: (!useless).then(|| hint.to_owned()) }
    }

    /// The code and hint of a certificate or login problem where `said` shows one, else `code`.
    fn tls_or(&self, code: &'static str, said: &str) -> (&'static str, &'static str) {
        let low = said.to_lowercase();
        if low.contains("certificate") || low.contains("unknownissuer") || low.contains("tls on") {
            ("certificate", "is NAME.secrets.age the one this cluster was made with? `hactl up` renews certificates")
        } else if low.contains("password") || low.contains("28p01") || low.contains("28000") {
            (
                "authentication",
                match self.adopted {
                    true => "HACTL_SECRET_SUPERUSER gives the password, `platform.hosts.superuser` names the role",
                    false => "is NAME.secrets.age the one this cluster was made with?",
                },
            )
        } else if low.contains("nothing answers") {
            (code, "nothing listens on that port: look at the unit's log")
        } else {
            (code, "")
        }
    }
}

/// Compares what was seen with what `plan` intends.
#[must_use]
pub fn diagnose(plan: &Plan, seen: &Observations) -> Health {
    let mut problems = Problems { adopted: plan.platform.is_adopted(), ..Problems::default() };
    for (key, view) in seen {
        if let Err(said) = &view.ssh {
            let up = format!("`hactl up {}`", plan.cluster);
            let hint = match &plan.platform {
                Platform::Adopted(_) => "does `ssh` itself reach it?".to_owned(),
                Platform::Local(_) => format!("`docker ps -a` shows the container; {up} starts it again"),
                _ => format!("is it running, and reached from here? Of one that was made anew {up} says what to do"),
            };
            problems.add("node-unreachable", Some(key), format!("SSH does not answer: {said}"), &hint);
        }
        for (unit, lines) in &view.failed_units {
            problems.add(
                "unit-failed",
                Some(key),
                format!("unit {unit} does not run:\n{}", lines.join("\n")),
                &format!("`hactl logs {} {key} --unit {unit}` shows more", plan.cluster),
            );
        }
    }
    let etcd = etcd(plan, seen, &mut problems);
    let members = patroni(plan, seen, &mut problems);
    let leader = leader(plan, seen, &members, &mut problems);
    if let Some(leader) = &leader {
        replication(plan, seen, leader, &mut problems);
    }
    if problems.adopted {
        adopted(plan, seen, &members, &mut problems);
    }
    Health { leader, members, etcd, problems: problems.found, notices: problems.notices }
}

/// What a cluster that hactl did not make has otherwise.
fn adopted(plan: &Plan, seen: &Observations, members: &[Member], problems: &mut Problems) {
    for member in members.iter().filter(|member| !plan.nodes.keys().any(|key| key.as_str() == member.name)) {
        let message = format!("Patroni lists {}, which is none of the file's instances", member.name);
        problems.add("member-unknown", None, message, "add the machine to `instances`");
    }
    for (key, view) in seen.iter().filter(|(_, view)| !view.without_tls.is_empty()) {
        let message = format!("served without TLS: {}", view.without_tls.join(", "));
        problems.notice("without-tls", Some(key), message, "");
    }
    match &plan.dcs {
        Dcs::Other(store) => {
            let message = format!("the DCS is {store}: hactl does not look at it, and drills about etcd are skipped");
            problems.notice("dcs-not-etcd", None, message, "");
        }
        Dcs::Etcd { outside, .. } if !outside.is_empty() => {
            let list: Vec<String> = outside.iter().map(ToString::to_string).collect();
            let message =
                format!("voters of etcd that are none of the file's instances are not looked at: {}", list.join(", "));
            problems.notice("etcd-outside", None, message, "add their machines to `instances`");
        }
        Dcs::Etcd { .. } => {}
    }
    for warning in &plan.warnings {
        problems.notice(&warning.code, None, warning.message.clone(), warning.hint.as_deref().unwrap_or_default());
    }
}

fn etcd(plan: &Plan, seen: &Observations, problems: &mut Problems) -> Etcd {
    let voters: BTreeSet<&InstanceKey> = plan.with_role(Role::Etcd).map(|node| &node.key).collect();
    if problems.adopted && voters.is_empty() {
        // It is none of the machines that hactl knows. What Patroni can read is well enough.
        let views = seen.values().filter_map(|view| view.patroni.as_ref()?.as_ref().ok());
        let healthy = views.into_iter().any(|view| view.cluster.is_some());
        return Etcd { healthy, ..Etcd::default() };
    }
    let outside = plan.voters() > voters.len();
    let mut answers = BTreeMap::new();
    for key in &voters {
        match seen.get(*key).and_then(|view| view.etcd.as_ref()) {
            Some(Ok(view)) => drop(answers.insert(*key, view)),
            Some(Err(said)) => {
                let (code, hint) = problems.tls_or("etcd-silent", said);
                problems.add(code, Some(key), format!("etcd does not answer: {said}"), hint);
            }
            // SSH was silent, which is a problem already.
            None => {}
        }
    }
    let serving = answers.values().filter(|view| view.serving).count();
    let Some(best) = answers.values().max_by_key(|view| (view.serving, view.leader != 0, view.members.len())) else {
        problems.add(
            "etcd-down",
            None,
            "no etcd member answers",
            "Patroni keeps no leader without etcd: start it first",
        );
        return Etcd::default();
    };
    if serving == 0 {
        let message = format!("etcd has no quorum: {} of {} voters answer", answers.len(), voters.len());
        problems.add("etcd-no-quorum", None, message, "start the voters that are down; a majority is needed");
    } else if best.leader == 0 {
        problems.add("etcd-no-leader", None, "etcd has no leader", "an election should end within seconds");
    }
    for (key, view) in &answers {
        if serving > 0 && !view.serving {
            problems.add("etcd-isolated", Some(key), "this member is not part of the quorum", "is port 2380 open?");
        }
        for alarm in &view.alarms {
            let hint = "NOSPACE: compact, defragment, then `etcdctl alarm disarm`";
            problems.add("etcd-alarm", Some(key), format!("etcd has raised {alarm}"), hint);
        }
    }
    for voter in &voters {
        match best.members.iter().find(|member| member.name == voter.as_str()) {
            None => {
                let hint = format!("`hactl up {}` adds it as a learner and promotes it", plan.cluster);
                problems.add("etcd-member-missing", Some(voter), "not in etcd's member list", &hint);
            }
            Some(member) if member.learner => {
                let hint = format!("`hactl up {}` promotes it once it is in sync", plan.cluster);
                problems.add("etcd-learner", Some(voter), "still a learner: it does not vote", &hint);
            }
            Some(_) => {}
        }
    }
    for member in &best.members {
        if !outside && !voters.iter().any(|voter| voter.as_str() == member.name) {
            let message = format!("etcd lists {} ({:x}), which is not a voter of this cluster", member.name, member.id);
            problems.ours("etcd-member-foreign", None, message, &format!("`hactl up {}` removes it", plan.cluster));
        }
    }
    let mut members: Vec<EtcdMember> = best
        .members
        .iter()
        .map(|member| EtcdMember {
            name: member.name.clone(),
            id: format!("{:x}", member.id),
            leader: best.leader == member.id,
            learner: member.learner,
        })
        .collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let leader = members.iter().find(|member| member.leader).map(|member| member.name.clone());
    let whole = voters.len() == answers.len() && answers.values().all(|view| view.serving && view.alarms.is_empty());
    let voting = members.iter().filter(|member| !member.learner).count();
    Etcd { healthy: whole && leader.is_some() && voting == voters.len(), leader, members }
}

fn patroni(plan: &Plan, seen: &Observations, problems: &mut Problems) -> Vec<Member> {
    let mut views = Vec::new();
    for node in plan.with_role(Role::Patroni) {
        match seen.get(&node.key).and_then(|view| view.patroni.as_ref()) {
            Some(Ok(view)) => views.push((&node.key, view)),
            Some(Err(said)) => {
                let (code, hint) = problems.tls_or("patroni-silent", said);
                problems.add(code, Some(&node.key), format!("Patroni does not answer: {said}"), hint);
            }
            None => {}
        }
    }
    for (key, view) in &views {
        if view.itself.failsafe_mode_is_active {
            let message = "failsafe mode is active: Patroni does not reach etcd";
            problems.add("failsafe-active", Some(key), message, "look at etcd first");
        }
        if view.itself.pending_restart {
            let hint = format!("`hactl up {}` restarts it in the right order", plan.cluster);
            problems.ours("pending-restart", Some(key), "a changed setting waits for a restart", &hint);
        }
    }
    let identifiers: BTreeSet<&String> =
        views.iter().filter_map(|(_, view)| view.itself.database_system_identifier.as_ref()).collect();
    if identifiers.len() > 1 {
        let list: Vec<&str> = identifiers.iter().map(|id| id.as_str()).collect();
        let message = format!("members hold different databases (system identifiers {})", list.join(", "));
        let hint = "one of them comes from another cluster: keep the right one, remove the other's data directory";
        problems.add("system-id-mismatch", None, message, hint);
    }
    // The view of the leader is the freshest; any view is better than none.
    let clusters = views.iter().filter_map(|(key, view)| view.cluster.as_ref().map(|cluster| (key, cluster)));
    let best = clusters.max_by_key(|(key, cluster)| {
        let leads = cluster.members.iter().any(|member| member.is_leader() && member.name == key.as_str());
        (leads, cluster.members.len())
    });
    let Some((_, cluster)) = best else {
        if !views.is_empty() {
            let message = "no Patroni member can read the cluster from etcd";
            problems.add("dcs-unreadable", None, message, "look at etcd first");
        }
        return Vec::new();
    };
    if cluster.pause {
        problems.add("paused", None, "Patroni is paused: it will not fail over", "`patronictl resume` ends it");
    }
    for node in plan.with_role(Role::Patroni) {
        if !cluster.members.iter().any(|member| member.name == node.key.as_str())
            && views.iter().any(|(key, _)| **key == node.key)
        {
            problems.add("member-missing", Some(&node.key), "Patroni runs but is not a member yet", "");
        }
    }
    let mut members = cluster.members.clone();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members
}

fn leader(plan: &Plan, seen: &Observations, members: &[Member], problems: &mut Problems) -> Option<InstanceKey> {
    let primaries: Vec<&InstanceKey> = seen
        .iter()
        .filter(|(_, view)| matches!(&view.postgres, Some(Ok(postgres)) if !postgres.in_recovery))
        .map(|(key, _)| key)
        .collect();
    if primaries.len() > 1 {
        let list: Vec<&str> = primaries.iter().map(|key| key.as_str()).collect();
        let message = format!("{} are not in recovery at the same time", list.join(" and "));
        problems.add("two-primaries", None, message, "normal for a moment during a switchover, else fence the old one");
    }
    let named = members.iter().find(|member| member.is_leader());
    let leader = named.and_then(|member| InstanceKey::new(member.name.clone()).ok());
    match (&leader, named) {
        (Some(key), Some(member)) => {
            if member.state != "running" {
                let message = format!("the leader is {}", member.state);
                problems.add("leader-not-running", Some(key), message, "");
            } else if !primaries.contains(&key) {
                let said = match seen.get(key).and_then(|view| view.postgres.as_ref()) {
                    Some(Err(said)) => said.clone(),
                    _ => "it is in recovery".to_owned(),
                };
                let (code, hint) = problems.tls_or("leader-not-writable", &said);
                problems.add(code, Some(key), format!("the leader takes no writes: {said}"), hint);
            }
        }
        _ if plan.with_role(Role::Patroni).next().is_none() => {}
        _ => {
            let states: Vec<String> =
                members.iter().map(|member| format!("{} is {}", member.name, member.state)).collect();
            let (message, hint) = if members.is_empty() {
                ("no member and no leader: the cluster is not initialised, or its members do not run".to_owned(), "")
            } else if members.iter().any(|member| member.state.contains("bootstrap") || member.state == "initializing")
            {
                (format!("initialisation is not finished: {}", states.join(", ")), "")
            } else {
                let hint = "is a candidate streaming, on the same timeline, and within maximum_lag_on_failover?";
                (format!("no leader: {}", states.join(", ")), hint)
            };
            problems.add("no-leader", None, message, hint);
        }
    }
    leader
}

fn replication(plan: &Plan, seen: &Observations, leader: &InstanceKey, problems: &mut Problems) {
    let Some(NodeView { postgres: Some(Ok(primary)), patroni, .. }) = seen.get(leader) else { return };
    let cluster = patroni.as_ref().and_then(|view| view.as_ref().ok()).and_then(|view| view.cluster.as_ref());
    let timeline = cluster.and_then(|cluster| cluster.members.iter().find(|m| m.is_leader())).and_then(|m| m.timeline);
    let mut quorum = 0;
    for node in plan.with_role(Role::Patroni).filter(|node| node.key != *leader) {
        let key = &node.key;
        let member = cluster.and_then(|cluster| cluster.members.iter().find(|m| m.name == key.as_str()));
        match primary.streaming.get(key.as_str()) {
            Some(sync) => {
                if sync == "quorum" || sync == "sync" {
                    quorum += 1;
                }
            }
            // A replica of a replica.
            None if problems.adopted && streams_from_another(seen, key) => {}
            None => {
                let state = member.map_or("not a member", |member| member.state.as_str());
                problems.add("not-streaming", Some(key), format!("does not stream from {leader}: {state}"), "");
            }
        }
        if let (Some(ours), Some(theirs)) = (member.and_then(|m| m.timeline), timeline)
            && ours != theirs
        {
            let message = format!("is on timeline {ours}, the leader on {theirs}");
            problems.add("timeline-differs", Some(key), message, "it follows once it has reached the switch point");
        }
        if let Some(Err(said)) = seen.get(key).and_then(|view| view.postgres.as_ref()) {
            let (code, hint) = problems.tls_or("postgres-silent", said);
            problems.add(code, Some(key), format!("PostgreSQL does not answer: {said}"), hint);
        }
    }
    let data_nodes = plan.with_role(Role::Patroni).count();
    if plan.patroni.durability != Durability::Async && data_nodes > 1 && quorum == 0 {
        let message = match plan.patroni.durability {
            durability if durability.is_strict() => "no synchronous standby: writes wait",
            _ => "no synchronous standby: acknowledged commits are on one node only",
        };
        problems.add("no-synchronous-standby", Some(leader), message, "a standby becomes one once it streams");
    }
    for setting in &primary.lowered {
        let message = format!("{setting} lowers synchronous_commit: its commits may be lost in a failover");
        problems.ours(
            "synchronous-commit-lowered",
            None,
            message,
            "ALTER ROLE or DATABASE ... RESET synchronous_commit",
        );
    }
}

fn streams_from_another(seen: &Observations, key: &InstanceKey) -> bool {
    let servers = seen.values().filter_map(|view| view.postgres.as_ref()?.as_ref().ok());
    servers.into_iter().any(|server| server.streaming.contains_key(key.as_str()))
}
