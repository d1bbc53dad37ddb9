//! Whether a member may stop now, and why not: pure rules, in one place.

use std::fmt;

use crate::model::InstanceKey;

/// Why a member may not stop now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsafe {
    /// The cluster is degraded: what is wrong with it.
    Degraded(Vec<String>),
    /// Another member is about to stop in the same step.
    AnotherStops(InstanceKey),
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Degraded(problems) => write!(f, "the cluster is degraded: {}", problems.join("; ")),
            Self::AnotherStops(other) => write!(f, "{other} would stop in the same step"),
        }
    }
}

/// Whether `member` may stop: only while the cluster has no problem, and no other member of `stopping` stops with it.
///
/// # Errors
/// With the reason why it may not.
pub fn may_stop<'a>(
    member: &InstanceKey,
    mut stopping: impl Iterator<Item = &'a InstanceKey>,
    problems: &[String],
) -> Result<(), Unsafe> {
    if let Some(other) = stopping.find(|other| *other != member) {
        return Err(Unsafe::AnotherStops(other.clone()));
    }
    if problems.is_empty() { Ok(()) } else { Err(Unsafe::Degraded(problems.to_vec())) }
}
