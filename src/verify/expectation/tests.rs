//! Every reason for which a round fails, one at a time.

use super::*;
use crate::{
    model::Choices,
    plan, spec,
    verify::{
        catalogue::{CATALOGUE, choose},
        fixture::{SECOND, acknowledged, attempt, history, leader_key, row, sample},
        history::{Disconnect, Outcome, Rows, Server},
        oracle::judge,
        verdict::Counts,
    },
};

const PRIMARY: u16 = 0;

fn drill(title: &str) -> &'static Drill {
    choose(&[title.to_owned()]).unwrap()[0]
}

/// A round that passes: writes each second, the fault at 20 s. Where another node has to take over, the second node
/// does at 30 s.
fn good(drill: &Drill) -> History {
    let moves = drill.new_leader == Expect::Must;
    let writes = (0..60).filter(|second| !(moves && (20..30).contains(second)));
    let mut history = history(
        writes
            .flat_map(|second| [second * SECOND, second * SECOND + SECOND / 2])
            .zip(1..)
            .map(|(at, seq)| {
                let (node, timeline) = if moves && at > 20 * SECOND { (1, 2) } else { (0, 1) };
                acknowledged(row(0, seq), [at, at + 1], node, timeline)
            })
            .collect(),
    );
    history.attempts.push(acknowledged(row(1, 1), [SECOND, 2 * SECOND], 0, 1));
    for client in [2, 3] {
        history.attempts.push(attempt(row(client, 1), [SECOND, 2 * SECOND], None, Outcome::Failed));
    }
    let holder = if moves { "node2" } else { "node1" };
    history.samples = vec![sample(SECOND, 0, false, 1), sample(SECOND, 1, true, 1)];
    let failsafe = Some(drill.failsafe);
    history.samples.push(Sample { failsafe, ..sample(25 * SECOND, 0, moves, 1) });
    history.leader_keys =
        vec![leader_key(SECOND, Some("node1")), leader_key(25 * SECOND, None), leader_key(31 * SECOND, Some(holder))];
    let marks = [20, 21, 40, 50].map(|second| Some(second * SECOND));
    [history.struck, history.seen, history.healed, history.redundant] = marks;
    history
}

fn reasons(drill: &Drill, history: &History) -> Vec<String> {
    shortfalls(drill, Durability::QuorumStrict, history, &Judgement::default(), PRIMARY, [Some(12_000), None])
}

/// The only reason for which a good round of `title` fails once `change` was made.
fn reason(title: &str, change: impl Fn(&mut History)) -> String {
    let drill = drill(title);
    let mut history = good(drill);
    change(&mut history);
    let mut reasons = reasons(drill, &history);
    assert_eq!(reasons.len(), 1, "{title}: {reasons:?}");
    reasons.remove(0)
}

#[test]
fn good_round_of_every_drill_passes() {
    for drill in CATALOGUE {
        assert_eq!(reasons(drill, &good(drill)), Vec::<String>::new(), "{}", drill.title());
    }
}

#[test]
fn round_without_injected_or_visible_fault_fails() {
    let said = reason("etcd-leader-loss", |history| history.seen = None);
    assert_eq!(said, "the fault was injected, but its effect did not show: etcd has another leader");
    let said = reason("etcd-leader-loss", |history| history.struck = None);
    assert_eq!(said, "the fault was not injected");
}

#[test]
fn round_with_a_small_baseline_is_void() {
    let keep = |count: usize| {
        move |history: &mut History| {
            let mut left = count;
            history.attempts.retain(|attempt| {
                let before = attempt.row.client == 0 && attempt.done <= 20 * SECOND;
                left -= usize::from(before && left > 0);
                !before || left > 0
            });
            history.attempts.push(acknowledged(row(0, 0), [20 * SECOND, 20 * SECOND], 0, 1));
        }
    };
    let said = reason("switchover", keep(BASELINE - 1));
    assert_eq!(said, "the baseline is too small: 19 writes were acknowledged before the fault, at least 20 are needed");
    let drill = drill("switchover");
    let mut history = good(drill);
    keep(BASELINE)(&mut history);
    assert_eq!(reasons(drill, &history), Vec::<String>::new());
    // Pinned clients are no baseline.
    let said = reason("switchover", |history| {
        history.attempts.retain(|attempt| attempt.row.client != 0 || attempt.done > 19 * SECOND);
        history.attempts.extend((2..90).map(|seq| acknowledged(row(1, seq), [1, 1], 0, 1)));
    });
    assert!(said.contains("2 writes were acknowledged before"), "{said}");
}

