//! The chosen drills, one after the other, each as many rounds as asked for.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio_util::sync::CancellationToken;

use super::{
    catalogue::{ASYNCHRONOUS, CUT_REPLICA, CUT_REPLICATION, Drill, ORPHAN, SELF_TEST, STOP_GUARD, Tier},
    clients::{Door, Way},
    fault::{self, Ground},
    history_file, journals,
    round::{Load, Round, Rounds},
    table::{self, Table},
    timings,
    verdict::{Counts, DrillOutcome, DrillReport, RoundOutcome, RoundReport, VERSION, Verdict},
};
use crate::{
    context::Context,
    error::{Error, Kind, Result},
    event::Stage,
    health,
    model::{Dcs, Durability, InstanceKey},
};

/// How long a cluster may take to be healthy before a round.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

/// The same when the run was asked to stop.
const AFTER_A_STOP: Duration = Duration::from_secs(10);

/// How long the positive control may leave the cluster asynchronous.
const ASYNCHRONOUS_FOR: Duration = Duration::from_secs(300);

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Choice {
    pub drills: Vec<&'static Drill>,
    /// Rounds of each; of a soak, all together.
    pub rounds: u32,
    pub load: Load,
    /// Drills that were asked for and are not run, with the reason: listed as refused.
    pub left_out: Vec<(&'static Drill, String)>,
    /// Instead of one drill after the other, one at random again and again.
    pub soak: Option<Soak>,
}

/// Drills at random.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    /// No round begins after this time; the number of rounds ends it, too.
    pub at_most: Duration,
}

/// What is fixed in a verdict before the first round.
pub struct Heading {
    pub started: String,
    pub platform: String,
    pub stamps: Vec<String>,
    pub seed: u64,
}

/// How a verification went: what it found so far, and what ended it before its end.
pub struct Ended {
    pub verdict: Verdict,
    pub error: Option<Error>,
}

/// Runs the drills. History goes to `history` as the rounds end. A cluster that does not heal, a round that
/// cannot be carried out and Ctrl-C end it early.
///
/// # Errors
/// When nothing could be begun. Drills that fail are a verdict.
pub async fn verify(ground: &Ground<'_>, choice: &Choice, heading: Heading, history: &Path) -> Result<Ended> {
    let seed = heading.seed;
    let (mut verdict, mut archive, table, door) = begin(ground, heading, history).await?;
    let durability = ground.plan.patroni.durability;
    let record = record(history);
    let rounds = Rounds { ground, table: &table, door: &door, load: choice.load, durability, before: &[], record };
    let mut ended = Ok(());
    if let Some(soak) = choice.soak {
        let (report, result) = self::soak(ground, &rounds, choice, soak, seed, &mut archive).await;
        verdict.drills.push(report);
        ended = result;
    } else {
        for (drill, reason) in &choice.left_out {
            verdict.drills.push(not_run(drill, DrillOutcome::Refused, reason.clone()));
        }
        for drill in &choice.drills {
            let (report, result) = one(ground, &rounds, drill, 1..=choice.rounds, &mut archive).await;
            verdict.drills.push(report);
            ended = result;
            if ended.is_err() {
                break;
            }
        }
    }
    Ok(end(ground, &table, verdict, ended).await)
}

