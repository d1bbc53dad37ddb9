//! HAProxy beside each pooler: it leads to the primary, and to the replicas, as Patroni's REST API tells them.

mod client;
mod diagnose;
mod vars;

pub use client::{ProxyServer, ProxyView};

use std::net::Ipv4Addr;

use super::{definition::Component, view::View};
use crate::model::{Endpoint, Role};

/// The port on the machine itself that leads to the primary.
const PRIMARY_PORT: u16 = 5000;
/// The unit that the role makes.
const UNIT: &str = "haproxy";

pub(super) const COMPONENT: Component = Component {
    name: "haproxy",
    title: "HAProxy",
    role: Role::Patroni,
    is_on: |node| node.pooler_port.is_some(),
    group: Some("haproxy"),
    version: |_| String::new(),
    download: None,
    variables: vars::VARIABLES,
    certificates: &[],
    // It listens on the loopback device only.
    ports: |_| Vec::new(),
    doors: |_| Vec::new(),
    endpoint: |_| Endpoint { host: Ipv4Addr::LOCALHOST.to_string(), port: PRIMARY_PORT, tls: true },
    unit: Some(|_| UNIT),
    helpers: &[],
    ask: Some(|reached| Box::pin(async move { View::Haproxy(client::ask(reached.remote).await) })),
    complete: |_, _| {},
    is_plain: |_, _| false,
    diagnose: diagnose::diagnose,
    diagnose_adopted: |_, _, _| {},
    may_be_foreign: false,
    detect: include_str!("detect.sh"),
    stop: include_str!("stop.sh"),
    wipe: include_str!("wipe.sh"),
};