#[test]
fn node_without_a_writing_pinned_client_fails_the_round() {
    let expected = "no client pinned to node3 wrote, so the round cannot show whether node3 was fenced";
    let silent = |history: &mut History| history.attempts.retain(|attempt| attempt.row.client != 3);
    assert_eq!(reason("switchover", silent), expected);
    let absent = |history: &mut History| history.clients.retain(|client| client.id != 3);
    assert_eq!(reason("switchover", absent), expected);
}

#[test]
fn wrong_rows_are_counted_and_the_first_row_is_named() {
    let drill = drill("node-loss");
    let of = |counts: Counts, judgement: Judgement| {
        let judgement = Judgement { counts, ..judgement };
        shortfalls(drill, Durability::Quorum, &good(drill), &judgement, PRIMARY, [None; 2])
    };
    let none = Judgement::default;
    let example = || vec![row(2, 7)];
    assert_eq!(
        of(Counts { lost: 12, ..Counts::default() }, Judgement { lost: example(), ..none() }),
        ["12 rows acknowledged, but not on the primary; the first: row 7 of client 2"]
    );
    assert_eq!(
        of(Counts { unexpected: 1, ..Counts::default() }, Judgement { unexpected: example(), ..none() }),
        ["1 row on the primary, but never attempted or known to have failed; the first: row 7 of client 2"]
    );
    assert_eq!(
        of(Counts { duplicated: 2, ..Counts::default() }, Judgement { duplicated: example(), ..none() }),
        ["2 rows more than once on the primary; the first: row 7 of client 2"]
    );
    let differing = vec![Difference { node: 2, row: row(2, 7), on_primary: 1, on_replica: 0 }];
    assert_eq!(
        of(Counts { differing: 1, ..Counts::default() }, Judgement { differing, ..none() }),
        ["1 row more or less often on a replica than on the primary; the first: row 7 of client 2, \
          1 times on the primary and 0 times on node3"]
    );
    let one = |sent, node, timeline| Acknowledgement {
        sent: sent * SECOND,
        done: sent * SECOND + SECOND / 10,
        row: row(node, 7),
        server: Server { node, timeline },
    };
    let split_brain = vec![SplitBrain { old: one(40, 0, 1), new: one(30, 1, 2) }];
    assert_eq!(
        of(Counts { split_brain: 1, ..Counts::default() }, Judgement { split_brain, ..none() }),
        ["split brain: 1 acknowledgement in conflict with another; the first: \
          row 7 of client 0 on node1, timeline 1, sent at 40.0 s and acknowledged at 40.1 s; \
          row 7 of client 1 on node2, timeline 2, sent at 30.0 s and acknowledged at 30.1 s"]
    );
    assert_eq!(
        of(Counts::default(), Judgement { unread: vec![2, 9], ..none() }),
        ["the rows on node3 were not read", "the rows on an unknown machine were not read"]
    );
    // Counts alone are enough.
    let counts = Counts { lost: 1, unexpected: 1, duplicated: 1, differing: 1, split_brain: 1, ..Counts::default() };
    assert_eq!(of(counts, none()).len(), 5);
}

#[test]
fn loss_that_the_durability_allows_is_not_a_failure() {
    let judgement = Judgement { counts: Counts { lost: 1, ..Counts::default() }, ..Judgement::default() };
    let fails = |title: &str, durability| {
        let drill = drill(title);
        !shortfalls(drill, durability, &good(drill), &judgement, PRIMARY, [None; 2]).is_empty()
    };
    assert!(!fails("node-loss", Durability::Async));
    assert!(fails("switchover", Durability::Async));
    assert!(fails("etcd-leader-loss", Durability::Async));
    assert!(fails("node-loss", Durability::Quorum));
    assert!(fails("node-loss", Durability::QuorumStrict));
}

#[test]
fn oracle_judgement_gives_the_expected_shortfalls() {
    let drill = drill("node-loss");
    let history = good(drill);
    let mut written: Vec<_> = history.attempts.iter().filter(|one| one.outcome == Outcome::Acknowledged).collect();
    written.sort_by_key(|attempt| attempt.row);
    let found: Vec<_> = written.iter().map(|attempt| attempt.row).collect();
    let judged = |rows: &[_]| {
        let rows = Rows { primary: 1, on: (0..3).map(|node| (node, rows.to_vec())).collect() };
        shortfalls(drill, Durability::Quorum, &history, &judge(&history, &rows).unwrap(), PRIMARY, [Some(12_000), None])
    };
    assert_eq!(judged(&found), Vec::<String>::new());
    assert_eq!(judged(&found[1..]), ["1 row acknowledged, but not on the primary; the first: row 1 of client 0"]);
}

