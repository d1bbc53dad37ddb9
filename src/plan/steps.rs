//! Known + wanted + seen -> the next step: pure, and computed again after each step. A killed run needs no log to
//! resume from, since the next run computes the same step.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::safety::{Unsafe, may_stop};
use crate::model::{InstanceKey, Role};

/// What the next step depends on.
#[derive(Clone, Debug, Default)]
pub struct Situation {
    /// The machines of the last run, each with the roles that it had.
    pub members: BTreeMap<InstanceKey, BTreeSet<Role>>,
    /// The machines that must restart for the plan.
    pub restarts: BTreeSet<InstanceKey>,
    /// The machines that the user allows to restart.
    pub agreed: BTreeSet<InstanceKey>,
    /// What is wrong with the cluster now.
    pub problems: Vec<String>,
}

/// One step of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The machine of a member stops and starts again.
    Restart(InstanceKey),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart(key) => write!(f, "restart {key}"),
        }
    }
}

/// Why no step may be taken now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The user has not agreed to it.
    NotAgreed(Step),
    /// It would put the cluster at risk.
    Unsafe(Step, Unsafe),
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAgreed(Step::Restart(key)) => write!(f, "--allow-restart {key} was not given"),
            Self::Unsafe(step, reason) => write!(f, "cannot {step} now: {reason}"),
        }
    }
}

/// The step that comes next; none when nothing is left to do. Machines without a role restart whenever the user agrees: no
/// member stops with them.
///
/// # Errors
/// With the reason why the step that is due may not be taken now.
pub fn next_step(situation: &Situation) -> Result<Option<Step>, Blocked> {
    let Situation { members, restarts, agreed, problems } = situation;
    let is_member = |key: &&InstanceKey| members.get(*key).is_none_or(|roles| !roles.is_empty());
    let due: Vec<&InstanceKey> = restarts.iter().filter(is_member).collect();
    let Some(key) = due.first() else { return Ok(None) };
    let step = Step::Restart((*key).clone());
    if !agreed.contains(*key) {
        return Err(Blocked::NotAgreed(step));
    }
    match may_stop(key, due.iter().copied(), problems) {
        Ok(()) => Ok(Some(step)),
        Err(reason) => Err(Blocked::Unsafe(step, reason)),
    }
}
