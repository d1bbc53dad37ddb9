//! The section `backup`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::{Period, RepositoryName, StanzaName};

/// Backups with pgBackRest: continuous archiving of the WAL, and base backups. Without this section hactl makes none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct BackupFile {
    /// Where backups go: one repository, under a name that you choose; required.
    // Optional to serde only: a wrong value is reported and removed, and the rest is still checked.
    #[schemars(required, example = serde_json::json!({"main": {"s3": {
        "bucket": "pg-backups", "endpoint": "https://s3.eu-central-1.amazonaws.com", "region": "eu-central-1"
    }}}))]
    pub(in crate::spec) repositories: Option<BTreeMap<RepositoryName, Option<RepositoryFile>>>,
    /// How long backups are kept.
    pub(in crate::spec) retention: Option<RetentionFile>,
    /// How often a timer on the primary's machine makes backups. Without this section, run `hactl backup now`.
    pub(in crate::spec) schedule: Option<ScheduleFile>,
    /// The name of this cluster in the repository; by default the cluster's name with the beginning of its UUID. Set
    /// another one if the repository has backups of an earlier cluster under that name.
    #[schemars(example = &"pg-prod-2")]
    pub(in crate::spec) stanza: Option<StanzaName>,
}

/// A repository: exactly one kind of store.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct RepositoryFile {
    /// A bucket in an S3-compatible object store.
    pub(in crate::spec) s3: Option<S3RepositoryFile>,
}

/// A bucket in an S3-compatible object store. hactl takes its access key from the secrets file: `hactl secrets NAME set
/// backup.REPOSITORY.key` and `backup.REPOSITORY.secret`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct S3RepositoryFile {
    /// The bucket; required. hactl does not create it.
    #[schemars(
        required,
        regex(pattern = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"),
        extend("patternErrorMessage" = "3 to 63 lower-case letters, digits, dots and hyphens"),
        example = &"pg-backups"
    )]
    pub(in crate::spec) bucket: Option<String>,
    /// The address of the store, `https://HOST` or `https://HOST:PORT`; required. pgBackRest connects only over HTTPS.
    #[schemars(
        required,
        regex(pattern = r"^https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?/?$"),
        extend("patternErrorMessage" = "https://HOST or https://HOST:PORT"),
        example = &"https://s3.eu-central-1.amazonaws.com"
    )]
    pub(in crate::spec) endpoint: Option<String>,
    /// The region; required.
    #[schemars(
        required,
        regex(pattern = "^[A-Za-z0-9-]{1,64}$"),
        extend("patternErrorMessage" = "letters, digits and hyphens"),
        example = &"eu-central-1"
    )]
    pub(in crate::spec) region: Option<String>,
    /// The directory in the bucket.
    #[schemars(
        regex(pattern = "^(/[A-Za-z0-9._-]+)+$"),
        extend("default" = "/pgbackrest", "patternErrorMessage" = "a path such as /pgbackrest of letters, digits and . _ -")
    )]
    pub(in crate::spec) path: Option<String>,
    /// Whether the bucket is part of the path, which most stores other than AWS's need. By default true, except for
    /// endpoints of amazonaws.com.
    #[schemars(example = true)]
    pub(in crate::spec) path_style: Option<bool>,
    /// A PEM file with the CA of the store's certificate, relative to this file. By default the CAs that the machine
    /// trusts.
    #[schemars(length(min = 1, max = 4096), example = &"s3-ca.pem")]
    pub(in crate::spec) ca: Option<String>,
}

/// How long backups are kept. A backup expires when `days` no longer need it and at least `full` newer full backups exist.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct RetentionFile {
    /// The minimum number of full backups to keep.
    #[schemars(range(min = 1, max = 9999), extend("default" = 2))]
    pub(in crate::spec) full: Option<u32>,
    /// For how many days back the cluster can be restored to any point in time.
    #[schemars(range(min = 1, max = 9999), extend("default" = 14))]
    pub(in crate::spec) days: Option<u32>,
}

/// How often backups are made. A smaller kind must be made more often than a larger one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct ScheduleFile {
    /// How often to make a full backup, of all data; required.
    #[schemars(required, example = &"weekly")]
    pub(in crate::spec) full: Option<Period>,
    /// How often to make a differential backup, of the changes since the last full backup.
    #[schemars(example = &"daily")]
    pub(in crate::spec) differential: Option<Period>,
    /// How often to make an incremental backup, of the changes since the last backup.
    #[schemars(example = &"hourly")]
    pub(in crate::spec) incremental: Option<Period>,
}
