use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::{component::postgres::LongTransaction, model::SlotKind};

fn key(name: &str) -> InstanceKey {
    InstanceKey::new(name.to_owned()).unwrap()
}

fn member(name: &str, role: &str) -> Member {
    Member { name: name.to_owned(), role: role.to_owned(), ..Member::default() }
}

fn problem(code: &str) -> Problem {
    Problem { code: code.to_owned(), node: Some("node3".to_owned()), message: "seen".to_owned(), hint: None }
}

fn streams() -> Activity {
    let standbys = BTreeMap::from([("node2".to_owned(), Standby::default()), ("node3".to_owned(), Standby::default())]);
    Activity { standbys, ..Activity::default() }
}

/// What is seen, the wish, and the cause that is expected; empty for none.
type Case<'a> = (Activity, Vec<Problem>, Durability, Option<&'a str>, &'a str);

#[test]
fn switchover_is_refused_with_each_cause() {
    let old = |seconds| LongTransaction { pid: 7, user: "app".to_owned(), database: "orders".to_owned(), seconds };
    let standby = |standby: Standby| {
        let mut activity = streams();
        activity.standbys.insert("node2".to_owned(), standby);
        activity
    };
    let reader = |delay, seconds| Activity {
        readers: vec![Reader { standby: "node2".to_owned(), delay, transaction: old(seconds) }],
        ..streams()
    };
    let quorum = Durability::QuorumStrict;
    let none = Vec::new;
    let table: Vec<Case<'_>> = vec![
        (streams(), none(), quorum, None, ""),
        (streams(), none(), quorum, Some("node2"), ""),
        (streams(), vec![problem("pending-restart")], quorum, None, ""),
        (streams(), vec![problem("paused")], quorum, None, "[paused] node3: seen"),
        (streams(), none(), quorum, Some("node1"), "node1 is already the primary"),
        (streams(), none(), quorum, Some("node9"), "node9 is not a member of the cluster"),
        (streams(), none(), quorum, Some("node4"), "Patroni calls it replica"),
        (streams(), none(), Durability::Async, Some("node4"), ""),
        (streams(), none(), Durability::Async, Some("node5"), "the tags of node5 keep it from"),
        (streams(), none(), Durability::Async, Some("node6"), "the tags of node6 keep it from"),
        (Activity::default(), none(), quorum, None, "no replica streams"),
        (
            Activity { transactions: vec![old(OLDEST), old(OLDEST - 0.1)], ..streams() },
            none(),
            quorum,
            None,
            "process 7 of user app in database orders has had a transaction open for 10 s",
        ),
        (Activity { backups: vec![8], ..streams() }, none(), quorum, None, "process 8 takes a base backup"),
        (standby(Standby { silent: 6.0, ..Standby::default() }), none(), quorum, None, "acknowledged any WAL for 6 s"),
        (standby(Standby { silent: 5.0, not_flushed: LAG, not_replayed: LAG }), none(), quorum, None, ""),
        (standby(Standby { not_flushed: LAG + 1, ..Standby::default() }), none(), quorum, None, "to receive 16 MiB"),
        (standby(Standby { not_replayed: LAG + 1, ..Standby::default() }), none(), quorum, None, "to replay 16 MiB"),
    ];
    let table = table.into_iter().chain([
        (reader(Some(30), 12.0), none(), quorum, Some("node2"), "can hold up the promotion of node2 for up to 30 s"),
        (reader(None, 12.0), none(), quorum, None, "can hold up the promotion of node2 without a limit"),
        (reader(Some(30), 12.0), none(), quorum, Some("node3"), ""),
        (reader(Some(30), OLDEST - 0.1), none(), quorum, None, ""),
        (reader(Some(DELAY), 12.0), none(), quorum, None, ""),
    ]);
    let mut members = vec![
        member("node1", "leader"),
        member("node2", "quorum_standby"),
        member("node3", "quorum_standby"),
        member("node4", "replica"),
        member("node5", "replica"),
        member("node6", "replica"),
    ];
    members[4].tags.insert("nofailover".to_owned(), json!(true));
    members[5].tags.insert("failover_priority".to_owned(), json!(0));
    for (activity, problems, durability, to, expected) in table {
        let leader = key("node1");
        let seen = Seen { leader: &leader, members: &members, problems: &problems, durability, activity: &activity };
        let found = obstacles(&seen, to.map(key).as_ref());
        let causes: Vec<&str> = found.iter().map(|obstacle| obstacle.cause.as_str()).collect();
        match expected {
            "" => assert!(causes.is_empty(), "{causes:?}"),
            expected => assert!(causes.len() == 1 && causes[0].contains(expected), "{expected}: {causes:?}"),
        }
    }
}

#[test]
fn prepared_transaction_and_logical_slot_without_a_copy_are_named() {
    let activity = Activity {
        prepared: vec!["two-phase".to_owned()],
        logical_slots: vec!["events".to_owned(), "feed".to_owned()],
        ..Activity::default()
    };
    let slot = Slot { kind: SlotKind::Logical, database: None, plugin: None };
    let notes = notes(&activity, Some(&[("events".to_owned(), slot)].into()));
    assert!(notes.len() == 2 && notes[0].contains("two-phase") && notes[1].contains("feed"), "{notes:?}");
}

#[test]
fn member_that_is_wished_for_is_waited_for_until_its_acknowledgement_counts() {
    let members = [member("node1", "leader"), member("node2", "quorum_standby"), member("node3", "replica")];
    let settled = |durability, to: Option<&str>, problems: &[Problem]| {
        is_settled(problems, &members, durability, to.map(key).as_ref())
    };
    let quorum = Durability::QuorumStrict;
    for (to, expected) in [(None, true), (Some("node1"), true), (Some("node2"), true), (Some("node3"), false)] {
        assert_eq!(settled(quorum, to, &[]), expected, "{to:?}");
    }
    assert!(settled(Durability::Async, Some("node3"), &[]));
    assert!(!settled(Durability::Sync, Some("node3"), &[]));
    assert!(settled(quorum, None, &[problem("pending-restart")]));
    assert!(!settled(quorum, None, &[problem("not-streaming")]));
}
