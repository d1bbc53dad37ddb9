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

/// Every component, each after those that it needs.
pub(crate) static COMPONENTS: [Component; 3] = [etcd::COMPONENT, patroni::COMPONENT, postgres::COMPONENT];
