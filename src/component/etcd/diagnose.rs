//! What the members of etcd say -> problems: pure.

use std::collections::{BTreeMap, BTreeSet};

use super::status::{Etcd, EtcdMember};
use crate::{
    component::{
        findings::{Findings, Hint},
        view::Observations,
    },
    model::{Dcs, InstanceKey},
    plan::Plan,
};

/// Finds what is wrong with etcd, and how it is on the whole.
pub(super) fn diagnose(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    findings.etcd = etcd(plan, seen, findings);
}

fn etcd(plan: &Plan, seen: &Observations, findings: &mut Findings) -> Etcd {
    let voters: BTreeSet<&InstanceKey> = plan.voters().map(|node| &node.key).collect();
    if findings.adopted && voters.is_empty() {
        // etcd runs on other machines. It is healthy if Patroni can read it.
        let views = seen.values().filter_map(|view| view.patroni.as_ref()?.as_ref().ok());
        let healthy = views.into_iter().any(|view| view.cluster.is_some());
        return Etcd { healthy, ..Etcd::default() };
    }
    if plan.is_plain() {
        return Etcd::default();
    }
    let outside = plan.voter_count() > voters.len();
    let mut answers = BTreeMap::new();
    for key in &voters {
        match seen.get(*key).and_then(|view| view.etcd.as_ref()) {
            Some(Ok(view)) => drop(answers.insert(*key, view)),
            Some(Err(said)) => {
                findings.failed("etcd-silent", key, "etcd does not answer", said);
            }
            // SSH was silent, which is a problem already.
            None => {}
        }
    }
    let serving = answers.values().filter(|view| view.serving).count();
    let Some(best) = answers.values().max_by_key(|view| (view.serving, view.leader != 0, view.members.len())) else {
        findings.add(
            "etcd-down",
            None,
            "no etcd member answers",
            "Start etcd first: without it, Patroni keeps no leader",
        );
        return Etcd::default();
    };
    if serving == 0 {
        let message = format!("etcd has no quorum: {} of {} voters answer", answers.len(), voters.len());
        findings.add("etcd-no-quorum", None, message, "Start the voters that are down; a majority is needed");
    } else if best.leader == 0 {
        findings.add("etcd-no-leader", None, "etcd has no leader", "Wait a few seconds for an election to end");
    }
    for (key, view) in &answers {
        if serving > 0 && !view.serving {
            findings.add(
                "etcd-isolated",
                Some(key),
                "this member is not part of the quorum",
                "Check that port 2380 is open between the members",
            );
        }
        for alarm in &view.alarms {
            let hint = "If the alarm is NOSPACE, compact and defragment etcd, then run `etcdctl alarm disarm`";
            findings.add("etcd-alarm", Some(key), format!("etcd has raised the alarm {alarm}"), hint);
        }
    }
    for voter in &voters {
        match best.members.iter().find(|member| member.name == voter.as_str()) {
            None => {
                let hint = format!("Run `hactl up {}` to add it as a learner and promote it", plan.cluster);
                findings.add("etcd-member-missing", Some(voter), "not in etcd's member list", Hint::Up(hint));
            }
            Some(member) if member.learner => {
                let hint = format!("Run `hactl up {}` to promote it once it is in sync", plan.cluster);
                findings.add("etcd-learner", Some(voter), "still a learner: it does not vote", Hint::Up(hint));
            }
            Some(_) => {}
        }
    }
    for member in &best.members {
        if !outside && !voters.iter().any(|voter| voter.as_str() == member.name) {
            let message = format!("etcd lists {} ({:x}), which is not a voter of this cluster", member.name, member.id);
            let hint = Hint::Up(format!("Run `hactl up {}` to remove it", plan.cluster));
            findings.ours("etcd-member-foreign", None, message, hint);
        }
    }
    let mut members: Vec<EtcdMember> = best
        .members
        .iter()
        .map(|member| EtcdMember {
            name: member.name.clone(),
            id: format!("{:x}", member.id),
            leader: best.leader == member.id,
            learner: member.learner,
        })
        .collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let leader = members.iter().find(|member| member.leader).map(|member| member.name.clone());
    let whole = voters.len() == answers.len() && answers.values().all(|view| view.serving && view.alarms.is_empty());
    let voting = members.iter().filter(|member| !member.learner).count();
    Etcd { healthy: whole && leader.is_some() && voting == voters.len(), leader, members }
}

/// Notices about the DCS of a cluster that hactl did not make.
pub(super) fn diagnose_adopted(plan: &Plan, _: &Observations, findings: &mut Findings) {
    match &plan.dcs {
        Dcs::Other(store) => {
            let message = format!("the DCS is {store}: hactl does not check it, and skips the drills of etcd");
            findings.notice("dcs-not-etcd", None, message, Hint::None);
        }
        Dcs::Etcd { outside, .. } if !outside.is_empty() => {
            let list: Vec<String> = outside.iter().map(ToString::to_string).collect();
            let message = format!(
                "hactl does not check the etcd voters that are not instances in the cluster file: {}",
                list.join(", ")
            );
            findings.notice("etcd-outside", None, message, "Add their machines to `instances`");
        }
        Dcs::Etcd { .. } => {}
    }
}
