//! One drill, once: clients write, the undo is armed, the fault strikes, its effect is seen, it is
//! taken back, the cluster heals, and the oracle judges what the clients were told.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{
    catalogue::{CUT_LEAD_MS, Drill, Until},
    clients::{Clients, Entry},
    expectation,
    fault::{self, Armed, Ground},
    history::{History, Micros, Rows},
    oracle,
    sampler::Sampler,
    table::{self, Table},
    timings,
    verdict::{Counts, Phases, RoundOutcome, RoundReport},
};
use crate::{
    error::{Error, Result},
    event::Stage,
    fleet::FleetNode,
    health::{self, Healthy},
    model::{Durability, InstanceKey},
};

/// How long the clients write before the fault, at least; and at most, until they get somewhere.
const BASELINE: Duration = Duration::from_secs(3);
const BASELINE_AT_MOST: Duration = Duration::from_secs(30);

/// What they have to get done before the fault: a machine that is busy needs longer for it.
const BASELINE_WRITES: u64 = 10 * expectation::BASELINE as u64;

/// How long the clients go on after the cluster is whole again.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// What is allowed on top of the planned end of a fault until its undo comes by itself.
const UNDO_MARGIN: Duration = Duration::from_secs(30);

/// How long an effect may take to show.
const EFFECT_WITHIN: Duration = Duration::from_secs(15);

/// How long a drilled cluster may take to be whole again: a member that is rewound or made anew is the slowest.
const HEALS_WITHIN: Duration = Duration::from_secs(180);

/// How long replicas may take to replay what the clients wrote.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(60);

/// The pause between two looks at a running round.
const LOOK: Duration = Duration::from_millis(100);

/// How hard the clients write.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Clients on the application's path; beside them one stays on each node.
    pub clients: u16,
    /// Attempts per second of all clients together, at most.
    pub rate: u32,
}

impl Default for Load {
    /// Enough that a window of a few milliseconds holds rows, and little enough that two cores with
    /// three nodes on them are not starved.
    fn default() -> Self {
        Self { clients: 16, rate: 2000 }
    }
}

/// A finished round.
pub(super) struct Round {
    pub(super) report: RoundReport,
    pub(super) history: History,
    pub(super) rows: Rows,
}

/// What stays the same over all rounds.
pub(super) struct Rounds<'a> {
    pub(super) ground: &'a Ground<'a>,
    pub(super) table: &'a Table<'a>,
    pub(super) load: Load,
    /// What an acknowledgement is worth now; the plan's own but for the positive control.
    pub(super) durability: Durability,
    /// Faults that strike before each drill's own, [`CUT_LEAD_MS`] apart.
    pub(super) before: &'a [Drill],
}

/// A round under way.
struct Underway {
    began: Instant,
    clients: Clients,
    sampler: Sampler,
    primary: InstanceKey,
    index: u16,
}

impl Underway {
    fn now(&self) -> Micros {
        Micros::try_from(self.began.elapsed().as_micros()).unwrap_or(Micros::MAX)
    }

    fn acknowledged(&self) -> u64 {
        self.clients.progress.by_node().iter().sum()
    }

    fn acknowledged_elsewhere(&self) -> u64 {
        let by_node = self.clients.progress.by_node();
        by_node.iter().enumerate().filter(|(node, _)| *node != usize::from(self.index)).map(|(_, count)| count).sum()
    }
}

