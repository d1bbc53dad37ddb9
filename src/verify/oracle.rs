//! History + rows found afterwards -> Judgement: what became of every attempt to write.
//!
//! # Split brain
//!
//! Only acknowledged writes count: two nodes that both claim to be primary have not yet done any harm. A commit
//! happens somewhere between `sent` and `done`, so of two commits one is surely the later only where it was sent
//! after the other's acknowledgement had arrived; nothing else is called an order here. Two things are split brain:
//!
//! 1. An acknowledgement on a timeline, sent after a newer timeline had acknowledged a write. The newer timeline
//!    left the older one before its own first commit, so the older one's later commit is not part of it.
//! 2. Acknowledgements of two nodes on the same timeline, at whatever time. Promotion always begins a new timeline;
//!    two nodes on one have both been promoted from the same point without knowing of each other, and not even the
//!    number tells the two histories apart.
//!
//! No false alarm: leadership that moves from A to B and back to A rises from timeline to timeline, and each write is
//! compared with newer timelines only. A restart in place is the same node on the same timeline. An acknowledgement
//! of the old primary that was slow to arrive was sent before the new primary's first, so its order is open. What
//! this rests on: an attempt's timeline is the one that its row was written on. Asked when the connection is made, it
//! would be the old one on a replica whose sessions have lived through its promotion.
//!
//! Not seen as split brain: commits of the old primary after the promotion but before the new primary has
//! acknowledged anything, and those whose order is open. Where they did harm, their rows are lost, and counted so.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt, iter,
    ops::Bound::{Excluded, Unbounded},
};

use serde::Serialize;

use super::{
    history::{Attempt, History, Micros, Outcome, RowId, Rows, Server},
    verdict::Counts,
};

#[cfg(test)]
mod tests;

/// How many examples of each kind a judgement names.
pub const EXAMPLES: usize = 10;

/// What became of the attempts of one round: exact counts, and the first [`EXAMPLES`] of each kind by their rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Judgement {
    pub counts: Counts,
    /// Acknowledged, and not on the primary.
    pub lost: Vec<RowId>,
    /// On the primary, and never attempted or surely failed.
    pub unexpected: Vec<RowId>,
    /// More than once on the primary.
    pub duplicated: Vec<RowId>,
    pub split_brain: Vec<SplitBrain>,
    pub differing: Vec<Difference>,
    /// Nodes of the history whose rows were not read, so that nothing is known of them.
    pub unread: Vec<u16>,
}

/// One acknowledged write, ordered by the moment when it was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Acknowledgement {
    pub done: Micros,
    pub row: RowId,
    pub sent: Micros,
    pub server: Server,
}

/// Two acknowledgements that no single history of the database holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SplitBrain {
    /// That of the older timeline, or on one timeline that of the node which acknowledged first.
    pub old: Acknowledgement,
    pub new: Acknowledgement,
}

/// A row that a replica does not hold as often as the primary does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub node: u16,
    pub row: RowId,
    pub on_primary: usize,
    pub on_replica: usize,
}

/// Why a history cannot be judged: the harness made a mistake, so the round proves nothing about the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    AttemptedTwice(RowId),
    /// Acknowledged, without the server that did so.
    WithoutServer(RowId),
    /// Sent to a node that the history does not name.
    UnknownServer(RowId),
    /// Sent by a client that the history does not name.
    UnknownClient(RowId),
    /// Done before it was sent.
    Backwards(RowId),
    /// The rows of the settled primary were not read.
    PrimaryUnread(u16),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AttemptedTwice(row) => write!(f, "{row} was attempted twice"),
            Self::WithoutServer(row) => write!(f, "{row} was acknowledged, but the history does not name the server"),
            Self::UnknownServer(row) => write!(f, "{row} was sent to a node that the history does not name"),
            Self::UnknownClient(row) => write!(f, "{row} was sent by a client that the history does not name"),
            Self::Backwards(row) => write!(f, "{row} has an end before its start"),
            Self::PrimaryUnread(node) => {
                write!(f, "the rows of the primary, node {node} of the history, were not read")
            }
        }
    }
}

impl std::error::Error for Broken {}

/// Judges the attempts of one round by the rows that are there once the cluster has healed.
///
/// # Errors
/// [`Broken`] where the history contradicts itself.
pub fn judge(history: &History, rows: &Rows) -> Result<Judgement, Broken> {
    let attempts = ordered(history)?;
    let primary = sorted(rows.on.get(&rows.primary).ok_or(Broken::PrimaryUnread(rows.primary))?);
    let mut judgement = Judgement::default();
    judgement.account(&attempts, &primary);
    judgement.order(&attempts);
    for (&node, found) in rows.on.iter().filter(|(node, _)| **node != rows.primary) {
        judgement.compare(node, &sorted(found), &primary);
    }
    judgement.unread =
        (0..).zip(&history.nodes).map(|(node, _)| node).filter(|node| !rows.on.contains_key(node)).collect();
    Ok(judgement)
}

