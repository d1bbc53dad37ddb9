//! The drills, one row each: the target, the fault, the effect that shows that the fault is in place, what reverts the
//! fault, and what is expected of the cluster. Tests check this table, and docs/drills.md is generated from it.

mod definition;
#[cfg(test)]
mod tests;

use definition::drill;
pub use definition::{Bound, Drill, Expect, Fault, LEAF_LIFE, Loss, Target, Tier, Until};

const ON_NODE: &str = "a transient systemd timer on the machine";
const ON_NODE_AND_DISK: &str = "a transient systemd timer on the machine, or a unit when the machine starts again";
const OUTSIDE: &str = "a watcher process beside hactl powers the machine on";

/// All drills, gentlest first.
pub const CATALOGUE: &[Drill] = &[
    Drill {
        effect: "the leader key names another member",
        new_leader: Expect::Must,
        new_timeline: Expect::Must,
        bound: Bound::Planned("switchover"),
        ..drill("switchover", Tier::Gentle, Target::Primary, Fault::Switchover)
    },
    Drill {
        effect: "the postmaster's process is gone",
        new_leader: Expect::May,
        new_timeline: Expect::May,
        bound: Bound::Planned("postgres-crash"),
        data_nodes: 1,
        ..drill("postgres-crash", Tier::SingleFault, Target::Primary, Fault::KillPostgres)
    },
    Drill {
        effect: "the kernel has killed a backend, and the postmaster's process is there",
        undo: ON_NODE,
        new_leader: Expect::May,
        new_timeline: Expect::May,
        until: Until::Moment,
        bound: Bound::Planned("postgres-crash"),
        data_nodes: 1,
        ..drill("oom-backend", Tier::SingleFault, Target::Primary, Fault::ExhaustMemory)
    },
    Drill {
        effect: "the leader key names another member, whose postmaster's process is gone",
        new_leader: Expect::Must,
        new_timeline: Expect::Must,
        bound: Bound::Sum("switchover", "postgres-crash"),
        ..drill("new-primary-crash", Tier::SingleFault, Target::Primary, Fault::KillNewPrimary)
    },
    Drill {
        variant: Some("restart"),
        effect: "the unit has a new main process",
        data_nodes: 1,
        ..drill("patroni-crash", Tier::SingleFault, Target::Primary, Fault::KillPatroni)
    },
    Drill {
        variant: Some("dead"),
        effect: "the unit is not running",
        undo: ON_NODE,
        new_leader: Expect::Must,
        new_timeline: Expect::Must,
        until: Until::Failover,
        bound: Bound::Planned("patroni-crash"),
        ..drill("patroni-crash", Tier::SingleFault, Target::Primary, Fault::StopPatroniForGood)
    },
    Drill {
        effect: "the process is stopped (state T)",
        undo: ON_NODE,
        new_leader: Expect::Must,
        new_timeline: Expect::Must,
        until: Until::Failover,
        bound: Bound::Planned("patroni-hang"),
        ..drill("patroni-hang", Tier::SingleFault, Target::Primary, Fault::HangPatroni)
    },
    Drill {
        effect: "the machine is not running",
        undo: OUTSIDE,
        new_leader: Expect::Must,
        new_timeline: Expect::Must,
        until: Until::Failover,
        bound: Bound::Planned("node-loss"),
        voters: 3,
        ..drill("node-loss", Tier::SingleFault, Target::Primary, Fault::PowerOff)
    },
    Drill {
        effect: "the machine is not running",
        undo: "a watcher process beside hactl powers the machine on; a transient systemd timer on every replica closes the \
               connections",
        before: &[EXHAUST_REST],
        new_leader: Expect::Must,
        new_timeline: Expect::Must,
        until: Until::Failover,
        bound: Bound::Planned("node-loss"),
        data_nodes: 3,
        voters: 3,
        ..drill("rest-exhausted", Tier::SingleFault, Target::Primary, Fault::PowerOff)
    },
    Drill {
        effect: "the machine is not running",
        undo: OUTSIDE,
        before: &[CUT_REPLICATION, BULK_LOAD],
        new_leader: Expect::Must,
        new_timeline: Expect::Must,
        until: Until::Failover,
        bound: Bound::Behind("node-loss"),
        data_nodes: 3,
        voters: 3,
        ..drill("node-loss-in-copy", Tier::SingleFault, Target::Primary, Fault::PowerOff)
    },
    Drill {
        effect: "no machine of the two is running",
        undo: OUTSIDE,
        new_leader: Expect::Must,
        new_timeline: Expect::Must,
        until: Until::Failover,
        bound: Bound::Planned("node-loss"),
        data_nodes: 5,
        voters: 5,
        ..drill("double-loss", Tier::SingleFault, Target::PrimaryAndSyncReplica, Fault::PowerOff)
    },
    Drill {
        effect: "the machine cannot connect to any other member",
        undo: ON_NODE,
        new_leader: Expect::Must,
        new_timeline: Expect::Must,
        until: Until::Failover,
        bound: Bound::Planned("primary-isolated"),
        voters: 3,
        ..drill("primary-isolated", Tier::SingleFault, Target::Primary, Fault::Isolate)
    },
    Drill {
        effect: "Patroni cannot reach etcd",
        undo: ON_NODE,
        failsafe: true,
        until: Until::LockExpiry,
        ..drill("primary-cut-from-etcd", Tier::SingleFault, Target::Primary, Fault::CutFromEtcd)
    },
    Drill {
        effect: "etcd has another leader",
        undo: ON_NODE,
        until: Until::LockExpiry,
        voters: 3,
        ..drill("etcd-leader-loss", Tier::SingleFault, Target::EtcdLeader, Fault::KillEtcd)
    },
    Drill {
        effect: "no etcd member has a quorum",
        undo: ON_NODE,
        failsafe: true,
        until: Until::LockExpiry,
        ..drill("etcd-quorum-loss", Tier::Destructive, Target::EtcdMajority, Fault::KillEtcd)
    },
    Drill {
        variant: Some("late"),
        effect: "a request to etcd was late",
        undo: ON_NODE,
        until: Until::LockExpiry,
        ..drill("etcd-slow", Tier::SingleFault, Target::All, Fault::SlowEtcd)
    },
    Drill {
        variant: Some("bursts"),
        effect: "etcd was stopped (state T)",
        undo: ON_NODE,
        until: Until::LockExpiry,
        ..drill("etcd-slow", Tier::SingleFault, Target::All, Fault::FreezeEtcd)
    },
    Drill {
        variant: Some("replica"),
        effect: "every service of the machine serves a certificate that has expired",
        undo: ON_NODE_AND_DISK,
        until: Until::LockExpiry,
        voters: 3,
        ..drill("certificate-expired", Tier::SingleFault, Target::Replica, Fault::ExpireCertificates)
    },
    Drill {
        variant: Some("primary"),
        effect: "every service of the machine serves a certificate that has expired",
        undo: ON_NODE_AND_DISK,
        new_leader: Expect::May,
        new_timeline: Expect::May,
        until: Until::LockExpiry,
        bound: Bound::Planned("node-loss"),
        voters: 3,
        ..drill("certificate-expired", Tier::SingleFault, Target::Primary, Fault::ExpireCertificates)
    },
    Drill {
        effect: "the machine is not running",
        undo: OUTSIDE,
        until: Until::LockExpiry,
        data_nodes: 3,
        voters: 3,
        ..drill("replica-loss", Tier::SingleFault, Target::Replica, Fault::PowerOff)
    },
    Drill {
        effect: "the machine cannot connect to any other member",
        undo: ON_NODE,
        until: Until::LockExpiry,
        data_nodes: 3,
        voters: 3,
        ..drill("sync-replica-isolated", Tier::SingleFault, Target::SyncReplica, Fault::Isolate)
    },
    Drill {
        effect: "the file system has no free block, and PostgreSQL could not extend its WAL",
        undo: "the unit that holds the space in an unlinked file has a time limit",
        new_leader: Expect::May,
        new_timeline: Expect::May,
        until: Until::LockExpiry,
        bound: Bound::Held("postgres-crash"),
        ..drill("disk-full", Tier::Destructive, Target::Primary, Fault::FillDisk)
    },
    Drill {
        variant: Some("loss"),
        effect: "the nftables rule has dropped packets",
        undo: ON_NODE,
        new_leader: Expect::May,
        new_timeline: Expect::May,
        until: Until::LockExpiry,
        bound: Bound::Planned("node-loss"),
        voters: 3,
        ..drill("slow-network", Tier::SingleFault, Target::All, Fault::LosePackets)
    },
    Drill {
        variant: Some("latency"),
        effect: "round trips take longer",
        undo: ON_NODE,
        new_leader: Expect::May,
        new_timeline: Expect::May,
        until: Until::LockExpiry,
        bound: Bound::Planned("node-loss"),
        voters: 3,
        ..drill("slow-network", Tier::SingleFault, Target::All, Fault::DelayPackets)
    },
    Drill {
        effect: "PgBouncer's unit runs with a new main process",
        undo: ON_NODE,
        until: Until::Moment,
        data_nodes: 1,
        ..drill("pooler-crash", Tier::SingleFault, Target::Pooler, Fault::KillPooler)
    },
    Drill {
        effect: "HAProxy's unit runs with a new main process",
        undo: ON_NODE,
        until: Until::Moment,
        data_nodes: 1,
        ..drill("proxy-crash", Tier::SingleFault, Target::Pooler, Fault::KillProxy)
    },
    Drill {
        effect: "PgBouncer has no connection left for the database, and a client has waited for 1 s",
        undo: "the transactions end with hactl; PostgreSQL ends them at the deadline by `idle_in_transaction_session_timeout`",
        until: Until::Moment,
        data_nodes: 1,
        ..drill("pool-exhausted", Tier::SingleFault, Target::Pooler, Fault::HoldPool)
    },
    Drill {
        effect: "no machine is running",
        undo: OUTSIDE,
        new_leader: Expect::May,
        new_timeline: Expect::May,
        until: Until::Moment,
        bound: Bound::Restart,
        ..drill("cluster-power-off", Tier::Destructive, Target::All, Fault::PowerOff)
    },
];

