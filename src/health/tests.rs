//! Each problem as it is observed, and its code.
//!
//! Long because each problem is a row of one table.

mod entry_point;

use std::collections::BTreeMap;

use super::{Health, diagnose, status};
use crate::{
    component::{
        FirewallView, NodeView, Observations, ProbeError, Served, Stamp, TlsService,
        etcd::{EtcdView, ListedMember},
        patroni::{Cluster, GuardState, GuardView, Itself, Member, PatroniView},
        postgres::{CollationView, PostgresView, ReplayLag, SlotView},
    },
    model::{Choices, InstanceKey, Role},
    plan::{self, Plan},
    spec,
};

const LEADER: &str = "node1";
const REPLICAS: [&str; 2] = ["node2", "node3"];

fn key(name: &str) -> InstanceKey {
    InstanceKey::new(name).unwrap()
}

fn plan() -> Plan {
    let text = b"instances: {node1: {}, node2: {}, node3: {}}";
    plan::decide(&spec::load("t.yaml", text, "t").unwrap(), &Choices::default()).unwrap()
}

fn members() -> Vec<Member> {
    let member = |name: &str, role: &str, state: &str| Member {
        name: name.to_owned(),
        role: role.to_owned(),
        state: state.to_owned(),
        timeline: Some(1),
        ..Member::default()
    };
    vec![
        member(LEADER, "leader", "running"),
        member(REPLICAS[0], "quorum_standby", "streaming"),
        member(REPLICAS[1], "quorum_standby", "streaming"),
    ]
}

/// Three nodes without a problem.
fn good(plan: &Plan) -> Observations {
    let voters: Vec<ListedMember> = (1_u64..)
        .zip(plan.nodes.keys())
        .map(|(id, key)| ListedMember { id, name: key.to_string(), learner: false, urls: Vec::new() })
        .collect();
    (1_u64..)
        .zip(plan.nodes.values())
        .map(|(id, node)| {
            let leads = node.key.as_str() == LEADER;
            let streaming = REPLICAS.map(|name| (name.to_owned(), "quorum".to_owned()));
            let view = NodeView {
                etcd: Some(Ok(EtcdView {
                    member_id: id,
                    leader: 2,
                    serving: true,
                    members: voters.clone(),
                    ..EtcdView::default()
                })),
                patroni: Some(Ok(PatroniView {
                    itself: Itself { database_system_identifier: Some("7".to_owned()), ..Itself::default() },
                    cluster: Some(Cluster { members: members(), ..Cluster::default() }),
                    ..PatroniView::default()
                })),
                postgres: Some(Ok(PostgresView {
                    in_recovery: !leads,
                    tls: true,
                    databases: plan.postgres.databases.keys().map(ToString::to_string).collect(),
                    streaming: if leads { streaming.into() } else { BTreeMap::new() },
                    ..PostgresView::default()
                })),
                guard: Some(GuardView { age: 0.0, state: Some(GuardState { proves: true, ..GuardState::default() }) }),
                ..NodeView::new(node.roles.clone(), Ok(()))
            };
            (node.key.clone(), view)
        })
        .collect()
}

fn etcd<'a>(seen: &'a mut Observations, node: &str) -> &'a mut EtcdView {
    seen.get_mut(&key(node)).unwrap().etcd.as_mut().unwrap().as_mut().unwrap()
}

fn patroni<'a>(seen: &'a mut Observations, node: &str) -> &'a mut PatroniView {
    seen.get_mut(&key(node)).unwrap().patroni.as_mut().unwrap().as_mut().unwrap()
}

fn postgres<'a>(seen: &'a mut Observations, node: &str) -> &'a mut PostgresView {
    seen.get_mut(&key(node)).unwrap().postgres.as_mut().unwrap().as_mut().unwrap()
}

fn every_member_list(seen: &mut Observations, change: impl Fn(&mut Vec<Member>)) {
    for node in ["node1", "node2", "node3"] {
        change(&mut patroni(seen, node).cluster.as_mut().unwrap().members);
    }
}

/// The leader is on timeline 2, which left timeline 1 at position 100; node3 is on timeline 1.
fn diverge(seen: &mut Observations, replayed: u64) {
    every_member_list(seen, |members| {
        members.iter_mut().for_each(|member| member.timeline = Some(2));
        members[2].timeline = Some(1);
    });
    patroni(seen, LEADER).history = BTreeMap::from([(1, 100)]);
    let itself = &mut patroni(seen, "node3").itself;
    (itself.role, itself.timeline, itself.xlog.replayed_location) = ("replica".to_owned(), Some(1), Some(replayed));
}

