//! etcd: the voters that hold Patroni's leader key.

mod client;
mod lease;
mod service;

pub use client::{EtcdView, ListedMember};
pub(crate) use client::{ask, name_members, value};
pub(crate) use lease::{Taken, give_up, renew, serving_voter, take_key};
pub(crate) use service::{PORT, UNIT, door, unit};
