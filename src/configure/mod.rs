//! Inventory -> Configured: Ansible's environment, its events, its recap.

mod ansible;
mod environment;
mod event;

pub use ansible::{Playbook, Settings, run};
pub use environment::{AnsibleEnvironment, environment, ssh_version};
pub use event::{Configured, Recap};