/// The leader left timeline 1 at position 100. PostgreSQL on node3 does not start, and its data has this checkpoint.
fn do_not_start(seen: &mut Observations, checkpoint: u64) {
    every_member_list(seen, |members| {
        members.iter_mut().for_each(|member| member.timeline = Some(2));
        (members[2].timeline, members[2].state) = (None, "start failed".to_owned());
    });
    patroni(seen, LEADER).history = BTreeMap::from([(1, 100)]);
    let itself = &mut patroni(seen, "node3").itself;
    (itself.role, itself.state) = ("replica".to_owned(), "start failed".to_owned());
    postgres(seen, LEADER).streaming.remove("node3");
    let silent = seen.get_mut(&key("node3")).unwrap();
    (silent.checkpoint, silent.postgres) =
        (Some((1, checkpoint)), Some(Err(ProbeError::Refused("nothing answers".into()))));
}

fn codes(health: &Health) -> Vec<(&str, Option<&str>)> {
    health.problems.iter().map(|problem| (problem.code.as_str(), problem.node.as_deref())).collect()
}

#[test]
fn good_cluster_is_healthy() {
    let plan = plan();
    let health = diagnose(&plan, &good(&plan));
    assert_eq!(codes(&health), []);
    assert!(health.etcd.healthy && health.etcd.leader.as_deref() == Some("node2"));
    assert_eq!(health.healthy().unwrap().leader().as_str(), LEADER);
}

/// What is changed in good observations.
type Change = fn(&mut Observations);
/// A problem's code and node.
type ExpectedFinding = (&'static str, Option<&'static str>);

