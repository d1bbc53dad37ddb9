//! Plan + drills -> what they may interrupt, shown before the user confirms. Pure.

use super::{catalogue::Drill, expectation};
use crate::plan::Plan;

/// What one drill interrupts.
pub struct Cost {
    pub drill: &'static Drill,
    /// The longest write gap of one round, in seconds; none where the cluster's timers give no bound.
    pub gap: Option<f64>,
}

/// What `drills` cost on the cluster of `plan`.
#[must_use]
pub fn costs(plan: &Plan, drills: &[&'static Drill]) -> Vec<Cost> {
    let gap = |drill: &Drill| expectation::bound_ms(drill, plan).map(|gap| gap as f64 / 1000.0);
    drills.iter().map(|drill| Cost { drill, gap: gap(drill) }).collect()
}
