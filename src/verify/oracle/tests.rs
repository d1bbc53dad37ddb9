//! What is judged, case by case; and honest histories at random, in which exactly what was planted is found.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*, sample::select};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use super::*;
use crate::verify::fixture::{acknowledged, attempt, history, row};

/// Rows that are on every node alike, the primary being the first.
fn everywhere(rows: &[RowId]) -> Rows {
    Rows { primary: 0, on: (0..3).map(|node| (node, rows.to_vec())).collect() }
}

fn judged(attempts: Vec<Attempt>, rows: &[RowId]) -> Judgement {
    judge(&history(attempts), &everywhere(rows)).unwrap()
}

#[test]
fn attempt_is_counted_by_its_outcome_and_its_rows() {
    let id = row(0, 1);
    let one = Counts { attempted: 1, ..Counts::default() };
    let table = [
        (Outcome::Acknowledged, 1, Counts { acknowledged: 1, ..one }),
        (Outcome::Acknowledged, 0, Counts { acknowledged: 1, lost: 1, ..one }),
        (Outcome::Acknowledged, 2, Counts { acknowledged: 1, duplicated: 1, ..one }),
        (Outcome::InDoubt, 0, Counts { in_doubt: 1, ..one }),
        (Outcome::InDoubt, 1, Counts { in_doubt: 1, recovered: 1, ..one }),
        (Outcome::InDoubt, 3, Counts { in_doubt: 1, recovered: 1, duplicated: 1, ..one }),
        (Outcome::Failed, 0, one),
        (Outcome::Failed, 1, Counts { unexpected: 1, ..one }),
        (Outcome::Failed, 2, Counts { unexpected: 1, duplicated: 1, ..one }),
    ];
    for (outcome, copies, expected) in table {
        let server = Some(Server { node: 0, timeline: 1 });
        let judgement = judged(vec![attempt(id, [0, 1], server, outcome)], &vec![id; copies]);
        assert_eq!(judgement.counts, expected, "{outcome:?}, {copies} times there");
        let named = |count: u64| vec![id; count as usize];
        assert_eq!(judgement.lost, named(expected.lost));
        assert_eq!(judgement.unexpected, named(expected.unexpected));
        assert_eq!(judgement.duplicated, named(expected.duplicated));
    }
    let never = judged(Vec::new(), &[id]);
    assert_eq!((never.counts.unexpected, never.unexpected), (1, vec![id]));
}

#[test]
fn in_doubt_attempt_without_a_server_and_empty_round_are_judged() {
    let doubts = [Outcome::InDoubt, Outcome::Failed].into_iter().zip(1..);
    let doubts = doubts.map(|(outcome, seq)| attempt(row(0, seq), [5, 5], None, outcome)).collect();
    assert_eq!(judged(doubts, &[]).counts, Counts { attempted: 2, in_doubt: 1, ..Counts::default() });
    assert_eq!(judged(Vec::new(), &[]), Judgement::default());
}

#[test]
fn replica_differences_are_counted_per_row_and_copy() {
    let [a, b, c, d] = [1, 2, 3, 4].map(|seq| row(0, seq));
    let attempts = vec![acknowledged(a, [0, 1], 0, 1), acknowledged(b, [2, 3], 0, 1), acknowledged(c, [4, 5], 0, 1)];
    let on = BTreeMap::from([(0, vec![a, b, c, c]), (1, vec![d, c, a, a]), (2, vec![c, c, b, a])]);
    let judgement = judge(&history(attempts), &Rows { primary: 0, on }).unwrap();
    let difference = |row, on_primary, on_replica| Difference { node: 1, row, on_primary, on_replica };
    assert_eq!(
        judgement.differing,
        [difference(a, 1, 2), difference(b, 1, 0), difference(c, 2, 1), difference(d, 0, 1)]
    );
    let counts = Counts { attempted: 3, acknowledged: 3, duplicated: 1, differing: 4, ..Counts::default() };
    assert_eq!(judgement.counts, counts, "rows of replicas are no reason to call them lost or unexpected");
}