#[test]
fn each_fault_is_reported_with_its_code_and_node() {
    let table: &[(&str, Change, &[ExpectedFinding])] = &[
        (
            "ssh silent",
            |seen| seen.get_mut(&key("node3")).unwrap().ssh = Err(ProbeError::Other("refused".into())),
            &[("node-unreachable", Some("node3"))],
        ),
        (
            "unit down",
            |seen| {
                seen.get_mut(&key("node2")).unwrap().failed_units.insert("etcd".into(), vec!["exit 1".into()]);
            },
            &[("unit-failed", Some("node2"))],
        ),
        (
            "lease guard without a proof",
            |seen| {
                let state = GuardState {
                    since: "2026-11-29T12:01:00Z".into(),
                    since_seconds: 60.0,
                    why: "its certificate expired at 2026-11-29T12:01:00Z".into(),
                    ..GuardState::default()
                };
                seen.get_mut(&key("node2")).unwrap().guard = Some(GuardView { age: 1.0, state: Some(state) });
            },
            &[("guard-unproved", Some("node2"))],
        ),
        (
            "etcd without a quorum",
            |seen| {
                for node in ["node1", "node2", "node3"] {
                    etcd(seen, node).serving = false;
                }
            },
            &[("etcd-no-quorum", None)],
        ),
        (
            "etcd without a leader",
            |seen| {
                for node in ["node1", "node2", "node3"] {
                    etcd(seen, node).leader = 0;
                }
            },
            &[("etcd-no-leader", None)],
        ),
        (
            "a member that replayed past the fork",
            |seen| {
                diverge(seen, 150);
                every_member_list(seen, |members| members[2].state = "running".into());
                postgres(seen, LEADER).streaming.remove("node3");
            },
            &[
                ("member-diverged", Some("node3")),
                ("not-streaming", Some("node3")),
                ("timeline-differs", Some("node3")),
            ],
        ),
        (
            "a member that does not start, with a checkpoint past the fork",
            |seen| do_not_start(seen, 150),
            &[("member-diverged", Some("node3")), ("not-streaming", Some("node3")), ("postgres-silent", Some("node3"))],
        ),
        (
            "a member that does not start, with a checkpoint before the fork",
            |seen| do_not_start(seen, 100),
            &[("not-streaming", Some("node3")), ("postgres-silent", Some("node3"))],
        ),
        (
            "a member on a timeline that the leader's history lacks",
            |seen| {
                diverge(seen, 90);
                let leader = patroni(seen, LEADER);
                (leader.itself.role, leader.itself.timeline) = ("primary".to_owned(), Some(4));
                leader.history = BTreeMap::from([(1, 80), (3, 100)]);
                patroni(seen, "node3").itself.timeline = Some(2);
            },
            &[("member-diverged", Some("node3")), ("timeline-differs", Some("node3"))],
        ),
        (
            "a member on a later timeline than the leader's",
            |seen| {
                diverge(seen, 90);
                let leader = patroni(seen, LEADER);
                (leader.itself.role, leader.itself.timeline) = ("primary".to_owned(), Some(2));
                patroni(seen, "node3").itself.timeline = Some(3);
            },
            &[("member-diverged", Some("node3")), ("timeline-differs", Some("node3"))],
        ),
        (
            "a leader whose history is not written to its end yet",
            |seen| {
                diverge(seen, 90);
                let leader = patroni(seen, LEADER);
                (leader.itself.role, leader.itself.timeline) = ("primary".to_owned(), Some(4));
                patroni(seen, "node3").itself.timeline = Some(3);
            },
            &[("timeline-differs", Some("node3"))],
        ),
        ("a member that has not reached the fork", |seen| diverge(seen, 100), &[("timeline-differs", Some("node3"))]),
        ("a member apart", |seen| etcd(seen, "node3").serving = false, &[("etcd-isolated", Some("node3"))]),
        ("an alarm", |seen| etcd(seen, "node1").alarms.push("NOSPACE".into()), &[("etcd-alarm", Some("node1"))]),
        (
            "a learner",
            |seen| {
                for node in ["node1", "node2", "node3"] {
                    etcd(seen, node).members[2].learner = true;
                }
            },
            &[("etcd-learner", Some("node3"))],
        ),
        (
            "an unknown member",
            |seen| {
                for node in ["node1", "node2", "node3"] {
                    etcd(seen, node).members[2].name = "stranger".into();
                }
            },
            &[("etcd-member-missing", Some("node3")), ("etcd-member-foreign", None)],
        ),
        (
            "a certificate",
            |seen| {
                seen.get_mut(&key("node2")).unwrap().etcd =
                    Some(Err(ProbeError::Tls("TLS on x: invalid peer certificate: UnknownIssuer".into())));
            },
            &[("certificate", Some("node2"))],
        ),
        (
            "paused",
            |seen| {
                for node in ["node1", "node2", "node3"] {
                    patroni(seen, node).cluster.as_mut().unwrap().pause = true;
                }
            },
            &[("paused", None)],
        ),
        (
            "failsafe",
            |seen| patroni(seen, "node1").itself.failsafe_mode_is_active = true,
            &[("failsafe-active", Some("node1"))],
        ),
        (
            "two databases",
            |seen| patroni(seen, "node3").itself.database_system_identifier = Some("8".into()),
            &[("system-id-mismatch", None)],
        ),
        (
            "a declared database was dropped",
            |seen| postgres(seen, LEADER).databases.clear(),
            &[("database-missing", None)],
        ),
        (
            "no leader",
            |seen| {
                every_member_list(seen, |members| members[0].role = "replica".into());
                postgres(seen, LEADER).in_recovery = true;
            },
            &[("no-leader", None)],
        ),
        ("two primaries", |seen| postgres(seen, "node2").in_recovery = false, &[("two-primaries", None)]),
        (
            "a leader that refuses the password",
            |seen| {
                seen.get_mut(&key(LEADER)).unwrap().postgres =
                    Some(Err(ProbeError::Login("password authentication failed for user (SQLSTATE 28P01)".into())));
            },
            &[("authentication", Some(LEADER))],
        ),
        (
            "a replica that does not stream",
            |seen| drop(postgres(seen, LEADER).streaming.remove("node3")),
            &[("not-streaming", Some("node3"))],
        ),
        (
            "another timeline",
            |seen| every_member_list(seen, |members| members[1].timeline = Some(2)),
            &[("timeline-differs", Some("node2"))],
        ),
        (
            "no synchronous standby",
            |seen| {
                postgres(seen, LEADER).streaming.values_mut().for_each(|state| *state = "async".into());
            },
            &[("no-synchronous-standby", Some(LEADER))],
        ),
        (
            "a replica that does not replay",
            |seen| postgres(seen, "node3").replay_paused = true,
            &[("replay-paused", Some("node3"))],
        ),
        (
            "a slot that has lost WAL",
            |seen| {
                postgres(seen, LEADER).slots = vec![SlotView {
                    name: "events".into(),
                    kind: "logical".into(),
                    active: false,
                    wal_status: Some("lost".into()),
                    retained_bytes: None,
                }];
            },
            &[("slot-lost", Some(LEADER))],
        ),
        (
            "a parameter that PostgreSQL does not have",
            |seen| {
                let own = serde_json::json!({"parameters": {"work_mem": "16mb"}});
                patroni(seen, "node3").configuration.insert("postgresql".into(), own);
                postgres(seen, "node3").files = Some(BTreeMap::new());
            },
            &[("parameter-differs", Some("node3"))],
        ),
        (
            "a role that commits alone",
            |seen| postgres(seen, LEADER).lowered.push("app@".into()),
            &[("synchronous-commit-lowered", None)],
        ),
    ];
    let plan = plan();
    for (what, change, expected) in table {
        let mut seen = good(&plan);
        change(&mut seen);
        let health = diagnose(&plan, &seen);
        assert_eq!(codes(&health), *expected, "{what}");
        assert!(health.healthy().is_err(), "{what}");
    }
}

