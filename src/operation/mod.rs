//! The commands that act, and the frame that all of them run in.

mod backup;
mod configure;
mod down;
mod fetch;
mod force_unlock;
mod frame;
mod image;
mod import;
mod obstacle;
mod plan;
mod provision;
mod recover;
mod reinit;
mod restart;
mod restore;
mod rotate;
mod secrets;
mod switchover;
mod up;
mod verify;

pub use crate::stage::decommission::TeardownRequest;
pub use crate::stage::saved_plan::SavedPlan;
pub use backup::{
    BACKUP, BackupKind, EXPIRE, VERIFY_BACKUP, VerifyBackupRequest, backup_now, expire_backups, verify_backup,
};
pub use configure::{CONFIGURE, ConfigureRequest, configure};
pub use down::{DOWN, TeardownPreview, down, preview};
pub use fetch::{FETCH, fetch};
pub use force_unlock::{FORCE_UNLOCK, force_unlock};
pub use frame::Operation;
pub use image::{IMAGE, build_image, images, prune_images};
pub use import::{IMPORT, ImportSelection, import};
pub use plan::{Planned, plan, to_save};
pub use provision::{PROVISION, provision};
pub use recover::recover;
pub use reinit::{REINIT, ReinitRequest, reinit};
pub use restart::{RESTART, RestartRequest, restart};
pub use restore::{RestoreRequest, restore};
pub use rotate::{ROTATE, rotate_certificates};
pub use secrets::{SECRETS, add_recipient, create_secrets, forget_host_keys, remove_recipient, set_secret};
pub use switchover::{SWITCHOVER, switchover};
pub use up::{UP, UpRequest, up};
pub use verify::{VERIFY, Work, unproved, verify};
