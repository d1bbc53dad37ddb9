//! One round of a drill: clients write, the undo is armed, the fault is injected, its effect shows, the fault is
//! reverted, the cluster recovers, and the oracle judges what the servers acknowledged.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{
    catalogue::{CUT_LEAD_MS, Drill, Fault, Until},
    clients::{ClientAccess, Clients, Entry, Progress},
    expectation,
    fault::{self, Armed, FaultTarget},
    history::{History, Micros, Rows},
    libpq::{LibpqClient, LibpqClients, Psql},
    load::Load,
    oracle,
    pooled::{self, PooledReview},
    sampler::Sampler,
    table::{self, Table},
    timings,
    verdict::{self, Counts, RoundOutcome, RoundReport},
};
use crate::{
    error::{Error, Result},
    event::Stage,
    fleet::FleetNode,
    health::{self, Healthy},
    model::{Durability, InstanceKey},
};

/// How long the clients write before the fault: at least, and at most until they have written enough.
const BASELINE: Duration = Duration::from_secs(3);
const BASELINE_AT_MOST: Duration = Duration::from_secs(30);

/// How many writes they need before the fault: a busy machine takes longer for them.
const BASELINE_WRITES: u64 = 10 * expectation::BASELINE as u64;

/// How long the clients continue after the cluster has recovered.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// How long after the planned end of a fault its automatic undo is due.
const UNDO_MARGIN: Duration = Duration::from_secs(30);

fn no_effect(within: Duration) -> String {
    format!("the fault did not take effect within {} s", within.as_secs())
}

/// How long a drilled cluster may take to recover: a member that is rewound or reinitialised is the slowest.
const HEALS_WITHIN: Duration = Duration::from_secs(180);

/// How long replicas may take to replay what the clients wrote.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(60);

/// How long the idle client may take to write, while the fault is still in place.
const IDLE_WITHIN: Duration = Duration::from_secs(12);

/// How long clients write after the leader key has gone to another member.
const SUCCESSION: Duration = Duration::from_secs(5);

/// How long after its deadline an automatic undo may still be at work: a platform takes its time to start a machine.
const UNDONE_WITHIN: Duration = Duration::from_secs(60);

/// The pause between two looks at a running round.
const LOOK: Duration = Duration::from_millis(100);

/// A finished round.
pub(super) struct FinishedRound {
    pub(super) report: RoundReport,
    pub(super) history: History,
    pub(super) rows: Rows,
}

/// What stays the same over all rounds.
pub(super) struct RoundSetup<'a> {
    pub(super) cluster: &'a FaultTarget<'a>,
    pub(super) table: &'a Table<'a>,
    /// How the clients reach the servers.
    pub(super) clients: &'a ClientAccess,
    /// How psql connects with the printed string, where it runs.
    pub(super) psql: Option<&'a Psql>,
    pub(super) load: Load,
    /// The durability that the rounds are judged by: the plan's, except in the positive control.
    pub(super) durability: Durability,
    /// Faults that are injected before each drill's own, [`CUT_LEAD_MS`] apart.
    pub(super) before: &'a [Drill],
    /// The run's directory.
    pub(super) record: &'a Path,
}

impl RoundSetup<'_> {
    /// Runs `drill` for the `n`th time. The cluster must be healthy, and is left so or with an error.
    ///
    /// # Errors
    /// If the round cannot be completed. A cluster that fails its drill is a report, not an error.
    pub(super) async fn round(&self, drill: &Drill, n: u32, healthy: &Healthy) -> Result<FinishedRound> {
        let mut running = RunningRound::begin(self, drill, n, healthy).await?;
        let struck = running.inject().await;
        // Revert the fault also after an error.
        let undone = running.revert().await;
        let healed = running.heal().await;
        running.finish().await;
        struck?;
        undone?;
        let healed = healed?;
        let rows = self.table.read(healed.leader(), &running.table, CATCHES_UP_WITHIN).await?;
        if drill.is_through_poolers() {
            let transactions = pooled::transactions(&running.libpq_writes);
            running.lost = Some(self.table.uncommitted(healed.leader(), &transactions).await?);
        }
        Ok(running.judge(rows))
    }
}

/// A round under way.
struct RunningRound<'a> {
    setup: &'a RoundSetup<'a>,
    drill: &'a Drill,
    n: u32,
    healthy: &'a Healthy,
    /// The primary, as an index into the history's nodes.
    primary: u16,
    targets: Vec<InstanceKey>,
    bound_ms: Option<u64>,
    /// The longest write gap that the cluster file allows.
    limit_ms: Option<u64>,
    /// How long the fault stays, and when its automatic undo is due.
    hold: Duration,
    deadline: Duration,
    table: String,
    began: Instant,
    armed: Vec<Armed<'a>>,
    /// The automatic undo ran before hactl reverted the fault.
    fired: bool,
    writing: Option<(Clients, Sampler)>,
    libpq: Option<LibpqClients>,
    /// What these clients wrote, once they were stopped.
    libpq_writes: Vec<LibpqClient>,
    /// The host whose pooler or proxy the drill is about.
    pooler: Option<String>,
    /// Transactions that were acknowledged through the poolers and are not committed, once the primary was asked.
    lost: Option<Vec<i64>>,
    progress: Arc<Progress>,
    history: History,
    reasons: Vec<String>,
}

