//! PgBouncer, the pooler on every data node: where applications connect to.

mod client;
mod diagnose;
mod vars;

pub(crate) use client::ask;
pub use client::{Pool, PoolerState, PoolerView};
pub(in crate::component) use vars::connections;
pub(crate) use vars::pool_size;

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
pub(crate) const UNIT: &str = "pgbouncer";
/// How long its unit waits before it starts it again, and how long it waits itself before it connects again to a server that it
/// could not reach, in seconds: `RestartSec` and `server_login_retry` of the role.
pub(crate) const RESTART: u32 = 1;
pub(crate) const LOGIN_RETRY: u32 = 1;

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
    ask: Some(|reached| Box::pin(async move { View::Pgbouncer(ask(reached).await) })),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_role() {
        let unit = include_str!("../../../roles/pgbouncer/templates/pgbouncer.service.j2");
        assert!(unit.contains(&format!("\nRestartSec={RESTART}\n")) && unit.contains("\nRestart=always\n"), "{unit}");
        let settings = include_str!("../../../roles/pgbouncer/templates/pgbouncer.ini.j2");
        assert!(settings.contains(&format!("\nserver_login_retry = {LOGIN_RETRY}\n")), "{settings}");
    }
}