/// The positive control: the same fault must lose rows where an acknowledgement promises one node only,
/// and none where it promises two. Without that, a count of zero says nothing.
///
/// # Errors
/// As [`verify`].
pub async fn self_test(ground: &Ground<'_>, load: Load, heading: Heading, history: &Path) -> Result<Ended> {
    let (mut verdict, mut archive, table, door) = begin(ground, heading, history).await?;
    let record = record(history);
    let planned = ground.plan.patroni.durability;
    let mut ended = Ok(());
    // Where nobody can power machines off and on it is no control; nothing is touched to find that out.
    if ground.plan.platform.is_adopted()
        && let Some(reason) = fault::obstacle(&SELF_TEST, ground).await?
    {
        verdict.drills.push(not_run(&SELF_TEST, DrillOutcome::Skipped, reason));
        return Ok(end(ground, &table, verdict, ended).await);
    }
    if planned != Durability::Async {
        let drill = Drill { variant: Some(planned.as_str()), ..SELF_TEST };
        let before = &[CUT_REPLICATION];
        let rounds = Rounds { ground, table: &table, door: &door, load, durability: planned, before, record };
        let (report, result) = one(ground, &rounds, &drill, 1..=1, &mut archive).await;
        verdict.drills.push(report);
        ended = result;
    }
    if ended.is_ok() {
        let (report, result) = asynchronous(ground, &table, &door, load, record, &mut archive).await;
        verdict.drills.push(report);
        ended = result;
    }
    if planned != Durability::Async {
        for (variant, durability, before) in [
            ("guarded", planned, &[CUT_REPLICA][..]),
            // Nothing else keeps what is acknowledged here: judged as if it promised one node.
            ("unguarded", Durability::Async, &[CUT_REPLICA, STOP_GUARD]),
        ] {
            if ended.is_err() {
                break;
            }
            let drill = Drill { variant: Some(variant), ..ORPHAN };
            let rounds = Rounds { ground, table: &table, door: &door, load, durability, before, record };
            let (report, result) = one(ground, &rounds, &drill, 1..=1, &mut archive).await;
            verdict.drills.push(if durability == Durability::Async { must_lose(report) } else { report });
            ended = result;
        }
    }
    Ok(end(ground, &table, verdict, ended).await)
}

/// The control's asynchronous half. It sets the durability itself, and restores it.
async fn asynchronous(
    ground: &Ground<'_>,
    table: &Table<'_>,
    door: &Door,
    load: Load,
    record: &Path,
    archive: &mut history_file::Writer,
) -> (DrillReport, Result<()>) {
    let drill = Drill { variant: Some(Durability::Async.as_str()), ..SELF_TEST };
    if let Some(reason) = refused(ground, &drill) {
        return (not_run(&drill, DrillOutcome::Refused, reason), Ok(()));
    }
    let mut plan = ground.plan.clone();
    plan.patroni.durability = Durability::Async;
    let there = Ground { plan: &plan, ..*ground };
    let work = async {
        let before = healthy(ground).await?;
        let targets = fault::targets(&ASYNCHRONOUS, before.health(), ground)?;
        let mut armed = fault::arm(&ASYNCHRONOUS, &targets, ASYNCHRONOUS_FOR, ground).await?;
        let report = async {
            if ground.plan.patroni.durability != Durability::Async {
                armed.strike().await?;
                table.waits_for_nobody(before.leader()).await?;
            }
            let (durability, before) = (Durability::Async, &[CUT_REPLICATION][..]);
            let rounds = Rounds { ground: &there, table, door, load, durability, before, record };
            let (report, result) = one(&there, &rounds, &drill, 1..=1, archive).await;
            result.map(|()| report)
        }
        .await;
        armed.undo().await?;
        report
    };
    match work.await {
        Ok(report) => (must_lose(report), Ok(())),
        Err(error) => (failed(empty(&drill), &error), Err(error)),
    }
}

/// A control that loses nothing shows nothing.
fn must_lose(mut report: DrillReport) -> DrillReport {
    if report.outcome == DrillOutcome::Passed && report.counts.lost == 0 {
        report.outcome = DrillOutcome::Failed;
        report.reason = Some(
            "no acknowledged commit was lost, though nothing kept the last ones: this harness would not see a loss"
                .to_owned(),
        );
    }
    report
}

