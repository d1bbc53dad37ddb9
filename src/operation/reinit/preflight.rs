//! Whether a replica may get a new copy now, and what becomes of its old data: pure.

use crate::{health::Health, model::InstanceKey, operation::obstacle::Obstacle};

/// Problems with which no member may be stopped.
const BLOCKING: &[&str] = &[
    "dcs-unreadable",
    "failsafe-active",
    "leader-not-running",
    "leader-not-writable",
    "no-leader",
    "paused",
    "two-primaries",
];

/// What the data directory of the replica needs and has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Space {
    /// The size of the primary's data.
    pub(super) needed_kib: u64,
    pub(super) free_kib: u64,
    pub(super) tablespaces: u64,
}

impl Space {
    /// Whether a new copy fits beside the old data, with a tenth to spare for what is written meanwhile.
    pub(super) const fn fits(&self) -> bool {
        self.needed_kib + self.needed_kib / 10 < self.free_kib
    }
}

/// Everything that speaks against a new copy for `key`. `allowed` is whether the loss of its data was allowed by name.
pub(super) fn obstacles(health: &Health, key: &InstanceKey, space: &Space, allowed: bool) -> Vec<Obstacle> {
    let obstacle = |cause: String, hint: &str| Obstacle::new(cause, hint);
    let by_name = format!("--allow-destroy {key}");
    let mut found = Vec::new();
    for problem in health.problems.iter().filter(|problem| BLOCKING.contains(&problem.code.as_str())) {
        let hint = problem.hint.as_deref().unwrap_or("Repair this first");
        found.push(obstacle(format!("[{}] {}", problem.code, problem.message), hint));
    }
    if !health.etcd.healthy {
        let cause = "an etcd voter is not healthy: the stop of a member could demote the primary".to_owned();
        found.push(obstacle(cause, "Repair etcd first"));
    }
    if health.leader.as_ref() == Some(key) {
        found.push(obstacle(format!("{key} is the primary"), "Move the primary first with `hactl switchover`"));
    }
    let others = health.members.iter().filter(|member| !member.is_leader() && member.name != key.as_str());
    let mut others = others.filter(|member| member.state == "streaming");
    if others.next().is_none() && !allowed {
        let cause = format!(
            "no other replica streams: until {key} has its new copy, the data is on the primary only, and writes wait \
             if the durability requires two copies"
        );
        found.push(obstacle(cause, &format!("Accept this with {by_name}, or make another replica stream first")));
    }
    if space.tablespaces > 0 {
        let cause = format!("{key} has {} tablespaces outside the data directory", space.tablespaces);
        found.push(obstacle(cause, "Move their directories aside by hand, and use `patronictl reinit`"));
    }
    if !space.fits() && !allowed {
        let cause = format!(
            "{key} has {} MiB free, which is too little to keep its data beside a new copy of {} MiB",
            space.free_kib / 1024,
            space.needed_kib / 1024
        );
        found.push(obstacle(cause, &format!("Free space there, or allow hactl to remove the old data with {by_name}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{Problem, etcd::Etcd, patroni::Member};

    #[test]
    fn new_copy_is_refused_with_each_cause() {
        let key = |name: &str| InstanceKey::new(name.to_owned()).unwrap();
        let member = |name: &str, role: &str, state: &str| Member {
            name: name.to_owned(),
            role: role.to_owned(),
            state: state.to_owned(),
            ..Member::default()
        };
        let health = |state: &str, codes: &[&str], etcd: bool| Health {
            leader: Some(key("node1")),
            members: vec![
                member("node1", "leader", "running"),
                member("node2", "replica", state),
                member("node3", "replica", "running"),
            ],
            etcd: Etcd { healthy: etcd, ..Etcd::default() },
            problems: codes
                .iter()
                .map(|code| Problem { code: (*code).to_owned(), node: None, message: "seen".to_owned(), hint: None })
                .collect(),
            ..Health::default()
        };
        let room = Space { needed_kib: 1000, free_kib: 1101, tablespaces: 0 };
        let full = Space { free_kib: 1100, ..room.clone() };
        let spread = Space { tablespaces: 2, ..room.clone() };
        let table = [
            (health("streaming", &["member-diverged"], true), "node3", &room, false, ""),
            (health("streaming", &["paused"], true), "node3", &room, true, "[paused]"),
            (health("streaming", &[], false), "node3", &room, true, "etcd voter"),
            (health("streaming", &[], true), "node1", &room, true, "node1 is the primary"),
            (health("running", &[], true), "node3", &room, false, "no other replica streams"),
            (health("running", &[], true), "node3", &room, true, ""),
            (health("streaming", &[], true), "node3", &full, false, "too little to keep its data"),
            (health("streaming", &[], true), "node3", &full, true, ""),
            (health("streaming", &[], true), "node3", &spread, true, "2 tablespaces"),
        ];
        for (health, name, space, allowed, expected) in table {
            let found = obstacles(&health, &key(name), space, allowed);
            match expected {
                "" => assert_eq!(found, Vec::new()),
                expected => assert!(found.len() == 1 && found[0].cause.contains(expected), "{expected}: {found:?}"),
            }
        }
    }
}
