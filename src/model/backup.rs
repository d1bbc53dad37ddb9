//! Where backups go, and how long they stay: the section `backup` of the cluster file.

use std::collections::BTreeMap;

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

impl Backup {
    /// The name of `cluster` in the repositories.
    #[must_use]
    pub fn stanza_of(&self, cluster: &ClusterName, uuid: Uuid) -> String {
        let default = || format!("{cluster}-{}", &uuid.simple().to_string()[..8]);
        self.stanza.as_ref().map_or_else(default, ToString::to_string)
    }

    /// The accounts of its repositories.
    pub fn accounts(&self) -> impl Iterator<Item = Account> {
        let each = |name: &RepositoryName| RepositorySecret::ALL.map(|what| Account::Repository(name.clone(), what));
        self.repositories.keys().flat_map(each)
    }
}
