//! What the clients of the poolers saw in rounds made by hand.

use super::*;
use crate::{
    model::EntryPoint,
    plan, spec,
    verify::{
        catalogue::{CATALOGUE, choose},
        fixture::{SECOND, history, libpq_client},
        libpq::Written,
    },
};

/// The fault at 20 s, in effect at 22 s for 5 s, reverted at 27 s.
const STRUCK: u64 = 20;
const SEEN: u64 = 22;

fn drill(title: &str) -> &'static Drill {
    choose(&[title.to_owned()]).unwrap()[0]
}

/// The clients of a round that passes: each writes every half second, but for `silent` seconds after the fault.
fn clients(silent: u64) -> Vec<LibpqClient> {
    let halves = || (0..120).map(|half| half * SECOND / 2);
    let times =
        |silent: u64| halves().filter(|at| !(STRUCK * SECOND..(STRUCK + silent) * SECOND).contains(at)).collect();
    vec![
        libpq_client(LibpqKind::Pooled, times(0)),
        libpq_client(LibpqKind::OnePooler, times(silent)),
        libpq_client(LibpqKind::Reconnects, times(silent)),
    ]
}

fn round() -> History {
    let at = |second: u64| Some(second * SECOND);
    History { struck: at(STRUCK), seen: at(SEEN), healed: at(27), redundant: at(28), ..history(Vec::new()) }
}

/// Why a round of `title` fails, with a bound of 9 s, or of 25 s for a pool that is held.
fn reasons(title: &str, clients: &[LibpqClient], lost: &[i64]) -> Vec<String> {
    let (drill, history) = (drill(title), round());
    let bound_ms = Some(if drill.fault == Fault::HoldPool { 25_000 } else { 9_000 });
    let (clients, hold) = (clients.iter().collect(), 5 * SECOND);
    PooledReview { drill, history: &history, clients, bound_ms, hold, lost: Some(lost) }.shortfalls("10.0.0.1")
}

#[test]
fn good_rounds_of_the_entry_point_pass() {
    for (title, silent) in [("pooler-crash", 3), ("proxy-crash", 8), ("pool-exhausted", 9)] {
        assert_eq!(reasons(title, &clients(silent), &[]), [""; 0], "{title}");
    }
}

#[test]
fn client_that_waits_longer_than_the_bound_fails_the_round() {
    // From 19.5 s on.
    assert_eq!(
        reasons("pooler-crash", &clients(9), &[]),
        [
            "psql that knows one pooler had no acknowledgement for 9.5 s; the bound is 9.0 s",
            "psql that connects for each transaction had no acknowledgement for 9.5 s; the bound is 9.0 s",
        ]
    );
    // One that never wrote again waits until the end of the round.
    let mut gone = clients(3);
    gone[0].written.retain(|written| written.at < STRUCK * SECOND);
    assert_eq!(
        reasons("proxy-crash", &gone, &[]),
        ["psql with every pooler in its connection string had no acknowledgement for 40.5 s; the bound is 9.0 s"]
    );
}

#[test]
fn client_that_was_elsewhere_or_did_not_write_before_the_fault_proves_nothing() {
    let mut elsewhere = clients(3);
    for written in &mut elsewhere[0].written {
        written.through = "10.0.0.2".to_owned();
    }
    assert_eq!(
        reasons("pooler-crash", &elsewhere, &[]),
        [
            "psql with every pooler in its connection string wrote through 10.0.0.2 before the fault, not through 10.0.0.1"
        ]
    );
    // After the fault it may be anywhere.
    let mut moved = clients(3);
    for written in moved[0].written.iter_mut().filter(|written| written.at > STRUCK * SECOND) {
        written.through = "10.0.0.2".to_owned();
    }
    assert_eq!(reasons("pooler-crash", &moved, &[]), [""; 0]);
    let mut late = clients(3);
    late[2].written.retain(|written| written.at >= 19 * SECOND + SECOND / 2);
    assert_eq!(
        reasons("pooler-crash", &late, &[]),
        ["psql that connects for each transaction wrote too seldom before the fault: 1 of at least 3 times"]
    );
}