/// One drill at random after the other; the seed gives the same ones again.
async fn soak(
    ground: &Ground<'_>,
    rounds: &Rounds<'_>,
    choice: &Choice,
    soak: Soak,
    seed: u64,
    archive: &mut history_file::Writer,
) -> (DrillReport, Result<()>) {
    let mut all = DrillReport { name: "soak".to_owned(), ..empty(&SELF_TEST) };
    let mut possible = Vec::new();
    for drill in &choice.drills {
        match fault::obstacle(drill, ground).await {
            Ok(None) if refused(ground, drill).is_none() => possible.push(*drill),
            Ok(_) => {}
            Err(error) => return (failed(all, &error), Err(error)),
        }
    }
    if possible.is_empty() {
        (all.outcome, all.reason) = (DrillOutcome::Skipped, Some("none of the drills can be done here".to_owned()));
        return (all, Ok(()));
    }
    let mut random = StdRng::seed_from_u64(seed);
    let started = Instant::now();
    for n in 1..=choice.rounds {
        if started.elapsed() > soak.at_most {
            break;
        }
        let drill = possible[random.random_range(0..possible.len())];
        let (report, result) = one(ground, rounds, drill, n..=n, archive).await;
        let named = report.rounds.into_iter().map(|round| RoundReport { drill: Some(drill.title()), ..round });
        all.rounds.extend(named);
        if let Err(error) = result {
            return (failed(all, &error), Err(error));
        }
    }
    (concluded(all), Ok(()))
}

/// The run's directory, in which the histories are.
fn record(history: &Path) -> &Path {
    history.parent().unwrap_or(history)
}

/// What comes before the first round.
async fn begin<'a>(
    ground: &'a Ground<'_>,
    heading: Heading,
    history: &Path,
) -> Result<(Verdict, history_file::Writer, Table<'a>, Door)> {
    let plan = ground.plan;
    fault::sweep(ground).await?;
    let healthy = healthy(ground).await?;
    let timers = &plan.patroni.timers;
    let verdict = Verdict {
        version: VERSION,
        cluster: plan.cluster.to_string(),
        started: heading.started,
        hactl: env!("CARGO_PKG_VERSION").to_owned(),
        platform: heading.platform,
        stamps: heading.stamps,
        durability: plan.patroni.durability.to_string(),
        fencing: plan.fencing.clone(),
        timers: BTreeMap::from([
            ("ttl".to_owned(), timers.ttl),
            ("loop_wait".to_owned(), timers.loop_wait),
            ("retry_timeout".to_owned(), timers.retry_timeout),
            ("primary_start_timeout".to_owned(), timers.primary_start_timeout),
            ("primary_stop_timeout".to_owned(), timers.primary_stop_timeout),
        ]),
        seed: heading.seed,
        path: "direct".to_owned(),
        drills: Vec::new(),
    };
    let archive = history_file::Writer::create(history).map_err(|error| {
        Error::failed("record", "write", history.display()).source(&error).hint("is the disk full?")
    })?;
    let table = Table::create(ground.fleet, ground.access, healthy.leader()).await?;
    let door = match way_in(ground, &table, healthy.leader()).await {
        Ok(door) => door,
        Err(error) => {
            // The first error counts; what stays behind is taken away by the next run.
            let _ = table.drop(healthy.leader()).await;
            return Err(error);
        }
    };
    let verdict = Verdict { path: door.path.as_str().to_owned(), ..verdict };
    Ok((verdict, archive, table, door))
}

/// How clients get to the servers: as applications do where the primary lets them, else through SSH.
async fn way_in(ground: &Ground<'_>, table: &Table<'_>, primary: &InstanceKey) -> Result<Door> {
    let nodes: Vec<_> = table::data_nodes(ground.fleet).cloned().collect();
    let index = nodes.iter().position(|node| node.key() == primary).unwrap_or_default();
    let direct = Door {
        nodes: nodes.into(),
        path: Way::Direct,
        tls: Arc::clone(&ground.access.keys.clients_tls),
        ssl: ground.access.keys.postgres_ssl,
        user: table::NAME.to_owned(),
        password: table.password.clone(),
        database: table::NAME.to_owned(),
    };
    let mut refusal = String::new();
    // A busy machine may let one connection wait for too long.
    for _ in 0..2 {
        match direct.try_once(index).await {
            Ok(()) => return Ok(direct),
            Err(said) => refusal = said,
        }
    }
    let tunnel = Door { path: Way::Tunnel(Arc::new(ground.access.apart())), ..direct };
    match tunnel.try_once(index).await {
        Ok(()) => {
            let words = format!("clients go through SSH: {primary} does not let them in from here: {refusal}");
            ground.context.events.step(Stage::Verify, None, words).await;
            Ok(tunnel)
        }
        Err(said) => Err(Error::failed("drill-path", "connect as a client to PostgreSQL on", primary)
            .cause(format!("from here: {refusal}"))
            .cause(format!("through its SSH session: {said}"))
            .hint(format!(
                "let role and database {0} in, for example by `host {0} {0} samenet scram-sha-256` in pg_hba",
                table::NAME
            ))),
    }
}