impl<'a> RunningRound<'a> {
    /// Makes the table, and lets the clients write.
    async fn begin(setup: &'a RoundSetup<'a>, drill: &'a Drill, n: u32, healthy: &'a Healthy) -> Result<Self> {
        let FaultTarget { plan, fleet, access, .. } = setup.cluster;
        let targets = fault::targets(drill, healthy.health(), setup.cluster)?;
        let bound_ms = expectation::bound_ms(drill, plan);
        let hold = drill.hold(&plan.patroni.timers, bound_ms.unwrap_or_default() as f64 / 1000.0);
        let hold = Duration::from_secs_f64(hold);
        let deadline = match drill.until {
            Until::Undo => hold,
            _ => hold + UNDO_MARGIN + drill.effect_within(),
        };
        let table = table_name(drill, n);
        setup.table.begin(healthy.leader(), &table).await?;
        let nodes: Vec<&FleetNode> = table::data_nodes(fleet).collect();
        let began = Instant::now();
        let load = setup.load;
        let entry = Entry {
            access: setup.clients.clone(),
            table: table.clone(),
            began,
            // Clients pinned to a replica write nothing, so only the pinned clients of one node count.
            interval: Duration::from_secs((load.clients + load.pinned).into()) / load.rate.max(1),
        };
        let clients = Clients::start(&entry, load.clients, load.pinned);
        let target = targets.first().filter(|_| drill.is_through_poolers());
        let pooler = target.and_then(|key| fleet.nodes.get(key)).map(|node| node.address.to_string());
        let libpq = setup.psql.map(|psql| LibpqClients::start(psql, pooler.as_deref(), began));
        let sampler = Sampler::start(plan, fleet, access, began);
        let history = History {
            nodes: nodes.iter().map(|node| node.key().clone()).collect(),
            clients: clients.clients.clone(),
            ..History::default()
        };
        Ok(Self {
            setup,
            drill,
            n,
            healthy,
            primary: nodes
                .iter()
                .zip(0..)
                .find(|(node, _)| node.key() == healthy.leader())
                .map_or(0, |(_, index)| index),
            targets,
            bound_ms,
            limit_ms: drill.limit_ms(&plan.limits_ms),
            hold,
            deadline,
            table,
            began,
            armed: Vec::new(),
            fired: false,
            progress: Arc::clone(&clients.progress),
            writing: Some((clients, sampler)),
            libpq,
            libpq_writes: Vec::new(),
            pooler,
            lost: None,
            history,
            reasons: Vec::new(),
        })
    }

    /// From the baseline to the planned end of the fault.
    async fn inject(&mut self) -> Result<()> {
        if let Some(reason) = self.baseline().await? {
            self.reasons.push(reason);
            return Ok(());
        }
        let cluster = self.setup.cluster;
        for before in self.setup.before.iter().chain(self.drill.before) {
            let targets = fault::targets(before, self.healthy.health(), cluster)?;
            self.armed.push(fault::arm(before, &targets, self.deadline, cluster).await?);
        }
        self.armed.push(fault::arm(self.drill, &self.targets, self.deadline, cluster).await?);
        if self.drill.until != Until::Once {
            let (undone, healthy) = (self.deadline.as_secs(), (self.deadline + HEALS_WITHIN).as_secs());
            self.say(format!(
                "undo armed: the fault is reverted within {undone} s even if hactl dies, and the cluster is healthy within {healthy} s"
            ))
            .await;
        }
        self.history.struck = Some(self.now());
        self.say(format!("injecting the fault (primary: {})", self.healthy.leader())).await;
        let within = self.drill.effect_within();
        for (index, fault) in self.armed.iter_mut().enumerate() {
            if index > 0 {
                sleep(Duration::from_millis(CUT_LEAD_MS)).await;
            }
            fault.inject().await?;
            if fault.is_lead() && !fault.took_effect(within).await? {
                self.reasons.push(no_effect(within));
                return Ok(());
            }
        }
        for fault in self.armed.iter().filter(|fault| !fault.is_lead()) {
            if !fault.took_effect(within).await? {
                self.reasons.push(no_effect(within));
                return Ok(());
            }
        }
        self.history.seen = Some(self.now());
        self.say(format!("the fault is in effect: {}", self.drill.effect)).await;
        self.hold().await
    }

