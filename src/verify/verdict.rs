//! What a verification found: the contract's `report.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The shape's version; a field is never removed or changed within one.
pub const VERSION: u32 = 1;

/// `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub version: u32,
    pub cluster: String,
    /// RFC 3339, UTC.
    pub started: String,
    pub hactl: String,
    pub platform: String,
    /// What a reader must know of the machines, for example `shared kernel`.
    pub stamps: Vec<String>,
    pub durability: String,
    pub fencing: String,
    pub timers: BTreeMap<String, u32>,
    pub seed: u64,
    /// How clients reached the servers: `direct` or `tunnel`.
    pub path: String,
    pub drills: Vec<DrillReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrillOutcome {
    Passed,
    Failed,
    Skipped,
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoundOutcome {
    Passed,
    Failed,
    /// Says nothing: the undo came before the planned end.
    Void,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillReport {
    pub name: String,
    pub variant: Option<String>,
    pub outcome: DrillOutcome,
    /// Why it failed, was skipped or refused.
    pub reason: Option<String>,
    pub rounds: Vec<RoundReport>,
    pub write_gap_ms: Option<Spread>,
    /// Sums over the rounds.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Minimum, median and maximum; percentiles from 20 values up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub min: u64,
    pub median: u64,
    pub max: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<u64>,
}

/// What became of the attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub attempted: u64,
    pub acknowledged: u64,
    pub in_doubt: u64,
    /// In doubt, and found to be there.
    pub recovered: u64,
    /// Acknowledged, and not there.
    pub lost: u64,
    pub duplicated: u64,
    /// There, and never attempted or surely failed.
    pub unexpected: u64,
    /// Acknowledged by a node of an older timeline after one of a newer had acknowledged.
    pub split_brain: u64,
    /// Rows in which a replica differs from the primary.
    pub differing: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundReport {
    pub n: u32,
    /// Which drill it was, in a soak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<String>,
    pub outcome: RoundOutcome,
    /// Every reason why it failed or is void.
    pub reasons: Vec<String>,
    pub write_gap_ms: Option<u64>,
    pub bound_ms: Option<u64>,
    /// The node that was struck.
    pub target: Option<String>,
    pub primary_node: String,
    pub new_primary_node: Option<String>,
    pub etcd_leader_node: Option<String>,
    pub timeline: [Option<u32>; 2],
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
