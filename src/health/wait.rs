//! Waiting until a cluster is healthy, with a deadline and the last diagnosis.

use std::time::{Duration, Instant};

use super::{Health, Healthy, diagnose, observe};
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

/// Looks at the cluster until it is healthy.
///
/// # Errors
/// After `patience`, with every problem of the last look; or when the run was interrupted.
pub async fn wait_until_healthy(
    context: &Context,
    plan: &Plan,
    fleet: &Fleet,
    access: &Access,
    patience: Duration,
) -> Result<Healthy> {
    let started = Instant::now();
    let mut said = String::new();
    loop {
        let seen = tokio::select! {
            seen = observe(fleet, access) => seen,
            () = context.stop.cancelled() => return Err(Error::interrupted("wait for", &plan.cluster)),
        };
        let health = match diagnose(plan, &seen).healthy() {
            Ok(healthy) => return Ok(healthy),
            Err(health) => health,
        };
        // Waiting does not change the settings of an SSH server.
        let hopeless = health.problems.iter().any(|problem| problem.code == codes::SSH_FORWARDING);
        if hopeless || started.elapsed() > patience {
            return Err(unhealthy(plan, &health, started.elapsed()));
        }
        let now = words(&health);
        if now != said {
            context.events.step(Stage::Health, None, format!("waiting: {now}")).await;
            said = now;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn words(health: &Health) -> String {
    let first = health.problems.first();
    let text = first.map_or("no leader", |problem| problem.message.lines().next().unwrap_or_default());
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
