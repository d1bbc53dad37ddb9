use jiff::SignedDuration;
use serde_json::json;

use super::{super::task::RestartRequest, *};
use crate::{
    component::{
        ProbeError,
        etcd::Etcd,
        patroni::{Cluster, Itself, Scheduled},
    },
    model::{Choices, Role},
    plan::{decide, rolling::course},
    spec,
};

fn key(name: &str) -> InstanceKey {
    name.parse().unwrap()
}

fn plan() -> Plan {
    let file = "platform: proxmox\ninstances: {node1: {}, node2: {}, node3: {}}";
    decide(&spec::load("t", file.as_bytes(), "t").unwrap(), &Choices::default()).unwrap()
}

/// What a member says of itself, as Patroni writes it.
fn itself(text: serde_json::Value) -> NodeView {
    let mut view = NodeView::new([Role::Patroni].into(), Ok(()));
    let itself: Itself = serde_json::from_value(text).unwrap();
    let cluster = Some(Cluster::default());
    view.patroni = Some(Ok(PatroniView { itself, cluster, ..PatroniView::default() }));
    view
}

fn replica(started: &str) -> serde_json::Value {
    json!({"state": "running", "role": "replica", "replication_state": "streaming", "postmaster_start_time": started})
}

/// A look at a cluster that is well.
fn look() -> Look {
    let primary = json!({"state": "running", "role": "primary", "postmaster_start_time": "10:01"});
    let seen = [
        (key("node1"), itself(primary)),
        (key("node2"), itself(replica("10:02"))),
        (key("node3"), itself(replica("10:03"))),
    ];
    let member = |name: &str, role: &str, state: &str| Member {
        name: name.to_owned(),
        role: role.to_owned(),
        state: state.to_owned(),
        ..Member::default()
    };
    let health = Health {
        leader: Some(key("node1")),
        members: vec![
            member("node1", "leader", "running"),
            member("node2", "quorum_standby", "streaming"),
            member("node3", "quorum_standby", "streaming"),
        ],
        etcd: Etcd { healthy: true, ..Etcd::default() },
        ..Health::default()
    };
    Look { seen: seen.into(), health, backups: BTreeMap::new() }
}

fn problem(code: &str, node: Option<&str>) -> Problem {
    Problem { code: code.to_owned(), node: node.map(str::to_owned), message: "seen:\nmore".to_owned(), hint: None }
}

fn all() -> RestartRequest {
    RestartRequest { member: None, pending: false }
}

fn task(request: &RestartRequest, look: &Look) -> Task {
    let mut task = Task::new(request.clone(), Timestamp::UNIX_EPOCH);
    task.note(look.seen.keys().filter_map(|key| Some((key, look.started(key)?))));
    task
}

/// The steps of a run that begins with this look, and what forbids the next one.
fn steps(look: &Look, request: &RestartRequest) -> String {
    let (steps, found) = course(&look.servers(&plan(), &task(request, look), Timestamp::UNIX_EPOCH));
    let steps = steps.iter().map(ToString::to_string);
    steps.chain(found.iter().map(ToString::to_string)).collect::<Vec<_>>().join("; ")
}

/// A change of what is seen.
type Change<'a> = &'a dyn Fn(&mut Look);

