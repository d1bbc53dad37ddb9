//! Where PostgreSQL runs on a machine.

use crate::{
    component::door::{Door, TlsService},
    fleet::FleetNode,
    model::{Certificate, Endpoint},
};

/// The port that the role gives.
pub(crate) const PORT: u16 = 5432;
/// The user of the system that the role gives.
pub(crate) const USER: &str = "postgres";

/// PostgreSQL's own port.
#[must_use]
pub(crate) fn endpoint(node: &FleetNode) -> Endpoint {
    node.found.as_ref().map_or_else(|| node.endpoint(PORT), |found| found.postgres.clone())
}

/// PostgreSQL's own certificate.
pub(super) fn door(node: &FleetNode) -> Door {
    Door {
        service: TlsService::Postgresql,
        certificate: Certificate::POSTGRESQL,
        endpoint: endpoint(node),
        files: ["/etc/patroni/tls", "postgresql"],
        authority: "postgresql-ca",
    }
}

/// The user of the system who runs Patroni and PostgreSQL.
#[must_use]
pub(crate) fn user(node: &FleetNode) -> &str {
    node.found.as_ref().map_or(USER, |found| &found.user)
}
