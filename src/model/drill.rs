//! The names of drills in a cluster file. `verify::catalogue` defines the drills, and its tests assert that both lists
//! agree.

/// The words that `verify.drills` may hold: each drill by its title, `name` or `name/variant`; a name for
/// all of its variants; and `all`.
pub const DRILL_NAMES: &[&str] = &[
    "switchover",
    "postgres-crash",
    "oom-backend",
    "new-primary-crash",
    "patroni-crash",
    "patroni-crash/restart",
    "patroni-crash/dead",
    "patroni-hang",
    "node-loss",
    "rest-exhausted",
    "node-loss-in-copy",
    "double-loss",
    "primary-isolated",
    "primary-cut-from-etcd",
    "etcd-leader-loss",
    "etcd-quorum-loss",
    "etcd-slow",
    "etcd-slow/late",
    "etcd-slow/bursts",
    "certificate-expired",
    "certificate-expired/replica",
    "certificate-expired/primary",
    "replica-loss",
    "sync-replica-isolated",
    "disk-full",
    "slow-network",
    "slow-network/loss",
    "slow-network/latency",
    "pooler-crash",
    "proxy-crash",
    "pool-exhausted",
    "cluster-power-off",
    "all",
];

/// The default drills: the most frequent faults.
pub const DEFAULT_DRILLS: [&str; 3] = ["switchover", "postgres-crash", "node-loss"];

/// The same for machines outside of this computer: powering them off and on is never a default.
pub const DEFAULT_DRILLS_BY_SSH: [&str; 3] = ["switchover", "postgres-crash", "primary-isolated"];
