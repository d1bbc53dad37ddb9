//! What happened in one round: every attempt to write, what the nodes reported, and when
//! the fault was injected. Times are microseconds since the round began, on hactl's one monotonic clock.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::InstanceKey;

/// Microseconds since the round began.
pub type Micros = u64;

/// A row of the drill's table: which client wrote it, and the client's own count, from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
pub struct RowId {
    pub client: u16,
    pub seq: u32,
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} of client {}", self.seq, self.client)
    }
}

/// What the client knows of the outcome of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The server reported the commit as done, without a warning.
    Acknowledged,
    /// The connection broke, the client's own deadline passed, or the acknowledgement came with a
    /// warning: the row may or may not be in the database.
    InDoubt,
    /// The client sent nothing, or the server's error proves that nothing was committed.
    Failed,
}

/// One attempt to write one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    #[serde(flatten)]
    pub row: RowId,
    pub sent: Micros,
    pub done: Micros,
    /// Where the connection led, and the timeline that the server wrote on: that of the commit, since a replica's
    /// sessions live through its promotion. None while there was no connection.
    pub server: Option<Server>,
    pub outcome: Outcome,
    /// Why the attempt was not acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
}

/// The server of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Server {
    /// Index into [`History::nodes`].
    pub node: u16,
    pub timeline: u32,
}

/// A writer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    pub id: u16,
    /// The node (index into [`History::nodes`]) that it stays on; none for the application's path.
    pub pinned: Option<u16>,
}

/// What one node reported at one moment. What did not answer is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub at: Micros,
    pub node: u16,
    pub in_recovery: Option<bool>,
    pub timeline: Option<u32>,
    /// When the postmaster started, in microseconds since 1970 by the node's clock.
    #[serde(default)]
    pub postmaster_started: Option<i64>,
    /// Patroni's role and state, in its words.
    pub role: Option<String>,
    pub state: Option<String>,
    pub failsafe: Option<bool>,
}

/// The holder of the leader key in the DCS at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderKey {
    pub at: Micros,
    /// The member's name; none when there was no key.
    pub holder: Option<String>,
}

/// A session that its server ended, or whose connection broke. One that the client gave up is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnect {
    pub at: Micros,
    pub client: u16,
    pub node: u16,
    pub reason: Box<str>,
}

/// One round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The data nodes, in the order of their keys.
    pub nodes: Vec<InstanceKey>,
    pub clients: Vec<Client>,
    pub attempts: Vec<Attempt>,
    #[serde(default)]
    pub disconnects: Vec<Disconnect>,
    pub samples: Vec<Sample>,
    pub leader_keys: Vec<LeaderKey>,
    /// When hactl began to inject the fault, and when it saw the effect.
    pub struck: Option<Micros>,
    pub seen: Option<Micros>,
    /// When hactl had reverted the fault.
    pub healed: Option<Micros>,
    /// When every member streamed again.
    pub redundant: Option<Micros>,
    /// When hactl stopped the clients: before it waits for them, because that time is no write gap.
    pub ended: Micros,
}

/// The rows that each node holds after the cluster has healed, in any order and with duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The settled primary, as an index into [`History::nodes`].
    pub primary: u16,
    pub on: std::collections::BTreeMap<u16, Vec<RowId>>,
}
