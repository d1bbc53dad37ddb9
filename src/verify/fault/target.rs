//! The cluster that faults are injected into.

use crate::{
    access::{Access, DatabaseLogin},
    context::Context,
    error::Result,
    fleet::{Fleet, FleetNode},
    model::InstanceKey,
    plan::Plan,
    secrets::ShortLeaves,
    verify::catalogue::Target,
};

/// The cluster that faults are injected into: its machines, and what opens them.
pub struct FaultTarget<'a> {
    pub plan: &'a Plan,
    pub fleet: &'a Fleet,
    /// For looking at the cluster.
    pub access: &'a Access,
    /// For faults and undos only: sessions that nothing else can delay.
    pub control: &'a Access,
    pub context: &'a Context,
    /// What makes certificates that end soon; none where hactl made no certificates.
    pub short_leaves: Option<&'a ShortLeaves>,
    /// Who logs in at the poolers; none where hactl does not know the password.
    pub owner: Option<&'a DatabaseLogin>,
}

impl FaultTarget<'_> {
    pub(super) fn node(&self, key: &InstanceKey) -> Result<&FleetNode> {
        self.fleet.node(key.as_str())
    }

    /// The command that repairs the cluster if a fault could not be reverted.
    pub(super) fn next_step(&self) -> String {
        let name = &self.plan.cluster;
        match self.plan.platform.is_adopted() {
            true => format!("run `hactl verify {name}` again, which first reverts leftover faults"),
            false => format!("run `hactl up {name}`"),
        }
    }

    /// Machines that are part of the cluster, in the order of their keys.
    pub(super) fn members(&self) -> impl Iterator<Item = &FleetNode> {
        self.fleet.nodes.values().filter(|node| !node.node.roles.is_empty())
    }

    /// Machines that a drill with this target may inject its fault into.
    pub(super) fn candidates(&self, target: Target) -> Vec<&FleetNode> {
        match target {
            Target::Primary
            | Target::Replica
            | Target::Replicas
            | Target::SyncReplica
            | Target::PrimaryAndSyncReplica
            | Target::Pooler => self.fleet.data_nodes().collect(),
            Target::EtcdLeader | Target::EtcdMajority => self.fleet.voters().collect(),
            Target::All => self.members().collect(),
        }
    }
}
