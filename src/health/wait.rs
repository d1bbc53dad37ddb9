//! Waiting until a cluster is healthy: with a deadline that what moves extends, and with the last diagnosis.

use std::time::{Duration, Instant};

use super::{
    Health, Healthy, diagnose, observe,
    progress::{self, Progress},
};
use crate::{
    access::Access,
    context::Context,
    error::{Error, Result, codes},
    event::Stage,
    fleet::Fleet,
    plan::Plan,
};

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Looks at the cluster until it is healthy. A copy of data or a replay that moves extends the wait.
///
/// # Errors
/// After `patience`, and once nothing moves, with every problem of the last look; or when the run was interrupted.
pub async fn wait_until_healthy(
    context: &Context,
    plan: &Plan,
    fleet: &Fleet,
    access: &Access,
    patience: Duration,
) -> Result<Healthy> {
    let started = Instant::now();
    let mut said = String::new();
    let mut progress = Progress::default();
    let mut extended = false;
    loop {
        let seen = tokio::select! {
            seen = observe(fleet, access) => seen,
            () = context.stop.cancelled() => return Err(Error::interrupted("wait for", &plan.cluster)),
        };
        progress.note(progress::marks(&seen), started.elapsed());
        let health = match diagnose(plan, &seen).healthy() {
            Ok(healthy) => return Ok(healthy),
            Err(health) => health,
        };
        // Waiting does not change the settings of an SSH server.
        let hopeless = health.problems.iter().any(|problem| problem.code == codes::SSH_FORWARDING);
        let elapsed = started.elapsed();
        if hopeless || progress.is_over(elapsed, patience) {
            let error = unhealthy(plan, &health, elapsed);
            return Err(progress.stood_still(elapsed).into_iter().fold(error, Error::cause));
        }
        if elapsed > patience && !extended {
            extended = true;
            let words =
                format!("waiting longer than {} s, because data is still being copied or replayed", patience.as_secs());
            context.events.step(Stage::Health, None, words).await;
        }
        let now = words(&health);
        if now != said {
            context.events.step(Stage::Health, None, format!("waiting: {now}")).await;
            said = now;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The first problem in one line; lines of a log that follow it are left out.
pub(super) fn words(health: &Health) -> String {
    let first = health.problems.first();
    let text =
        first.map_or("no leader", |problem| problem.message.lines().next().unwrap_or_default().trim_end_matches(':'));
    let node = first.and_then(|problem| problem.node.as_ref()).map(|node| format!("{node}: ")).unwrap_or_default();
    format!("{node}{text}")
}

fn unhealthy(plan: &Plan, health: &Health, patience: Duration) -> Error {
    let mut error = Error::failed(
        "not-healthy",
        "reach a healthy state of",
        format!("{} within {} s", plan.cluster, patience.as_secs()),
    );
    let mut hint = None;
    for problem in &health.problems {
        let node = problem.node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
        error = error.cause(format!("[{}] {node}{}", problem.code, problem.message));
        hint = hint.or_else(|| problem.hint.clone());
    }
    error.hint(hint.unwrap_or_else(|| format!("Run `hactl status {}`", plan.cluster)))
}
