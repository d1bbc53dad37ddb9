//! Where etcd runs on a machine.

use crate::{
    component::door::{Door, TlsService},
    fleet::FleetNode,
    model::{Certificate, Endpoint},
};

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

/// The directory of the role's certificates.
const TLS: &str = "/etc/etcd/tls";

/// The client port, and the peer port where the role gives it.
pub(super) fn doors(node: &FleetNode) -> Vec<Door> {
    let client = Door {
        service: TlsService::Etcd,
        certificate: Certificate::ETCD_SERVER,
        endpoint: endpoint(node),
        files: [TLS, "server"],
        authority: "control-ca",
    };
    if node.found.is_some() {
        return vec![client];
    }
    let peer = Door {
        service: TlsService::EtcdPeer,
        certificate: Certificate::ETCD_PEER,
        endpoint: node.endpoint(PEER_PORT),
        files: [TLS, "peer"],
        authority: "peer-ca",
    };
    vec![client, peer]
}

/// etcd's unit.
#[must_use]
pub(crate) fn unit(node: &FleetNode) -> &str {
    node.found.as_ref().map_or(UNIT, |found| &found.etcd_unit)
}
