//! Fleet -> Health: what the machines, etcd, Patroni and PostgreSQL report.
//!
//! [`observe`] asks every node at once and never fails: what did not answer is an observation, too.
//! [`diagnose`] is pure and turns observations into a [`Health`] with every problem named. Only a
//! healthy one becomes [`Healthy`], which is what a drill requires.

mod backups;
mod certificates;
mod clock;
mod diagnose;
mod observe;
mod progress;
mod reboot;
mod status;
#[cfg(test)]
mod tests;
mod wait;

pub(crate) use certificates::are_read;
pub use certificates::{certificates, earliest_end};
pub use diagnose::{Health, Healthy, diagnose};
pub use observe::observe;
pub(crate) use observe::with_data;
pub(crate) use progress::{Progress, marks};
pub use status::{Status, status};
pub use wait::wait_until_healthy;
