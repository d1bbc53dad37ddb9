//! What the PostgreSQL servers say, beside what Patroni says of them -> problems: pure.

use super::{locale::CollationView, parameters::differences};
use crate::{
    component::{
        findings::{Findings, Hint},
        patroni::Member,
        postgres::SlotView,
        view::{NodeView, Observations},
    },
    model::InstanceKey,
    plan::{Durability, Plan},
};

/// Finds what is wrong with the servers and with replication, and which machine leads.
pub(super) fn diagnose(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    let members = findings.members.clone();
    findings.leader = leader(plan, seen, &members, findings);
    if let Some(leader) = findings.leader.clone() {
        replication(plan, seen, &leader, findings);
    }
    parameters(plan, seen, findings);
    collations(plan, seen, findings);
}

fn leader(plan: &Plan, seen: &Observations, members: &[Member], findings: &mut Findings) -> Option<InstanceKey> {
    let primaries: Vec<&InstanceKey> = seen
        .iter()
        .filter(|(_, view)| matches!(&view.postgres, Some(Ok(postgres)) if !postgres.in_recovery))
        .map(|(key, _)| key)
        .collect();
    if primaries.len() > 1 {
        let list: Vec<&str> = primaries.iter().map(|key| key.as_str()).collect();
        let message = format!("{} are primaries at the same time: none of them is in recovery", list.join(" and "));
        findings.add(
            "two-primaries",
            None,
            message,
            "Wait a moment if a switchover is running; otherwise fence the old primary",
        );
    }
    let named = members.iter().find(|member| member.is_leader());
    let leader = named.and_then(|member| InstanceKey::new(member.name.clone()).ok());
    match (&leader, named) {
        (Some(key), Some(member)) => {
            if member.state != "running" {
                let message = format!("the leader is {}", member.state);
                findings.add("leader-not-running", Some(key), message, Hint::None);
            } else if !primaries.contains(&key) {
                let (code, what) = ("leader-not-writable", "the leader does not accept writes");
                match seen.get(key).and_then(|view| view.postgres.as_ref()) {
                    Some(Err(said)) => findings.failed(code, key, what, said),
                    _ => findings.add(code, Some(key), format!("{what}: it is in recovery"), Hint::None),
                }
            }
        }
        _ if plan.data_nodes().next().is_none() => {}
        _ => {
            let states: Vec<String> =
                members.iter().map(|member| format!("{} is {}", member.name, member.state)).collect();
            let (message, hint) = if members.is_empty() {
                (
                    "no leader and no members: the cluster is not initialised, or its members do not run".to_owned(),
                    Hint::None,
                )
            } else if members.iter().any(|member| member.state.contains("bootstrap") || member.state == "initializing")
            {
                (format!("initialisation is not finished: {}", states.join(", ")), Hint::None)
            } else {
                let hint =
                    "Check that a candidate streams, is on the same timeline, and is within `maximum_lag_on_failover`";
                (format!("no leader: {}", states.join(", ")), hint.into())
            };
            findings.add("no-leader", None, message, hint);
        }
    }
    leader
}

/// Slots whose clients cannot continue, or soon cannot.
fn slots(leader: &InstanceKey, slots: &[SlotView], findings: &mut Findings) {
    findings.slots = slots.to_vec();
    for slot in slots {
        let name = &slot.name;
        match slot.wal_status.as_deref() {
            Some("lost") => findings.add(
                "slot-lost",
                Some(leader),
                format!("slot {name} has lost WAL that its client needs"),
                "Copy the data to the client again, and drop the slot with `SELECT pg_drop_replication_slot('NAME')`; Patroni \
                 makes the slots of members again itself",
            ),
            Some("unreserved") => findings.add(
                "slot-lost",
                Some(leader),
                format!("slot {name} holds more WAL than `max_slot_wal_keep_size` allows, and loses it at the next checkpoint"),
                "Let the slot's client catch up, or raise `max_slot_wal_keep_size`",
            ),
            _ => {}
        }
    }
}

