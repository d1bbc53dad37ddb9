//! Inventory -> Configured: Ansible's environment, its events, its recap.

mod change;
mod environment;
mod event;
pub mod inventory;
mod playbook;

pub use change::{Change, Effect, UnitAction};
pub use environment::{AnsibleEnvironment, environment, ssh_version};
pub use event::{Configured, Recap, Refusal};
pub use playbook::{Playbook, Settings, check_paths, run};
