//! What the clients of the poolers saw -> what it adds up to, and, in a drill of the entry point, every reason why the round
//! fails. Pure.

use super::{
    catalogue::{Drill, Fault},
    history::{History, Micros},
    libpq::{Failure, LibpqClient, LibpqKind},
    timings,
    verdict::PooledClients,
};
use crate::{
    component::{haproxy, pgbouncer},
    plan::Plan,
};

#[cfg(test)]
mod tests;

/// How often each client of the poolers must have written before the fault.
pub(super) const BASELINE: u64 = 3;

/// How long clients may take to write again, in seconds, besides what the units and PgBouncer wait on purpose: a program starts,
/// and connections are opened.
pub(super) const START: u32 = 5;

/// The longest time that a client of the poolers may wait in `drill`, in milliseconds; none where the drill is not about the
/// entry point.
pub(super) fn bound_ms(drill: &Drill, plan: &Plan) -> Option<u64> {
    let waits = match drill.fault {
        Fault::KillPooler => pgbouncer::RESTART,
        Fault::KillProxy => haproxy::RESTART + haproxy::CHECKS + pgbouncer::LOGIN_RETRY,
        Fault::HoldPool => {
            let held = drill.hold(&plan.patroni.timers, 0.0) as u64 + drill.effect_within().as_secs();
            return Some((held + u64::from(START)) * 1000);
        }
        _ => return None,
    };
    Some(u64::from(waits + START) * 1000)
}

/// The clients of the poolers.
pub(super) struct PooledReview<'a> {
    drill: &'a Drill,
    history: &'a History,
    clients: Vec<&'a LibpqClient>,
    bound_ms: Option<u64>,
    /// How long the fault stays once its effect has shown.
    hold: Micros,
    /// Acknowledged transactions that are not committed on the primary, where it was asked.
    lost: Option<&'a [i64]>,
}

/// The transactions that were acknowledged through the poolers.
pub(super) fn transactions(clients: &[LibpqClient]) -> Vec<i64> {
    let pooled = clients.iter().filter(|client| client.kind.is_pooled());
    pooled.flat_map(|client| client.written.iter().map(|written| written.transaction)).collect()
}

impl<'a> PooledReview<'a> {
    /// Those of `clients` that write through the poolers.
    pub(super) fn new(
        drill: &'a Drill,
        plan: &Plan,
        history: &'a History,
        clients: &'a [LibpqClient],
        lost: Option<&'a [i64]>,
    ) -> Self {
        Self {
            drill,
            history,
            clients: clients.iter().filter(|client| client.kind.is_pooled()).collect(),
            bound_ms: bound_ms(drill, plan),
            hold: (drill.hold(&plan.patroni.timers, 0.0) * 1e6) as Micros,
            lost,
        }
    }

    /// What they saw from the fault on; none without such a client or a fault.
    pub(super) fn summary(&self) -> Option<PooledClients> {
        let struck = self.history.struck?;
        let since = |at: Micros| u64::from(at >= struck);
        let acknowledged: u64 = self.clients.iter().flat_map(|client| client.times()).map(since).sum();
        let failed: u64 = self.failures().map(|(_, failure)| since(failure.at)).sum();
        let gaps = self.clients.iter().filter_map(|client| timings::longest(client.times(), self.history));
        Some(PooledClients {
            attempted: acknowledged + failed,
            failed,
            lost: self.lost.map(|lost| lost.len() as u64),
            gap_ms: gaps.map(|gap| gap.length() / 1000).max()?,
            bound_ms: self.bound_ms,
        })
    }

    /// Every reason why a round of a drill of the entry point fails. `pooler` is the host whose pooler or proxy it is about.
    pub(super) fn shortfalls(&self, pooler: &str) -> Vec<String> {
        let Some(struck) = self.history.struck else { return Vec::new() };
        let mut reasons = Vec::new();
        for client in &self.clients {
            reasons.extend(baseline(client, struck, pooler));
            let gap = timings::longest(client.times(), self.history).map(|gap| gap.length()).unwrap_or_default();
            if let Some(bound) = self.bound_ms.filter(|bound| gap > bound * 1000) {
                let (gap, bound) = (seconds(gap), seconds(bound * 1000));
                reasons.push(format!("{} had no acknowledgement for {gap}; the bound is {bound}", client.kind));
            }
        }
        if self.drill.fault == Fault::HoldPool {
            reasons.extend(self.waits(struck));
        }
        if let Some((first, count)) = self.lost.and_then(|lost| Some((lost.first()?, lost.len()))) {
            reasons.push(format!(
                "{count} transactions acknowledged through the poolers, but not committed on the primary; the first: {first}"
            ));
        }
        reasons
    }

    fn failures(&self) -> impl Iterator<Item = (LibpqKind, &Failure)> {
        self.clients.iter().flat_map(|client| client.failed.iter().map(move |failure| (client.kind, failure)))
    }

    /// A client of an exhausted pool waits, and gets neither an error nor a connection that is not there.
    fn waits(&self, struck: Micros) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(seen) = self.history.seen {
            let held = seen..=seen + self.hold;
            let mut reconnects = self.clients.iter().filter(|client| client.kind == LibpqKind::Reconnects);
            let served = reconnects.find_map(|client| client.times().into_iter().find(|at| held.contains(at)));
            reasons.extend(
                served.map(|at| format!("the pool was not exhausted: a new client was served at {}", seconds(at))),
            );
        }
        let failed: Vec<_> = self.failures().filter(|(_, failure)| failure.at >= struck).collect();
        if let Some((kind, Failure { at, reason })) = failed.iter().min_by_key(|(_, failure)| failure.at) {
            let reason = reason.lines().next().unwrap_or_default();
            reasons.push(format!(
                "{} transactions failed instead of waiting; the first: {kind} at {}: {reason}",
                failed.len(),
                seconds(*at)
            ));
        }
        reasons
    }
}

/// Whether a client wrote before the fault, through the pooler that the fault is about.
fn baseline(client: &LibpqClient, struck: Micros, pooler: &str) -> Option<String> {
    let before: Vec<_> = client.written.iter().filter(|written| written.at <= struck).collect();
    let kind = client.kind;
    match before.last() {
        Some(last) if before.len() as u64 >= BASELINE => (last.through != pooler)
            .then(|| format!("{kind} wrote through {} before the fault, not through {pooler}", last.through)),
        _ => Some(format!("{kind} wrote too seldom before the fault: {} of at least {BASELINE} times", before.len())),
    }
}

fn seconds(time: Micros) -> String {
    format!("{:.1} s", time as f64 / 1e6)
}
