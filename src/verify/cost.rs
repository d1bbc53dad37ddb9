//! Plan + drills -> what they may interrupt, shown before the user confirms. Pure.

use super::{catalogue::Drill, expectation, pooled};
use crate::plan::Plan;

/// What one drill interrupts.
pub struct Cost {
    pub drill: &'static Drill,
    /// The longest write gap of one round, in seconds, for clients of the poolers, too; none where the cluster's timers give no
    /// bound.
    pub gap: Option<f64>,
}

/// What `drills` cost on the cluster of `plan`.
#[must_use]
pub fn costs(plan: &Plan, drills: &[&'static Drill]) -> Vec<Cost> {
    let gap = |drill: &Drill| {
        let gap = expectation::bound_ms(drill, plan)?;
        Some(gap.max(pooled::bound_ms(drill, plan).unwrap_or_default()) as f64 / 1000.0)
    };
    drills.iter().map(|drill| Cost { drill, gap: gap(drill) }).collect()
}
