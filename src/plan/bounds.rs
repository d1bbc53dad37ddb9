//! Timers -> the longest write gap to expect for each fault.
//!
//! Terms: etcd elects within two election timeouts (1 s by default), and its new leader renews every
//! lease in full, up to one more timeout later. Then candidates ask each other (2 s at most,
//! `fetch_node_status` in patroni/ha.py) and the winner promotes (3 s, an estimate that no measurement
//! has exceeded). If a candidate gets no answer from the other in those 2 s, no candidate wins, and each
//! tries again in its next loop (`process_unhealthy_cluster` there): rare, and part of the bound.
//!
//! The last of two data nodes waits for the lost one after its promotion: Patroni lowers the quorum in one loop, and lets
//! the primary write alone in the next (`_process_quorum_replication` there). The longest such wait that was measured, with
//! a `loop_wait` of 3 s, was 4.4 s.

use super::{Bound, Durability, Timers};

const ELECTION_TIMEOUT: u32 = 1;
/// The longest time that etcd has no leader, plus the renewal of every lease, in seconds.
pub const ELECTION: u32 = 3 * ELECTION_TIMEOUT;
const RACE: u32 = 2;
const PROMOTE: u32 = 3;

/// The bounds, in the order of the faults' severity. A fault that this cluster cannot survive has none.
pub(super) fn bounds(timers: &Timers, durability: Durability, data_nodes: usize, voters: usize) -> Vec<Bound> {
    let Timers { ttl, loop_wait, primary_start_timeout, primary_stop_timeout, .. } = *timers;
    // The candidate of a switchover and a single replica compete with no other member.
    let takeover = RACE + PROMOTE;
    let (contest, contested) = match data_nodes {
        2 if matches!(durability, Durability::Quorum | Durability::Sync) => (
            takeover + 2 * loop_wait,
            format!("race {RACE} + promote {PROMOTE} + 2 * loop_wait {loop_wait} until it writes alone"),
        ),
        2 => (takeover, format!("race {RACE} + promote {PROMOTE}")),
        _ => (
            RACE + loop_wait + takeover,
            format!("race {RACE} + (if no candidate wins) loop_wait {loop_wait} + race {RACE} + promote {PROMOTE}"),
        ),
    };
    let bound =
        |fault: &str, seconds: u32, formula: String| Bound { fault: fault.into(), seconds: seconds.into(), formula };
    let restart = bound(
        "postgres-crash",
        loop_wait + primary_start_timeout,
        format!("loop_wait {loop_wait} + crash recovery, at most primary_start_timeout {primary_start_timeout}"),
    );
    match data_nodes {
        0 => return Vec::new(),
        // No member can take over: only a restart in place has a bound.
        1 => return vec![restart],
        _ => {}
    }
    // A primary without a stop timeout may take any time to stop, so no bound holds. Patroni applies the timeout in
    // synchronous modes only (`primary_stop_timeout` in patroni/ha.py).
    let stops = primary_stop_timeout > 0 && durability != Durability::Async;
    let switchover = stops.then(|| {
        bound(
            "switchover",
            primary_stop_timeout + loop_wait + takeover,
            format!(
                "primary_stop_timeout {primary_stop_timeout} + loop_wait {loop_wait} + race {RACE} + promote {PROMOTE}"
            ),
        )
    });
    let lease = bound("patroni-crash", ttl + contest, format!("ttl {ttl} + {contested}"));
    let mut bounds = Vec::from_iter(switchover);
    bounds.extend([
        bound(
            "postgres-crash",
            2 * loop_wait + primary_start_timeout + contest,
            format!(
                "2 * loop_wait {loop_wait} + primary_start_timeout {primary_start_timeout} + {contested}; \
                 a restart in place, the usual case, takes loop_wait + crash recovery"
            ),
        ),
        Bound { fault: "patroni-hang".into(), ..lease.clone() },
        lease,
    ]);
    // With one voter, the loss of its node makes failover impossible, so no bound holds.
    if voters > 2 {
        let lost = bound(
            "node-loss",
            ELECTION + ttl + contest,
            format!("etcd election and lease renewal {ELECTION} + ttl {ttl} + {contested}"),
        );
        let isolated = Bound { fault: "primary-isolated".into(), ..lost.clone() };
        bounds.extend([lost, isolated]);
    }
    bounds
}
