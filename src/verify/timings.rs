//! History -> how long things took: the write gap, the phases, the rate; and what rounds add up to.

use std::collections::BTreeMap;

use super::{
    history::{Attempt, History, Micros, Outcome, Server},
    libpq::{LibpqClient, LibpqKind},
    verdict::{Phases, Recovery, Spread},
};

#[cfg(test)]
mod tests;

/// How long before the fault the search for the longest gap begins. The gap that the fault causes begins with the
/// last acknowledgement before it; one further back has another cause.
const LEAD: Micros = 1_000_000;

/// A client that waits for less than this was not interrupted: a checkpoint or a busy machine may delay a write.
const INTERRUPTED: Micros = 1_000_000;

/// A time without an acknowledged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub from: Micros,
    pub to: Micros,
    /// Whether an acknowledgement ended it, and not the round.
    pub ended: bool,
}

impl Gap {
    #[must_use]
    pub fn length(&self) -> Micros {
        self.to - self.from
    }
}

/// The longest time without an acknowledged write by any client on the application's path, from shortly before the
/// fault (without one, from the first acknowledgement) to the end of the round. None where nothing was ever
/// acknowledged and no fault struck.
#[must_use]
pub fn write_gap(history: &History) -> Option<Gap> {
    longest(application(history).map(|attempt| attempt.done).collect(), history)
}

/// The longest gap between these times, by the rules of [`write_gap`].
pub(super) fn longest(times: Vec<Micros>, history: &History) -> Option<Gap> {
    let start = history.struck.map(|struck| struck.saturating_sub(LEAD)).or_else(|| times.iter().min().copied())?;
    // What lies before the start is moved there, where it makes gaps of no length.
    let mut marks: Vec<Micros> = times.into_iter().map(|time| time.max(start)).chain([start]).collect();
    marks.sort_unstable();
    let last = marks[marks.len() - 1];
    let open = Gap { from: last, to: history.ended.max(last), ended: false };
    let closed = marks.windows(2).map(|pair| Gap { from: pair[0], to: pair[1], ended: true });
    // Of equals the first: `max_by_key` gives the last.
    closed.chain([open]).rev().max_by_key(Gap::length)
}

/// When clients that the fault interrupted wrote again. `last` is null if one of them never did.
pub(super) fn recovery(history: &History, libpq: &[LibpqClient]) -> Recovery {
    let Some(struck) = history.struck else { return Recovery::default() };
    let since = |at: Micros| at.saturating_sub(struck) / 1000;
    let mut clients: BTreeMap<u16, Vec<Micros>> = BTreeMap::new();
    for attempt in application(history) {
        clients.entry(attempt.row.client).or_default().push(attempt.done);
    }
    let of = |is: fn(LibpqKind) -> bool| -> Vec<Gap> {
        let clients = libpq.iter().filter(|client| is(client.kind));
        clients.filter_map(|client| interruption(client.times(), history)).collect()
    };
    let (writes, pooled) = (of(|kind| kind == LibpqKind::Writes), of(LibpqKind::is_pooled));
    // The time before it was woken is no interruption.
    let idle = libpq.iter().filter_map(|client| {
        let woken = client.woken?;
        let first = client.times().into_iter().find(|at| *at > woken);
        let gap = Gap { from: woken, to: first.unwrap_or(history.ended), ended: first.is_some() };
        (!gap.ended || gap.length() >= INTERRUPTED).then_some(gap)
    });
    let idle: Vec<Gap> = idle.collect();
    let gaps = clients.into_values().filter_map(|times| interruption(times, history));
    let gaps = gaps.chain(writes.iter().chain(&idle).chain(&pooled).copied());
    let ends: Option<Vec<Micros>> = gaps.map(|gap| gap.ended.then_some(gap.to)).collect();
    let last = |gaps: &[Gap]| gaps.iter().filter(|gap| gap.ended).map(|gap| since(gap.to)).max();
    Recovery {
        last: ends.and_then(|ends| ends.into_iter().max()).map(since),
        libpq: last(&writes),
        idle: last(&idle),
        pooled: last(&pooled),
    }
}

/// The longest gap of one client, if it is an interruption.
fn interruption(times: Vec<Micros>, history: &History) -> Option<Gap> {
    longest(times, history).filter(|gap| gap.length() >= INTERRUPTED)
}

/// How long ago the last acknowledged write on the application's path was when the round ended.
#[must_use]
pub fn silence(history: &History) -> Micros {
    let last = application(history).map(|attempt| attempt.done).max();
    history.ended.saturating_sub(last.unwrap_or_default())
}

