//! The commands that act: each a short list of steps.

pub mod down;
mod import;
mod secrets;
mod up;
mod verify;

pub use crate::stage::{
    machines::{Planned, plan, provision},
    prepare::{build_image, fetch, images, prune_images},
    software::{configure, inventory},
};
pub use down::{Doomed, Teardown, doomed, down};
pub use import::{Asked, import};
pub use secrets::{add_recipient, create_secrets, forget_host_keys, host_keys, recipients, remove_recipient};
pub use up::up;
pub use verify::{Work, unproved, verify};