#[test]
fn setting_in_etcd_that_is_not_the_one_of_the_file_is_a_notice_of_the_leaders_view() {
    let plan = plan();
    let mut seen = good(&plan);
    patroni(&mut seen, LEADER).configuration.insert("ttl".into(), 30.into());
    patroni(&mut seen, "node3").configuration.insert("ttl".into(), 40.into());
    let health = diagnose(&plan, &seen);
    assert!(noticed(&health).iter().all(|code| *code == "configuration-differs"), "{:?}", health.notices);
    let ttl = health.notices.iter().filter(|notice| notice.message.contains(": ttl "));
    assert!(ttl.map(|notice| notice.message.rsplit(": ").next().unwrap()).eq(["ttl is 30 instead of 20"]));
    assert!(health.is_healthy());
}

#[test]
fn waiting_line_of_a_stopped_unit_ends_with_its_last_word() {
    let plan = plan();
    let mut seen = good(&plan);
    seen.get_mut(&key("node2")).unwrap().failed_units.insert("patroni".to_owned(), vec!["failed".to_owned()]);
    assert_eq!(super::wait::words(&diagnose(&plan, &seen)), "node2: unit patroni is not running");
}

#[test]
fn fencing_lists_the_machines_whose_lease_guard_proves_nothing() {
    let plan = plan();
    let named = |change: Change| {
        let mut seen = good(&plan);
        change(&mut seen);
        let health = diagnose(&plan, &seen);
        let names = health.unproved.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        (names, codes(&health).len(), noticed(&health).join(" "))
    };
    let said = |names: &str, problems: usize, notices: &str| (names.to_owned(), problems, notices.to_owned());
    assert_eq!(named(|_| ()), said("", 0, ""));
    let earlier: Change = |seen| seen.get_mut(&key("node2")).unwrap().guard = Some(GuardView { age: 0.0, state: None });
    assert_eq!(named(earlier), said("node2", 0, "guard-unknown"));
    let disabled: Change = |seen| seen.get_mut(&key("node3")).unwrap().guard = None;
    assert_eq!(named(disabled), said("node3", 0, ""));
    let stopped: Change = |seen| {
        seen.get_mut(&key("node1")).unwrap().failed_units.insert("hactl-lease-guard".into(), vec!["exit 1".into()]);
    };
    assert_eq!(named(stopped), said("node1", 1, ""));
}

#[test]
fn cluster_without_any_answer_has_no_quorum_and_no_leader() {
    let plan = plan();
    let mut seen = good(&plan);
    for view in seen.values_mut() {
        *view = NodeView::new(view.roles.clone(), Err(ProbeError::Other("no route".into())));
    }
    let health = diagnose(&plan, &seen);
    let found = codes(&health);
    assert!(found.contains(&("etcd-down", None)) && found.contains(&("no-leader", None)), "{found:?}");
    assert!(!health.etcd.healthy);
}

