//! PgBouncer, the pooler on every data node: where applications connect to.

mod client;
mod diagnose;
mod vars;

pub use client::{Pool, PoolerState, PoolerView};
pub(in crate::component) use vars::connections;

use super::{
    definition::{Component, OpenTo, Port},
    door::{Door, TlsService},
    view::View,
};
use crate::{
    fleet::FleetNode,
    model::{Certificate, Endpoint, Role},
};

/// The unit that the role makes.
const UNIT: &str = "pgbouncer";

pub(super) const COMPONENT: Component = Component {
    name: "pgbouncer",
    title: "PgBouncer",
    role: Role::Patroni,
    is_on: |node| node.pooler_port.is_some(),
    group: Some("pgbouncer"),
    version: |_| String::new(),
    download: None,
    variables: vars::VARIABLES,
    // It serves the certificate of PostgreSQL on the same machine.
    certificates: &[],
    ports: |node| node.pooler_port.map(|number| Port { number, open_to: OpenTo::Clients }).into_iter().collect(),
    doors: |node| vec![door(node)],
    endpoint,
    unit: Some(|_| UNIT),
    helpers: &[],
    ask: Some(|reached| Box::pin(async move { View::Pgbouncer(client::ask(reached).await) })),
    complete: |_, _| {},
    is_plain: |_, _| false,
    diagnose: diagnose::diagnose,
    diagnose_adopted: |_, _, _| {},
    may_be_foreign: false,
    detect: include_str!("detect.sh"),
    stop: include_str!("stop.sh"),
    wipe: include_str!("wipe.sh"),
};

/// Where clients connect to the pooler of a machine that has one.
#[must_use]
pub(crate) fn endpoint(node: &FleetNode) -> Endpoint {
    node.endpoint(node.node.pooler_port.unwrap_or_default())
}

fn door(node: &FleetNode) -> Door {
    Door {
        service: TlsService::Pooler,
        certificate: Certificate::POSTGRESQL,
        endpoint: endpoint(node),
        files: ["/etc/pgbouncer/hactl", "server"],
        authority: "postgresql-ca",
    }
}