/// The main fault of the positive control: like node-loss, [`CUT_LEAD_MS`] after [`CUT_REPLICATION`].
pub const SELF_TEST: Drill = Drill {
    effect: "the machine is not running",
    undo: OUTSIDE,
    new_leader: Expect::Must,
    new_timeline: Expect::Must,
    until: Until::Failover,
    bound: Bound::Planned("node-loss"),
    data_nodes: 3,
    voters: 3,
    ..drill("self-test", Tier::Destructive, Target::Primary, Fault::PowerOff)
};

/// The first step of the self-test: the watcher alone restores the power of a replica, at its deadline.
pub const WATCHER: Drill = Drill {
    variant: Some("watcher"),
    effect: "the machine is not running",
    undo: OUTSIDE,
    until: Until::Undo,
    data_nodes: 3,
    voters: 3,
    ..drill("self-test", Tier::Destructive, Target::Replica, Fault::PowerOff)
};

/// Comes before [`SELF_TEST`]: from then on, no other machine has the commits that the primary acknowledges.
pub const CUT_REPLICATION: Drill = Drill {
    effect: "the nftables rule has dropped packets",
    undo: ON_NODE,
    ..drill("self-test", Tier::Destructive, Target::Replicas, Fault::CutReplication)
};

/// Comes after [`CUT_REPLICATION`]: the replicas fall behind what the primary writes.
pub const BULK_LOAD: Drill = Drill {
    effect: "every replica is more than 4 MiB behind",
    ..drill("node-loss-in-copy", Tier::SingleFault, Target::Primary, Fault::BulkLoad)
};