#[test]
fn errors_are_allowed_where_a_program_dies_and_not_where_a_pool_is_held() {
    let mut failing = clients(3);
    let failure = |at: u64, reason: &str| Failure { at: at * SECOND, reason: reason.to_owned() };
    failing[1].failed = vec![failure(19, "before the fault"), failure(24, "query_wait_timeout\nmore")];
    failing[2].failed = vec![failure(23, "server closed the connection\nunexpectedly")];
    for title in ["pooler-crash", "proxy-crash"] {
        assert_eq!(reasons(title, &failing, &[]), [""; 0], "{title}");
    }
    let mut held = clients(9);
    held[1].failed = failing[1].failed.clone();
    held[2].failed = failing[2].failed.clone();
    assert_eq!(
        reasons("pool-exhausted", &held, &[]),
        ["2 transactions failed instead of waiting; the first: psql that connects for each transaction at 23.0 s: \
          server closed the connection"]
    );
}

#[test]
fn pool_that_serves_a_new_client_was_not_exhausted() {
    let with = |at: Micros, kind: usize| {
        let mut clients = clients(9);
        clients[kind].written.push(Written { at, transaction: 9, through: "10.0.0.1".to_owned() });
        clients[kind].written.sort_by_key(|written| written.at);
        reasons("pool-exhausted", &clients, &[])
    };
    for at in [SEEN * SECOND, 27 * SECOND] {
        assert_eq!(with(at, 2), [format!("the pool was not exhausted: a new client was served at {}", seconds(at))]);
    }
    // Before the pool was full and after it was released; and a client in session mode that keeps its connection.
    for (at, kind) in [(SEEN * SECOND - 1, 2), (27 * SECOND + 1, 2), (25 * SECOND, 1)] {
        assert_eq!(with(at, kind), [""; 0], "{at}");
    }
}

#[test]
fn lost_transaction_fails_the_round() {
    assert_eq!(
        reasons("proxy-crash", &clients(3), &[7_001, 7_009]),
        ["2 transactions acknowledged through the poolers, but not committed on the primary; the first: 7001"]
    );
}

#[test]
fn summary_counts_from_the_fault_on() {
    let history = round();
    let mut all = clients(3);
    let failure = |at: u64| Failure { at: at * SECOND, reason: String::new() };
    all[1].failed = vec![failure(19), failure(21), failure(22)];
    let review = |clients, lost| PooledReview {
        drill: drill("node-loss"),
        history: &history,
        clients,
        bound_ms: None,
        hold: 0,
        lost,
    };
    let found = review(all.iter().collect(), None).summary().unwrap();
    // 80 half seconds, less the 6 in which two of them are silent.
    let acknowledged = 80 + 74 + 74;
    let expected = PooledClients { attempted: acknowledged + 2, failed: 2, lost: None, gap_ms: 3_500, bound_ms: None };
    assert_eq!(found, expected);
    assert_eq!(review(all.iter().collect(), Some(&[1])).summary().unwrap().lost, Some(1));
    assert_eq!(review(Vec::new(), None).summary(), None);
}

#[test]
fn bound_follows_from_the_units_and_stays_below_the_timeout_of_pgbouncer() {
    let file = "instances: {a: {}, b: {}, c: {}}\nendpoint: {}\n";
    let plan = plan::decide(&spec::load("t", file.as_bytes(), "t").unwrap(), &plan::Choices::default()).unwrap();
    let bound = |title: &str| bound_ms(drill(title), &plan);
    assert_eq!([bound("pooler-crash"), bound("proxy-crash")], [Some(6_000), Some(10_000)]);
    assert_eq!(bound("pool-exhausted"), Some(25_000));
    // `query_wait_timeout` is longer than a switchover may hold clients back.
    assert!(EntryPoint::longest_hold(&plan.patroni.timers) > 25);
    for drill in CATALOGUE {
        assert_eq!(bound_ms(drill, &plan).is_some(), drill.is_through_poolers(), "{}", drill.title());
    }
}
