//! Histories made by hand, for the tests of this stage.

use super::{
    history::{Attempt, Client, History, LeaderKey, Micros, Outcome, RowId, Sample, Server},
    libpq::{LibpqClient, LibpqKind, Written},
};
use crate::model::InstanceKey;

pub(super) const SECOND: Micros = 1_000_000;

/// Three nodes, client 0 on the application's path, 1 to 3 each on a node, 60 s long, without a fault.
pub(super) fn history(attempts: Vec<Attempt>) -> History {
    let pinned = [None, Some(0), Some(1), Some(2)];
    History {
        nodes: ["node1", "node2", "node3"].map(|key| InstanceKey::new(key).unwrap()).into(),
        clients: (0..).zip(pinned).map(|(id, pinned)| Client { id, pinned }).collect(),
        attempts,
        ended: 60 * SECOND,
        ..History::default()
    }
}

pub(super) fn row(client: u16, seq: u64) -> RowId {
    RowId { client, seq: seq.try_into().unwrap() }
}

pub(super) fn attempt(row: RowId, times: [Micros; 2], server: Option<Server>, outcome: Outcome) -> Attempt {
    let [sent, done] = times;
    Attempt { row, sent, done, server, outcome, reason: None }
}

/// An acknowledged attempt.
pub(super) fn acknowledged(row: RowId, times: [Micros; 2], node: u16, timeline: u32) -> Attempt {
    attempt(row, times, Some(Server { node, timeline }), Outcome::Acknowledged)
}

/// What a node said: whether it is in recovery, and its timeline.
pub(super) fn sample(at: Micros, node: u16, in_recovery: bool, timeline: u32) -> Sample {
    Sample { at, node, in_recovery: Some(in_recovery), timeline: Some(timeline), ..Sample::default() }
}

pub(super) fn leader_key(at: Micros, holder: Option<&str>) -> LeaderKey {
    LeaderKey { at, holder: holder.map(str::to_owned) }
}

/// psql that wrote at these times, through the first node.
pub(super) fn libpq_client(kind: LibpqKind, times: Vec<Micros>) -> LibpqClient {
    let written = (1..).zip(times).map(|(transaction, at)| Written { at, transaction, through: "10.0.0.1".to_owned() });
    LibpqClient { kind, woken: None, written: written.collect(), failed: Vec::new() }
}
