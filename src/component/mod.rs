//! What hactl knows of each program that makes up a cluster, one folder for each: where it runs, what its role is told, how it
//! is asked, what is wrong with it, how it is stopped and removed. The other modules loop over [`COMPONENTS`].

mod definition;
mod door;
pub mod etcd;
mod findings;
pub mod haproxy;
mod material;
pub mod patroni;
pub mod pgbackrest;
pub mod pgbouncer;
pub mod postgres;
mod probe;
mod served;
mod view;

use definition::{Component, Port};
pub(crate) use definition::{Download, DownloadRequest, OpenTo};
pub(crate) use door::Door;
pub use door::TlsService;
pub use findings::Problem;
pub(crate) use findings::{Findings, Hint};
pub use material::{Downloaded, KeyPair, RoleSecrets};
pub(crate) use material::{Lookup, RoleVars};
pub use probe::{Observed, ProbeError};
pub(crate) use probe::{Reached, reach};
pub use served::{Certificates, Served, Stamp};
pub(crate) use served::{ask_all as ask_certificates, doors, each as each_served};
pub use view::{ClockView, FirewallView, NodeView, Observations};

use crate::{fleet::FleetNode, model::Certificate, plan::PlannedInstance};

/// Every component, each after those that it needs.
pub(crate) static COMPONENTS: [Component; 6] = [
    etcd::COMPONENT,
    patroni::COMPONENT,
    postgres::COMPONENT,
    pgbackrest::COMPONENT,
    haproxy::COMPONENT,
    pgbouncer::COMPONENT,
];

/// The components' own units on `node`, from what clients use to what holds that up.
pub(crate) fn units(node: &FleetNode) -> impl Iterator<Item = &str> {
    let there = COMPONENTS.iter().rev().filter(|component| (component.is_on)(&node.node));
    there.filter_map(|component| component.unit).map(|unit| unit(node))
}

/// The same with the units beside them that hactl's roles may enable.
pub(crate) fn all_units(node: &FleetNode) -> impl Iterator<Item = &str> {
    units(node).chain(COMPONENTS.iter().flat_map(|component| component.helpers.iter().copied()))
}

/// The components of a machine.
pub(crate) fn on(node: &PlannedInstance) -> impl Iterator<Item = &'static Component> {
    COMPONENTS.iter().filter(|component| node.roles.contains(&component.role) && (component.is_on)(node))
}

/// The ports that a machine's firewall watches: those of every role, whichever it has.
pub(crate) fn ports(node: &PlannedInstance) -> impl Iterator<Item = (&'static Component, Port)> {
    COMPONENTS.iter().flat_map(|component| (component.ports)(node).into_iter().map(move |port| (component, port)))
}

/// What is downloaded for the machines.
pub(crate) fn downloads() -> impl Iterator<Item = &'static Download> {
    COMPONENTS.iter().filter_map(|component| component.download.as_ref())
}

/// The certificates that every cluster has: those of its components, and the controller's own.
#[must_use]
pub fn certificates() -> Vec<Certificate> {
    let certificates = COMPONENTS.iter().flat_map(|component| component.certificates);
    certificates.copied().chain([Certificate::CONTROLLER]).collect()
}
