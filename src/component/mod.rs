//! What hactl knows of each program that makes up a cluster, one folder for each: where it runs, what its role is told, how it
//! is asked, what is wrong with it, how it is stopped and removed. The other modules loop over [`COMPONENTS`].

use std::collections::BTreeSet;

mod definition;
mod door;
pub mod etcd;
mod findings;
mod material;
pub mod patroni;
pub mod pgbackrest;
pub mod postgres;
mod probe;
mod served;
mod view;

use definition::Component;
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

use crate::{
    fleet::FleetNode,
    model::{Certificate, Role},
};

/// Every component, each after those that it needs.
pub(crate) static COMPONENTS: [Component; 4] =
    [etcd::COMPONENT, patroni::COMPONENT, postgres::COMPONENT, pgbackrest::COMPONENT];

/// The components' own units on `node`, from what clients use to what holds that up.
pub(crate) fn units(node: &FleetNode) -> impl Iterator<Item = &str> {
    COMPONENTS.iter().rev().filter_map(|component| component.unit).map(|unit| unit(node))
}

/// The same with the units beside them that hactl's roles may enable.
pub(crate) fn all_units(node: &FleetNode) -> impl Iterator<Item = &str> {
    units(node).chain(COMPONENTS.iter().flat_map(|component| component.helpers.iter().copied()))
}

/// The components of machines with `roles`.
pub(crate) fn of_roles(roles: &BTreeSet<Role>) -> impl Iterator<Item = &'static Component> {
    COMPONENTS.iter().filter(|component| roles.contains(&component.role))
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