impl Judgement {
    /// The outcome of every attempt, and the origin of every row.
    fn account(&mut self, attempts: &[&Attempt], primary: &[RowId]) {
        let counts = &mut self.counts;
        let outcomes = attempts.iter().map(|attempt| (attempt.row, attempt.outcome));
        for (row, outcome, copies) in join(outcomes, copies(primary)) {
            match outcome {
                Some(Outcome::Acknowledged) => counts.acknowledged += 1,
                Some(Outcome::InDoubt) => counts.in_doubt += 1,
                Some(Outcome::Failed) | None => {}
            }
            match (outcome, copies) {
                (Some(Outcome::Acknowledged), None) => note(&mut counts.lost, &mut self.lost, row),
                (Some(Outcome::InDoubt), Some(_)) => counts.recovered += 1,
                (Some(Outcome::Failed) | None, Some(_)) => note(&mut counts.unexpected, &mut self.unexpected, row),
                _ => {}
            }
            if copies.is_some_and(|copies| copies > 1) {
                note(&mut counts.duplicated, &mut self.duplicated, row);
            }
        }
        counts.attempted = attempts.len() as u64;
    }

    /// Acknowledgements that contradict each other; the rules are at the head of this file.
    fn order(&mut self, attempts: &[&Attempt]) {
        let acknowledged = || attempts.iter().filter_map(|attempt| Acknowledgement::of(attempt));
        let mut firsts: BTreeMap<u32, Acknowledgement> = BTreeMap::new();
        for one in acknowledged() {
            let first = firsts.entry(one.server.timeline).or_insert(one);
            *first = one.min(*first);
        }
        for one in acknowledged() {
            let timeline = one.server.timeline;
            let newer = firsts.range((Excluded(timeline), Unbounded)).find(|(_, first)| first.done < one.sent);
            let first = firsts[&timeline];
            let pair = match newer {
                Some((_, new)) => SplitBrain { old: one, new: *new },
                None if first.server.node != one.server.node => SplitBrain { old: first, new: one },
                None => continue,
            };
            note(&mut self.counts.split_brain, &mut self.split_brain, pair);
        }
    }

    /// Rows that `replica`, what `node` holds, has more or less often than the primary.
    fn compare(&mut self, node: u16, replica: &[RowId], primary: &[RowId]) {
        for (row, on_primary, on_replica) in join(copies(primary), copies(replica)) {
            if on_primary != on_replica {
                let [on_primary, on_replica] = [on_primary, on_replica].map(Option::unwrap_or_default);
                note(&mut self.counts.differing, &mut self.differing, Difference { node, row, on_primary, on_replica });
            }
        }
    }
}

impl Acknowledgement {
    fn of(attempt: &Attempt) -> Option<Self> {
        let Attempt { row, sent, done, server, .. } = *attempt;
        let server = server.filter(|_| attempt.outcome == Outcome::Acknowledged)?;
        Some(Self { done, row, sent, server })
    }
}

/// Counts one more, and keeps it as an example while there is room.
fn note<T>(count: &mut u64, examples: &mut Vec<T>, example: T) {
    *count += 1;
    if examples.len() < EXAMPLES {
        examples.push(example);
    }
}

/// The attempts by their rows, each of which makes sense for itself.
fn ordered(history: &History) -> Result<Vec<&Attempt>, Broken> {
    let mut attempts: Vec<&Attempt> = history.attempts.iter().collect();
    attempts.sort_unstable_by_key(|attempt| attempt.row);
    for same in attempts.chunk_by(|one, next| one.row == next.row) {
        let [attempt] = same else { return Err(Broken::AttemptedTwice(same[0].row)) };
        check(history, attempt)?;
    }
    Ok(attempts)
}

fn check(history: &History, attempt: &Attempt) -> Result<(), Broken> {
    let row = attempt.row;
    if attempt.done < attempt.sent {
        return Err(Broken::Backwards(row));
    }
    if !history.clients.iter().any(|client| client.id == row.client) {
        return Err(Broken::UnknownClient(row));
    }
    match attempt.server {
        None if attempt.outcome == Outcome::Acknowledged => Err(Broken::WithoutServer(row)),
        Some(server) if usize::from(server.node) >= history.nodes.len() => Err(Broken::UnknownServer(row)),
        _ => Ok(()),
    }
}

fn sorted(rows: &[RowId]) -> Vec<RowId> {
    let mut sorted = rows.to_vec();
    sorted.sort_unstable();
    sorted
}

/// Every row of a sorted list once, with how often it is there.
fn copies(sorted: &[RowId]) -> impl Iterator<Item = (RowId, usize)> {
    sorted.chunk_by(|one, next| one == next).map(|same| (same[0], same.len()))
}

/// Every row of two sequences that are sorted by row, with what each says of it.
fn join<A, B>(
    left: impl Iterator<Item = (RowId, A)>,
    right: impl Iterator<Item = (RowId, B)>,
) -> impl Iterator<Item = (RowId, Option<A>, Option<B>)> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (Some((one, _)), Some((other, _))) => one.cmp(other),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let left = left.next_if(|_| order.is_le());
        let right = right.next_if(|_| order.is_ge());
        let row = left.as_ref().map(|(row, _)| *row).or(right.as_ref().map(|(row, _)| *row))?;
        Some((row, left.map(|(_, value)| value), right.map(|(_, value)| value)))
    })
}
