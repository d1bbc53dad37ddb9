//! What a look has seen of the cluster -> the servers, as the next step of a restart is computed from them: pure.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::task::Task;
use crate::{
    component::{
        NodeView, Observations, Problem,
        patroni::{Member, PatroniView},
    },
    health::Health,
    model::InstanceKey,
    operation::obstacle::grave,
    plan::{
        Plan,
        servers::{Restart, Server, ServerState, Servers},
    },
};

/// Problems that are told in other words.
const TOLD: [&str; 2] = ["no-leader", "paused"];

/// How long Patroni may take to stop a server after that.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// One look at a cluster.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) seen: Observations,
    pub(super) health: Health,
    /// The processes that copy backups, by the machine that they copy from.
    pub(super) backups: BTreeMap<InstanceKey, i32>,
}

impl Look {
    /// What Patroni says on a machine.
    fn patroni(&self, key: &InstanceKey) -> Option<&PatroniView> {
        self.seen.get(key)?.patroni.as_ref()?.as_ref().ok()
    }

    /// When the server on a machine was started, in Patroni's words.
    pub(super) fn started(&self, key: &InstanceKey) -> Option<&str> {
        self.patroni(key)?.itself.postmaster_start_time.as_deref()
    }

    /// The servers, with what `task` has still to do with each.
    pub(super) fn servers(&self, plan: &Plan, task: &Task, now: Timestamp) -> Servers {
        let problems = || grave(&self.health.problems).filter(|problem| !TOLD.contains(&problem.code.as_str()));
        let keys: Vec<&InstanceKey> = plan.data_nodes().map(|node| &node.key).collect();
        let is_of = |problem: &Problem, key: &InstanceKey| problem.node.as_deref() == Some(key.as_str());
        let said = |problem: &Problem| format!("[{}] {}", problem.code, first_line(&problem.message));
        let members = keys.iter().map(|key| {
            let own = problems().filter(|problem| is_of(problem, key)).map(said).collect();
            ((*key).clone(), self.server(plan, key, own, task, now))
        });
        let members = members.collect();
        let of_others = problems().filter(|problem| !keys.iter().any(|key| is_of(problem, key)));
        let views = || keys.iter().filter_map(|key| self.patroni(key)?.cluster.as_ref());
        let scheduled = views().find_map(|cluster| cluster.scheduled_switchover.as_ref());
        let etcd = "a voter does not answer, has raised an alarm, or no voter leads".to_owned();
        Servers {
            members,
            synchronous: match plan.patroni.durability.synchronous().mode {
                "off" => 0,
                _ => usize::try_from(plan.patroni.synchronous_nodes).unwrap_or(usize::MAX),
            },
            etcd: (!self.health.etcd.healthy).then_some(etcd),
            paused: views().any(|cluster| cluster.pause),
            scheduled: scheduled.map(|scheduled| scheduled.at.clone()),
            problems: of_others
                .map(|problem| {
                    let node = problem.node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
                    format!("{node}{}", said(problem))
                })
                .collect(),
        }
    }

    fn server(&self, plan: &Plan, key: &InstanceKey, problems: Vec<String>, task: &Task, now: Timestamp) -> Server {
        let leads = self.health.leader.as_ref() == Some(key);
        let member = self.health.members.iter().find(|member| member.name == key.as_str());
        // Patroni waits for two turns of its loop at most before it stops a server.
        let patience = Duration::from_secs(u64::from(plan.patroni.timers.loop_wait) * 2) + STOPS_WITHIN;
        let state = self.state(key, leads, |started| task.is_asked(key, started, (now, patience)));
        let durability = plan.patroni.durability;
        // Where commits wait for named replicas, Patroni names another one before it stops one of them.
        let counts = durability.waits_for_named() || member.is_some_and(|member| member.acknowledges(durability));
        Server {
            leads,
            acknowledges: !leads && counts && state == ServerState::Serves,
            may_lead: member.is_some_and(Member::may_lead),
            backup: self.backups.get(key).copied(),
            state,
            problems,
            restart: self.restart(task, key),
        }
    }

    fn state(&self, key: &InstanceKey, leads: bool, is_asked: impl Fn(&str) -> bool) -> ServerState {
        let Some(NodeView { ssh, patroni, .. }) = self.seen.get(key) else {
            return ServerState::Away("it was not asked".to_owned());
        };
        if let Err(said) = ssh {
            return ServerState::Away(format!("SSH does not answer: {said}"));
        }
        let itself = match patroni {
            Some(Ok(view)) => &view.itself,
            Some(Err(said)) => return ServerState::Away(format!("Patroni does not answer: {said}")),
            None => return ServerState::Away("Patroni was not asked".to_owned()),
        };
        if itself.state != "running" {
            return ServerState::Returns(format!("its PostgreSQL is {}", itself.state));
        }
        let Some(started) = itself.postmaster_start_time.as_deref() else {
            return ServerState::Returns("its PostgreSQL does not say when it was started".to_owned());
        };
        if is_asked(started) {
            return ServerState::Returns("Patroni has not stopped its PostgreSQL yet".to_owned());
        }
        let listed = self.health.members.iter().find(|member| member.name == key.as_str());
        let listed = listed.map_or("not a member", |member| member.state.as_str());
        match (leads, itself.replication_state.as_deref()) {
            (true, _) if listed == "running" => ServerState::Serves,
            (false, Some("streaming")) if listed == "streaming" => ServerState::Serves,
            _ => ServerState::Runs(format!("its PostgreSQL runs and does not stream: Patroni calls it {listed}")),
        }
    }

    fn restart(&self, task: &Task, key: &InstanceKey) -> Restart {
        if !task.request.concerns(key) {
            return Restart::NotAsked;
        }
        let itself = self.patroni(key).map(|view| &view.itself);
        let has_restarted = task.has_restarted(key, self.started(key));
        if !task.request.pending {
            return if has_restarted { Restart::Done } else { Restart::Due };
        }
        let Some(itself) = itself.filter(|itself| itself.pending_restart) else {
            return if has_restarted { Restart::Done } else { Restart::NotAsked };
        };
        if let Some((name, old, new)) = itself.lowered().next() {
            return Restart::Futile(format!(
                "`{name}` is lowered from {old} to {new}: the primary must restart first, because a standby keeps the larger \
                 value of its primary"
            ));
        }
        match has_restarted {
            true => Restart::Futile("a changed setting still waits for a restart after its restart".to_owned()),
            false => Restart::Due,
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_end_matches(':')
}

#[cfg(test)]
mod tests;
