//! `hactl backup`: backups, and the proof that they restore.

mod expire;
mod now;
mod shared;
mod unit;
mod verify;

pub use expire::{EXPIRE, expire_backups};
pub(super) use now::back_up;
pub use now::{BACKUP, BackupKind, backup_now};
pub(super) use shared::{archived, configured, look, primary};
pub use verify::{VERIFY_BACKUP, VerifyBackupRequest, verify_backup};