fn adopted() -> Plan {
    let text = b"adopted: true\nplatform: hosts\ninstances:\n  node1: {address: 10.0.0.1}\n  \
                 node2: {address: 10.0.0.2}\n  node3: {address: 10.0.0.3}\n";
    let mut plan = plan::decide(&spec::load("t.yaml", text, "t").unwrap(), &Choices::default()).unwrap();
    plan.patroni.durability = plan::Durability::QuorumStrict;
    for node in plan.nodes.values_mut() {
        node.roles.insert(Role::Etcd);
    }
    plan
}

fn noticed(health: &Health) -> Vec<&str> {
    health.notices.iter().map(|notice| notice.code.as_str()).collect()
}

#[test]
fn member_that_waits_for_a_restart_is_a_notice_with_what_to_run() {
    let plan = plan();
    let mut seen = good(&plan);
    patroni(&mut seen, LEADER).itself.pending_restart = true;
    let health = diagnose(&plan, &seen);
    assert!(health.is_healthy(), "{:?}", codes(&health));
    assert_eq!(noticed(&health), ["pending-restart"]);
    assert!(health.notices[0].hint.as_deref().unwrap().contains("hactl up"));
}

#[test]
fn configuration_findings_in_an_adopted_cluster_are_notices() {
    let mut plan = adopted();
    let mut seen = good(&plan);
    assert!(diagnose(&plan, &seen).is_healthy());
    seen.get_mut(&key(LEADER)).unwrap().without_tls = vec!["PostgreSQL (5432)".into()];
    postgres(&mut seen, LEADER).lowered.push("batch@".into());
    patroni(&mut seen, REPLICAS[0]).itself.pending_restart = true;
    plan.warnings.push(plan::Warning { code: "async".into(), message: "x".into(), hint: None });
    let health = diagnose(&plan, &seen);
    assert!(health.is_healthy(), "{:?}", codes(&health));
    assert_eq!(noticed(&health), ["pending-restart", "synchronous-commit-lowered", "without-tls", "async"]);
    // `hactl up` would be refused, so no hint names it.
    assert!(health.notices.iter().flat_map(|notice| &notice.hint).all(|hint| !hint.contains("hactl up")));
}

#[test]
fn cascading_replica_in_an_adopted_cluster_is_healthy() {
    let plan = adopted();
    let mut seen = good(&plan);
    let [first, second] = REPLICAS;
    postgres(&mut seen, LEADER).streaming.remove(second);
    assert_eq!(codes(&diagnose(&plan, &seen)), [("not-streaming", Some(second))]);
    postgres(&mut seen, first).streaming.insert(second.to_owned(), "async".to_owned());
    assert!(diagnose(&plan, &seen).is_healthy());
}

#[test]
fn unknown_members_and_other_dcs_of_an_adopted_cluster_are_reported() {
    let mut plan = adopted();
    let mut seen = good(&plan);
    let more = Member { name: "pg-4".into(), role: "replica".into(), state: "streaming".into(), ..Member::default() };
    patroni(&mut seen, LEADER).cluster.as_mut().unwrap().members.push(more);
    assert_eq!(codes(&diagnose(&plan, &seen)), [("member-unknown", None)]);
    let mut seen = good(&plan);
    plan.dcs = plan::Dcs::Other("consul".into());
    for (node, view) in plan.nodes.values_mut().zip(seen.values_mut()) {
        node.roles.remove(&Role::Etcd);
        view.etcd = None;
    }
    let health = diagnose(&plan, &seen);
    assert!(health.is_healthy() && health.etcd.healthy, "{:?}", codes(&health));
    assert_eq!(noticed(&health), ["dcs-not-etcd"]);
}

#[test]
fn machine_whose_library_sorts_in_another_version_is_a_notice_with_both_versions() {
    let plan = plan();
    let mut seen = good(&plan);
    let (database, made, found) = ("app".to_owned(), "2.36".to_owned(), "2.41".to_owned());
    postgres(&mut seen, "node2").collations = vec![CollationView { database, made, found }];
    let health = diagnose(&plan, &seen);
    assert!(health.is_healthy(), "{:?}", codes(&health));
    assert_eq!(noticed(&health), ["collation-version"]);
    let notice = &health.notices[0];
    assert_eq!(notice.node.as_deref(), Some("node2"));
    assert!(
        notice.message.contains("database `app`") && notice.message.contains("2.36") && notice.message.contains("2.41")
    );
}

