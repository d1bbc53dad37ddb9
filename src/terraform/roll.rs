//! Changes that may stop the machines of several members -> one member at a time. Pure.

use std::collections::BTreeSet;

use super::{
    changes::{Action, Changes, ResourceChange},
    consent::Consent,
};
use crate::{
    error::{Error, Result},
    model::InstanceKey,
    plan::Plan,
};

/// A member whose machine is changed alone, before the rest of the plan.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) key: InstanceKey,
    /// The resources to change.
    pub(super) addresses: Vec<String>,
}

impl Step {
    /// The arguments that limit Terraform's plan to the step.
    pub(super) fn targets(&self) -> impl Iterator<Item = String> {
        self.addresses.iter().map(|address| format!("-target={address}"))
    }
}

/// The members whose machines may stop while they are changed in place, in the order of their keys.
fn disrupted<'a>(plan: &Plan, changes: &'a Changes, consent: &Consent) -> BTreeSet<&'a InstanceKey> {
    let hurt = changes.resources.iter().filter(|change| change.disrupts());
    hurt.filter_map(|change| change.node.as_ref()).filter(|key| consent.is_member(plan, key)).collect()
}

/// The member to change next, alone; none where the rest of the plan may stop one member at most. `done` were changed
/// before in this run.
///
/// # Errors
/// When the provider plans the change of a member again that this run has made.
pub(super) fn next_alone(
    plan: &Plan,
    changes: &Changes,
    consent: &Consent,
    done: &BTreeSet<InstanceKey>,
) -> Result<Option<Step>> {
    let disrupted = disrupted(plan, changes, consent);
    if let Some(again) = disrupted.iter().find(|key| done.contains(**key)) {
        return Err(Error::failed("plan-refused", "apply the plan for", &plan.cluster)
            .cause(format!("{again} was changed, and Terraform plans to change it again"))
            .hint(format!("Run `hactl plan {}` to see which attribute the provider does not keep", plan.cluster)));
    }
    if disrupted.len() < 2 {
        return Ok(None);
    }
    let Some(key) = disrupted.into_iter().next().cloned() else { return Ok(None) };
    let of_it = |change: &&ResourceChange| change.action == Action::Update && change.node.as_ref() == Some(&key);
    let addresses = changes.resources.iter().filter(of_it).map(|change| change.address.clone()).collect();
    Ok(Some(Step { key, addresses }))
}

/// Checks that a plan for `step` stops no other member: its resources may depend on those of others.
///
/// # Errors
/// With the other members.
pub(super) fn is_alone(plan: &Plan, changes: &Changes, consent: &Consent, step: &Step) -> Result<()> {
    let others: Vec<&str> = disrupted(plan, changes, consent)
        .into_iter()
        .filter(|key| **key != step.key)
        .map(InstanceKey::as_str)
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(Error::failed("plan-refused", "change one machine at a time for", &plan.cluster)
        .cause(format!("the resources of {} depend on those of {}", step.key, others.join(", ")))
        .hint("Change the module so that no machine depends on another machine"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::fixture::{change, changes, keys, plan_of};

    fn restart(key: &str) -> ResourceChange {
        ResourceChange { restarts: true, ..change("proxmox_virtual_environment_container", key, Action::Update) }
    }

    #[test]
    fn members_that_stop_are_changed_one_after_another() {
        let (plan, consent) = (plan_of(&["node1", "node2", "node3"]), Consent::default());
        let quiet = change("proxmox_virtual_environment_container", "node3", Action::Update);
        let next = |resources: &[ResourceChange], done: &[&str]| {
            next_alone(&plan, &changes(resources.to_vec()), &consent, &keys(done))
        };
        let step = next(&[restart("node2"), restart("node1"), quiet.clone()], &[]).unwrap().unwrap();
        assert_eq!(step.key.as_str(), "node1");
        assert_eq!(step.addresses, ["module.nodes.proxmox_virtual_environment_container.this[\"node1\"]"]);
        assert_eq!(next(&[restart("node2"), quiet], &["node1"]).unwrap(), None, "the last one goes with the rest");
        let again = next(&[restart("node1"), restart("node2")], &["node1"]).unwrap_err();
        assert!(again.causes[0].contains("node1 was changed"), "{again}");
        assert!(is_alone(&plan, &changes(vec![restart("node1")]), &consent, &step).is_ok());
        let error = is_alone(&plan, &changes(vec![restart("node1"), restart("node3")]), &consent, &step).unwrap_err();
        assert!(error.causes[0].contains("depend on those of node3"), "{error}");
    }

    #[test]
    fn machines_without_a_role_are_changed_together() {
        let mut plan = plan_of(&["node1", "web1", "web2"]);
        for key in ["web1", "web2"] {
            plan.nodes.get_mut(&key.parse::<InstanceKey>().unwrap()).unwrap().roles.clear();
        }
        let all = changes(["node1", "web1", "web2"].map(restart).to_vec());
        assert_eq!(next_alone(&plan, &all, &Consent::default(), &BTreeSet::new()).unwrap(), None);
    }
}
