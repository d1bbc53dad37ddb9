//! Runs the chosen drills one after the other, each for the requested number of rounds.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    catalogue::{Drill, SELF_TEST},
    drill::{concluded, empty, failed, not_run, one, refused},
    fault::{self, FaultTarget},
    history_file,
    load::Load,
    round::RoundSetup,
    session::{Beginning, Heading, Verification, begin, end, record},
    verdict::{DrillOutcome, DrillReport, RoundReport},
};
use crate::error::Result;

/// What to run.
#[derive(Clone, Debug)]
pub struct Choice {
    pub drills: Vec<&'static Drill>,
    /// Rounds of each drill; in a soak, of all drills together.
    pub rounds: u32,
    pub load: Load,
    /// Drills that were requested and do not run, with the reason: listed as refused.
    pub left_out: Vec<(&'static Drill, String)>,
    /// Runs a random drill in each round, instead of one drill after the other.
    pub soak: Option<Soak>,
}

/// Drills at random.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    /// No round begins after this time; the number of rounds also ends the soak.
    pub at_most: Duration,
}

/// Runs the drills. History goes to `history` as the rounds end. A cluster that does not recover, a round that
/// cannot be completed, and Ctrl-C end the run early.
///
/// # Errors
/// When nothing could be begun. Drills that fail are a verdict.
pub async fn verify(
    cluster: &FaultTarget<'_>,
    choice: &Choice,
    heading: Heading,
    history: &Path,
) -> Result<Verification> {
    let seed = heading.seed;
    let Beginning { mut verdict, mut writer, table, clients, psql } = begin(cluster, heading, history).await?;
    let durability = cluster.plan.patroni.durability;
    let record = record(history);
    let rounds = RoundSetup {
        cluster,
        table: &table,
        clients: &clients,
        psql: psql.as_ref(),
        load: choice.load,
        durability,
        before: &[],
        record,
    };
    let mut ended = Ok(());
    if let Some(soak) = choice.soak {
        let (report, result) = self::soak(cluster, &rounds, choice, soak, seed, &mut writer).await;
        verdict.drills.push(report);
        ended = result;
    } else {
        for (drill, reason) in &choice.left_out {
            verdict.drills.push(not_run(drill, DrillOutcome::Refused, reason.clone()));
        }
        for drill in &choice.drills {
            let (report, result) = one(cluster, &rounds, drill, 1..=choice.rounds, &mut writer).await;
            verdict.drills.push(report);
            ended = result;
            if ended.is_err() {
                break;
            }
        }
    }
    Ok(end(cluster, &table, verdict, ended).await)
}

/// One drill at random after the other; the seed gives the same ones again.
async fn soak(
    cluster: &FaultTarget<'_>,
    rounds: &RoundSetup<'_>,
    choice: &Choice,
    soak: Soak,
    seed: u64,
    writer: &mut history_file::Writer,
) -> (DrillReport, Result<()>) {
    let mut all = DrillReport { name: "soak".to_owned(), ..empty(&SELF_TEST) };
    let mut possible = Vec::new();
    for drill in &choice.drills {
        match fault::obstacle(drill, cluster).await {
            Ok(None) if refused(cluster, drill).is_none() => possible.push(*drill),
            Ok(_) => {}
            Err(error) => return (failed(all, &error), Err(error)),
        }
    }
    if possible.is_empty() {
        (all.outcome, all.reason) =
            (DrillOutcome::Skipped, Some("this cluster cannot run any of these drills".to_owned()));
        return (all, Ok(()));
    }
    let mut random = StdRng::seed_from_u64(seed);
    let started = Instant::now();
    for n in 1..=choice.rounds {
        if started.elapsed() > soak.at_most {
            break;
        }
        let drill = possible[random.random_range(0..possible.len())];
        let (report, result) = one(cluster, rounds, drill, n..=n, writer).await;
        let named = report.rounds.into_iter().map(|round| RoundReport { drill: Some(drill.title()), ..round });
        all.rounds.extend(named);
        if let Err(error) = result {
            return (failed(all, &error), Err(error));
        }
    }
    (concluded(all), Ok(()))
}
