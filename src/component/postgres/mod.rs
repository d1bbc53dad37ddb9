//! PostgreSQL itself, which Patroni starts.

mod client;
mod service;
mod write_check;

pub use client::PostgresView;
pub(crate) use client::{age, ask, recovery, superuser};
pub(crate) use service::{PORT, USER, door, user};
pub use write_check::write_and_read;