fn replication(plan: &Plan, seen: &Observations, leader: &InstanceKey, findings: &mut Findings) {
    let Some(NodeView { postgres: Some(Ok(primary)), patroni, .. }) = seen.get(leader) else { return };
    slots(leader, &primary.slots, findings);
    findings.replay.clone_from(&primary.replay);
    let cluster = patroni.as_ref().and_then(|view| view.as_ref().ok()).and_then(|view| view.cluster.as_ref());
    let timeline = cluster.and_then(|cluster| cluster.members.iter().find(|m| m.is_leader())).and_then(|m| m.timeline);
    let mut quorum = 0;
    for node in plan.data_nodes().filter(|node| node.key != *leader) {
        let key = &node.key;
        let member = cluster.and_then(|cluster| cluster.members.iter().find(|m| m.name == key.as_str()));
        match primary.streaming.get(key.as_str()) {
            Some(sync) => {
                if sync == "quorum" || sync == "sync" {
                    quorum += 1;
                }
            }
            // A replica of a replica.
            None if findings.adopted && streams_from_another(seen, key) => {}
            None => {
                let state = member.map_or("not a member", |member| member.state.as_str());
                let message = match primary.senders.get(key.as_str()) {
                    // A replica that is behind reads old WAL first (`catchup`).
                    Some(sender) => {
                        format!("does not stream from {leader}: {state}; {leader} sends to it in the state `{sender}`")
                    }
                    None if state == "streaming" => {
                        format!("Patroni reports `streaming`, but {leader} has no connection from it")
                    }
                    None => format!("does not stream from {leader}: {state}"),
                };
                findings.add("not-streaming", Some(key), message, Hint::None);
            }
        }
        if let (Some(ours), Some(theirs)) = (member.and_then(|m| m.timeline), timeline)
            && ours != theirs
        {
            let message = format!("is on timeline {ours}, but the leader is on timeline {theirs}");
            let copy = if findings.adopted { "patronictl reinit" } else { "hactl reinit" };
            let hint = format!(
                "Wait until the replica has reached the switch point: it then follows. If it does not move and its log says \
                 that a WAL segment has been removed, copy the primary's data to it again with `{copy} {} {key}`",
                plan.cluster
            );
            findings.add("timeline-differs", Some(key), message, hint);
        }
        let server = seen.get(key).and_then(|view| view.postgres.as_ref());
        if server.is_some_and(|server| server.as_ref().is_ok_and(|server| server.replay_paused)) {
            findings.add(
                "replay-paused",
                Some(key),
                "receives WAL and does not replay it: a failover to it waits",
                "check its log: it pauses if a limit such as `max_connections` is below the primary's; otherwise run \
                 `SELECT pg_wal_replay_resume()` there",
            );
        }
        if let Some(Err(said)) = server {
            findings.failed("postgres-silent", key, "PostgreSQL does not answer", said);
        }
    }
    let data_nodes = plan.data_nodes().count();
    if plan.patroni.durability != Durability::Async && data_nodes > 1 && quorum == 0 {
        let message = match plan.patroni.durability {
            durability if durability.is_strict() => "no synchronous standby: writes wait",
            _ => "no synchronous standby: acknowledged commits are on one node only",
        };
        findings.add(
            "no-synchronous-standby",
            Some(leader),
            message,
            "Check that a replica streams: it then becomes a synchronous standby",
        );
    }
    // The file of an adopted cluster declares no databases.
    let declared = plan.postgres.databases.keys().filter(|_| !findings.adopted);
    let missing: Vec<_> = declared.filter(|name| !primary.databases.contains(name.as_str())).collect();
    for name in missing {
        findings.add(
            "database-missing",
            None,
            format!("database `{name}` of the cluster file does not exist"),
            format!("Run `hactl up {}` to create it without its tables, and restore them from a backup", plan.cluster),
        );
    }
    for setting in &primary.lowered {
        let message = format!("{setting} lowers `synchronous_commit`: a failover may lose its commits");
        findings.ours(
            "synchronous-commit-lowered",
            None,
            message,
            "Run `ALTER ROLE ... RESET synchronous_commit`, or the same with `ALTER DATABASE`",
        );
    }
}

/// Compares what the configuration of the members asks for with what each server has.
fn parameters(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    for (key, view) in seen {
        let (Some(Ok(patroni)), Some(Ok(server))) = (&view.patroni, &view.postgres) else { continue };
        let Some(files) = &server.files else { continue };
        for message in differences(&patroni.parameters(), files) {
            let hint = format!("correct `postgres.parameters` in the cluster file and run `hactl up {}`", plan.cluster);
            findings.ours("parameter-differs", Some(key), message, Hint::Up(hint));
        }
    }
}

/// Finds machines whose library sorts in another version than the one that the data was made with.
fn collations(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    for (key, view) in seen {
        let Some(Ok(server)) = &view.postgres else { continue };
        for CollationView { database, made, found } in &server.collations {
            let message = format!(
                "database `{database}` was made with version {made} of the library that sorts text, and this machine has \
                 {found}: indexes on text may be wrong"
            );
            let hint = format!(
                "Use machines with the same release of the operating system. If all have {found}, run `REINDEX DATABASE \
                 {database}` in the database, then `ALTER DATABASE {database} REFRESH COLLATION VERSION` (`hactl psql {}`)",
                plan.cluster
            );
            findings.notice("collation-version", Some(key), message, hint);
        }
    }
}

fn streams_from_another(seen: &Observations, key: &InstanceKey) -> bool {
    let servers = seen.values().filter_map(|view| view.postgres.as_ref()?.as_ref().ok());
    servers.into_iter().any(|server| server.streaming.contains_key(key.as_str()))
}