    /// Waits until enough writes are acknowledged; else says what is missing.
    async fn baseline(&self) -> Result<Option<String>> {
        let within = BASELINE_AT_MOST.as_secs();
        let poolers = self.libpq.iter().filter(|_| self.pooler.is_some());
        let pooled = || poolers.clone().all(|libpq| libpq.pooled_wrote(pooled::BASELINE));
        while self.began.elapsed() < BASELINE || self.acknowledged() < BASELINE_WRITES || !pooled() {
            if self.began.elapsed() > BASELINE_AT_MOST {
                let writes = self.acknowledged();
                return Ok(Some(match writes < BASELINE_WRITES {
                    true => format!(
                        "only {writes} writes were acknowledged within {within} s before the fault; {BASELINE_WRITES} are needed"
                    ),
                    false => format!(
                        "a client of the poolers had not written {} times within {within} s before the fault",
                        pooled::BASELINE
                    ),
                }));
            }
            self.pause(LOOK).await?;
        }
        Ok(None)
    }

    /// Leaves the fault in place until its planned end.
    async fn hold(&mut self) -> Result<()> {
        let (started, before) = (Instant::now(), self.acknowledged_elsewhere());
        match self.drill.until {
            Until::Once => {}
            Until::Failover => {
                while started.elapsed() < self.hold && self.acknowledged_elsewhere() == before {
                    self.pause(LOOK).await?;
                }
                // Wait a little longer, so that the old primary does not return during the first writes.
                self.pause(Duration::from_secs(1)).await?;
            }
            Until::LockExpiry | Until::Moment => self.pause(self.hold).await?,
            Until::Succession => {
                self.progress.rest(true);
                while started.elapsed() < self.hold && !self.another_has_the_key().await {
                    self.pause(LOOK).await?;
                }
                self.progress.rest(false);
                self.pause(SUCCESSION).await?;
            }
            Until::Undo => {
                let within = self.deadline + UNDONE_WITHIN;
                while !self.undone().await? {
                    if started.elapsed() > within {
                        self.reasons
                            .push(format!("the automatic undo did not revert the fault within {} s", within.as_secs()));
                        break;
                    }
                    self.pause(LOOK).await?;
                }
            }
        }
        let woken = self.now();
        if let Some(libpq) = &mut self.libpq {
            libpq.wake(woken);
        }
        let Some(libpq) = &self.libpq else { return Ok(()) };
        // The dead machine must not answer yet: its answer would end the idle connection.
        let deadline = Instant::now() + IDLE_WITHIN;
        while self.drill.until == Until::Failover && !libpq.all_wrote_since(woken) && Instant::now() < deadline {
            self.pause(LOOK).await?;
        }
        Ok(())
    }

