//! What the archiver of the primary says. Whether that is a problem is for `hactl status`: no change waits for a repository.

use crate::{
    component::{
        findings::Findings,
        view::{NodeView, Observations},
    },
    plan::Plan,
};

/// Keeps what the archiver of the primary says.
pub(super) fn diagnose(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    if plan.backup.is_none() {
        return;
    }
    let Some(leader) = findings.leader.clone() else { return };
    let archiver = |view: &NodeView| view.postgres.as_ref()?.as_ref().ok()?.archiver.clone();
    let Some(archiver) = seen.get(&leader).and_then(archiver) else { return };
    findings.archiver = Some(archiver);
}