#[test]
fn cluster_that_is_well_restarts_in_order_and_what_is_wrong_forbids_it() {
    let changed = |change: &dyn Fn(&mut Look)| {
        let mut look = look();
        change(&mut look);
        steps(&look, &all())
    };
    assert_eq!(changed(&|_| ()), "restart node2; restart node3; hand over from node1");
    let harmless = |look: &mut Look| look.health.problems.push(problem("pending-restart", Some("node2")));
    assert_eq!(changed(&harmless), "restart node2; restart node3; hand over from node1");
    let table: [(Change<'_>, &str); 9] = [
        (
            &|look| look.health.problems.push(problem("node-unreachable", Some("witness"))),
            "witness: [node-unreachable] seen",
        ),
        (&|look| look.health.problems.push(problem("two-primaries", None)), "[two-primaries] seen"),
        (&|look| look.health.problems.push(problem("replay-paused", Some("node3"))), "node3: [replay-paused] seen"),
        (
            &|look| {
                _ = look.seen.insert(key("node3"), NodeView::new([].into(), Err(ProbeError::Refused("refused".into()))))
            },
            "node3: SSH does not answer: refused",
        ),
        (
            &|look| look.health.members[2].role = "replica".to_owned(),
            "restart node3; replicas besides node2 that acknowledge commits: 0; the durability needs 1",
        ),
        (
            &|look| look.health.etcd.healthy = false,
            "etcd is not healthy: a voter does not answer, has raised an alarm, or no voter leads",
        ),
        (&|look| look.health.leader = None, "the cluster has no primary that accepts writes"),
        (
            &|look| _ = look.backups.insert(key("node2"), 7),
            "node2: process 7 copies a backup from it, which a stop would end",
        ),
        (
            &|look| {
                let Some(Ok(view)) = &mut look.seen.get_mut(&key("node3")).unwrap().patroni else { unreachable!() };
                view.cluster = Some(Cluster {
                    pause: true,
                    scheduled_switchover: Some(Scheduled { at: "tonight".to_owned() }),
                    ..Cluster::default()
                });
            },
            "Patroni is paused: it would not fail over; a switchover is scheduled in Patroni for tonight",
        ),
    ];
    for (change, expected) in table {
        assert_eq!(changed(change), expected);
    }
    // A replica that runs and does not stream is the first: its restart may repair it.
    let replays = |look: &mut Look| look.health.members[2].state = "in archive recovery".to_owned();
    assert_eq!(changed(&replays), "restart node3; restart node2; hand over from node1");
    let other = RestartRequest { member: Some(key("node2")), pending: false };
    let mut unwell = look();
    replays(&mut unwell);
    let said = "node3: its PostgreSQL runs and does not stream: Patroni calls it in archive recovery";
    assert!(steps(&unwell, &other).starts_with(said), "{}", steps(&unwell, &other));
}

#[test]
fn server_is_due_until_it_was_started_again() {
    let mut seen = look();
    let mut task = task(&all(), &seen);
    let dir = tempfile::tempdir().unwrap();
    task.ask(&dir.path().join("restart.json"), &key("node2"), Timestamp::now()).unwrap();
    let at = |seen: &Look, now: Timestamp| seen.servers(&plan(), &task, now).members[&key("node2")].clone();
    // Patroni had its time, and is asked again.
    let late = at(&seen, Timestamp::now() + SignedDuration::from_secs(17));
    assert!(late.restart == Restart::Due && late.state == ServerState::Serves, "{late:?}");
    let server = |seen: &Look| at(seen, Timestamp::now());
    let asked = server(&seen);
    assert!(asked.restart == Restart::Due && matches!(asked.state, ServerState::Returns(_)), "{asked:?}");
    seen.seen.insert(key("node2"), itself(json!({"state": "starting", "role": "replica"})));
    let starts = server(&seen);
    assert!(starts.restart == Restart::Due && matches!(starts.state, ServerState::Returns(_)), "{starts:?}");
    seen.seen.insert(key("node2"), itself(replica("12:00")));
    let started = server(&seen);
    assert!(started.restart == Restart::Done && started.state == ServerState::Serves, "{started:?}");
}

#[test]
fn pending_restarts_those_for_which_a_setting_waits_unless_that_lowers_a_limit() {
    let pending = RestartRequest { member: None, pending: true };
    let waits = |started: &str, reason: serde_json::Value| {
        let mut text = replica(started);
        text["pending_restart"] = true.into();
        text["pending_restart_reason"] = reason;
        itself(text)
    };
    let mut seen = look();
    assert_eq!(steps(&seen, &pending), "");
    let memory = json!({"shared_buffers": {"old_value": "128MB", "new_value": "256MB"}});
    seen.seen.insert(key("node3"), waits("10:03", memory.clone()));
    assert_eq!(steps(&seen, &pending), "restart node3");
    let one = RestartRequest { member: Some(key("node2")), pending: true };
    assert_eq!(steps(&seen, &one), "");

    // It still waits although it has restarted.
    let task = task(&pending, &seen);
    seen.seen.insert(key("node3"), waits("12:00", memory));
    let server = seen.servers(&plan(), &task, Timestamp::UNIX_EPOCH).members[&key("node3")].clone();
    assert!(matches!(&server.restart, Restart::Futile(why) if why.contains("still waits")), "{server:?}");

    let lowered = json!({"max_connections": {"old_value": "150", "new_value": "100"}});
    seen.seen.insert(key("node3"), waits("10:03", lowered));
    let said = steps(&seen, &pending);
    assert!(
        said.starts_with("node3: `max_connections` is lowered from 150 to 100: the primary must restart first"),
        "{said}"
    );
}