impl Rounds<'_> {
    /// Runs `drill` for the `n`th time. The cluster must be healthy, and is left so or with an error.
    ///
    /// # Errors
    /// When the round could not be carried out. A cluster that fails its drill is a report, not an error.
    pub(super) async fn round(&self, drill: &Drill, n: u32, healthy: &Healthy) -> Result<Round> {
        let Ground { plan, fleet, access, .. } = self.ground;
        let primary = healthy.leader().clone();
        let table = table_name(drill, n);
        self.table.begin(&primary, &table).await?;
        let nodes: Vec<&FleetNode> = table::data_nodes(fleet).collect();
        let bound_ms = expectation::bound_ms(drill, plan);
        let hold = drill.hold(&plan.patroni.timers, bound_ms.unwrap_or_default() as f64 / 1000.0);
        let hold = Duration::from_secs_f64(hold);
        let targets = fault::targets(drill, healthy.health(), self.ground)?;
        let deadline = hold + UNDO_MARGIN + EFFECT_WITHIN;
        let mut armed = Vec::new();
        for before in self.before {
            let targets = fault::targets(before, healthy.health(), self.ground)?;
            armed.push(fault::arm(before, &targets, deadline, self.ground).await?);
        }
        armed.push(fault::arm(drill, &targets, deadline, self.ground).await?);
        let began = Instant::now();
        let entry = Entry {
            addresses: nodes.iter().map(|node| node.address).collect(),
            tls: Arc::clone(&access.postgres_tls),
            user: table::NAME.to_owned(),
            password: self.table.password.clone(),
            database: table::NAME.to_owned(),
            table: table.clone(),
            began,
            interval: Duration::from_secs(self.load.clients.into()) / self.load.rate.max(1),
        };
        let underway = Underway {
            began,
            clients: Clients::start(&entry, self.load.clients),
            sampler: Sampler::start(fleet, access, began),
            index: nodes.iter().zip(0..).find(|(node, _)| *node.key() == primary).map_or(0, |(_, index)| index),
            primary: primary.clone(),
        };
        let mut history = History {
            nodes: nodes.iter().map(|node| node.key().clone()).collect(),
            clients: underway.clients.clients.clone(),
            ..History::default()
        };
        let mut reasons = Vec::new();
        let struck = self.strike(drill, &mut armed, &underway, hold, deadline, &mut history, &mut reasons).await;
        // Whatever happened, nothing of the fault stays.
        let mut fired = false;
        let mut undone = Ok(());
        for armed in &mut armed {
            fired |= armed.fired().await.unwrap_or(false);
            undone = undone.and(armed.undo().await);
        }
        history.healed = history.struck.map(|_| underway.now());
        let healed = self.heal(&underway, &mut history, &mut reasons).await;
        let seen = underway.sampler.finish().await;
        // From here on nobody begins to write: what comes later is no gap.
        history.ended = Micros::try_from(began.elapsed().as_micros()).unwrap_or(Micros::MAX);
        history.attempts = underway.clients.finish().await;
        (history.samples, history.leader_keys) = (seen.samples, seen.leader_keys);
        struck?;
        undone?;
        let healthy_again = healed?;
        let rows = self.table.read(healthy_again.leader(), &table, CATCHES_UP_WITHIN).await?;
        let report = self.judge(drill, n, healthy, &targets, bound_ms, &history, &rows, fired, reasons);
        Ok(Round { report, history, rows })
    }

    /// From the baseline to the planned end of the fault.
    #[allow(clippy::too_many_arguments)]
    async fn strike(
        &self,
        drill: &Drill,
        armed: &mut [Armed<'_>],
        underway: &Underway,
        hold: Duration,
        deadline: Duration,
        history: &mut History,
        reasons: &mut Vec<String>,
    ) -> Result<()> {
        if !self.baseline(underway).await? {
            reasons.push(format!(
                "before the fault only {} writes were acknowledged within {} s; {BASELINE_WRITES} are needed",
                underway.acknowledged(),
                BASELINE_AT_MOST.as_secs()
            ));
            return Ok(());
        }
        if drill.until != Until::Once {
            self.say(drill, format!("undo armed: it comes by itself within {} s", deadline.as_secs())).await;
        }
        history.struck = Some(underway.now());
        self.say(drill, format!("strikes ({} leads)", underway.primary)).await;
        for (index, fault) in armed.iter_mut().enumerate() {
            if index > 0 {
                sleep(Duration::from_millis(CUT_LEAD_MS)).await;
            }
            fault.strike().await?;
        }
        let mut seen = true;
        for fault in armed.iter() {
            seen &= fault.took_effect(EFFECT_WITHIN).await?;
        }
        if seen {
            history.seen = Some(underway.now());
            self.say(drill, format!("in effect: {}", drill.effect)).await;
        } else {
            reasons.push(format!("the fault did not take effect within {} s", EFFECT_WITHIN.as_secs()));
            return Ok(());
        }
        self.hold(drill, underway, hold).await
    }

    /// Waits until enough writes are acknowledged; false when they are not.
    async fn baseline(&self, underway: &Underway) -> Result<bool> {
        while underway.began.elapsed() < BASELINE || underway.acknowledged() < BASELINE_WRITES {
            if underway.began.elapsed() > BASELINE_AT_MOST {
                return Ok(false);
            }
            self.pause(LOOK).await?;
        }
        Ok(true)
    }

    /// Leaves the fault in place until its planned end.
    async fn hold(&self, drill: &Drill, underway: &Underway, hold: Duration) -> Result<()> {
        let (started, before) = (Instant::now(), underway.acknowledged_elsewhere());
        match drill.until {
            Until::Once => Ok(()),
            Until::Failover => {
                while started.elapsed() < hold && underway.acknowledged_elsewhere() == before {
                    self.pause(LOOK).await?;
                }
                // A little longer: the old primary must not come back into the very first writes.
                self.pause(Duration::from_secs(1)).await
            }
            Until::LockExpiry | Until::Moment => self.pause(hold).await,
        }
    }

    /// Waits until the cluster is whole and clients write again.
    async fn heal(&self, underway: &Underway, history: &mut History, reasons: &mut Vec<String>) -> Result<Healthy> {
        let Ground { plan, fleet, access, context, .. } = self.ground;
        let healthy = health::wait_until_healthy(context, plan, fleet, access, HEALS_WITHIN).await;
        let healthy = healthy.map_err(super::drills::unproved)?;
        history.redundant = Some(underway.now());
        let before = underway.acknowledged();
        let deadline = Instant::now() + BASELINE_AT_MOST;
        while underway.acknowledged() == before {
            if Instant::now() > deadline {
                reasons.push("the cluster is healthy again, and no client can write".to_owned());
                break;
            }
            self.pause(LOOK).await?;
        }
        self.pause(AFTERWARDS).await?;
        Ok(healthy)
    }

    #[allow(clippy::too_many_arguments)]
    fn judge(
        &self,
        drill: &Drill,
        n: u32,
        healthy: &Healthy,
        targets: &[InstanceKey],
        bound_ms: Option<u64>,
        history: &History,
        rows: &Rows,
        fired: bool,
        mut reasons: Vec<String>,
    ) -> RoundReport {
        let primary = history.nodes.iter().position(|node| node == healthy.leader());
        let primary = primary.and_then(|index| u16::try_from(index).ok()).unwrap_or_default();
        let counts = match oracle::judge(history, rows) {
            Ok(judgement) => {
                reasons.extend(expectation::shortfalls(drill, self.durability, history, &judgement, primary, bound_ms));
                judgement.counts
            }
            Err(broken) => {
                reasons.push(format!("the history cannot be judged: {broken}"));
                Counts::default()
            }
        };
        // A fault that ended by itself proves nothing, but a loss is a loss.
        let outcome = match (fired, reasons.is_empty()) {
            (true, _) if counts.lost == 0 && counts.split_brain == 0 => {
                reasons.insert(0, "the undo came before the planned end".to_owned());
                RoundOutcome::Void
            }
            (_, true) => RoundOutcome::Passed,
            _ => RoundOutcome::Failed,
        };
        let phases: Phases = timings::phases(history, primary);
        let name = |index: u16| history.nodes.get(usize::from(index)).map(ToString::to_string);
        RoundReport {
            n,
            drill: None,
            outcome,
            reasons,
            write_gap_ms: timings::write_gap(history).map(|gap| gap.length() / 1000),
            bound_ms,
            target: (!targets.is_empty())
                .then(|| targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
            primary_node: healthy.leader().to_string(),
            new_primary_node: timings::taken_over(history, primary).and_then(name),
            etcd_leader_node: healthy.health().etcd.leader.clone(),
            timeline: timings::timelines(history),
            phases_ms: phases,
            rate: timings::rate(history),
            counts,
        }
    }

    async fn pause(&self, length: Duration) -> Result<()> {
        tokio::select! {
            () = sleep(length) => Ok(()),
            () = self.ground.context.stop.cancelled() => Err(Error::interrupted("drill", &self.ground.plan.cluster)),
        }
    }

    async fn say(&self, drill: &Drill, words: String) {
        self.ground.context.events.step(Stage::Verify, None, format!("{}: {words}", drill.title())).await;
    }
}

/// The name of a round's table: only letters, digits and underscores.
fn table_name(drill: &Drill, n: u32) -> String {
    format!("{}_{n}", drill.title().replace(['-', '/'], "_"))
}
