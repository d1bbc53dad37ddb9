//! The result of a verification: `report.json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};

/// The shape's version; a field is never removed or changed within one.
pub const VERSION: u32 = 1;

/// `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// 1.
    pub version: u32,
    /// The cluster's name.
    pub cluster: String,
    /// When the verification began: RFC 3339, UTC.
    pub started: String,
    /// The version of hactl.
    pub hactl: String,
    /// The platform, as the cluster file names it.
    pub platform: String,
    /// Limits of the proof, for example `shared kernel`, or services without TLS.
    pub stamps: Vec<String>,
    /// What an acknowledged commit guarantees, as `hactl status` prints it.
    pub durability: String,
    /// What stops a primary whose Patroni no longer runs, as `hactl status` prints it.
    pub fencing: String,
    /// Patroni's timers in seconds: `ttl`, `loop_wait`, `retry_timeout`, `primary_start_timeout`, `primary_stop_timeout`.
    pub timers: BTreeMap<String, u32>,
    /// The seed of random choices.
    pub seed: u64,
    /// How clients reached the servers: `direct`, or `tunnel` through SSH.
    pub path: String,
    /// The clients that use libpq and the printed connection string: the version of psql, or why they did not run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub libpq: String,
    /// The drills, in the order in which they ran.
    pub drills: Vec<DrillReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DrillOutcome {
    Passed,
    Failed,
    Skipped,
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RoundOutcome {
    Passed,
    Failed,
    /// Proves nothing: the fault was reverted before its planned end.
    Void,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DrillReport {
    /// The drill's name, `soak` or `self-test`.
    pub name: String,
    /// The drill's variant.
    pub variant: Option<String>,
    /// The outcome.
    pub outcome: DrillOutcome,
    /// Why the drill failed, was skipped or was refused.
    pub reason: Option<String>,
    /// The rounds; the counts beside them are their sums.
    pub rounds: Vec<RoundReport>,
    /// The write gaps of the rounds in milliseconds, without void rounds; null if no round counts.
    pub write_gap_ms: Option<Spread>,
    #[serde(flatten)]
    pub counts: Counts,
}

/// Minimum, median and maximum; percentiles from 20 values up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// The shortest.
    pub min: u64,
    /// The median.
    pub median: u64,
    /// The longest.
    pub max: u64,
    /// The 95th percentile, from 20 rounds up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<u64>,
}

/// The outcomes of the attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Rows that clients tried to write.
    pub attempted: u64,
    /// Rows whose commit a server acknowledged.
    pub acknowledged: u64,
    /// Rows whose outcome the client cannot know.
    pub in_doubt: u64,
    /// Rows in doubt that are in the database.
    pub recovered: u64,
    /// Acknowledged rows that are not on the primary.
    pub lost: u64,
    /// Rows that are on the primary more than once.
    pub duplicated: u64,
    /// Rows in the database that were never attempted or known to have failed.
    pub unexpected: u64,
    /// Acknowledgements that no single history of the database contains.
    pub split_brain: u64,
    /// Rows that a replica has more or less often than the primary.
    pub differing: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoundReport {
    /// The round's number, from 1.
    pub n: u32,
    /// In a soak, the drill that the round ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<String>,
    /// The outcome.
    pub outcome: RoundOutcome,
    /// Every reason why the round failed or is void.
    pub reasons: Vec<String>,
    /// The longest time without an acknowledged write on the application's path; null if unknown.
    pub write_gap_ms: Option<u64>,
    /// The longest write gap that the drill allows; null without a bound.
    pub bound_ms: Option<u64>,
    /// The longest write gap that `verify.limits` allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<u64>,
    /// The machines that the fault was injected into.
    pub target: Option<String>,
    /// The primary before the fault.
    pub primary_node: String,
    /// The primary after the fault, if it changed.
    pub new_primary_node: Option<String>,
    /// The machine of etcd's leader before the fault.
    pub etcd_leader_node: Option<String>,
    /// The first and the last timeline on which a write was acknowledged.
    pub timeline: [Option<u32>; 2],
    /// When each phase began, in milliseconds since the fault.
    pub phases_ms: Phases,
    /// When interrupted clients wrote again, in milliseconds since the fault.
    #[serde(default)]
    pub recovered_ms: Recovery,
    /// What the clients of the poolers saw from the fault on; absent without an entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooled: Option<PooledClients>,
    /// For a failed round: the path of the machines' journals, within the run's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journals: Option<String>,
    /// Acknowledged commits per second before the fault, of all clients together.
    pub rate: f64,
    #[serde(flatten)]
    pub counts: Counts,
}

impl RoundReport {
    /// Why the round failed or is void, in one line.
    #[must_use]
    pub fn complaint(&self) -> String {
        format!("round {}: {}", self.n, self.reasons.join("; "))
    }
}

/// Times since the fault; null for what did not happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phases {
    /// The effect of the fault showed.
    pub effect: Option<u64>,
    /// The leader key was gone, or named another member.
    pub lock_lost: Option<u64>,
    /// A member other than the old primary left recovery.
    pub promoted: Option<u64>,
    /// The first write was acknowledged after the longest gap.
    pub first_write: Option<u64>,
    /// The fault was reverted.
    pub healed: Option<u64>,
    /// Every member streamed again.
    pub redundant: Option<u64>,
}

/// Times since the fault; null for clients that were not interrupted for 1 s or longer, or that did not write again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recovery {
    /// The last of all clients on the application's path, psql included.
    pub last: Option<u64>,
    /// psql with the printed connection string, which writes all the time.
    pub libpq: Option<u64>,
    /// psql with the printed connection string, which left its connection idle and used it while the fault was in place.
    pub idle: Option<u64>,
    /// The last psql that writes all the time through the poolers; null without an entry point.
    #[serde(default)]
    pub pooled: Option<u64>,
}

/// What clients saw that write through the poolers, from the fault to the end of the round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PooledClients {
    /// The transactions that they tried, refused connections included.
    pub attempted: u64,
    /// Those of them that were not acknowledged: failed, or in doubt.
    pub failed: u64,
    /// Acknowledged transactions that are not committed on the primary; null where the timeline may change.
    pub lost: Option<u64>,
    /// The longest time in which one of the clients had no acknowledgement, in milliseconds.
    pub gap_ms: u64,
    /// The longest such time that the drill allows; null without a bound.
    pub bound_ms: Option<u64>,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            attempted: self.attempted + other.attempted,
            acknowledged: self.acknowledged + other.acknowledged,
            in_doubt: self.in_doubt + other.in_doubt,
            recovered: self.recovered + other.recovered,
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            unexpected: self.unexpected + other.unexpected,
            split_brain: self.split_brain + other.split_brain,
            differing: self.differing + other.differing,
        }
    }
}

impl Verdict {
    /// Whether no drill failed. Skipped and refused drills are not failures.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.drills.iter().all(|drill| drill.outcome != DrillOutcome::Failed)
    }
}

/// A cluster that cannot be drilled, or does not recover, is not a failed stage.
pub(super) fn unproved(error: Error) -> Error {
    if error.kind == Kind::Failed { Error { kind: Kind::Unproved, ..error } } else { error }
}
