//! Times of histories made by hand.

use super::*;
use crate::verify::{
    fixture::{SECOND, acknowledged, attempt, history, leader_key, libpq_client, row, sample},
    history::{LeaderKey, Sample},
};

/// A history in which client 0 was acknowledged at these times, in seconds, by the first node on timeline 1.
fn writing(times: &[u64]) -> History {
    let at = |time: &u64| [time * SECOND, time * SECOND];
    history((1..).zip(times).map(|(seq, time)| acknowledged(row(0, seq), at(time), 0, 1)).collect())
}

fn struck(times: &[u64], at: u64) -> History {
    History { struck: Some(at * SECOND), ..writing(times) }
}

/// From, to, and whether it ended, in seconds.
fn gap(history: &History) -> Option<(u64, u64, bool)> {
    write_gap(history).map(|gap| (gap.from / SECOND, gap.to / SECOND, gap.ended))
}

#[test]
fn write_gap_is_the_longest_time_without_an_acknowledgement() {
    let table = [
        // Before the fault counts only its last second.
        (struck(&[1, 10, 11, 30, 59], 11), (30, 59, true)),
        (struck(&[1, 10, 40, 59], 30), (40, 59, true)),
        (struck(&[1, 50], 30), (29, 50, true)),
        // Of equals the first; one that ended before one that did not.
        (struck(&[20, 30, 40, 50], 21), (20, 30, true)),
        (struck(&[20, 40], 21), (20, 40, true)),
        // The round ended it.
        (struck(&[20, 30], 21), (30, 60, false)),
        (struck(&[5], 21), (20, 60, false)),
        (struck(&[], 21), (20, 60, false)),
        // A fault within the first second, and no fault at all: from the beginning, and from the first write.
        (History { struck: Some(1), ..writing(&[40, 59]) }, (0, 40, true)),
        (writing(&[30, 59]), (30, 59, true)),
        (writing(&[30, 40]), (40, 60, false)),
        // An acknowledgement may arrive when the clients are already stopping.
        (struck(&[20, 61], 21), (20, 61, true)),
        (struck(&[61], 61), (60, 61, true)),
    ];
    for (history, expected) in table {
        let times: Vec<Micros> = history.attempts.iter().map(|attempt| attempt.done / SECOND).collect();
        assert_eq!(gap(&history), Some(expected), "{times:?} {:?}", history.struck);
    }
    assert_eq!(gap(&writing(&[])), None);
}

#[test]
fn gap_length_is_the_difference_of_its_ends() {
    assert_eq!(Gap { from: 3, to: 10, ended: true }.length(), 7);
}

#[test]
fn write_gap_ignores_attempt_order_and_pinned_clients() {
    let mut history = struck(&[20, 25, 50], 21);
    // Pinned, in doubt, failed: none of these ends a gap.
    history.attempts.insert(0, acknowledged(row(1, 1), [30 * SECOND, 31 * SECOND], 0, 1));
    let server = Some(Server { node: 0, timeline: 1 });
    for (seq, outcome) in [(91, Outcome::InDoubt), (92, Outcome::Failed)] {
        history.attempts.push(attempt(row(0, seq), [35 * SECOND, 36 * SECOND], server, outcome));
    }
    assert_eq!(gap(&history), Some((25, 50, true)));
    history.attempts.reverse();
    assert_eq!(gap(&history), Some((25, 50, true)));
    // Completion is what counts.
    history.attempts.push(acknowledged(row(0, 93), [26 * SECOND, 45 * SECOND], 0, 1));
    assert_eq!(gap(&history), Some((25, 45, true)));
}

#[test]
fn silence_is_the_time_from_the_last_write_to_the_end() {
    let mut history = writing(&[50, 20]);
    assert_eq!(silence(&history), 10 * SECOND);
    history.attempts.push(acknowledged(row(2, 1), [55 * SECOND, 55 * SECOND], 1, 1));
    assert_eq!(silence(&history), 10 * SECOND);
    assert_eq!(silence(&writing(&[])), 60 * SECOND);
    assert_eq!(silence(&writing(&[61])), 0);
}

fn keys(keys: &[(u64, Option<&str>)]) -> Vec<LeaderKey> {
    keys.iter().map(|(at, holder)| leader_key(at * SECOND, *holder)).collect()
}

fn samples(samples: &[(u64, u16, bool, u32)]) -> Vec<Sample> {
    samples.iter().map(|(at, node, recovering, timeline)| sample(at * SECOND, *node, *recovering, *timeline)).collect()
}

