//! What `hactl status` shows of backups.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::info::BackupView;

/// The backups and the archive of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StatusBackup {
    /// The newest backup; null without one, or if the repository cannot be read.
    pub last: Option<BackupView>,
    /// The time since its end in seconds.
    pub last_age_seconds: Option<i64>,
    /// The earliest point in time to which the cluster can be restored; null without a backup, or if the repository cannot be read.
    #[schemars(with = "Option<String>")]
    pub restorable_from: Option<Timestamp>,
    /// The last WAL segment that the primary has archived; null without one or without a primary.
    pub archived_segment: Option<String>,
    /// The time since then in seconds; null without a primary.
    pub archived_age_seconds: Option<u64>,
    /// The WAL segment that could not be archived, if no later attempt has succeeded.
    pub failing_segment: Option<String>,
    /// When `hactl backup verify` last succeeded; null if never.
    #[schemars(with = "Option<String>")]
    pub last_restore: Option<Timestamp>,
}
