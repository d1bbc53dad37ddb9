//! The positive control: a fault that must lose rows if nothing protects them.

use std::{path::Path, time::Duration};

use super::{
    catalogue::{ASYNCHRONOUS, CUT_REPLICA, CUT_REPLICATION, Drill, ORPHAN, SELF_TEST, STOP_GUARD, WATCHER},
    clients::ClientAccess,
    drill::{empty, failed, not_run, one, refused},
    fault::{self, FaultTarget},
    history_file,
    load::Load,
    round::RoundSetup,
    session::{Beginning, Heading, Verification, begin, end, healthy, record},
    table::Table,
    verdict::{DrillOutcome, DrillReport},
};
use crate::{error::Result, model::Durability};

/// How long the positive control may leave the cluster asynchronous.
const ASYNCHRONOUS_FOR: Duration = Duration::from_secs(300);

/// The positive control: the same fault must lose rows if commits are on one node only, and none if they are on two.
/// Without this test, a count of zero proves nothing. Before it, the watcher alone has to restore the power of a replica:
/// every other loss of power relies on it if hactl dies.
///
/// # Errors
/// As [`super::verify`].
pub async fn self_test(
    cluster: &FaultTarget<'_>,
    load: Load,
    heading: Heading,
    history: &Path,
) -> Result<Verification> {
    let Beginning { mut verdict, mut writer, table, clients, .. } = begin(cluster, heading, history).await?;
    let record = record(history);
    let planned = cluster.plan.patroni.durability;
    let mut ended = Ok(());
    // The control needs machines that hactl can power off and on; this check changes nothing.
    if let Some(reason) = fault::obstacle(&SELF_TEST, cluster).await? {
        verdict.drills.push(not_run(&SELF_TEST, DrillOutcome::Skipped, reason));
        return Ok(end(cluster, &table, verdict, ended).await);
    }
    let setup = |durability, before| RoundSetup {
        cluster,
        table: &table,
        clients: &clients,
        psql: None,
        load,
        durability,
        before,
        record,
    };
    let (report, result) = one(cluster, &setup(planned, &[]), &WATCHER, 1..=1, &mut writer).await;
    let restored = report.outcome == DrillOutcome::Passed;
    verdict.drills.push(report);
    if result.is_err() || !restored {
        return Ok(end(cluster, &table, verdict, result).await);
    }
    if planned != Durability::Async {
        let drill = Drill { variant: Some(planned.as_str()), ..SELF_TEST };
        let (report, result) = one(cluster, &setup(planned, &[CUT_REPLICATION]), &drill, 1..=1, &mut writer).await;
        verdict.drills.push(report);
        ended = result;
    }
    if ended.is_ok() {
        let (report, result) = asynchronous(cluster, &table, &clients, load, record, &mut writer).await;
        verdict.drills.push(report);
        ended = result;
    }
    if planned != Durability::Async {
        for (variant, durability, before) in [
            ("guarded", planned, &[CUT_REPLICA][..]),
            // Without the guard nothing protects these commits: judge them as asynchronous.
            ("unguarded", Durability::Async, &[CUT_REPLICA, STOP_GUARD]),
        ] {
            if ended.is_err() {
                break;
            }
            let drill = Drill { variant: Some(variant), ..ORPHAN };
            let (report, result) = one(cluster, &setup(durability, before), &drill, 1..=1, &mut writer).await;
            verdict.drills.push(if durability == Durability::Async { must_lose(report) } else { report });
            ended = result;
        }
    }
    Ok(end(cluster, &table, verdict, ended).await)
}

/// The control's asynchronous half. It sets the durability itself, and restores it.
async fn asynchronous(
    cluster: &FaultTarget<'_>,
    table: &Table<'_>,
    clients: &ClientAccess,
    load: Load,
    record: &Path,
    writer: &mut history_file::Writer,
) -> (DrillReport, Result<()>) {
    let drill = Drill { variant: Some(Durability::Async.as_str()), ..SELF_TEST };
    if let Some(reason) = refused(cluster, &drill) {
        return (not_run(&drill, DrillOutcome::Refused, reason), Ok(()));
    }
    let mut plan = cluster.plan.clone();
    plan.patroni.durability = Durability::Async;
    let there = FaultTarget { plan: &plan, ..*cluster };
    let work = async {
        let before = healthy(cluster).await?;
        let targets = fault::targets(&ASYNCHRONOUS, before.health(), cluster)?;
        let mut armed = fault::arm(&ASYNCHRONOUS, &targets, ASYNCHRONOUS_FOR, cluster).await?;
        let report = async {
            if cluster.plan.patroni.durability != Durability::Async {
                armed.inject().await?;
                table.waits_for_no_replica(before.leader()).await?;
            }
            let (durability, before) = (Durability::Async, &[CUT_REPLICATION][..]);
            let rounds = RoundSetup { cluster: &there, table, clients, psql: None, load, durability, before, record };
            let (report, result) = one(&there, &rounds, &drill, 1..=1, writer).await;
            result.map(|()| report)
        }
        .await;
        armed.revert().await?;
        report
    };
    match work.await {
        Ok(report) => (must_lose(report), Ok(())),
        Err(error) => (failed(empty(&drill), &error), Err(error)),
    }
}

/// A control that loses nothing does not show that the harness can find a loss.
fn must_lose(mut report: DrillReport) -> DrillReport {
    if report.outcome == DrillOutcome::Passed && report.counts.lost == 0 {
        report.outcome = DrillOutcome::Failed;
        report.reason = Some(
            "no acknowledged commit was lost, although nothing protected the last commits: this harness could miss a loss"
                .to_owned(),
        );
    }
    report
}
