//! Fleet -> Health: the machines, etcd, Patroni and PostgreSQL, asked themselves.
//!
//! [`observe`] asks every node at once and never fails: what did not answer is an observation, too.
//! [`diagnose`] is pure and turns observations into a [`Health`] with every problem named. Only a
//! healthy one becomes [`Healthy`], which is what a drill requires.

mod diagnose;
mod etcd;
mod lease;
mod observe;
mod patroni;
mod postgres;
mod probe;
mod reboot;
mod status;
#[cfg(test)]
mod tests;
mod wait;

pub use diagnose::{Etcd, Health, Healthy, Problem, diagnose};
pub(crate) use etcd::etcd_value;
pub(crate) use lease::{Taken, give_up, renew, serving_voter, take_key};
pub use observe::{Observations, Observed, observe};
pub(crate) use observe::{ask_etcd, ask_patroni, switchover};
pub use patroni::Member;
pub(crate) use patroni::{patroni_config, patroni_itself, patroni_leader};
pub use postgres::write_and_read;
pub(crate) use postgres::{age, recovery, superuser};
pub use status::{Status, status};
pub use wait::wait_until_healthy;