#[test]
fn nodes_without_read_rows_are_listed() {
    let rows = Rows { primary: 1, on: BTreeMap::from([(1, Vec::new())]) };
    assert_eq!(judge(&history(Vec::new()), &rows).unwrap().unread, [0, 2]);
}

#[test]
fn counts_are_exact_although_examples_are_limited() {
    let many = EXAMPLES as u64 + 5;
    let attempts = (1..=many).rev().map(|seq| acknowledged(row(0, seq), [seq, seq], 0, 1)).collect();
    let judgement = judged(attempts, &[]);
    assert_eq!(judgement.counts.lost, many);
    assert_eq!(judgement.lost, (1..=EXAMPLES as u64).map(|seq| row(0, seq)).collect::<Vec<_>>());
}

#[test]
fn contradictory_history_is_refused() {
    let id = row(0, 1);
    let good = acknowledged(id, [1, 1], 2, 1);
    let failed = attempt(id, [7, 8], None, Outcome::Failed);
    let table = [
        (vec![good.clone(), acknowledged(row(0, 2), [3, 4], 2, 1), failed], Broken::AttemptedTwice(id)),
        (vec![attempt(id, [1, 2], None, Outcome::Acknowledged)], Broken::WithoutServer(id)),
        (vec![acknowledged(id, [1, 2], 3, 1)], Broken::UnknownServer(id)),
        (vec![acknowledged(row(4, 1), [1, 2], 0, 1)], Broken::UnknownClient(row(4, 1))),
        (vec![acknowledged(id, [2, 1], 0, 1)], Broken::Backwards(id)),
    ];
    for (attempts, expected) in table {
        assert_eq!(judge(&history(attempts), &everywhere(&[id])), Err(expected), "{expected}");
    }
    let history = history(vec![good]);
    assert!(judge(&history, &everywhere(&[id])).is_ok());
    let elsewhere = Rows { primary: 1, on: BTreeMap::from([(0, vec![id])]) };
    assert_eq!(judge(&history, &elsewhere), Err(Broken::PrimaryUnread(1)));
}

#[test]
fn broken_history_error_names_the_row_and_the_reason() {
    let said = [
        (Broken::AttemptedTwice(row(2, 7)), "row 7 of client 2 was attempted twice"),
        (
            Broken::WithoutServer(row(2, 7)),
            "row 7 of client 2 was acknowledged, but the history does not name the server",
        ),
        (Broken::UnknownServer(row(2, 7)), "row 7 of client 2 was sent to a node that the history does not name"),
        (Broken::UnknownClient(row(2, 7)), "row 7 of client 2 was sent by a client that the history does not name"),
        (Broken::Backwards(row(2, 7)), "row 7 of client 2 has an end before its start"),
        (Broken::PrimaryUnread(1), "the rows of the primary, node 1 of the history, were not read"),
    ];
    for (broken, expected) in said {
        assert_eq!(broken.to_string(), expected);
    }
}

/// The rows of the pairs that a history of these acknowledgements (sent, done, node, timeline) holds.
fn pairs(acknowledgements: &[(Micros, Micros, u16, u32)]) -> Vec<(u32, u32)> {
    let attempts: Vec<Attempt> = (1..)
        .zip(acknowledgements)
        .map(|(seq, (sent, done, node, timeline))| acknowledged(row(0, seq), [*sent, *done], *node, *timeline))
        .collect();
    let rows: Vec<RowId> = attempts.iter().map(|attempt| attempt.row).collect();
    let judgement = judged(attempts, &rows);
    assert_eq!(judgement.counts.split_brain, judgement.split_brain.len() as u64);
    judgement.split_brain.iter().map(|pair| (pair.old.row.seq, pair.new.row.seq)).collect()
}

