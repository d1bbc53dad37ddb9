//! What the user allows by name, and what the last run knew of the machines.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::ResourceChange;
use crate::{
    model::{InstanceKey, Role},
    plan::Plan,
};

/// What the user has agreed to by name, and what ran on the machines.
#[derive(Clone, Debug, Default)]
pub struct Consent {
    /// Machines that may be destroyed, replaced or forgotten: `--allow-destroy`.
    pub destroy: BTreeSet<InstanceKey>,
    /// The same by resource addresses, for modules in which hactl cannot tell which resources are machines.
    pub addresses: BTreeSet<String>,
    /// Machines that may be stopped and started: `--allow-restart`.
    pub restart: BTreeSet<InstanceKey>,
    /// Attributes of machines that may change while the machines run: `--allow-change`.
    pub change: BTreeMap<InstanceKey, BTreeSet<String>>,
    /// What ran on each machine after the last run: the plan has no machine that was removed from the cluster file.
    pub ran: BTreeMap<InstanceKey, BTreeSet<Role>>,
    /// What the platform called these machines then.
    pub machine_ids: BTreeMap<InstanceKey, String>,
}

impl Consent {
    /// Whether the last run has used the machine that `change` is about. Another machine of the same key was never in use,
    /// if its creation failed.
    pub(super) fn has_run(&self, change: &ResourceChange) -> bool {
        let Some(key) = change.node.as_ref().filter(|key| self.ran.contains_key(*key)) else { return false };
        match (self.machine_ids.get(key), &change.machine_id) {
            (Some(then), Some(now)) => then == now,
            _ => false,
        }
    }

    /// Whether a machine is a member of the cluster now, or becomes one by `plan`.
    pub(super) fn is_member(&self, plan: &Plan, key: &InstanceKey) -> bool {
        self.roles(plan, key).is_none_or(|roles| !roles.is_empty())
    }

    /// The roles of a machine, current and planned together; `None` for an unknown machine.
    pub(super) fn roles(&self, plan: &Plan, key: &InstanceKey) -> Option<BTreeSet<Role>> {
        let (ran, meant) = (self.ran.get(key), plan.nodes.get(key).map(|node| &node.roles));
        match (ran, meant) {
            (None, None) => None,
            (ran, meant) => Some(ran.into_iter().chain(meant).flatten().copied().collect()),
        }
    }

    /// The machines that the user names and that neither the cluster nor its file has; none if there are none.
    pub(crate) fn strangers(&self, plan: &Plan) -> Option<String> {
        let named: BTreeSet<&InstanceKey> =
            self.destroy.iter().chain(&self.restart).chain(self.change.keys()).collect();
        let known: BTreeSet<&InstanceKey> =
            plan.nodes.keys().chain(self.ran.keys()).chain(self.machine_ids.keys()).collect();
        let list = |keys: Vec<&InstanceKey>| keys.into_iter().map(InstanceKey::as_str).collect::<Vec<_>>().join(", ");
        let strangers = list(named.difference(&known).copied().collect());
        let known = || list(known.iter().copied().collect());
        (!strangers.is_empty()).then(|| format!("the cluster has no machine {strangers}; its machines are {}", known()))
    }

    /// Whether the user allows the change of the attribute `name` of a machine, or of all attributes in which it is.
    pub(super) fn allows(&self, key: &InstanceKey, name: &str) -> bool {
        let within =
            |allowed: &str| name.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.change.get(key).is_some_and(|names| names.iter().any(|allowed| within(allowed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Choices, plan::decide, spec};

    #[test]
    fn named_machine_that_the_cluster_does_not_have_is_said_with_those_that_it_has() {
        let spec = spec::load("t", b"instances: {a: {}, b: {}}", "t").unwrap();
        let plan = decide(&spec, &Choices::default()).unwrap();
        let keys = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<InstanceKey>>();
        let removed: InstanceKey = "gone".parse().unwrap();
        let consent = |names: &[&str]| Consent {
            destroy: keys(names),
            ran: [(removed.clone(), BTreeSet::new())].into(),
            ..Consent::default()
        };
        assert_eq!(consent(&["a", "gone"]).strangers(&plan), None);
        let said = consent(&["a", "node9"]).strangers(&plan);
        assert_eq!(said.as_deref(), Some("the cluster has no machine node9; its machines are a, b, gone"));
    }
}
