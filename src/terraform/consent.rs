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

    /// Whether the user allows the change of the attribute `name` of a machine, or of all attributes in which it is.
    pub(super) fn allows(&self, key: &InstanceKey, name: &str) -> bool {
        let within =
            |allowed: &str| name.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.change.get(key).is_some_and(|names| names.iter().any(|allowed| within(allowed)))
    }
}