#[test]
fn phases_are_measured_in_milliseconds_since_the_fault() {
    let mut history = struck(&[10, 19, 45, 46], 20);
    history.seen = Some(20 * SECOND + 1_999);
    history.healed = Some(47 * SECOND);
    history.redundant = Some(55 * SECOND);
    history.leader_keys = keys(&[(19, None), (44, Some("node2")), (40, None), (21, Some("node1"))]);
    let recovering = [(19, 1, false, 1), (30, 1, true, 1), (31, 0, false, 1), (44, 2, false, 2), (43, 1, false, 2)];
    history.samples = samples(&recovering);
    let expected = Phases {
        effect: Some(1),
        lock_lost: Some(20_000),
        promoted: Some(23_000),
        first_write: Some(25_000),
        healed: Some(27_000),
        redundant: Some(35_000),
    };
    assert_eq!(phases(&history, 0), expected);
    // The moment of the fault counts as after the fault.
    history.leader_keys = keys(&[(20, Some("node2"))]);
    history.samples = samples(&[(20, 1, false, 2)]);
    let at_once = Phases { lock_lost: Some(0), promoted: Some(0), ..expected };
    assert_eq!(phases(&history, 0), at_once);
}

#[test]
fn missing_event_has_no_phase() {
    let mut history = struck(&[10, 20], 20);
    history.leader_keys = keys(&[(30, Some("node1"))]);
    history.samples = samples(&[(30, 0, false, 1), (30, 1, true, 1)]);
    assert_eq!(phases(&history, 0), Phases::default(), "the last gap is open");
    history.struck = None;
    history.seen = Some(1);
    assert_eq!(phases(&history, 0), Phases::default());
}

#[test]
fn write_gap_that_ended_before_the_fault_has_no_first_write() {
    let times: Vec<u64> = [18].into_iter().chain(20..60).collect();
    let mut history = struck(&times, 19);
    assert_eq!((gap(&history), phases(&history, 0).first_write), (Some((18, 20, true)), Some(1_000)));
    history.struck = Some(20 * SECOND + 1);
    assert_eq!(gap(&history), Some((20, 21, true)));
    history.attempts.retain(|attempt| attempt.done != 20 * SECOND);
    let often = (0..400).map(|seq| 20 * SECOND - SECOND / 10 + seq * SECOND / 10);
    history.attempts.extend((100..).zip(often).map(|(seq, at)| acknowledged(row(0, seq), [at, at], 0, 1)));
    assert_eq!(phases(&history, 0).first_write, None);
}

#[test]
fn write_rate_is_measured_before_the_fault() {
    let mut history = struck(&[2, 3, 4, 6, 7], 6);
    history.attempts.push(acknowledged(row(1, 1), [5 * SECOND, 5 * SECOND], 0, 1));
    history.attempts.push(attempt(row(2, 1), [5 * SECOND, 5 * SECOND], None, Outcome::Failed));
    assert_eq!(rate(&history), 1.25, "5 writes from 2 s to 6 s");
    history.struck = None;
    assert_eq!(rate(&history), 6.0 / 58.0);
    assert_eq!(rate(&writing(&[])), 0.0);
    assert_eq!(rate(&struck(&[7], 7)), 0.0);
    assert_eq!(rate(&struck(&[9], 7)), 0.0);
}

#[test]
fn last_leader_after_the_fault_is_the_new_primary() {
    let taken = |node, at: u64| acknowledged(row(0, 100 + at), [at * SECOND, at * SECOND], node, 2);
    let mut history = struck(&[10, 20], 20);
    assert_eq!(new_primary(&history), None);
    history.attempts.push(taken(0, 50));
    assert_eq!(new_primary(&history), None, "the same again");
    history.attempts.extend([taken(2, 40), taken(1, 30)]);
    assert_eq!(new_primary(&history), Some(2));
    assert_eq!(taken_over(&history, 2), Some(0), "of another's point of view");
    history.samples = samples(&[(41, 1, false, 2), (45, 2, true, 2), (19, 1, true, 1)]);
    assert_eq!(new_primary(&history), Some(1));
    history.struck = None;
    assert_eq!((new_primary(&history), taken_over(&history, 0)), (None, None));
    // Without a write, the roles that the nodes reported show which of them led.
    let mut history = struck(&[], 20);
    history.samples = samples(&[(20, 1, false, 1), (15, 0, false, 1), (30, 2, false, 2)]);
    assert_eq!(new_primary(&history), Some(2));
    history.samples = samples(&[(30, 2, false, 2)]);
    assert_eq!((new_primary(&history), taken_over(&history, 0)), (None, Some(2)));
    // The moment of the fault counts as before the fault.
    history.samples = samples(&[(20, 2, false, 2)]);
    assert_eq!(taken_over(&history, 0), None);
}

