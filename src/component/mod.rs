//! What hactl knows of each program that makes up a cluster, one folder for each: how it is asked, what is wrong with it,
//! and where it runs. The other rooms loop over [`COMPONENTS`].

mod definition;
pub mod etcd;
mod findings;
pub mod patroni;
pub mod postgres;
mod probe;
mod view;

use definition::Component;
pub use findings::Problem;
pub(crate) use findings::{Findings, Hint};
pub use probe::{Observed, ProbeError};
pub(crate) use probe::{Reached, reach};
pub use view::{NodeView, Observations};

use crate::fleet::FleetNode;

/// Every component, each after those that it needs.
pub(crate) static COMPONENTS: [Component; 3] = [etcd::COMPONENT, patroni::COMPONENT, postgres::COMPONENT];

/// The components' own units on `node`, from what clients use to what holds that up.
pub(crate) fn units(node: &FleetNode) -> impl Iterator<Item = &str> {
    COMPONENTS.iter().rev().filter_map(|component| component.unit).map(|unit| unit(node))
}

/// The same with the units beside them that hactl's roles may enable.
pub(crate) fn all_units(node: &FleetNode) -> impl Iterator<Item = &str> {
    units(node).chain(COMPONENTS.iter().flat_map(|component| component.helpers.iter().copied()))
}
