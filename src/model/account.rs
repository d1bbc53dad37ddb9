//! The accounts that have passwords.

use crate::env;
use std::{borrow::Cow, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DatabaseName, RepositoryName};

/// An account of the cluster that has a password.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Account {
    /// One of [`ACCOUNTS`], or one that a newer hactl has written into the secrets file.
    Named(Cow<'static, str>),
    /// A role that owns a database.
    Owner(DatabaseName),
    /// A secret of a repository of backups.
    Repository(RepositoryName, RepositorySecret),
}

/// A secret of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RepositorySecret {
    /// The ID of the access key of the store.
    Key,
    /// The access key itself.
    Secret,
    /// What encrypts backups and WAL in the repository.
    Passphrase,
}

impl RepositorySecret {
    pub const ALL: [Self; 3] = [Self::Key, Self::Secret, Self::Passphrase];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Secret => "secret",
            Self::Passphrase => "passphrase",
        }
    }
}

impl fmt::Display for RepositorySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An account that every cluster has, as the cluster file describes it.
#[derive(Debug)]
pub struct ClusterAccount {
    pub account: Account,
    /// What the reference of the cluster file says about its password.
    pub description: &'static str,
    /// Whether the file of an adopted cluster may give its password.
    pub adopted: bool,
}

/// The accounts that every cluster has.
pub static ACCOUNTS: [ClusterAccount; 4] = [
    ClusterAccount {
        account: Account::SUPERUSER,
        description: "The password of PostgreSQL's superuser, `postgres`.",
        adopted: true,
    },
    ClusterAccount {
        account: Account::REPLICATION,
        description: "The password of the role that replicas use for streaming.",
        adopted: false,
    },
    ClusterAccount {
        account: Account::REWIND,
        description: "The password of the role that pg_rewind uses for reading.",
        adopted: false,
    },
    ClusterAccount { account: Account::RESTAPI, description: "The password of Patroni's REST API.", adopted: true },
];

impl Account {
    pub const SUPERUSER: Self = Self::named("superuser");
    pub const REPLICATION: Self = Self::named("replication");
    pub const REWIND: Self = Self::named("rewind");
    /// Patroni's REST API.
    pub const RESTAPI: Self = Self::named("restapi");

    /// What the variables that give passwords begin with.
    pub const PREFIX: &'static str = env::HACTL_SECRET_;

    const fn named(name: &'static str) -> Self {
        Self::Named(Cow::Borrowed(name))
    }

    /// The accounts that every cluster has.
    #[must_use]
    pub fn of_every_cluster() -> Vec<Self> {
        ACCOUNTS.iter().map(|known| known.account.clone()).collect()
    }

    /// The environment variable that gives its password.
    #[must_use]
    pub fn variable(&self) -> String {
        match self {
            Self::Owner(name) => format!("{}OWNER_{}", Self::PREFIX, name.as_str().to_ascii_uppercase()),
            Self::Named(name) => format!("{}{}", Self::PREFIX, name.to_ascii_uppercase()),
            Self::Repository(..) => {
                format!("{}{}", Self::PREFIX, self.to_string().replace('.', "_").to_ascii_uppercase())
            }
        }
    }

    /// Whether its secret is made elsewhere, so that hactl can only be given it.
    #[must_use]
    pub const fn is_from_outside(&self) -> bool {
        matches!(self, Self::Repository(_, RepositorySecret::Key | RepositorySecret::Secret))
    }
}

/// What the names of owners' accounts begin with.
const OWNERS: &str = "owners.";

/// What the names of repositories' accounts begin with.
const REPOSITORIES: &str = "backup.";

/// Its place below `secrets` in the cluster file, and its key in the secrets file.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Owner(name) => write!(f, "{OWNERS}{name}"),
            Self::Repository(name, what) => write!(f, "{REPOSITORIES}{name}.{what}"),
        }
    }
}

impl From<Account> for String {
    fn from(account: Account) -> Self {
        account.to_string()
    }
}

impl From<String> for Account {
    fn from(text: String) -> Self {
        if let Some(Ok(owner)) = text.strip_prefix(OWNERS).map(DatabaseName::new) {
            return Self::Owner(owner);
        }
        let repository =
            text.strip_prefix(REPOSITORIES).and_then(|rest| rest.split_once('.')).and_then(|(name, what)| {
                let what = RepositorySecret::ALL.into_iter().find(|known| known.as_str() == what)?;
                Some(Self::Repository(RepositoryName::new(name).ok()?, what))
            });
        repository.unwrap_or_else(|| Self::Named(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_read_back_from_its_text_is_equal() {
        let owner = Account::Owner(DatabaseName::new("app").unwrap());
        let repositories =
            RepositorySecret::ALL.map(|what| Account::Repository(RepositoryName::new("main").unwrap(), what));
        for account in Account::of_every_cluster().into_iter().chain([owner]).chain(repositories) {
            let text = serde_json::to_string(&account).unwrap();
            assert_eq!(serde_json::from_str::<Account>(&text).unwrap(), account, "{text}");
        }
        assert_eq!(Account::from("owners.app".to_owned()).variable(), "HACTL_SECRET_OWNER_APP");
        assert_eq!(Account::from("backup.main.key".to_owned()).variable(), "HACTL_SECRET_BACKUP_MAIN_KEY");
        assert_eq!(Account::from("backup.main".to_owned()), Account::Named("backup.main".into()));
    }
}