/// Comes before the loss of the primary: Patroni on the other machines has threads left for the members' questions.
const EXHAUST_REST: Drill = Drill {
    effect: "connections to the REST API are open and send nothing",
    undo: ON_NODE,
    until: Until::Failover,
    ..drill("rest-exhausted", Tier::SingleFault, Target::Replicas, Fault::ExhaustRest)
};

/// Makes the primary acknowledge commits that only its own machine has.
pub const ASYNCHRONOUS: Drill = Drill {
    effect: "`synchronous_mode` is off in the DCS",
    undo: ON_NODE,
    ..drill("self-test", Tier::Destructive, Target::Replica, Fault::Asynchronous)
};

/// The fault of the other control: the primary outlives its Patroni, while a replica that cannot see this ([`CUT_REPLICA`])
/// acknowledges its commits. Writes to it after its successor has the leader key are lost, unless something stops it.
pub const ORPHAN: Drill = Drill {
    effect: "the unit is not running",
    undo: ON_NODE,
    new_leader: Expect::Must,
    new_timeline: Expect::Must,
    until: Until::Succession,
    bound: Bound::Unmeasured,
    data_nodes: 3,
    voters: 3,
    ..drill("self-test", Tier::Destructive, Target::Primary, Fault::StopPatroniForGood)
};

/// Keeps a replica from learning that another member has the leader key.
pub const CUT_REPLICA: Drill = Drill {
    effect: "Patroni cannot reach etcd",
    undo: ON_NODE,
    ..drill("self-test", Tier::Destructive, Target::Replica, Fault::CutFromEtcd)
};

/// Stops the lease guard, which would stop the old primary.
pub const STOP_GUARD: Drill = Drill {
    effect: "the unit is not running",
    undo: ON_NODE,
    ..drill("self-test", Tier::Destructive, Target::Primary, Fault::StopGuard)
};

/// The pause between two faults of a drill, in milliseconds: hundreds of commits, and too short for Patroni to notice.
pub const CUT_LEAD_MS: u64 = 300;

/// The drills that `words` mean: a name means all of its variants, `all` everything.
///
/// # Errors
/// The first word that names no drill.
pub fn choose(words: &[String]) -> Result<Vec<&'static Drill>, String> {
    let mut chosen = vec![false; CATALOGUE.len()];
    for word in words {
        let mut known = false;
        for (index, drill) in CATALOGUE.iter().enumerate() {
            if word == "all" || word == drill.name || *word == drill.title() {
                (chosen[index], known) = (true, true);
            }
        }
        if !known {
            return Err(word.clone());
        }
    }
    Ok(CATALOGUE.iter().zip(chosen).filter_map(|(drill, chosen)| chosen.then_some(drill)).collect())
}
