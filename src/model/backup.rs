//! Where backups go, and how long they stay: the section `backup` of the cluster file.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Account, ClusterName, RepositoryName, StanzaName, account::RepositorySecret};

/// Backups of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The name of the cluster in its repositories; by default the cluster's name with the beginning of its UUID.
    pub stanza: Option<StanzaName>,
    /// Where the backups and the WAL go.
    pub repositories: BTreeMap<RepositoryName, S3Repository>,
    pub retention: Retention,
    /// When a timer makes backups; none where they are made by hand.
    #[serde(default)]
    pub schedule: Option<Schedule>,
}

/// How often a timer makes a backup of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    pub full: Period,
    pub differential: Option<Period>,
    pub incremental: Option<Period>,
}

impl Schedule {
    /// The kinds that it has, by their names for pgBackRest, the largest first.
    pub fn kinds(self) -> impl Iterator<Item = (&'static str, Period)> {
        let kinds = [("full", Some(self.full)), ("diff", self.differential), ("incr", self.incremental)];
        kinds.into_iter().filter_map(|(kind, period)| Some((kind, period?)))
    }

    /// The time in which at least one backup is made.
    #[must_use]
    pub fn shortest(self) -> Period {
        self.kinds().map(|(_, period)| period).min().unwrap_or(self.full)
    }
}

/// The time between two backups of a kind, the shortest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    Hourly,
    Daily,
    Weekly,
    Monthly,
}

impl Period {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// Its length; a month has 30 days.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        const DAY: u32 = 86_400;
        match self {
            Self::Hourly => 3600,
            Self::Daily => DAY,
            Self::Weekly => 7 * DAY,
            Self::Monthly => 30 * DAY,
        }
    }
}

/// A bucket of a store that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Repository {
    pub bucket: String,
    /// The host of the store.
    pub host: String,
    pub port: u16,
    pub region: String,
    /// The directory in the bucket, with a leading slash.
    pub path: String,
    /// Whether the bucket is a part of the path, and not of the host's name.
    pub path_style: bool,
    /// The authority of the store's certificate, PEM; none for those that the machine trusts.
    pub ca: Option<String>,
}

/// How long backups stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// How many full backups stay at least.
    pub full: u32,
    /// To which time in the past the cluster can be restored, in days.
    pub days: u32,
}

/// The last time that the backups were proved to restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvedRestore {
    /// When the proof ended.
    pub at: Timestamp,
    /// Seconds that the restore and the recovery took.
    pub seconds: u64,
}

impl Backup {
    /// The name of `cluster` in the repositories.
    #[must_use]
    pub fn stanza_of(&self, cluster: &ClusterName, uuid: Uuid) -> String {
        let default = || format!("{cluster}-{}", &uuid.simple().to_string()[..8]);
        self.stanza.as_ref().map_or_else(default, ToString::to_string)
    }

    /// Where `cluster` writes: the bucket, the directory in it, and its name there. Two addresses may be of one store.
    #[must_use]
    pub fn places(&self, cluster: &ClusterName, uuid: Uuid) -> Vec<(&str, &str, String)> {
        let stanza = self.stanza_of(cluster, uuid);
        self.repositories.values().map(|one| (one.bucket.as_str(), one.path.as_str(), stanza.clone())).collect()
    }

    /// The accounts of its repositories.
    pub fn accounts(&self) -> impl Iterator<Item = Account> {
        let each = |name: &RepositoryName| RepositorySecret::ALL.map(|what| Account::Repository(name.clone(), what));
        self.repositories.keys().flat_map(each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(stanza: Option<&str>, host: &str) -> Backup {
        let repository = S3Repository {
            bucket: "b".into(),
            host: host.into(),
            port: 443,
            region: "r".into(),
            path: "/p".into(),
            path_style: false,
            ca: None,
        };
        Backup {
            stanza: stanza.map(|name| name.parse().unwrap()),
            repositories: [("main".parse().unwrap(), repository)].into(),
            retention: Retention { full: 2, days: 14 },
            schedule: None,
        }
    }

    #[test]
    fn two_clusters_write_to_one_place_when_one_names_the_default_stanza_of_the_other() {
        let (source, copy): (ClusterName, ClusterName) = ("pg".parse().unwrap(), "copy".parse().unwrap());
        let (own, other) = (Uuid::from_u128(0x1a2b_3c4d << 96), Uuid::from_u128(7));
        let its = backup(None, "s3.example.org");
        let same = |stanza, host| backup(stanza, host).places(&copy, other) == its.places(&source, own);
        assert!(same(Some("pg-1a2b3c4d"), "s3.example.org"));
        // Another name of the same store.
        assert!(same(Some("pg-1a2b3c4d"), "store.example.org"));
        assert!(!same(None, "s3.example.org"));
    }
}
