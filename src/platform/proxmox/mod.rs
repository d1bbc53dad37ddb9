//! The API of Proxmox VE, as far as hactl asks it itself: whether what Terraform is about to use is there, and which
//! machines wait for a restart. It is never changed from here.
//!
//! ```text
//! endpoint + token + CA -> [api] -answer or trouble-> [trouble] -> Error
//! ProxmoxRequest -> [needs] -paths, nodes, storages-> [facts] -Facts-> [judge] -every problem-> Error
//! vm ids -> [pending] -> Reboots
//! vm ids -> [disks] -> GuestDisks
//! UUID + names -> [orphans] -> machines that Terraform does not know
//! ```
//!
//! Terraform's provider proves its credentials in the middle of an apply, after seconds of retries and in words that
//! fit several causes; [`check`] does it before anything is made.

mod api;
mod check;
pub(super) mod cluster;
mod disks;
mod facts;
mod judge;
mod needs;
mod orphans;
mod pending;
mod server;
mod token;
mod trouble;
mod variables;

use crate::env;
pub use api::Api;
pub use check::{Checked, check};
pub use disks::{GuestDisk, GuestDisks, disks};
pub use needs::{GuestRequest, Pool, ProxmoxRequest, Source};
pub use orphans::{OrphanedGuest, left};
pub use pending::reboots;
pub use server::ApiEndpoint;
pub use token::Token;
pub(super) use variables::variables;

/// The environment variable that has the API token, which Terraform's provider reads, too.
pub const TOKEN_VARIABLE: &str = env::PROXMOX_VE_API_TOKEN;

/// The environment variable that has the API's address where the cluster file does not.
pub const ENDPOINT_VARIABLE: &str = env::PROXMOX_VE_ENDPOINT;