#[test]
fn timelines_are_the_first_and_last_seen() {
    let mut history = writing(&[20]);
    history.samples = samples(&[(10, 0, false, 4), (9, 1, true, 3), (50, 1, true, 5)]);
    assert_eq!(timelines(&history), [Some(1); 2]);
    history.attempts.insert(0, acknowledged(row(0, 7), [30 * SECOND, 31 * SECOND], 1, 2));
    assert_eq!(timelines(&history), [Some(1), Some(2)]);
    history.attempts.clear();
    assert_eq!(timelines(&history), [Some(3), Some(5)]);
    history.samples.clear();
    assert_eq!(timelines(&history), [None; 2]);
}

#[test]
fn spread_has_a_percentile_from_twenty_values() {
    let of = |min, median, max, p95| Some(Spread { min, median, max, p95 });
    assert_eq!(spread(&[]), None);
    assert_eq!(spread(&[7]), of(7, 7, 7, None));
    assert_eq!(spread(&[9, 1]), of(1, 5, 9, None));
    assert_eq!(spread(&[1, 2]), of(1, 2, 2, None), "1.5 is rounded up");
    assert_eq!(spread(&[30, 10, 20]), of(10, 20, 30, None));
    let numbers = |count: u64| (1..=count).rev().collect::<Vec<_>>();
    assert_eq!(spread(&numbers(19)), of(1, 10, 19, None));
    assert_eq!(spread(&numbers(20)), of(1, 11, 20, Some(19)));
    assert_eq!(spread(&numbers(21)), of(1, 11, 21, Some(20)));
    assert_eq!(spread(&numbers(100)), of(1, 51, 100, Some(95)));
    assert_eq!(spread(&[u64::MAX, u64::MAX - 2]), of(u64::MAX - 2, u64::MAX - 1, u64::MAX, None));
}

#[test]
fn loss_bound_without_loss_shrinks_with_the_rounds() {
    let table = [(0, 1.0), (1, 0.95), (3, 0.6316), (20, 0.1391), (100, 0.0295), (300, 0.0099)];
    for (rounds, expected) in table {
        assert!((loss_bound(rounds) - expected).abs() < 0.0001, "{rounds}: {}", loss_bound(rounds));
    }
}

#[test]
fn the_last_client_to_write_again_counts_and_psql_is_one_of_them() {
    let times = |times: &[u64]| times.iter().map(|time| time * SECOND).collect::<Vec<_>>();
    let every = |seconds: std::ops::Range<u64>| seconds.map(|second| second * SECOND).collect::<Vec<_>>();
    let mut history = struck(&[], 20);
    history.clients = (0..3).map(|id| crate::verify::history::Client { id, pinned: (id == 2).then_some(0) }).collect();
    let write = |client: u16, at: u64, seq: u64| acknowledged(row(client, seq), [at * SECOND, at * SECOND], 0, 1);
    // Client 0 was interrupted until 31 s, client 1 until 33 s; the pinned client 2 does not count.
    let seconds = (0..60).filter(|second| !(20..31).contains(second));
    history.attempts = seconds.clone().map(|second| write(0, second, second)).collect();
    history
        .attempts
        .extend(seconds.filter(|second| *second >= 33 || *second < 20).map(|second| write(1, second, second)));
    let writing = |times| libpq_client(LibpqKind::Writes, times);
    let pooled = |times| libpq_client(LibpqKind::Pooled, times);
    let idle = |woken: u64, times| LibpqClient { woken: Some(woken * SECOND), ..libpq_client(LibpqKind::Idle, times) };
    let found = recovery(&history, &[]);
    assert_eq!(found, Recovery { last: Some(13_000), ..Recovery::default() });
    let busy = [every(0..20), every(36..60)].concat();
    let found = recovery(&history, &[writing(busy.clone()), idle(31, times(&[1, 34, 40]))]);
    assert_eq!(found, Recovery { last: Some(16_000), libpq: Some(16_000), idle: Some(14_000), pooled: None });
    // The time in which it was idle on purpose is no interruption.
    assert_eq!(recovery(&history, &[idle(50, vec![SECOND, 50 * SECOND + 1])]).idle, None);
    // The poolers' client is one of those that have to recover.
    let found = recovery(&history, &[pooled(busy.clone())]);
    assert_eq!(found, Recovery { last: Some(16_000), pooled: Some(16_000), ..Recovery::default() });
    let one = libpq_client(LibpqKind::OnePooler, busy.clone());
    let found = recovery(&history, &[pooled(every(0..60)), one]);
    assert_eq!(found.pooled, Some(16_000), "the last of those of the poolers");
    // One that never wrote again leaves no last one.
    let found = recovery(&history, &[writing(busy), idle(31, times(&[1]))]);
    assert_eq!(found, Recovery { last: None, libpq: Some(16_000), ..Recovery::default() });
    // A pause below a second is no interruption.
    let half = (0..120).map(|half| half * SECOND / 2).collect();
    history.attempts.retain(|attempt| attempt.row.client == 2);
    assert_eq!(recovery(&history, &[writing(half)]), Recovery::default());
}