/// Times since the fault, in milliseconds. `primary` is the node that led when it struck.
#[must_use]
pub fn phases(history: &History, primary: u16) -> Phases {
    let Some(struck) = history.struck else { return Phases::default() };
    let since = |moment: Option<Micros>| Some(moment?.checked_sub(struck)? / 1000);
    let name = history.nodes.get(usize::from(primary)).map(|key| key.as_str());
    let taken = history.leader_keys.iter().filter(|key| key.at >= struck && key.holder.as_deref() != name);
    let promoted = history
        .samples
        .iter()
        .filter(|sample| sample.at >= struck && sample.node != primary && sample.in_recovery == Some(false));
    Phases {
        effect: since(history.seen),
        lock_lost: since(taken.map(|key| key.at).min()),
        promoted: since(promoted.map(|sample| sample.at).min()),
        first_write: since(write_gap(history).filter(|gap| gap.ended).map(|gap| gap.to)),
        healed: since(history.healed),
        redundant: since(history.redundant),
    }
}

/// Acknowledged writes per second of all clients, from the first attempt to the fault.
#[must_use]
pub fn rate(history: &History) -> f64 {
    let until = history.struck.unwrap_or(history.ended);
    let Some(from) = history.attempts.iter().map(|attempt| attempt.sent).min() else { return 0.0 };
    let seconds = until.saturating_sub(from) as f64 / 1e6;
    let writes = acknowledged(history).filter(|(attempt, _)| attempt.done <= until).count();
    if seconds > 0.0 { writes as f64 / seconds } else { 0.0 }
}

/// The node that led last after the fault, other than the one that led when it struck.
#[must_use]
pub fn new_primary(history: &History) -> Option<u16> {
    let struck = history.struck?;
    let (_, old) = leading(history).filter(|(at, _)| *at <= struck).max()?;
    taken_over(history, old)
}

/// The node other than `old` that led last after the fault.
#[must_use]
pub fn taken_over(history: &History, old: u16) -> Option<u16> {
    let struck = history.struck?;
    leading(history).filter(|(at, node)| *at > struck && *node != old).max().map(|(_, node)| node)
}

/// The first and the last timeline on which a write was acknowledged; without one, those that the nodes reported.
#[must_use]
pub fn timelines(history: &History) -> [Option<u32>; 2] {
    let acknowledged = acknowledged(history).map(|(attempt, server)| (attempt.done, server.timeline));
    let sampled = history.samples.iter().filter_map(|sample| Some((sample.at, sample.timeline?)));
    let ends = |seen: Vec<(Micros, u32)>| Some([*seen.iter().min()?, *seen.iter().max()?]);
    let found = ends(acknowledged.collect()).or_else(|| ends(sampled.collect()));
    found.map_or([None; 2], |ends| ends.map(|(_, timeline)| Some(timeline)))
}

/// Every moment at which a node surely led: it acknowledged a write, or said that it is not in recovery.
fn leading(history: &History) -> impl Iterator<Item = (Micros, u16)> {
    let writes = acknowledged(history).map(|(attempt, server)| (attempt.done, server.node));
    let sampled = history.samples.iter().filter(|sample| sample.in_recovery == Some(false));
    writes.chain(sampled.map(|sample| (sample.at, sample.node)))
}

/// Acknowledged attempts, with the server.
pub(super) fn acknowledged(history: &History) -> impl Iterator<Item = (&Attempt, Server)> {
    let acknowledged = history.attempts.iter().filter(|attempt| attempt.outcome == Outcome::Acknowledged);
    acknowledged.filter_map(|attempt| Some((attempt, attempt.server?)))
}

/// Acknowledged attempts of clients on the application's path; pinned clients go their own.
pub(super) fn application(history: &History) -> impl Iterator<Item = &Attempt> {
    let free: Vec<u16> =
        history.clients.iter().filter(|client| client.pinned.is_none()).map(|client| client.id).collect();
    acknowledged(history).map(|(attempt, _)| attempt).filter(move |attempt| free.contains(&attempt.row.client))
}

/// Minimum, median and maximum of some values, and from 20 up the 95th percentile, each by nearest rank. The median
/// of an even number is the mean of the two in the middle, rounded.
#[must_use]
pub fn spread(values: &[u64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let count = sorted.len();
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let [lower, upper] = [sorted[(count - 1) / 2], sorted[count / 2]];
    let median = lower + (upper - lower).div_ceil(2);
    let p95 = (count >= 20).then(|| sorted[(95 * count).div_ceil(100) - 1]);
    Some(Spread { min, median, max, p95 })
}

/// With no loss in `rounds` rounds: the probability of a loss per round that is ruled out with 95 % confidence.
///
/// The exact form of the rule of three, 3 / rounds: the largest p for which `rounds` rounds without a loss still have
/// a chance of 5 %, (1 - p)^rounds = 0.05. J. A. Hanley, A. Lippman-Hand: If nothing goes wrong, is everything all
/// right? Interpreting zero numerators. JAMA 249 (1983), 1743-1745.
#[must_use]
pub fn loss_bound(rounds: u32) -> f64 {
    1.0 - 0.05_f64.powf(1.0 / f64::from(rounds))
}