/// What comes after the last round: nothing of the drills stays, where the cluster lets us.
async fn end(ground: &Ground<'_>, table: &Table<'_>, verdict: Verdict, ended: Result<()>) -> Ended {
    let dropped = match leader_for_the_end(ground).await {
        Ok(leader) => table.drop(&leader).await,
        Err(error) => Err(error),
    };
    Ended { verdict, error: ended.and(dropped).err() }
}

/// Also after Ctrl-C: what was made is taken away in the seconds that a clean stop has.
async fn leader_for_the_end(ground: &Ground<'_>) -> Result<InstanceKey> {
    let context = Context { stop: CancellationToken::new(), ..ground.context.clone() };
    let patience = if ground.context.stop.is_cancelled() { AFTER_A_STOP } else { HEALTHY_WITHIN };
    let healthy = health::wait_until_healthy(&context, ground.plan, ground.fleet, ground.access, patience).await?;
    Ok(healthy.leader().clone())
}

fn empty(drill: &Drill) -> DrillReport {
    DrillReport {
        name: drill.name.to_owned(),
        variant: drill.variant.map(str::to_owned),
        outcome: DrillOutcome::Passed,
        reason: None,
        rounds: Vec::new(),
        write_gap_ms: None,
        counts: Counts::default(),
    }
}

/// A drill without a round, and why.
fn not_run(drill: &Drill, outcome: DrillOutcome, reason: String) -> DrillReport {
    DrillReport { outcome, reason: Some(reason), ..empty(drill) }
}

/// One drill with all of its rounds; an error ends the verification, and the drill's report with it.
async fn one(
    ground: &Ground<'_>,
    rounds: &Rounds<'_>,
    drill: &Drill,
    numbers: RangeInclusive<u32>,
    archive: &mut history_file::Writer,
) -> (DrillReport, Result<()>) {
    let mut report = empty(drill);
    if let Some(reason) = refused(ground, drill) {
        return (not_run(drill, DrillOutcome::Refused, reason), Ok(()));
    }
    for fault in rounds.before.iter().chain([drill]) {
        match fault::obstacle(fault, ground).await {
            Ok(None) => {}
            Ok(Some(reason)) => return (not_run(drill, DrillOutcome::Skipped, reason), Ok(())),
            Err(error) => return (failed(report, &error), Err(error)),
        }
    }
    for n in numbers {
        let started = Instant::now();
        let round = match healthy(ground).await {
            Ok(healthy) => rounds.round(drill, n, &healthy).await,
            Err(error) => Err(error),
        };
        let bad = round.as_ref().map_or(true, |round| round.report.outcome == RoundOutcome::Failed);
        // Who interrupts does not want to wait.
        let journals = if bad && !ground.context.stop.is_cancelled() {
            keep_journals(rounds, drill, n, started).await
        } else {
            None
        };
        match round {
            Ok(Round { report: round, history, rows }) => {
                let round = RoundReport { journals, ..round };
                if let Err(error) = archive.round(&drill.title(), n, &history, &rows) {
                    let error =
                        Error::failed("record", "write", "history.jsonl").source(&error).hint("is the disk full?");
                    return (failed(report, &error), Err(error));
                }
                say(ground, drill, &round).await;
                report.rounds.push(round);
            }
            Err(error) => return (failed(report, &error), Err(error)),
        }
    }
    (concluded(report), Ok(()))
}

