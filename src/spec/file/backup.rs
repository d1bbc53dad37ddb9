//! The section `backup`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::{Period, RepositoryName, StanzaName};

/// Backups by pgBackRest: of the data at times, and of the WAL all the time. Without it hactl makes none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct BackupFile {
    /// Where backups go: one repository by a name of your choice; required.
    // Optional to serde only: a wrong value is reported and removed, and the rest is still checked.
    #[schemars(required, example = serde_json::json!({"main": {"s3": {
        "bucket": "pg-backups", "endpoint": "https://s3.eu-central-1.amazonaws.com", "region": "eu-central-1"
    }}}))]
    pub(in crate::spec) repositories: Option<BTreeMap<RepositoryName, Option<RepositoryFile>>>,
    /// How long backups stay.
    pub(in crate::spec) retention: Option<RetentionFile>,
    /// How often a timer on the primary's machine makes backups. Without it you make them by `hactl backup now`.
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
    /// A bucket of a store that speaks S3.
    pub(in crate::spec) s3: Option<S3RepositoryFile>,
}

/// A bucket of a store that speaks S3. hactl takes its access key from the secrets file: `hactl secrets NAME set
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
    /// The address of the store, `https://HOST` or `https://HOST:PORT`; required. pgBackRest speaks only HTTPS to it.
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
    /// Whether the bucket is a part of the path, as many stores other than AWS's need it. By default true, except for
    /// endpoints of amazonaws.com.
    #[schemars(example = true)]
    pub(in crate::spec) path_style: Option<bool>,
    /// A file with the authority of the store's certificate, PEM, relative to this file. By default the machine's
    /// authorities count.
    #[schemars(length(min = 1, max = 4096), example = &"s3-ca.pem")]
    pub(in crate::spec) ca: Option<String>,
}

/// How long backups stay. A backup expires when it is not needed for `days`, and newer full backups are at least `full`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct RetentionFile {
    /// How many full backups stay at least.
    #[schemars(range(min = 1, max = 9999), extend("default" = 2))]
    pub(in crate::spec) full: Option<u32>,
    /// For how many days the cluster can be restored to each moment.
    #[schemars(range(min = 1, max = 9999), extend("default" = 14))]
    pub(in crate::spec) days: Option<u32>,
}

/// How often backups are made. A smaller kind must be made more often than a larger one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct ScheduleFile {
    /// How often all of the data is backed up; required.
    #[schemars(required, example = &"weekly")]
    pub(in crate::spec) full: Option<Period>,
    /// How often what has changed since the last full backup is backed up.
    #[schemars(example = &"daily")]
    pub(in crate::spec) differential: Option<Period>,
    /// How often what has changed since the last backup is backed up.
    #[schemars(example = &"hourly")]
    pub(in crate::spec) incremental: Option<Period>,
}
