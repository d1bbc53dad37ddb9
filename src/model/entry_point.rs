//! The entry point of a cluster: a pooler and a proxy on every data node.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Timers;

/// The section `endpoint` of the cluster file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntryPoint {
    /// The port of the poolers.
    pub port: u16,
    /// How long a client keeps a connection to the server.
    pub pool_mode: PoolMode,
    /// How many clients one pooler accepts.
    pub max_client_connections: u32,
    /// Whether clients can also reach the replicas through the poolers.
    pub replicas: bool,
}

/// The connection strings of a cluster with an entry point, without a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Endpoints {
    /// To the primary through the poolers: for applications.
    pub pooled: String,
    /// To the replicas through the poolers, for reading; null without `endpoint.replicas`.
    pub replicas: Option<String>,
    /// To the servers themselves: for schema changes, LISTEN, advisory locks and temporary tables.
    pub direct: String,
}

/// How long a client of a pooler keeps a connection to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PoolMode {
    /// For one transaction. Settings of the session, LISTEN, advisory locks of the session and temporary tables do not work.
    #[default]
    Transaction,
    /// Until the client disconnects.
    Session,
}

impl fmt::Display for PoolMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Transaction => "transaction",
            Self::Session => "session",
        })
    }
}

/// The fewest connections of a server that poolers leave to others: to direct clients, hactl and Patroni.
const LEAST_RESERVE: u32 = 20;

/// What a vote, a promotion and the checks of the proxies may take, in seconds.
const PROMOTION: u32 = 30;

impl EntryPoint {
    /// What the poolers add to the name of a database for its replicas.
    pub const REPLICAS: &'static str = "_replicas";
    /// The pooler's own database, its console, and the only user of it.
    pub const CONSOLE: &'static str = "pgbouncer";

    /// Whether the clients of the poolers can wait while the primary moves. A client of a session pool keeps its connection:
    /// it would never come to rest.
    #[must_use]
    pub fn can_hold(&self) -> bool {
        self.pool_mode == PoolMode::Transaction
    }

    /// How many names a pooler has for each database: one that leads to the primary, and one to the replicas.
    #[must_use]
    pub const fn doors(&self) -> u32 {
        if self.replicas { 2 } else { 1 }
    }

    /// How many connections one pooler opens by one name of a database: its share of the server's, less a fifth of them. 0
    /// where the server has too few. Readers of a replica that becomes the primary keep their connections, so both pools must
    /// fit one server.
    #[must_use]
    pub fn pool_size(&self, max_connections: u32, poolers: usize, databases: usize) -> u32 {
        let pools = u32::try_from(poolers.saturating_mul(databases)).unwrap_or(u32::MAX);
        let share = pools.saturating_mul(self.doors()).max(1);
        max_connections.saturating_sub(Self::reserve(max_connections)) / share
    }

    /// How many connections of a server the poolers leave to others.
    #[must_use]
    pub fn reserve(max_connections: u32) -> u32 {
        (max_connections / 5).max(LEAST_RESERVE)
    }

    /// How long transactions may take to end before a switchover, in seconds, while the clients of the poolers wait.
    pub const PAUSE_WITHIN: u32 = 3;

    /// After how many seconds the clients of the poolers go on, whatever has become of a switchover.
    #[must_use]
    pub const fn longest_hold(timers: &Timers) -> u32 {
        Self::PAUSE_WITHIN + timers.primary_stop_timeout + PROMOTION
    }

    /// The name under which a pooler leads to the replicas of `database`.
    #[must_use]
    pub fn of_replicas(database: &str) -> String {
        format!("{database}{}", Self::REPLICAS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_of_all_poolers_databases_and_doors_leave_the_reserve() {
        for (max_connections, poolers, databases, replicas, expected) in [
            (100, 3, 1, false, 26),
            (100, 3, 1, true, 13),
            (200, 3, 1, false, 53),
            (100, 3, 4, false, 6),
            (100, 3, 27, false, 0),
            (30, 1, 1, false, 10),
            (15, 1, 1, false, 0),
            (100, 0, 0, false, 80),
        ] {
            let entry = EntryPoint { port: 6432, pool_mode: PoolMode::Session, max_client_connections: 9, replicas };
            let size = entry.pool_size(max_connections, poolers, databases);
            assert_eq!(size, expected, "{max_connections} {poolers} {databases} {replicas}");
            let opened = size * entry.doors() * u32::try_from(poolers * databases).unwrap();
            assert!(opened == 0 || opened + EntryPoint::reserve(max_connections) <= max_connections);
        }
    }
}