    /// Whether the automatic undo of every fault has run.
    async fn undone(&self) -> Result<bool> {
        for armed in &self.armed {
            if !armed.undone().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn another_has_the_key(&self) -> bool {
        let Some((_, sampler)) = &self.writing else { return false };
        sampler.holder().await.is_some_and(|holder| holder != self.healthy.leader().as_str())
    }

    /// Reverts every fault, and notes whether an automatic undo ran first.
    async fn revert(&mut self) -> Result<()> {
        let mut undone = Ok(());
        for armed in &mut self.armed {
            self.fired |= self.drill.until != Until::Undo && armed.fired().await.unwrap_or(false);
            undone = undone.and(armed.revert().await);
        }
        if self.drill.until != Until::Once {
            self.history.healed = self.history.struck.map(|_| self.now());
        }
        undone
    }

    /// Waits until the cluster is healthy and clients write again.
    async fn heal(&mut self) -> Result<Healthy> {
        let FaultTarget { plan, fleet, access, context, .. } = self.setup.cluster;
        let healthy = health::wait_until_healthy(context, plan, fleet, access, HEALS_WITHIN).await;
        let healthy = healthy.map_err(verdict::unproved)?;
        if self.drill.fault == Fault::ExpireCertificates {
            let certificates = health::certificates(fleet, access).await;
            self.reasons.extend(fault::without_valid(&certificates).iter().map(|(key, service)| {
                format!("{} on {key} serves no valid certificate after the old one came back", service.title())
            }));
        }
        self.history.redundant = Some(self.now());
        let before = self.acknowledged();
        let deadline = Instant::now() + BASELINE_AT_MOST;
        while self.acknowledged() == before {
            if Instant::now() > deadline {
                self.reasons.push("the cluster is healthy again, but no client can write".to_owned());
                break;
            }
            self.pause(LOOK).await?;
        }
        let now = self.now();
        if let Some(libpq) = &mut self.libpq {
            libpq.wake(now);
        }
        if let Some(libpq) = &self.libpq {
            let since = self.history.healed.or(self.history.struck).unwrap_or_default();
            while !libpq.all_wrote_since(since) {
                if Instant::now() > deadline {
                    self.reasons.push(format!(
                        "the cluster is healthy again, but psql with the printed connection string did not write again within {} s",
                        BASELINE_AT_MOST.as_secs()
                    ));
                    break;
                }
                self.pause(LOOK).await?;
            }
        }
        self.pause(AFTERWARDS).await?;
        Ok(healthy)
    }

    /// Stops the clients and the sampler; the history is then complete.
    async fn finish(&mut self) {
        let Some((clients, sampler)) = self.writing.take() else { return };
        let seen = sampler.finish().await;
        (self.history.samples, self.history.leader_keys) = (seen.samples, seen.leader_keys);
        // From here on no client begins to write, so later times are no gap.
        self.history.ended = self.now();
        if let Some(libpq) = self.libpq.take() {
            self.libpq_writes = libpq.finish().await;
        }
        (self.history.attempts, self.history.disconnects) = clients.finish().await;
    }

    fn judge(mut self, rows: Rows) -> FinishedRound {
        let counts = match oracle::judge(&self.history, &rows) {
            Ok(judgement) => {
                self.reasons.extend(expectation::shortfalls(
                    self.drill,
                    self.setup.durability,
                    &self.history,
                    &judgement,
                    self.primary,
                    [self.bound_ms, self.limit_ms],
                ));
                judgement.counts
            }
            Err(broken) => {
                self.reasons.push(format!("could not judge the history: {broken}"));
                Counts::default()
            }
        };
        let plan = self.setup.cluster.plan;
        let poolers = PooledReview::new(self.drill, plan, &self.history, &self.libpq_writes, self.lost.as_deref());
        let pooled = poolers.summary();
        self.reasons.extend(self.pooler.iter().flat_map(|pooler| poolers.shortfalls(pooler)));
        let lost = counts.lost > 0 || self.lost.as_ref().is_some_and(|lost| !lost.is_empty());
        // A round whose fault ended early proves nothing, unless it shows a loss.
        let outcome = if self.fired && !lost && counts.split_brain == 0 {
            self.reasons.insert(0, "the fault was reverted before its planned end".to_owned());
            RoundOutcome::Void
        } else if self.reasons.is_empty() {
            RoundOutcome::Passed
        } else {
            RoundOutcome::Failed
        };
        let history = self.history;
        let name = |index: u16| history.nodes.get(usize::from(index)).map(ToString::to_string);
        let targets: Vec<&str> = self.targets.iter().map(InstanceKey::as_str).collect();
        let report = RoundReport {
            n: self.n,
            drill: None,
            outcome,
            reasons: self.reasons,
            write_gap_ms: timings::write_gap(&history).map(|gap| gap.length() / 1000),
            bound_ms: self.bound_ms,
            limit_ms: self.limit_ms,
            target: (!targets.is_empty()).then(|| targets.join(", ")),
            primary_node: self.healthy.leader().to_string(),
            new_primary_node: timings::taken_over(&history, self.primary).and_then(name),
            etcd_leader_node: self.healthy.health().etcd.leader.clone(),
            timeline: timings::timelines(&history),
            phases_ms: timings::phases(&history, self.primary),
            recovered_ms: timings::recovery(&history, &self.libpq_writes),
            pooled,
            journals: None,
            rate: timings::rate(&history),
            counts,
        };
        FinishedRound { report, history, rows }
    }

    fn now(&self) -> Micros {
        Micros::try_from(self.began.elapsed().as_micros()).unwrap_or(Micros::MAX)
    }

    fn acknowledged(&self) -> u64 {
        self.progress.by_node().iter().sum()
    }

    fn acknowledged_elsewhere(&self) -> u64 {
        let by_node = self.progress.by_node();
        by_node.iter().enumerate().filter(|(node, _)| *node != usize::from(self.primary)).map(|(_, count)| count).sum()
    }

    async fn pause(&self, length: Duration) -> Result<()> {
        let FaultTarget { plan, context, .. } = self.setup.cluster;
        tokio::select! {
            () = sleep(length) => Ok(()),
            () = context.stop.cancelled() => Err(Error::interrupted("drill", &plan.cluster)),
        }
    }

    async fn say(&self, words: String) {
        let events = &self.setup.cluster.context.events;
        events.step(Stage::Verify, None, format!("{}: {words}", self.drill.title())).await;
    }
}

/// The name of a round's table: only letters, digits and underscores.
fn table_name(drill: &Drill, n: u32) -> String {
    format!("{}_{n}", drill.title().replace(['-', '/'], "_"))
}
