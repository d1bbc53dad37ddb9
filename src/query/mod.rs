//! Commands that only look: they open a cluster and change nothing.

mod backups;
mod bundle;
mod inventory;
mod psql;
mod secrets;
mod ssh;
mod status;

pub use backups::backups;
pub use bundle::bundle;
pub use inventory::inventory;
pub use psql::{PsqlConnection, psql_connection};
pub use secrets::{host_keys, recipients};
pub use ssh::ssh;
pub use status::StatusProbe;