/// Keeps what the nodes' services said since `started`, and says where.
async fn keep_journals(rounds: &Rounds<'_>, drill: &Drill, n: u32, started: Instant) -> Option<String> {
    let events = &rounds.ground.context.events;
    let place = format!("journals/{}-{n}", drill.title().replace('/', "-"));
    let dir = rounds.record.join(&place);
    match journals::keep(rounds.ground, &dir, started.elapsed()).await {
        Ok(()) => {
            let words = format!("{} round {n}: the nodes' journals are in {}", drill.title(), dir.display());
            events.step(Stage::Verify, None, words).await;
            Some(place)
        }
        Err(error) => {
            events.warn("journals", format!("cannot keep the journals in {}: {error}", dir.display()), None).await;
            None
        }
    }
}

fn failed(mut report: DrillReport, error: &Error) -> DrillReport {
    report = concluded(report);
    (report.outcome, report.reason) = (DrillOutcome::Failed, Some(error.to_string()));
    report
}

/// Sums the rounds up.
fn concluded(mut report: DrillReport) -> DrillReport {
    let gaps: Vec<u64> = report
        .rounds
        .iter()
        .filter(|round| round.outcome != RoundOutcome::Void)
        .filter_map(|round| round.write_gap_ms)
        .collect();
    report.write_gap_ms = timings::spread(&gaps);
    report.counts = report.rounds.iter().fold(Counts::default(), |sum, round| sum + round.counts);
    let bad = report.rounds.iter().find(|round| round.outcome == RoundOutcome::Failed);
    let void = report.rounds.iter().find(|round| round.outcome == RoundOutcome::Void);
    if let Some(round) = bad.or(void) {
        report.outcome = DrillOutcome::Failed;
        report.reason = Some(round.complaint());
    }
    report
}

/// Why this cluster is not to be drilled so.
fn refused(ground: &Ground<'_>, drill: &Drill) -> Option<String> {
    let plan = ground.plan;
    let data = plan.with_role(crate::model::Role::Patroni).count();
    let voters = plan.voters();
    if drill.tier == Tier::Destructive && !plan.disposable {
        return Some("destructive: only on a cluster whose file says `disposable: true`".to_owned());
    }
    if data < drill.data_nodes {
        return Some(format!("it needs {} data nodes to recover from, and there are {data}", drill.data_nodes));
    }
    // Of another DCS the voters are not known; what cannot be done there is skipped.
    (voters < drill.voters && matches!(plan.dcs, Dcs::Etcd { .. }))
        .then(|| format!("it needs {} voters of etcd to recover from, and there are {voters}", drill.voters))
}

async fn healthy(ground: &Ground<'_>) -> Result<health::Healthy> {
    let Ground { plan, fleet, access, context, .. } = ground;
    health::wait_until_healthy(context, plan, fleet, access, HEALTHY_WITHIN).await.map_err(unproved)
}

/// A cluster that cannot be drilled, or does not heal, is not a failed stage.
pub(super) fn unproved(error: Error) -> Error {
    if error.kind == Kind::Failed { Error { kind: Kind::Unproved, ..error } } else { error }
}

async fn say(ground: &Ground<'_>, drill: &Drill, round: &super::verdict::RoundReport) {
    let gap = round.write_gap_ms.map_or_else(
        || "no write gap known".to_owned(),
        |gap| format!("write gap {}.{} s", gap / 1000, gap % 1000 / 100),
    );
    let outcome = match round.outcome {
        RoundOutcome::Passed => "passed",
        RoundOutcome::Failed => "FAILED",
        RoundOutcome::Void => "void",
    };
    let reasons = if round.reasons.is_empty() { String::new() } else { format!(": {}", round.reasons.join("; ")) };
    let words = format!(
        "{} round {}: {outcome}, {gap}, {} acknowledged, {} lost, {} in doubt{reasons}",
        drill.title(),
        round.n,
        round.counts.acknowledged,
        round.counts.lost,
        round.counts.in_doubt
    );
    ground.context.events.step(Stage::Verify, None, words).await;
}
