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
pub(crate) const UNIT: &str = "haproxy";
/// How long its unit waits before it starts it again, in seconds: `RestartSec` of the role.
pub(crate) const RESTART: u32 = 1;
/// How long its checks take to tell which server is the primary after a start, in seconds: it takes each of them for one until
/// two checks have failed, the second sooner than the first, each in its own time.
pub(crate) const CHECKS: u32 = 3;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_role() {
        let unit = include_str!("../../../roles/haproxy/templates/haproxy.service.j2");
        assert!(unit.contains(&format!("\nRestartSec={RESTART}\n")) && unit.contains("\nRestart=always\n"), "{unit}");
        let defaults = include_str!("../../../roles/haproxy/defaults/main.yml");
        let milliseconds = |name: &str| -> u32 {
            let line = defaults.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap();
            line.parse().unwrap()
        };
        let checks = milliseconds("haproxy_check_interval") + milliseconds("haproxy_check_interval_fast");
        assert!(checks < CHECKS * 1000, "{checks}");
    }
}