#[test]
fn replica_that_streams_for_patroni_alone_is_reported_with_what_the_primary_sees() {
    let plan = plan();
    let mut seen = good(&plan);
    postgres(&mut seen, LEADER).streaming.remove("node3");
    every_member_list(&mut seen, |members| members[2].state = "streaming".into());
    let said = |seen: &Observations| diagnose(&plan, seen).problems[0].message.clone();
    assert_eq!(said(&seen), format!("Patroni reports `streaming`, but {LEADER} has no connection from it"));
    postgres(&mut seen, LEADER).senders.insert("node3".into(), "catchup".into());
    let sends = format!("{LEADER} sends to it in the state `catchup`");
    assert_eq!(said(&seen), format!("does not stream from {LEADER}: streaming; {sends}"));
}

#[test]
fn replay_lag_is_what_the_primary_tells_of_each_standby() {
    let plan = plan();
    let mut seen = good(&plan);
    let behind = ReplayLag { bytes: 4096, seconds: Some(1.5) };
    postgres(&mut seen, LEADER).replay.insert("node2".to_owned(), behind);
    postgres(&mut seen, "node3").replay.insert("node2".to_owned(), ReplayLag::default());
    let status = status(&plan, &diagnose(&plan, &seen), String::new(), None);
    let lags: Vec<_> = status.members.iter().map(|one| (one.replay_lag_bytes, one.replay_lag_seconds)).collect();
    assert_eq!(lags, [(None, None), (Some(4096), Some(1.5)), (None, None)]);
}

#[test]
fn machine_without_the_planned_firewall_is_a_notice_and_the_cluster_is_healthy() {
    let plan = plan();
    let noticed = |plan: &Plan, firewall: FirewallView| {
        let mut seen = good(plan);
        seen.get_mut(&key("node2")).unwrap().firewall = Some(firewall);
        let health = diagnose(plan, &seen);
        assert!(health.is_healthy(), "{:?}", health.problems);
        health.notices.into_iter().map(|notice| (notice.code, notice.node, notice.message)).collect::<Vec<_>>()
    };
    let off = |why: &str| {
        let message = format!("the ports of the cluster accept connections from every address: {why}");
        vec![("firewall-off".to_owned(), Some("node2".to_owned()), message)]
    };
    let loaded = FirewallView { loaded: true, ..FirewallView::default() };
    assert!(noticed(&plan, loaded.clone()).is_empty());
    assert_eq!(noticed(&plan, FirewallView::default()), off("the firewall is not loaded"));
    let unconfirmed = "no run has confirmed the firewall, and a timer removes it";
    assert_eq!(noticed(&plan, FirewallView { armed: true, ..loaded }), off(unconfirmed));
    let refused = FirewallView { refused: Some("Operation not supported".to_owned()), ..FirewallView::default() };
    assert_eq!(noticed(&plan, refused), off("Operation not supported"));
    assert!(noticed(&Plan { firewall: false, ..plan.clone() }, FirewallView::default()).is_empty());
}

#[test]
fn status_has_every_certificate_and_the_earliest_end() {
    let plan = plan();
    let mut health = diagnose(&plan, &good(&plan));
    let stamp = |day: &str| Stamp { not_after: format!("{day}T00:00:00Z").parse().unwrap(), sha256: [1; 32] };
    let served = |service, day| Served {
        service,
        served: Some(stamp(day)),
        file: Some(stamp(day)),
        authority: Some(stamp("2036-01-01")),
        at: "2027-01-01T00:00:00Z".parse().unwrap(),
    };
    let node2 = vec![served(TlsService::Postgresql, "2028-06-01")];
    health.add_certificates(
        &plan,
        BTreeMap::from([(key("node1"), Ok(vec![served(TlsService::Etcd, "2028-06-03")])), (key("node2"), Ok(node2))]),
    );
    let status = status(&plan, &health, "postgresql://".to_owned(), None);
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(
        json["certificates"],
        serde_json::json!([
            {"node": "node1", "service": "etcd", "not_after": "2028-06-03T00:00:00Z", "read": true},
            {"node": "node2", "service": "postgresql", "not_after": "2028-06-01T00:00:00Z", "read": true},
        ])
    );
    assert_eq!(json["authorities"][0]["not_after"], "2036-01-01T00:00:00Z");
    assert_eq!(status.earliest_end.as_deref(), Some("2028-06-01 (PostgreSQL on node2)"));
}
