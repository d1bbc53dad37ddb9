//! What the members of Patroni say -> problems: pure.

use std::collections::BTreeSet;

use super::{
    configuration::differences,
    guard::{Verdict, judge},
    service::LEASE_GUARD,
    watchdog::Watchdog,
};
use crate::{
    component::{
        findings::{Findings, Hint},
        view::Observations,
    },
    error::codes,
    model::InstanceKey,
    plan::Plan,
};

use super::PatroniView;

/// Finds what is wrong with Patroni, and which members it has.
pub(super) fn diagnose(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    let mut views = Vec::new();
    for node in plan.data_nodes() {
        match seen.get(&node.key).and_then(|view| view.patroni.as_ref()) {
            Some(Ok(view)) => views.push((&node.key, view)),
            Some(Err(said)) => {
                findings.failed("patroni-silent", &node.key, "Patroni does not answer", said);
            }
            None => {}
        }
    }
    for (key, view) in &views {
        if view.itself.failsafe_mode_is_active {
            let message = "failsafe mode is active: Patroni cannot reach etcd";
            findings.add("failsafe-active", Some(key), message, "Check etcd first");
        }
        if view.itself.pending_restart {
            let hint = format!(
                "Run `hactl up {}` to restart the members in the right order; add `--yes` if writes may be interrupted",
                plan.cluster
            );
            findings.notice(
                "pending-restart",
                Some(key),
                "a changed setting waits for a restart of PostgreSQL",
                Hint::Up(hint),
            );
        }
    }
    let identifiers: BTreeSet<&String> =
        views.iter().filter_map(|(_, view)| view.itself.database_system_identifier.as_ref()).collect();
    if identifiers.len() > 1 {
        let list: Vec<&str> = identifiers.iter().map(|id| id.as_str()).collect();
        let message = format!("members hold different databases (system identifiers {})", list.join(", "));
        let hint =
            "Keep the right database, and remove the data directory of the member that comes from another cluster";
        findings.add("system-id-mismatch", None, message, hint);
    }
    // The view of the leader is the newest; without it, any other view is used.
    let clusters = views.iter().filter_map(|(key, view)| view.cluster.as_ref().map(|cluster| (key, cluster)));
    let best = clusters.max_by_key(|(key, cluster)| {
        let leads = cluster.members.iter().any(|member| member.is_leader() && member.name == key.as_str());
        (leads, cluster.members.len())
    });
    let Some((_, cluster)) = best else {
        if !views.is_empty() {
            let message = "no Patroni member can read the cluster from etcd";
            findings.add("dcs-unreadable", None, message, "Check etcd first");
        }
        return;
    };
    if cluster.pause {
        findings.add(
            "paused",
            None,
            "Patroni is paused: it will not fail over",
            "Run `patronictl resume` to end the pause",
        );
    }
    for node in plan.data_nodes() {
        if !cluster.members.iter().any(|member| member.name == node.key.as_str())
            && views.iter().any(|(key, _)| **key == node.key)
        {
            findings.add("member-missing", Some(&node.key), "Patroni runs but is not a member yet", Hint::None);
        }
    }
    for (key, view) in &views {
        let checkpoint = seen.get(key).and_then(|seen| seen.checkpoint);
        diverged(plan, (key, view), checkpoint, &views, findings);
    }
    findings.members.clone_from(&cluster.members);
    findings.members.sort_by(|a, b| a.name.cmp(&b.name));
}

/// Finds lease guards that would not stop a primary.
pub(super) fn diagnose_guards(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    for key in plan.data_nodes().map(|node| &node.key) {
        let view = seen.get(key);
        // A stopped unit and a machine that does not answer are separate problems.
        let guard =
            view.filter(|view| !view.failed_units.contains_key(LEASE_GUARD)).and_then(|view| view.guard.as_ref());
        match guard.map(judge) {
            Some(Verdict::Proves) => continue,
            Some(Verdict::Unproved(why)) => {
                let hint = format!("Run `hactl logs {} {key} --unit {LEASE_GUARD}` for more lines", plan.cluster);
                findings.ours("guard-unproved", Some(key), format!("the lease guard {why}"), hint);
            }
            Some(Verdict::Unknown) => {
                let message = "the lease guard is from an earlier release and does not report its state";
                let hint = format!("Run `hactl up {}` to update it", plan.cluster);
                findings.notice("guard-unknown", Some(key), message, Hint::Up(hint));
            }
            Some(Verdict::Waits) | None => {}
        }
        findings.unproved.push(key.clone());
    }
}

/// Finds a member whose data has gone past the point at which the leader's history left its timeline, or that is on a timeline
/// which the leader's history does not have: it can only stream again when `pg_rewind` or a new copy has removed that. Of a PostgreSQL that does not run, the last checkpoint is known.
fn diverged(
    plan: &Plan,
    (key, view): (&InstanceKey, &PatroniView),
    checkpoint: Option<(u64, u64)>,
    views: &[(&InstanceKey, &PatroniView)],
    findings: &mut Findings,
) {
    let replayed = view.itself.timeline.zip(view.itself.xlog.replayed_location);
    let Some((timeline, replayed)) = replayed.or(checkpoint) else {
        return;
    };
    if view.itself.role == "primary" {
        return;
    }
    let Some((leader, what)) = views.iter().find_map(|(leader, view)| {
        let what = match view.history.get(&timeline) {
            Some(end) if replayed > *end => {
                format!("it has {} bytes of timeline {timeline} that {leader} does not have", replayed - end)
            }
            None if view.has_left_out(timeline) => {
                format!("it is on timeline {timeline}, which is not in the history of {leader}")
            }
            Some(_) | None => return None,
        };
        Some((*leader, what))
    }) else {
        return;
    };
    let message = format!("its data has diverged from {leader}: {what}");
    let hint = match plan.platform.is_adopted() {
        false => format!(
            "Run `hactl reinit {} {key}`, which keeps its data directory aside and copies {leader}'s",
            plan.cluster
        ),
        true => format!(
            "Copy what its data directory has and {leader} does not, if it matters. Then run `patronictl reinit` for {key} \
             on a node, which deletes that directory and copies {leader}'s"
        ),
    };
    findings.add("member-diverged", Some(key), message, hint);
}

