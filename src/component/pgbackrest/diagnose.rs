//! What the archiver of the primary says -> problems: pure.

use crate::{
    component::{
        findings::Findings,
        view::{NodeView, Observations},
    },
    plan::Plan,
};

/// For so many seconds a repository may not answer before that is a problem.
const PATIENCE_S: u64 = 300;

/// Finds whether WAL reaches the repository.
pub(super) fn diagnose(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    if plan.backup.is_none() {
        return;
    }
    let Some(leader) = findings.leader.clone() else { return };
    let archiver = |view: &NodeView| view.postgres.as_ref()?.as_ref().ok()?.archiver.clone();
    let Some(archiver) = seen.get(&leader).and_then(archiver) else { return };
    findings.archiver = Some(archiver.clone());
    let Some(segment) = archiver.failing else { return };
    let message = format!(
        "WAL segment {segment} could not be archived, and none was for {} s: the WAL that waits fills the primary's disk",
        archiver.since_s
    );
    let hint = format!(
        "Run `hactl ssh {} {leader} -- hactl-pgbackrest check` to see why; check the repository and its access key",
        plan.cluster
    );
    // Also where the archive has just been set up, or one attempt failed.
    if archiver.since_s > PATIENCE_S {
        findings.add("archive-failing", Some(&leader), message, hint);
    } else {
        findings.notice("archive-failing", Some(&leader), message, hint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        component::postgres::{ArchiverView, PostgresView},
        model::{Choices, Role},
        plan::decide,
        spec,
    };

    fn found(text: &str, archiver: Option<ArchiverView>) -> Findings {
        let text = format!("instances: {{node1: {{}}, node2: {{}}, node3: {{}}}}\n{text}");
        let plan = decide(&spec::load("t.yaml", text.as_bytes(), "t").unwrap(), &Choices::default()).unwrap();
        let key: crate::model::InstanceKey = "node1".parse().unwrap();
        let mut view = NodeView::new([Role::Patroni].into(), Ok(()));
        view.postgres = Some(Ok(PostgresView { archiver, ..PostgresView::default() }));
        let mut findings = Findings { leader: Some(key.clone()), ..Findings::default() };
        diagnose(&plan, &[(key, view)].into(), &mut findings);
        findings
    }

    #[test]
    fn archive_that_fails_is_a_notice_and_after_five_minutes_a_problem() {
        let backup =
            "backup: {repositories: {main: {s3: {bucket: b0b, endpoint: 'https://s3.example.org', region: r}}}}";
        let failing =
            |since_s| Some(ArchiverView { archived: None, failing: Some("000000010000000000000007".into()), since_s });
        let short = found(backup, failing(60));
        assert_eq!((short.problems.len(), short.notices.len()), (0, 1));
        assert_eq!(short.archiver.map(|archiver| archiver.since_s), Some(60));
        let long = found(backup, failing(301));
        assert_eq!((long.problems[0].code.as_str(), long.notices.len()), ("archive-failing", 0));
        assert!(long.problems[0].message.contains("000000010000000000000007"), "{:?}", long.problems);
        let well = Some(ArchiverView { archived: Some("1".into()), failing: None, since_s: 1000 });
        for (text, archiver) in [(backup, well), (backup, None), ("", failing(301))] {
            let none = found(text, archiver);
            assert_eq!((none.problems.len(), none.notices.len()), (0, 0));
        }
    }
}
