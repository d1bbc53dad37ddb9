//! Drill + History + Judgement -> every reason why the round fails, in plain sentences.

use std::{collections::BTreeSet, fmt};

use super::{
    catalogue::{Bound, Drill, Expect, Fault, Loss, Target},
    history::{History, Micros, Sample},
    oracle::{Acknowledgement, Difference, Judgement, SplitBrain},
    timings,
};
use crate::plan::{Durability, ELECTION, Plan};

#[cfg(test)]
mod tests;

/// How many writes must be acknowledged on the application's path before the fault, so that its gap is meaningful. A
/// client writes tens in a second, so fewer writes mean that the path was broken before the fault.
pub const BASELINE: usize = 20;

/// A round that ends within this time of the last acknowledged write ended while clients wrote: they are stopped one
/// after the other, and an attempt that is under way may be in doubt.
const STOPPING: Micros = 2_000_000;

/// How long a machine may take to start, from power-on to its services.
pub(super) const START_MS: u64 = 60_000;

/// How long the replicas may take to fall behind, from the cut of replication on.
pub(super) const BEHIND_MS: u64 = 15_000;

/// Every reason for which the round fails; none when it passed. `primary` is the node that led when the fault struck. A
/// write gap is held to its bound, which follows from the timers, and to its limit, which the cluster file sets.
#[must_use]
pub fn shortfalls(
    drill: &Drill,
    durability: Durability,
    history: &History,
    judgement: &Judgement,
    primary: u16,
    [bound_ms, limit_ms]: [Option<u64>; 2],
) -> Vec<String> {
    let round = RoundReview { drill, history, primary, reasons: Vec::new() };
    round
        .fault()
        .baseline()
        .rows(durability, judgement)
        .leadership()
        .timeline()
        .failsafe()
        .writes(bound_ms, limit_ms)
        .reasons
}

/// The longest write gap that `drill` may cause, in milliseconds. None where the plan promises nothing.
#[must_use]
pub fn bound_ms(drill: &Drill, plan: &Plan) -> Option<u64> {
    let planned = |fault: &str| {
        let bound = plan.bounds.iter().find(|bound| bound.fault == fault)?;
        Some((bound.seconds * 1000.0).round() as u64)
    };
    match drill.bound {
        Bound::Planned(fault) => planned(fault),
        // Patroni names another replica in the loop after the lost one's key has run out.
        Bound::NoInterruption if drill.target == Target::SyncReplica && plan.patroni.durability.waits_for_named() => {
            let timers = &plan.patroni.timers;
            Some(u64::from(timers.ttl + 2 * timers.loop_wait + ELECTION) * 1000)
        }
        Bound::NoInterruption => Some(u64::from(plan.patroni.timers.loop_wait + ELECTION) * 1000),
        Bound::Sum(first, second) => Some(planned(first)? + planned(second)?),
        Bound::Unmeasured => None,
        Bound::Held(fault) => Some((drill.hold(&plan.patroni.timers, 0.0) * 1000.0).round() as u64 + planned(fault)?),
        Bound::Behind(fault) => Some(BEHIND_MS + planned(fault)?),
        Bound::Restart => Some(START_MS + planned("node-loss").or_else(|| planned("patroni-crash"))?),
    }
}

struct RoundReview<'a> {
    drill: &'a Drill,
    history: &'a History,
    primary: u16,
    reasons: Vec<String>,
}

impl<'a> RoundReview<'a> {
    fn fails(&mut self, reason: String) {
        self.reasons.push(reason);
    }

