//! Whose password.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::DatabaseName;

/// An account of the cluster that has a password.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Account {
    Superuser,
    Replication,
    Rewind,
    /// Patroni's REST API.
    RestApi,
    /// A role that owns a database.
    Owner(DatabaseName),
}

impl Account {
    /// What the variables that give passwords begin with.
    pub const PREFIX: &'static str = "HACTL_SECRET_";

    /// The environment variable that gives its password.
    #[must_use]
    pub fn variable(&self) -> String {
        match self {
            Self::Owner(name) => format!("{}OWNER_{}", Self::PREFIX, name.as_str().to_ascii_uppercase()),
            other => format!("{}{}", Self::PREFIX, other.to_string().to_ascii_uppercase()),
        }
    }
}

/// Its place below `secrets` in the cluster file.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superuser => f.write_str("superuser"),
            Self::Replication => f.write_str("replication"),
            Self::Rewind => f.write_str("rewind"),
            Self::RestApi => f.write_str("restapi"),
            Self::Owner(name) => write!(f, "owners.{name}"),
        }
    }
}
