//! Pure nouns that every stage may use: names, roles, versions, paths and secrets.

pub mod name;
pub mod role;
pub mod secret;
pub mod version;

pub use name::{ClusterName, DatabaseName, HostName, InstanceKey};
pub use role::Role;
pub use secret::Secret;
pub use version::{EtcdVersion, PostgresMajor};