/// Finds settings in etcd that are not those of the cluster file.
pub(super) fn diagnose_configuration(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    if findings.adopted {
        return;
    }
    let views = seen.iter().filter_map(|(key, view)| Some((key, view.patroni.as_ref()?.as_ref().ok()?)));
    let known = views.filter(|(_, view)| !view.configuration.is_empty());
    // The leader's view is the newest.
    let leads =
        |key: &InstanceKey| findings.members.iter().any(|member| member.is_leader() && member.name == key.as_str());
    let Some((_, view)) = known.max_by_key(|(key, _)| leads(key)) else { return };
    for difference in differences(plan, &view.configuration) {
        let message = format!("Patroni's configuration in etcd is not the one of the cluster file: {difference}");
        let hint = format!("Run `hactl up {}` to restore it, or put the setting into the cluster file", plan.cluster);
        findings.notice(codes::CONFIGURATION_DIFFERS, None, message, Hint::Up(hint));
    }
}

/// Finds data directories that `hactl reinit` has kept aside.
pub(super) fn diagnose_kept(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    for (key, view) in seen {
        for (path, kib) in &view.kept {
            let message = format!("{path} has the data of before a `hactl reinit`, {} MiB", kib / 1024);
            let hint = format!("Run `hactl ssh {} {key} -- rm -r {path}` when nothing in it is missed", plan.cluster);
            findings.notice("copy-kept", Some(key), message, hint);
        }
    }
}

/// Finds members of a cluster that hactl did not make which the file does not name.
pub(super) fn diagnose_adopted(plan: &Plan, _: &Observations, findings: &mut Findings) {
    let known = |member: &str| plan.nodes.keys().any(|key| key.as_str() == member);
    let unknown = findings.members.iter().map(|member| &member.name).filter(|name| !known(name));
    for name in unknown.cloned().collect::<Vec<_>>() {
        let message = format!("Patroni lists {name}, which is not an instance in the cluster file");
        findings.add("member-unknown", None, message, "Add the machine to `instances`");
    }
}

/// Finds machines whose watchdog device would not reset them.
pub(super) fn diagnose_watchdogs(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    if !plan.watchdog {
        return;
    }
    let unarmed = |key: &InstanceKey, watchdog: Watchdog, findings: &Findings| match watchdog {
        Watchdog::Unavailable => Some("Patroni cannot open the watchdog device"),
        Watchdog::Off => Some("Patroni does not use the watchdog device yet"),
        Watchdog::Ready if findings.leads(key) => Some("Patroni leads, but has not armed the watchdog device"),
        Watchdog::Ready | Watchdog::Armed => None,
    };
    for (key, view) in seen {
        let Some(message) = view.watchdog.and_then(|watchdog| unarmed(key, watchdog, findings)) else { continue };
        let hint = format!(
            "Check with `hactl ssh {} {key} -- ls -l /dev/watchdog` that the machine has a device, and run `hactl up {}`",
            plan.cluster, plan.cluster
        );
        findings.notice("watchdog-unarmed", Some(key), message, Hint::Up(hint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        component::{NodeView, patroni::Member},
        model::{Choices, Role},
        plan, spec,
    };

    fn found(file: &str, states: [Watchdog; 2]) -> Vec<String> {
        let plan = plan::decide(&spec::load("t", file.as_bytes(), "t").unwrap(), &Choices::default()).unwrap();
        let members = vec![Member { name: "a".into(), role: "leader".into(), ..Member::default() }];
        let mut findings = Findings { members, ..Findings::default() };
        let views = ["a", "b"].into_iter().zip(states).map(|(key, state)| {
            let mut view = NodeView::new([Role::Patroni].into(), Ok(()));
            view.watchdog = Some(state);
            (key.parse().unwrap(), view)
        });
        diagnose_watchdogs(&plan, &views.collect(), &mut findings);
        findings.notices.iter().map(|one| format!("{}: {}", one.node.as_deref().unwrap(), one.message)).collect()
    }

    #[test]
    fn device_that_would_not_reset_its_machine_is_reported_where_one_is_asked_for() {
        let vm = "platform: {proxmox: {watchdog: true}}\ninstances: {a: {}, b: {}}";
        let none = "platform: proxmox\ninstances: {a: {}, b: {}}";
        assert_eq!(found(vm, [Watchdog::Armed, Watchdog::Ready]), [""; 0]);
        assert_eq!(
            found(vm, [Watchdog::Ready, Watchdog::Unavailable]),
            ["a: Patroni leads, but has not armed the watchdog device", "b: Patroni cannot open the watchdog device"]
        );
        assert_eq!(found(none, [Watchdog::Off, Watchdog::Off]), [""; 0]);
    }
}
