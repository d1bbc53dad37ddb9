//! What speaks against an operation on a running cluster, found before it changes anything.

use crate::{
    component::Problem,
    error::{Error, Result},
    model::ClusterName,
};

/// Problems that neither a switchover nor a restart makes worse.
const HARMLESS: &[&str] =
    &["certificate-expires", "database-missing", "parameter-differs", "pending-restart", "synchronous-commit-lowered"];

/// The others.
pub(super) fn grave(problems: &[Problem]) -> impl Iterator<Item = &Problem> {
    problems.iter().filter(|problem| !HARMLESS.contains(&problem.code.as_str()))
}

/// Why an operation may not begin, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub(super) cause: String,
    pub(super) hint: Option<String>,
}

impl Obstacle {
    pub(super) fn new(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { cause: cause.into(), hint: Some(hint.into()) }
    }
}

impl From<&Problem> for Obstacle {
    fn from(problem: &Problem) -> Self {
        let node = problem.node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
        Self { cause: format!("[{}] {node}{}", problem.code, problem.message), hint: problem.hint.clone() }
    }
}

/// One error with every obstacle as a cause, and with the first hint.
///
/// # Errors
/// When there is an obstacle.
pub(super) fn refuse(found: Vec<Obstacle>, refused: impl FnOnce() -> Error, cluster: &ClusterName) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let hint = found.iter().find_map(|obstacle| obstacle.hint.clone());
    let error = found.into_iter().fold(refused(), |error, obstacle| error.cause(obstacle.cause));
    Err(error.hint(hint.unwrap_or_else(|| format!("Run `hactl status {cluster}`"))))
}
