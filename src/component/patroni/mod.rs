//! Patroni: what elects a primary, and starts and stops PostgreSQL.

mod client;
mod service;

pub use client::{Cluster, Itself, Member, PatroniView, Version};
pub(crate) use client::{ask, config, itself, leader, switchover};
pub(crate) use service::{LEASE_GUARD, PORT, UNIT, door, unit};