    fn name(&self, node: u16) -> &'a str {
        self.history.nodes.get(usize::from(node)).map_or("an unknown machine", |key| key.as_str())
    }

    /// What the primary reported from `since` on; nothing if `since` never came.
    fn said(&self, since: Option<Micros>) -> impl Iterator<Item = &Sample> {
        let own = self.history.samples.iter().filter(|sample| sample.node == self.primary);
        own.filter(move |sample| since.is_some_and(|since| sample.at >= since))
    }

    fn fault(mut self) -> Self {
        match (self.history.struck, self.history.seen) {
            (None, _) => self.fails("the fault was not injected".into()),
            (Some(_), None) => {
                self.fails(format!("the fault was injected, but its effect did not show: {}", self.drill.effect));
            }
            (Some(_), Some(_)) => {}
        }
        self
    }

    /// Whether enough writes came before the fault, and a client was pinned to each node.
    fn baseline(mut self) -> Self {
        let history = self.history;
        let struck = history.struck.unwrap_or(history.ended);
        let writes = timings::application(history).filter(|attempt| attempt.done <= struck).count();
        if writes < BASELINE {
            self.fails(format!(
                "the baseline is too small: {writes} writes were acknowledged before the fault, at least {BASELINE} are needed"
            ));
        }
        let writing: BTreeSet<u16> = history.attempts.iter().map(|attempt| attempt.row.client).collect();
        for (node, key) in (0..).zip(&history.nodes) {
            let mut pinned = history.clients.iter().filter(|client| client.pinned == Some(node));
            if !pinned.any(|client| writing.contains(&client.id)) {
                self.fails(format!(
                    "no client pinned to {key} wrote, so the round cannot show whether {key} was fenced"
                ));
            }
        }
        self
    }

    fn rows(mut self, durability: Durability, judgement: &Judgement) -> Self {
        let counts = &judgement.counts;
        if self.drill.loss(durability) == Loss::None {
            self.found(counts.lost, "acknowledged, but not on the primary", &judgement.lost);
        }
        self.found(
            counts.unexpected,
            "on the primary, but never attempted or known to have failed",
            &judgement.unexpected,
        );
        self.found(counts.duplicated, "more than once on the primary", &judgement.duplicated);
        let shown: Vec<String> = judgement.differing.iter().map(|difference| self.difference(difference)).collect();
        self.found(counts.differing, "more or less often on a replica than on the primary", &shown);
        let shown: Vec<String> = judgement.split_brain.iter().map(|pair| self.split_brain(pair)).collect();
        if counts.split_brain > 0 {
            let writes = count(counts.split_brain, "acknowledgement");
            self.fails(format!("split brain: {writes} in conflict with another{}", first(&shown)));
        }
        for node in &judgement.unread {
            self.fails(format!("the rows on {} were not read", self.name(*node)));
        }
        self
    }

    /// Fails if any rows were found, and names the first.
    fn found(&mut self, rows: u64, what: &str, examples: &[impl fmt::Display]) {
        if rows > 0 {
            self.fails(format!("{} {what}{}", count(rows, "row"), first(examples)));
        }
    }

    fn difference(&self, difference: &Difference) -> String {
        let Difference { node, row, on_primary, on_replica } = *difference;
        format!("{row}, {on_primary} times on the primary and {on_replica} times on {}", self.name(node))
    }

    fn split_brain(&self, pair: &SplitBrain) -> String {
        let told = |one: &Acknowledgement| {
            let Acknowledgement { done, row, sent, server } = *one;
            let times = format!("sent at {} and acknowledged at {}", seconds(sent), seconds(done));
            format!("{row} on {}, timeline {}, {times}", self.name(server.node), server.timeline)
        };
        format!("{}; {}", told(&pair.old), told(&pair.new))
    }

    fn leadership(mut self) -> Self {
        let taken_over = timings::taken_over(self.history, self.primary);
        match self.drill.new_leader {
            Expect::Must if taken_over.is_none() => self.fails("no other member became the primary".into()),
            Expect::MustNot => self.keeps(taken_over),
            // The kernel has to find a backend: without its postmaster, PostgreSQL is down.
            Expect::May if self.drill.fault == Fault::ExhaustMemory => self.same_postmaster(),
            Expect::Must | Expect::May => {}
        }
        self
    }

    /// The primary has to stay the primary all the time.
    fn keeps(&mut self, taken_over: Option<u16>) {
        let own = self.name(self.primary);
        if let Some(node) = taken_over {
            self.fails(format!("{} became the primary, but {own} should have stayed the primary", self.name(node)));
        }
        let struck = self.history.struck;
        let after = self.history.leader_keys.iter().filter(|key| struck.is_some_and(|struck| key.at >= struck));
        let holders: BTreeSet<&str> = after.filter_map(|key| key.holder.as_deref()).collect();
        for holder in holders.into_iter().filter(|holder| *holder != own) {
            self.fails(format!("{holder} took the leader key"));
        }
        let demoted = self.said(struck).filter(|sample| sample.in_recovery == Some(true));
        if let Some(at) = demoted.map(|sample| sample.at).min() {
            self.fails(format!("{own} was demoted: it was in recovery at {}", seconds(at)));
        }
        self.continues();
    }

    /// Neither the primary's server nor a session on it may have been replaced: a crash that recovers within the bound is an
    /// interruption nevertheless.
    fn continues(&mut self) {
        self.same_postmaster();
        let own = self.name(self.primary);
        let struck = self.history.struck;
        let ended = self.history.disconnects.iter().filter(|lost| lost.node == self.primary);
        let ended: Vec<_> = ended.filter(|lost| struck.is_some_and(|struck| lost.at >= struck)).collect();
        if let Some(first) = ended.first() {
            let sessions = count(ended.len() as u64, "session");
            let (client, at) = (first.client, seconds(first.at));
            self.fails(format!("{own} ended {sessions}; the first: of client {client} at {at}: {}", first.reason));
        }
    }

    fn same_postmaster(&mut self) {
        let own = self.name(self.primary);
        let started = self.said(Some(0)).filter_map(|sample| Some((sample.at, sample.postmaster_started?)));
        let started: Vec<(Micros, i64)> = started.collect();
        let replaced = started.iter().find(|(_, one)| *one != started[0].1).map(|(at, _)| *at);
        if let Some(at) = replaced {
            self.fails(format!("PostgreSQL on {own} was restarted: another postmaster answered at {}", seconds(at)));
        }
    }

    fn timeline(mut self) -> Self {
        let [Some(first), _] = timings::timelines(self.history) else { return self };
        let newest = newest_timeline(self.history).unwrap_or_default();
        match self.drill.new_timeline {
            Expect::Must if newest == first => {
                self.fails(format!("no new timeline began: the timeline is still {first}"))
            }
            Expect::MustNot if newest != first => {
                self.fails(format!("timeline {newest} began, but timeline {first} should have continued"));
            }
            _ => {}
        }
        self
    }

    fn failsafe(mut self) -> Self {
        let held = self.said(self.history.seen).any(|sample| sample.failsafe == Some(true));
        if self.drill.failsafe && !held {
            self.fails(format!("Patroni on {} never reported an active failsafe mode", self.name(self.primary)));
        }
        self
    }

    fn writes(mut self, bound_ms: Option<u64>, limit_ms: Option<u64>) -> Self {
        let gap = timings::write_gap(self.history).map(|gap| gap.length()).unwrap_or_default();
        if let Some(bound) = bound_ms.map(|bound| bound * 1000)
            && gap > bound
        {
            self.fails(format!("no write was acknowledged for {}; the bound is {}", seconds(gap), seconds(bound)));
        }
        if let Some(limit) = limit_ms.map(|limit| limit * 1000)
            && gap > limit
        {
            let (gap, limit) = (seconds(gap), seconds(limit));
            self.fails(format!(
                "no write was acknowledged for {gap}; `verify.limits` of the cluster file allows {limit}"
            ));
        }
        let silence = timings::silence(self.history);
        if silence > STOPPING {
            self.fails(format!(
                "writes did not resume: no write was acknowledged in the last {} of the round",
                seconds(silence)
            ));
        }
        if self.history.redundant.is_none() {
            self.fails("redundancy was not restored: not every member streamed again".into());
        }
        self
    }
}

/// The newest timeline of any acknowledged write or sample.
fn newest_timeline(history: &History) -> Option<u32> {
    let written = timings::acknowledged(history).map(|(_, server)| server.timeline);
    written.chain(history.samples.iter().filter_map(|sample| sample.timeline)).max()
}

fn first(examples: &[impl fmt::Display]) -> String {
    examples.first().map(|first| format!("; the first: {first}")).unwrap_or_default()
}

fn seconds(time: Micros) -> String {
    format!("{:.1} s", time as f64 / 1e6)
}

fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
