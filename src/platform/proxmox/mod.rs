//! The API of Proxmox VE, as far as hactl asks it itself: whether what Terraform is about to use is there, and which
//! machines wait for a restart. Two things are changed from here: drills stop and start machines by [`power`], and [`cluster`]
//! lifts the protection that hactl gave machines, when they are about to be destroyed.
//!
//! ```text
//! endpoint + token + CA -> [api] -answer or trouble-> [trouble] -> Error
//! ProxmoxRequest -> [needs] -paths, nodes, storages-> [facts] -Facts-> [judge] -every problem-> Error
//!                    [addresses], [knock] -who answers-> [facts]    [identity], [privileges] -> [judge]
//! vm ids -> [pending] -> Reboots
//! vm ids -> [power] -> machines that are stopped and started
//! vm ids -> [disks] -> GuestDisks
//! UUID + names -> [orphans] -> machines that Terraform does not know
//! ```
//!
//! Terraform's provider proves its credentials in the middle of an apply, after seconds of retries and in words that
//! fit several causes; [`check`] does it before anything is made.

mod addresses;
mod api;
mod check;
pub(super) mod cluster;
mod disks;
mod facts;
mod identity;
mod judge;
mod knock;
mod needs;
mod orphans;
mod pending;
pub(super) mod power;
mod privileges;
mod server;
mod token;
mod trouble;
mod variables;

use crate::env;
pub use api::Api;
pub use check::{Checked, check};
pub use cluster::disks;
pub use disks::{GuestDisk, GuestDisks};
pub use needs::{GuestRequest, Pool, ProxmoxRequest, SizedDisks, Source};
pub use orphans::{OrphanedGuest, left};
pub use pending::reboots;
pub use server::ApiEndpoint;
pub use token::Token;
pub(super) use variables::variables;

/// The environment variable that has the API token, which Terraform's provider reads, too.
pub const TOKEN_VARIABLE: &str = env::PROXMOX_VE_API_TOKEN;

/// The environment variable that has the API's address where the cluster file does not.
pub const ENDPOINT_VARIABLE: &str = env::PROXMOX_VE_ENDPOINT;
