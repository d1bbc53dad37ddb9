//! What a verification found: the contract's `report.json`.

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
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// hactl's own version.
    pub hactl: String,
    /// The platform's word in the cluster file.
    pub platform: String,
    /// What a reader must know of the machines, for example `shared kernel`, or what is served without TLS.
    pub stamps: Vec<String>,
    /// What an acknowledged commit means, as `hactl status` says it.
    pub durability: String,
    /// What stops a primary that outlives its Patroni, as `hactl status` says it.
    pub fencing: String,
    /// Patroni's timers in seconds: `ttl`, `loop_wait`, `retry_timeout`, `primary_start_timeout`, `primary_stop_timeout`.
    pub timers: BTreeMap<String, u32>,
    /// What random choices came from.
    pub seed: u64,
    /// How clients reached the servers: `direct` or `tunnel`.
    pub path: String,
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
    /// Says nothing: the undo came before the planned end.
    Void,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DrillReport {
    /// The drill's name; `soak` and `self-test` are names, too.
    pub name: String,
    /// Its variant.
    pub variant: Option<String>,
    /// What became of it.
    pub outcome: DrillOutcome,
    /// Why it failed, was skipped or refused.
    pub reason: Option<String>,
    /// Its rounds; the counts beside them are sums over these.
    pub rounds: Vec<RoundReport>,
    /// The write gaps of the rounds in milliseconds, without void ones; null without a round that counts.
    pub write_gap_ms: Option<Spread>,
    #[serde(flatten)]
    pub counts: Counts,
}

/// Minimum, median and maximum; percentiles from 20 values up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// The shortest.
    pub min: u64,
    /// The middle one.
    pub median: u64,
    /// The longest.
    pub max: u64,
    /// The 95th percentile, from 20 rounds up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<u64>,
}

/// What became of the attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Rows that clients tried to write.
    pub attempted: u64,
    /// Those whose commit a server acknowledged.
    pub acknowledged: u64,
    /// Those of which the client cannot know.
    pub in_doubt: u64,
    /// In doubt, and found to be there.
    pub recovered: u64,
    /// Acknowledged, and not there.
    pub lost: u64,
    /// On the primary more than once.
    pub duplicated: u64,
    /// There, and never attempted or surely failed.
    pub unexpected: u64,
    /// Acknowledgements that no single history of the database holds.
    pub split_brain: u64,
    /// Rows in which a replica differs from the primary.
    pub differing: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoundReport {
    /// Its number, from 1.
    pub n: u32,
    /// Which drill it was, in a soak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<String>,
    /// What became of it.
    pub outcome: RoundOutcome,
    /// Every reason why it failed or is void.
    pub reasons: Vec<String>,
    /// The longest time without an acknowledged write on the application's path; null where none is known.
    pub write_gap_ms: Option<u64>,
    /// The longest that the drill may cause; null where none is promised.
    pub bound_ms: Option<u64>,
    /// The node that was struck.
    pub target: Option<String>,
    /// Who led before.
    pub primary_node: String,
    /// Who led after, where it is another one.
    pub new_primary_node: Option<String>,
    /// Where etcd's leader was before.
    pub etcd_leader_node: Option<String>,
    /// The first and the last timeline on which a write was acknowledged.
    pub timeline: [Option<u32>; 2],
    /// When what happened, in milliseconds since the fault.
    pub phases_ms: Phases,
    /// Of a round that failed: where the journals of the nodes lie, within the run's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journals: Option<String>,
    /// Acknowledged commits per second before the fault, all clients together.
    pub rate: f64,
    #[serde(flatten)]
    pub counts: Counts,
}

impl RoundReport {
    /// Why it is not good enough, in one line.
    #[must_use]
    pub fn complaint(&self) -> String {
        format!("round {}: {}", self.n, self.reasons.join("; "))
    }
}

/// Times since the fault; absent is what did not happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phases {
    /// The fault was seen to have taken effect.
    pub effect: Option<u64>,
    /// The leader key was gone, or another's.
    pub lock_lost: Option<u64>,
    /// A node other than the old primary left recovery.
    pub promoted: Option<u64>,
    /// The first write was acknowledged after the longest gap.
    pub first_write: Option<u64>,
    /// The fault was taken back.
    pub healed: Option<u64>,
    /// Every member streamed again.
    pub redundant: Option<u64>,
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
    /// Whether nothing failed. What was skipped, or refused because all drills were asked for, is not a failure.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.drills.iter().all(|drill| drill.outcome != DrillOutcome::Failed)
    }
}

/// A cluster that cannot be drilled, or does not heal, is not a failed stage.
pub(super) fn unproved(error: Error) -> Error {
    if error.kind == Kind::Failed { Error { kind: Kind::Unproved, ..error } } else { error }
}
