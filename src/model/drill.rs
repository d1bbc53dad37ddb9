//! What failover drills are called in a cluster file. What they do is `verify::catalogue`'s, whose tests
//! assert that both lists agree.

/// The words that `verify.drills` may hold: each drill by its title, `name` or `name/variant`; a name for
/// all of its variants; and `all`.
pub const DRILL_NAMES: &[&str] = &[
    "switchover",
    "postgres-crash",
    "patroni-crash",
    "patroni-crash/restart",
    "patroni-crash/dead",
    "patroni-hang",
    "node-loss",
    "primary-isolated",
    "primary-cut-from-etcd",
    "etcd-leader-loss",
    "etcd-quorum-loss",
    "etcd-slow",
    "replica-loss",
    "sync-replica-isolated",
    "disk-full",
    "slow-network",
    "slow-network/loss",
    "slow-network/latency",
    "cluster-power-off",
    "all",
];

/// What is run when nothing is said: the faults that a cluster meets first.
pub const DEFAULT_DRILLS: [&str; 3] = ["switchover", "postgres-crash", "node-loss"];

/// The same where nobody can give a machine its power back.
pub const DEFAULT_DRILLS_BY_SSH: [&str; 3] = ["switchover", "postgres-crash", "primary-isolated"];
