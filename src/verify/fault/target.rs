//! The cluster that faults are injected into.

use crate::{
    access::Access,
    context::Context,
    error::Result,
    fleet::{Fleet, FleetNode},
    model::InstanceKey,
    plan::Plan,
    verify::catalogue::Target,
};

/// The cluster that faults are injected into: its machines, and what opens them.
pub struct FaultTarget<'a> {
    pub plan: &'a Plan,
    pub fleet: &'a Fleet,
    /// For looking at the cluster.
    pub access: &'a Access,
    /// For faults and undos alone: sessions that nothing else can hold up.
    pub control: &'a Access,
    pub context: &'a Context,
}

impl FaultTarget<'_> {
    pub(super) fn node(&self, key: &InstanceKey) -> Result<&FleetNode> {
        self.fleet.node(key.as_str())
    }

    /// What mends the cluster when a fault could not be taken back.
    pub(super) fn next_step(&self) -> String {
        let name = &self.plan.cluster;
        match self.plan.platform.is_adopted() {
            true => format!("run `hactl verify {name}` again: it begins by taking back what was left"),
            false => format!("run `hactl up {name}`"),
        }
    }

    /// Machines that are part of the cluster, in the order of their keys.
    pub(super) fn members(&self) -> impl Iterator<Item = &FleetNode> {
        self.fleet.nodes.values().filter(|node| !node.node.roles.is_empty())
    }

    /// Machines that a drill with this target may strike.
    pub(super) fn candidates(&self, target: Target) -> Vec<&FleetNode> {
        match target {
            Target::Primary | Target::Replica | Target::Replicas | Target::SyncReplica => {
                self.fleet.data_nodes().collect()
            }
            Target::EtcdLeader | Target::EtcdMajority => self.fleet.voters().collect(),
            Target::All => self.members().collect(),
        }
    }
}