/// The same node writes all the time.
fn stays(history: &mut History) {
    for attempt in &mut history.attempts {
        attempt.server = attempt.server.map(|_| Server { node: 0, timeline: 2 });
    }
    history.attempts.push(acknowledged(row(0, 0), [0, 0], 0, 1));
}

#[test]
fn missing_new_leader_or_redundancy_fails_the_round() {
    assert_eq!(reason("node-loss", stays), "no other member became the primary");
    let seen = |history: &mut History| {
        stays(history);
        history.samples.push(sample(29 * SECOND, 1, false, 2));
        history.redundant = None;
    };
    assert_eq!(reason("node-loss", seen), "redundancy was not restored: not every member streamed again");
}

#[test]
fn unexpected_new_leader_fails_the_round() {
    let promoted = |history: &mut History| history.samples.push(sample(30 * SECOND, 2, false, 1));
    assert_eq!(
        reason("etcd-leader-loss", promoted),
        "node3 became the primary, but node1 should have stayed the primary"
    );
    let wrote = |history: &mut History| {
        history.attempts.push(acknowledged(row(3, 2), [30 * SECOND, 31 * SECOND], 2, 1));
    };
    assert_eq!(reason("etcd-leader-loss", wrote), "node3 became the primary, but node1 should have stayed the primary");
    for at in [20, 30] {
        let locked = |history: &mut History| history.leader_keys.push(leader_key(at * SECOND, Some("node2")));
        assert_eq!(reason("etcd-leader-loss", locked), "node2 took the leader key");
        let demoted = |history: &mut History| {
            history.samples.extend([sample(40 * SECOND, 0, true, 1), sample(at * SECOND, 0, true, 1)]);
        };
        let said = reason("etcd-leader-loss", demoted);
        assert_eq!(said, format!("node1 was demoted: it was in recovery at {at}.0 s"));
    }
    // The fault did not cause what happened before it.
    let drill = drill("etcd-leader-loss");
    let mut history = good(drill);
    history.samples.extend([sample(19 * SECOND, 0, true, 1), sample(19 * SECOND, 1, false, 1)]);
    history.leader_keys.push(leader_key(19 * SECOND, Some("node2")));
    assert_eq!(reasons(drill, &history), Vec::<String>::new());
}

#[test]
fn missing_or_unexpected_new_timeline_fails_the_round() {
    let same = |history: &mut History| {
        for attempt in &mut history.attempts {
            attempt.server = attempt.server.map(|server| Server { timeline: 1, ..server });
        }
    };
    assert_eq!(reason("node-loss", same), "no new timeline began: the timeline is still 1");
    let spoken = |history: &mut History| history.samples.push(sample(30 * SECOND, 1, true, 3));
    assert_eq!(reason("etcd-leader-loss", spoken), "timeline 3 began, but timeline 1 should have continued");
    let written = |history: &mut History| {
        history.attempts.push(acknowledged(row(0, 0), [30 * SECOND, 30 * SECOND], 0, 2));
    };
    assert_eq!(reason("etcd-leader-loss", written), "timeline 2 began, but timeline 1 should have continued");
    let drill = drill("postgres-crash");
    let mut history = good(drill);
    spoken(&mut history);
    assert_eq!(reasons(drill, &history), Vec::<String>::new(), "it may");
}

#[test]
fn round_without_active_failsafe_mode_fails() {
    let expected = "Patroni on node1 never reported an active failsafe mode";
    let never = |history: &mut History| history.samples.iter_mut().for_each(|sample| sample.failsafe = Some(false));
    assert_eq!(reason("primary-cut-from-etcd", never), expected);
    let unknown = |history: &mut History| history.samples.iter_mut().for_each(|sample| sample.failsafe = None);
    assert_eq!(reason("etcd-quorum-loss", unknown), expected);
    let another = |history: &mut History| {
        unknown(history);
        history.samples.push(Sample { failsafe: Some(true), ..sample(30 * SECOND, 1, true, 1) });
        history.samples.push(Sample { failsafe: Some(true), ..sample(20 * SECOND, 0, false, 1) });
    };
    assert_eq!(reason("primary-cut-from-etcd", another), expected, "another node, and too early");
    let drill = drill("primary-cut-from-etcd");
    let mut history = good(drill);
    history.samples.iter_mut().for_each(|sample| sample.failsafe = None);
    history.samples.push(Sample { failsafe: Some(true), ..sample(21 * SECOND, 0, false, 1) });
    assert_eq!(reasons(drill, &history), Vec::<String>::new());
}

