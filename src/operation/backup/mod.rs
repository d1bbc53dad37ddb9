//! `hactl backup`: backups, and the proof that they restore.

mod now;
mod shared;
mod unit;
mod verify;

pub use now::{BACKUP, BackupKind, backup_now};
pub(super) use shared::configured;
pub use verify::{VERIFY_BACKUP, VerifyBackupRequest, verify_backup};
