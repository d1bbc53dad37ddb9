//! Where Patroni runs on a machine.

use crate::{
    component::door::{Door, TlsService},
    fleet::FleetNode,
    model::{Certificate, Endpoint},
};

/// The port of the REST API that the role gives.
pub(crate) const PORT: u16 = 8008;
/// The unit that the role makes.
pub(crate) const UNIT: &str = "patroni";
/// The unit that stops a primary whose Patroni no longer runs.
pub(crate) const LEASE_GUARD: &str = "hactl-lease-guard";

/// Patroni's REST API.
#[must_use]
pub(crate) fn endpoint(node: &FleetNode) -> Endpoint {
    node.found.as_ref().map_or_else(|| node.endpoint(PORT), |found| found.patroni.clone())
}

/// The REST API's certificate, with which Patroni asks etcd and the other members, too.
pub(super) fn door(node: &FleetNode) -> Door {
    Door {
        service: TlsService::Patroni,
        certificate: Certificate::PATRONI,
        endpoint: endpoint(node),
        files: ["/etc/patroni/tls", "patroni"],
        authority: "control-ca",
    }
}

/// Patroni's unit.
#[must_use]
pub(crate) fn unit(node: &FleetNode) -> &str {
    node.found.as_ref().map_or(UNIT, |found| &found.patroni_unit)
}