#[test]
fn write_gap_above_the_bound_fails_the_round() {
    let drill = drill("node-loss");
    let history = good(drill);
    let bounded =
        |bound| shortfalls(drill, Durability::Quorum, &history, &Judgement::default(), PRIMARY, [bound, None]);
    // From 19.5 to 30 s.
    assert_eq!(bounded(Some(10_499)), ["no write was acknowledged for 10.5 s; the bound is 10.5 s"]);
    assert_eq!(bounded(Some(9_000)), ["no write was acknowledged for 10.5 s; the bound is 9.0 s"]);
    assert_eq!(bounded(Some(10_500)), Vec::<String>::new());
    assert_eq!(bounded(None), Vec::<String>::new());
}

#[test]
fn round_that_ends_without_writes_fails() {
    let until = |last: u64| move |history: &mut History| history.attempts.retain(|attempt| attempt.done <= last);
    let said = reason("etcd-leader-loss", until(57 * SECOND + SECOND / 2 + 1));
    assert_eq!(said, "writes did not resume: no write was acknowledged in the last 2.5 s of the round");
    let drill = drill("etcd-leader-loss");
    let mut history = good(drill);
    until(58 * SECOND + 1)(&mut history);
    history.ended = 60 * SECOND + 1;
    assert_eq!(reasons(drill, &history), Vec::<String>::new());
    // A second, shorter gap counts, too.
    let said = reason("node-loss", until(55 * SECOND + 1));
    assert_eq!(said, "writes did not resume: no write was acknowledged in the last 5.0 s of the round");
}

#[test]
fn bound_of_a_drill_comes_from_the_plan() {
    let of = |title: &str, text: &str| {
        let spec = spec::load("t", text.as_bytes(), "t").unwrap_or_else(|_| panic!("{text}"));
        bound_ms(drill(title), &plan::decide(&spec, &Choices::default()).unwrap())
    };
    let three = "instances: {a: , b: , c: }\npatroni: {timers: {ttl: 20, loop_wait: 5, retry_timeout: 5}}";
    let two = "instances: {a: , b: }\npatroni: {timers: {ttl: 20, loop_wait: 5, retry_timeout: 5}}";
    assert_eq!(of("node-loss", three), Some(35_000));
    assert_eq!(of("patroni-hang", three), Some(32_000));
    assert_eq!(of("etcd-leader-loss", three), Some(8_000));
    assert_eq!(of("cluster-power-off", three), Some(95_000));
    assert_eq!(of("cluster-power-off", two), Some(95_000));
    // The fault stays for 30 s, and postgres-crash takes 52 s.
    assert_eq!(of("disk-full", three), Some(82_000));
    assert_eq!(of("node-loss", two), None);
    assert_eq!(of("cluster-power-off", "instances: {a: }"), None);
}

#[test]
fn crash_within_the_bound_fails_what_must_not_interrupt() {
    let restarted = |history: &mut History| {
        history.samples.push(Sample { postmaster_started: Some(1), ..sample(19 * SECOND, PRIMARY, false, 1) });
        history.samples.push(Sample { postmaster_started: Some(2), ..sample(24 * SECOND, PRIMARY, false, 1) });
    };
    let said = reason("patroni-crash/restart", restarted);
    assert_eq!(said, "PostgreSQL on node1 was restarted: another postmaster answered at 24.0 s");
    let lost = |at: u64, node: u16| Disconnect { at: at * SECOND, client: 0, node, reason: "terminated".into() };
    let said = reason("primary-cut-from-etcd", |history| {
        history.disconnects = vec![lost(19, 0), lost(22, 1), lost(23, 0), lost(24, 0)];
    });
    assert_eq!(said, "node1 ended 2 sessions; the first: of client 0 at 23.0 s: terminated");
    // The kernel kills a backend, and sessions end; the postmaster has to survive it.
    assert!(reason("oom-backend", restarted).starts_with("PostgreSQL on node1 was restarted"));
    let ended = good(drill("oom-backend"));
    let ended = History { disconnects: vec![lost(23, 0)], ..ended };
    assert_eq!(reasons(drill("oom-backend"), &ended), Vec::<String>::new());
    // A drill that kills the server expects both.
    let crash = drill("postgres-crash");
    let mut history = good(crash);
    restarted(&mut history);
    history.disconnects = vec![lost(23, 0)];
    assert_eq!(reasons(crash, &history), Vec::<String>::new());
}

#[test]
fn gap_within_the_bound_and_above_the_limit_fails() {
    let drill = drill("switchover");
    let judged = |limit| {
        let judgement = Judgement::default();
        shortfalls(drill, Durability::QuorumStrict, &good(drill), &judgement, PRIMARY, [Some(12_000), Some(limit)])
    };
    assert_eq!(
        judged(5_000),
        ["no write was acknowledged for 10.5 s; `verify.limits` of the cluster file allows 5.0 s"]
    );
    assert_eq!(judged(11_000), [""; 0]);
}
