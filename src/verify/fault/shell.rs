//! Shell text on a node, bounded in time. The text goes in by standard input, so it is nowhere quoted.

use std::time::Duration;

use super::target::FaultTarget;
use crate::{
    error::{Error, Result},
    model::InstanceKey,
    ssh::Finished,
};

/// The longest time that one script may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a script, and returns its result.
pub(in crate::verify) async fn run(cluster: &FaultTarget<'_>, key: &InstanceKey, script: &str) -> Result<Finished> {
    let remote = cluster.control.connect(cluster.node(key)?).await?;
    Ok(remote.run("/bin/sh", script.as_bytes(), PATIENCE).await?)
}

/// Runs a script that must succeed, and gives what it printed.
pub(super) async fn succeed(cluster: &FaultTarget<'_>, key: &InstanceKey, what: &str, script: &str) -> Result<String> {
    let done = run(cluster, key, script).await?;
    if done.status == 0 {
        return Ok(done.stdout.trim().to_owned());
    }
    let error = Error::failed("drill-fault", format!("{what} on"), key);
    Err(error.cause(format!("the script exited with status {}", done.status)).cause(done.stderr.trim().to_owned()))
}

/// Runs a script that injects a fault, and returns the ID of the process that it hit.
pub(super) async fn noted(cluster: &FaultTarget<'_>, key: &InstanceKey, script: &str) -> Result<u32> {
    let said = succeed(cluster, key, "inject the fault", script).await?;
    Ok(said.parse().unwrap_or_default())
}

/// Whether a test holds.
pub(super) async fn holds(cluster: &FaultTarget<'_>, key: &InstanceKey, test: &str) -> Result<bool> {
    Ok(run(cluster, key, test).await?.status == 0)
}

/// Why a test failed; none if it succeeded.
pub(super) async fn objection(cluster: &FaultTarget<'_>, key: &InstanceKey, test: &str) -> Result<Option<String>> {
    let done = run(cluster, key, test).await?;
    if done.status == 0 {
        return Ok(None);
    }
    let said = format!("{}{}", done.stdout, done.stderr);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("the test failed without output");
    Ok(Some(format!("{key}: {line}")))
}
