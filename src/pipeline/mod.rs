//! The fixed order of the stages; the only module that knows them all.
//!
//! ```text
//! open:       file -> Spec -> Plan                      (cluster.rs)
//! shared:     what runs elsewhere left in the state      (shared.rs)
//! prepare:    downloads, Ansible's environment, image   (prepare.rs)
//! hypervisor: what machines are made from is there      (hypervisor.rs)
//! lock:       nobody else changes or drills the cluster      (lock.rs)
//! machines:   Plan -> Outputs -> Fleet                  (machines.rs)
//! reach:      Fleet -> each machine lets hactl in       (reach.rs)
//! claim:      Fleet -> the user's machines are free     (claim.rs, and taken off again by release.rs)
//! dns:        Fleet -> each name answers                (dns.rs)
//! software:   Fleet -> Inventory -> Configured          (software.rs)
//! look:       Fleet -> Health                           (look.rs)
//! verify:     Healthy -> Verdict                        (verify.rs)
//! ```

mod bundle;
mod claim;
mod cluster;
mod conninfo;
mod dns;
mod down;
mod hypervisor;
mod import;
mod lock;
mod lock_file;
mod look;
mod machines;
mod prepare;
mod reach;
mod recipients;
mod release;
mod run;
mod shared;
mod software;
mod up;
mod verify;

pub use bundle::bundle;
pub use cluster::Cluster;
pub use conninfo::Conninfo;
pub use down::{Doomed, Teardown, doomed, down};
pub use import::{Asked, import};
pub use look::{Door, Standing, Watcher, door, fleet, ssh};
pub use machines::{Planned, plan, provision};
pub use prepare::{build_image, fetch, images, prune_images};
pub use reach::{forget_host_keys, host_keys};
pub use recipients::{add_recipient, create_secrets, recipients, remove_recipient};
pub use run::Run;
pub use shared::{force_unlock, pull};
pub use software::{configure, inventory};
pub use up::up;
pub use verify::{Work, unproved, verify};