#[test]
fn split_brain_requires_a_write_sent_after_a_newer_timeline_began() {
    // A failover, and back again.
    assert_eq!(pairs(&[(1, 2, 0, 1), (11, 12, 1, 2), (21, 22, 0, 3), (31, 32, 1, 4)]), []);
    // A restart in place.
    assert_eq!(pairs(&[(1, 2, 0, 1), (50, 51, 0, 1)]), []);
    // The old primary's last acknowledgement arrived late.
    assert_eq!(pairs(&[(1, 90, 0, 1), (11, 12, 1, 2)]), []);
    // At the same moment the order is open.
    assert_eq!(pairs(&[(12, 13, 0, 1), (11, 12, 1, 2)]), []);
    assert_eq!(pairs(&[(13, 14, 0, 1), (11, 12, 1, 2)]), [(1, 2)]);
    // The first acknowledgement of the newer timeline counts, at any place in the list.
    assert_eq!(pairs(&[(13, 14, 0, 1), (21, 22, 1, 2), (11, 12, 1, 2)]), [(1, 3)]);
    // A later acknowledgement on an older timeline is a conflict on the same node, too.
    assert_eq!(pairs(&[(30, 31, 0, 1), (40, 41, 1, 2), (20, 21, 0, 3)]), [(1, 3), (2, 3)]);
    // A write that was sent before the newer timeline began, and that no other node acknowledged, is correct.
    assert_eq!(pairs(&[(13, 14, 0, 2), (11, 12, 1, 1)]), []);
}

#[test]
fn second_node_on_a_timeline_is_a_split_brain() {
    assert_eq!(pairs(&[(1, 2, 0, 1), (11, 12, 1, 1), (21, 22, 0, 1), (31, 32, 2, 1)]), [(1, 2), (1, 4)]);
    // The node that acknowledged first owns the timeline, at any place in the list; one acknowledgement is one violation.
    assert_eq!(pairs(&[(11, 12, 1, 1), (1, 2, 0, 1)]), [(2, 1)]);
    assert_eq!(pairs(&[(1, 2, 0, 1), (11, 12, 1, 2), (21, 22, 2, 1)]), [(3, 2)]);
}

#[test]
fn in_doubt_attempts_are_not_a_split_brain() {
    let doubt = attempt(row(0, 2), [21, 22], Some(Server { node: 0, timeline: 1 }), Outcome::InDoubt);
    let attempts = vec![acknowledged(row(0, 1), [11, 12], 1, 2), doubt];
    assert_eq!(judged(attempts, &[row(0, 1)]).counts.split_brain, 0);
}

/// How long a node leads in the random histories.
const REIGN: Micros = 1000;

/// A client that made none of the honest writes.
const STRANGER: u16 = 3;

/// A time when a node leads: on a new timeline, or on its own where it only restarted.
#[derive(Clone, Debug)]
struct Reign {
    node: u16,
    writes: Vec<Write>,
}

#[derive(Clone, Debug)]
struct Write {
    client: u16,
    /// Since the reign began.
    sent: Micros,
    /// May outlast the reign: the commit is done before, its acknowledgement arrives late.
    takes: Micros,
    outcome: Outcome,
    /// Whether a doubtful one is there.
    arrived: bool,
}

fn reigns() -> impl Strategy<Value = Vec<Reign>> {
    let outcome = select(vec![Outcome::Acknowledged, Outcome::Acknowledged, Outcome::InDoubt, Outcome::Failed]);
    let write = (0..STRANGER, 0..REIGN, 0..3 * REIGN, outcome, any::<bool>());
    let write =
        write.prop_map(|(client, sent, takes, outcome, arrived)| Write { client, sent, takes, outcome, arrived });
    vec((0..3_u16, vec(write, 0..30)).prop_map(|(node, writes)| Reign { node, writes }), 1..6)
}

