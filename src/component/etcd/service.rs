//! Where etcd runs on a machine.

use crate::{fleet::FleetNode, model::Endpoint};

/// The component's name.
pub(crate) const NAME: &str = "etcd";
/// The port for clients that the role gives.
pub(crate) const PORT: u16 = 2379;
/// The port for other members that the role gives.
pub(crate) const PEER_PORT: u16 = 2380;
/// The unit that the role makes.
pub(crate) const UNIT: &str = "etcd";

/// etcd's client port.
#[must_use]
pub(crate) fn endpoint(node: &FleetNode) -> Endpoint {
    node.found.as_ref().map_or_else(|| node.endpoint(PORT), |found| found.etcd.clone())
}

/// etcd's unit.
#[must_use]
pub(crate) fn unit(node: &FleetNode) -> &str {
    node.found.as_ref().map_or(UNIT, |found| &found.etcd_unit)
}
