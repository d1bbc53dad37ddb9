//! Inventory -> Configured: Ansible's environment, its events, its recap.

mod environment;

pub use environment::{AnsibleEnvironment, environment};
