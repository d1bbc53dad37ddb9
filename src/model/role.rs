//! What a machine does in the cluster.

use std::{collections::BTreeSet, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A role of an instance; also the name of its Ansible group.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A voter of the etcd cluster that holds Patroni's leader key.
    Etcd,
    /// PostgreSQL under Patroni.
    Patroni,
}

impl Role {
    pub const ALL: [Self; 2] = [Self::Etcd, Self::Patroni];

    /// Whether a machine with `roles` votes in etcd.
    #[must_use]
    pub fn votes(roles: &BTreeSet<Self>) -> bool {
        roles.contains(&Self::Etcd)
    }

    /// Whether PostgreSQL runs on a machine with `roles`.
    #[must_use]
    pub fn holds_data(roles: &BTreeSet<Self>) -> bool {
        roles.contains(&Self::Patroni)
    }

    /// The group's name in the inventory.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Patroni => "patroni",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
