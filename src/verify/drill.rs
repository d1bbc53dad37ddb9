//! One drill with all of its rounds -> its report.

use std::{ops::RangeInclusive, time::Instant};

use super::{
    catalogue::{Drill, Tier},
    fault::{self, FaultTarget},
    history_file, journals,
    round::{FinishedRound, RoundSetup},
    session::healthy,
    timings,
    verdict::{Counts, DrillOutcome, DrillReport, RoundOutcome, RoundReport},
};
use crate::{
    error::{Error, Result},
    event::Stage,
    model::Dcs,
};

pub(super) fn empty(drill: &Drill) -> DrillReport {
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
pub(super) fn not_run(drill: &Drill, outcome: DrillOutcome, reason: String) -> DrillReport {
    DrillReport { outcome, reason: Some(reason), ..empty(drill) }
}

/// One drill with all of its rounds; an error ends the verification, and the drill's report with it.
pub(super) async fn one(
    cluster: &FaultTarget<'_>,
    rounds: &RoundSetup<'_>,
    drill: &Drill,
    numbers: RangeInclusive<u32>,
    writer: &mut history_file::Writer,
) -> (DrillReport, Result<()>) {
    let mut report = empty(drill);
    if let Some(reason) = refused(cluster, drill) {
        return (not_run(drill, DrillOutcome::Refused, reason), Ok(()));
    }
    if drill.is_through_poolers() && rounds.psql.is_none() {
        let reason = "the drill needs psql on this computer, with direct connections to the machines";
        return (not_run(drill, DrillOutcome::Skipped, reason.to_owned()), Ok(()));
    }
    for fault in rounds.before.iter().chain([drill]) {
        match fault::obstacle(fault, cluster).await {
            Ok(None) => {}
            Ok(Some(reason)) => return (not_run(drill, DrillOutcome::Skipped, reason), Ok(())),
            Err(error) => return (failed(report, &error), Err(error)),
        }
    }
    for n in numbers {
        let started = Instant::now();
        let round = match healthy(cluster).await {
            Ok(healthy) => rounds.round(drill, n, &healthy).await,
            Err(error) => Err(error),
        };
        let bad = round.as_ref().map_or(true, |round| round.report.outcome == RoundOutcome::Failed);
        // After Ctrl-C, journals would only delay the end.
        let journals = if bad && !cluster.context.stop.is_cancelled() {
            keep_journals(rounds, drill, n, started).await
        } else {
            None
        };
        match round {
            Ok(FinishedRound { report: round, history, rows }) => {
                let round = RoundReport { journals, ..round };
                if let Err(error) = writer.round(&drill.title(), n, &history, &rows) {
                    let error = Error::failed("record", "write", rounds.record.join("history.jsonl").display())
                        .source(&error)
                        .hint("Check that the disk has free space");
                    return (failed(report, &error), Err(error));
                }
                say(cluster, drill, &round).await;
                report.rounds.push(round);
            }
            Err(error) => return (failed(report, &error), Err(error)),
        }
    }
    (concluded(report), Ok(()))
}

/// Saves the journals of the nodes' services since `started`, and reports the directory.
async fn keep_journals(rounds: &RoundSetup<'_>, drill: &Drill, n: u32, started: Instant) -> Option<String> {
    let events = &rounds.cluster.context.events;
    let place = format!("journals/{}-{n}", drill.title().replace('/', "-"));
    let dir = rounds.record.join(&place);
    match journals::keep(rounds.cluster, &dir, started.elapsed()).await {
        Ok(()) => {
            let words = format!("{} round {n}: saved the machines' journals in {}", drill.title(), dir.display());
            events.step(Stage::Verify, None, words).await;
            Some(place)
        }
        Err(error) => {
            events.warn("journals", format!("could not save the journals in {}: {error}", dir.display()), None).await;
            None
        }
    }
}

pub(super) fn failed(mut report: DrillReport, error: &Error) -> DrillReport {
    report = concluded(report);
    (report.outcome, report.reason) = (DrillOutcome::Failed, Some(error.to_string()));
    report
}

/// Sums the rounds up.
pub(super) fn concluded(mut report: DrillReport) -> DrillReport {
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

/// Why this drill must not run on this cluster.
pub(super) fn refused(cluster: &FaultTarget<'_>, drill: &Drill) -> Option<String> {
    let plan = cluster.plan;
    let data = plan.data_nodes().count();
    let voters = plan.voter_count();
    if drill.tier == Tier::Destructive && !plan.disposable {
        return Some("a destructive drill runs only with `disposable: true` in the cluster file".to_owned());
    }
    if data < drill.data_nodes {
        return Some(format!(
            "the drill needs {} machines with PostgreSQL to recover, but the cluster has {data}",
            drill.data_nodes
        ));
    }
    if let Some(reason) = fault::without_entry_point(drill, plan) {
        return Some(reason);
    }
    // The voters of another DCS are unknown; drills that cannot run there are skipped.
    (voters < drill.voters && matches!(plan.dcs, Dcs::Etcd { .. }))
        .then(|| format!("the drill needs {} etcd voters to recover, but the cluster has {voters}", drill.voters))
}

async fn say(cluster: &FaultTarget<'_>, drill: &Drill, round: &RoundReport) {
    let gap = round.write_gap_ms.map_or_else(
        || "write gap unknown".to_owned(),
        |gap| format!("write gap {}.{} s", gap / 1000, gap % 1000 / 100),
    );
    let outcome = match round.outcome {
        RoundOutcome::Passed => "passed",
        RoundOutcome::Failed => "FAILED",
        RoundOutcome::Void => "void",
    };
    let reasons = if round.reasons.is_empty() { String::new() } else { format!(": {}", round.reasons.join("; ")) };
    let last = round.recovered_ms.last.map_or_else(String::new, |last| {
        format!(", last client wrote again after {}.{} s", last / 1000, last % 1000 / 100)
    });
    let pooled = round.pooled.as_ref().map_or_else(String::new, |pooled| {
        let (failed, attempted, gap) = (pooled.failed, pooled.attempted, pooled.gap_ms);
        format!(
            ", {failed} of {attempted} transactions through the poolers failed, the longest wait was {}.{} s",
            gap / 1000,
            gap % 1000 / 100
        )
    });
    let words = format!(
        "{} round {}: {outcome}, {gap}{last}{pooled}, {} acknowledged, {} lost, {} in doubt{reasons}",
        drill.title(),
        round.n,
        round.counts.acknowledged,
        round.counts.lost,
        round.counts.in_doubt
    );
    cluster.context.events.step(Stage::Verify, None, words).await;
}