/// A history that a correct cluster could have, the rows that are there, and who leads in the end.
struct Story {
    history: History,
    there: BTreeSet<RowId>,
    last: Server,
    /// The server of the timeline before the last.
    before: Server,
    next: u64,
}

impl Story {
    fn honest(reigns: &[Reign]) -> Self {
        let mut last = Server { node: reigns[0].node, timeline: 1 };
        let before = Server { node: 0, timeline: 0 };
        let mut story = Self { history: history(Vec::new()), there: BTreeSet::new(), last, before, next: 0 };
        for (reign, start) in reigns.iter().zip((0..).step_by(REIGN as usize)) {
            if reign.node != last.node {
                story.before = last;
                last = Server { node: reign.node, timeline: last.timeline + 1 };
            }
            story.last = last;
            // Every reign has one write that is acknowledged at once.
            let first = Write { client: 0, sent: 0, takes: 1, outcome: Outcome::Acknowledged, arrived: true };
            for write in [&first].into_iter().chain(&reign.writes) {
                let sent = start + write.sent;
                let row = story.attempt(write.client, [sent, sent + write.takes], last, write.outcome);
                if write.outcome == Outcome::Acknowledged || (write.outcome == Outcome::InDoubt && write.arrived) {
                    story.there.insert(row);
                }
            }
        }
        story
    }

    fn attempt(&mut self, client: u16, times: [Micros; 2], server: Server, outcome: Outcome) -> RowId {
        let row = self.fresh(client);
        self.history.attempts.push(attempt(row, times, Some(server), outcome));
        row
    }

    fn fresh(&mut self, client: u16) -> RowId {
        self.next += 1;
        row(client, self.next)
    }

    /// Acknowledged when everything else was over.
    fn late(&mut self, server: Server) -> RowId {
        self.attempt(STRANGER, [100 * REIGN, 100 * REIGN + 1], server, Outcome::Acknowledged)
    }

    fn with_outcome(&self, outcome: Outcome) -> Vec<RowId> {
        let attempts = self.history.attempts.iter().filter(|attempt| attempt.outcome == outcome);
        attempts.map(|attempt| attempt.row).collect()
    }

    /// Judges it with these rows, in an order that `random` makes.
    fn judged(&mut self, mut on: BTreeMap<u16, Vec<RowId>>, random: &mut StdRng) -> Judgement {
        self.history.attempts.shuffle(random);
        on.values_mut().for_each(|rows| rows.shuffle(random));
        judge(&self.history, &Rows { primary: self.last.node, on }).unwrap()
    }
}

/// How much of each kind is planted.
#[derive(Clone, Debug)]
struct Plants {
    lost: usize,
    lying: usize,
    invented: usize,
    refused_yet_there: usize,
    duplicated: usize,
    deposed: usize,
    double: usize,
    missing: usize,
    repeated: usize,
    foreign: usize,
}

fn plants() -> impl Strategy<Value = Plants> {
    proptest::array::uniform10(0..EXAMPLES + 3).prop_map(|numbers| {
        let [lost, lying, invented, refused_yet_there, duplicated, deposed, double, missing, repeated, foreign] =
            numbers;
        Plants { lost, lying, invented, refused_yet_there, duplicated, deposed, double, missing, repeated, foreign }
    })
}

fn some(mut rows: Vec<RowId>, number: usize, random: &mut StdRng) -> Vec<RowId> {
    rows.shuffle(random);
    rows.truncate(number);
    rows
}

