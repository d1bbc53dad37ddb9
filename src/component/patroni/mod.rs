//! Patroni: what elects a primary, and starts and stops PostgreSQL.

mod client;
mod configuration;
mod diagnose;
mod guard;
mod service;
mod vars;
mod watchdog;

pub use client::{Cluster, Itself, Member, PatroniView, Pending, Scheduled, Version};
pub(crate) use client::{config, failsafe, itself, leader, members, restart, switchover};
pub(crate) use guard::fencing;
pub use guard::{GuardState, GuardView};
pub(crate) use service::{LEASE_GUARD, PORT, UNIT, endpoint, unit};
pub use watchdog::Watchdog;

use super::{
    definition::{Component, Download, DownloadRequest, OpenTo, Port},
    view::View,
};
use crate::{
    fetch,
    model::{Certificate, Role},
};

pub(super) const COMPONENT: Component = Component {
    name: "patroni",
    title: "Patroni",
    role: Role::Patroni,
    is_on: |_| true,
    group: None,
    version: |plan| plan.patroni.version.clone(),
    download: Some(Download {
        variable: "patroni_wheels_dir",
        fetch: |request| {
            let DownloadRequest { context, plan, distribution, arch, lock } = request;
            Box::pin(fetch::patroni_wheels(context, &plan.patroni.version, distribution.python(), arch, lock))
        },
    }),
    variables: vars::VARIABLES,
    certificates: &[Certificate::PATRONI],
    doors: |node| vec![service::door(node)],
    ports: |_| vec![Port { number: PORT, open_to: OpenTo::Monitoring }],
    endpoint,
    unit: Some(unit),
    helpers: &[LEASE_GUARD],
    ask: Some(|reached| {
        Box::pin(async move {
            let (patroni, (guard, watchdog)) = tokio::join!(client::ask(reached), guard::ask(reached.remote));
            // The script reads the configuration that hactl's role writes.
            View::Patroni(patroni.map(Box::new), guard, watchdog.filter(|_| reached.node.found.is_none()))
        })
    }),
    complete: |_, _| {},
    is_plain: |node, view| matches!(view.patroni, Some(Ok(_))) && !endpoint(node).tls,
    diagnose: |plan, seen, findings| {
        diagnose::diagnose(plan, seen, findings);
        diagnose::diagnose_guards(plan, seen, findings);
        diagnose::diagnose_kept(plan, seen, findings);
        diagnose::diagnose_configuration(plan, seen, findings);
        diagnose::diagnose_watchdogs(plan, seen, findings);
    },
    diagnose_adopted: diagnose::diagnose_adopted,
    may_be_foreign: false,
    detect: include_str!("detect.sh"),
    stop: include_str!("stop.sh"),
    wipe: include_str!("wipe.sh"),
};