/// The first examples of what was planted.
fn examples<T: Copy + Ord>(planted: &BTreeSet<T>) -> Vec<T> {
    planted.iter().take(EXAMPLES).copied().collect()
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn honest_history_has_no_violation(reigns in reigns(), seed in any::<u64>()) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut story = Story::honest(&reigns);
        let there: Vec<RowId> = story.there.iter().copied().collect();
        let judgement = story.judged((0..3).map(|node| (node, there.clone())).collect(), &mut random);
        let number = |outcome| story.with_outcome(outcome).len() as u64;
        let acknowledged = number(Outcome::Acknowledged);
        let counts = Counts {
            attempted: story.history.attempts.len() as u64,
            acknowledged,
            in_doubt: number(Outcome::InDoubt),
            recovered: there.len() as u64 - acknowledged,
            ..Counts::default()
        };
        prop_assert_eq!(judgement, Judgement { counts, ..Judgement::default() });
    }

    #[test]
    fn planted_violations_are_found_exactly(reigns in reigns(), plants in plants(), seed in any::<u64>()) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut story = Story::honest(&reigns);
        let (last, before) = (story.last, story.before);

        let mut lost: BTreeSet<RowId> =
            some(story.with_outcome(Outcome::Acknowledged), plants.lost, &mut random).into_iter().collect();
        story.there.retain(|row| !lost.contains(row));
        lost.extend((0..plants.lying).map(|_| story.late(last)));

        let refused = some(story.with_outcome(Outcome::Failed), plants.refused_yet_there, &mut random);
        let unexpected: BTreeSet<RowId> =
            refused.into_iter().chain((0..plants.invented).map(|_| story.fresh(9))).collect();
        story.there.extend(&unexpected);

        let other = Server { node: (last.node + 1) % 3, ..last };
        let deposed: BTreeSet<RowId> = (0..plants.deposed).map(|_| story.late(before)).collect();
        let double: BTreeSet<RowId> = (0..plants.double).map(|_| story.late(other)).collect();
        story.there.extend(deposed.iter().chain(&double));
        let split_brain: BTreeSet<RowId> = deposed.union(&double).copied().collect();

        let there: Vec<RowId> = story.there.iter().copied().collect();
        let duplicated: BTreeSet<RowId> = some(there.clone(), plants.duplicated, &mut random).into_iter().collect();
        let primary: Vec<RowId> = there.iter().chain(&duplicated).copied().collect();

        let mut touched = some(there.clone(), plants.missing + plants.repeated, &mut random);
        let repeated = touched.split_off(plants.missing.min(touched.len()));
        let foreign: Vec<RowId> = (0..plants.foreign).map(|_| story.fresh(8)).collect();
        let mut replica: Vec<RowId> = primary.iter().filter(|row| !touched.contains(row)).copied().collect();
        replica.extend(repeated.iter().chain(&foreign));
        let differing: BTreeSet<RowId> = touched.into_iter().chain(repeated).chain(foreign).collect();

        let replicas = [(last.node + 1) % 3, (last.node + 2) % 3];
        let on = BTreeMap::from([(last.node, primary.clone()), (replicas[0], primary), (replicas[1], replica)]);
        let judgement = story.judged(on, &mut random);

        prop_assert_eq!(judgement.counts.lost, lost.len() as u64);
        prop_assert_eq!(&judgement.lost, &examples(&lost));
        prop_assert_eq!(judgement.counts.unexpected, unexpected.len() as u64);
        prop_assert_eq!(&judgement.unexpected, &examples(&unexpected));
        prop_assert_eq!(judgement.counts.duplicated, duplicated.len() as u64);
        prop_assert_eq!(&judgement.duplicated, &examples(&duplicated));
        prop_assert_eq!(judgement.counts.split_brain, split_brain.len() as u64);
        let guilty = |pair: &SplitBrain| if deposed.contains(&pair.old.row) { pair.old.row } else { pair.new.row };
        prop_assert_eq!(judgement.split_brain.iter().map(guilty).collect::<Vec<_>>(), examples(&split_brain));
        prop_assert_eq!(judgement.counts.differing, differing.len() as u64);
        let found: Vec<(u16, RowId)> = judgement.differing.iter().map(|one| (one.node, one.row)).collect();
        prop_assert_eq!(found, examples(&differing.iter().map(|row| (replicas[1], *row)).collect()));
    }
}
