//! The drills, one row each: the target, the fault, the effect that shows that the fault is in place, what reverts the
//! fault, and what is expected of the cluster. Tests check this table, and docs/drills.md is generated from it.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;

use crate::plan::{Durability, Timers};

#[cfg(test)]
mod tests;

/// How much a drill disrupts the cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// A routine operation of an administrator.
    Gentle,
    /// A failure that the cluster is built to survive.
    SingleFault,
    /// More than the cluster is built to survive: runs only with `disposable: true`.
    Destructive,
}

/// What the fault is injected into.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The primary.
    Primary,
    /// One replica.
    Replica,
    /// Every replica.
    Replicas,
    /// A replica that the primary waits for.
    SyncReplica,
    /// The primary and a replica that it waits for.
    PrimaryAndSyncReplica,
    /// etcd's leader.
    EtcdLeader,
    /// Enough voters to leave etcd without a quorum; the voter on the primary's machine is chosen last.
    EtcdMajority,
    /// Every machine.
    All,
}

/// The fault that a drill injects.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A switchover, requested by `POST /switchover`.
    Switchover,
    /// SIGKILL to the postmaster.
    KillPostgres,
    /// A switchover, and SIGKILL to the postmaster of the new primary as soon as it accepts writes.
    KillNewPrimary,
    /// SIGKILL to Patroni; its unit restarts it.
    KillPatroni,
    /// SIGKILL to Patroni; its unit cannot start until the fault is reverted.
    #[serde(rename = "bury-patroni")]
    StopPatroniForGood,
    /// SIGSTOP to Patroni.
    #[serde(rename = "stop-patroni")]
    HangPatroni,
    /// The machine loses power.
    PowerOff,
    /// No packets to or from the other members; SSH and clients stay connected.
    Isolate,
    /// Patroni cannot reach etcd; everything else works.
    CutFromEtcd,
    /// SIGKILL to etcd; its unit cannot start until the fault is reverted.
    KillEtcd,
    /// Every request to etcd arrives late.
    SlowEtcd,
    /// Every certificate of a machine expires.
    ExpireCertificates,
    /// Connections to the REST API send nothing, and stay open.
    ExhaustRest,
    /// The file system of PGDATA is full.
    FillDisk,
    /// Random packets between the members are lost.
    LosePackets,
    /// Packets between the members are delayed.
    DelayPackets,
    /// No packets between a replica and the PostgreSQL server that it streams from.
    CutReplication,
    /// A COPY of more rows than the replicas receive.
    BulkLoad,
    /// `synchronous_mode` is off in the DCS.
    Asynchronous,
    /// The lease guard is stopped.
    StopGuard,
}

/// Whether something must, may or must not happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    Must,
    May,
    MustNot,
}

/// One drill.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
pub struct Drill {
    /// The drill's name, as `--drill` takes it.
    pub name: &'static str,
    /// The variant, if the drill has several.
    pub variant: Option<&'static str>,
    /// How much the drill disrupts the cluster.
    pub tier: Tier,
    /// What the fault is injected into.
    pub target: Target,
    /// Faults that are injected before it, [`CUT_LEAD_MS`] apart.
    #[serde(skip)]
    pub before: &'static [Self],
    /// The fault that the drill injects.
    pub fault: Fault,
    /// The effect that shows that the fault is in place.
    pub effect: &'static str,
    /// What reverts the fault, even if hactl dies.
    pub undo: &'static str,
    /// Whether another member becomes the primary.
    pub new_leader: Expect,
    /// Whether a new timeline begins.
    pub new_timeline: Expect,
    /// Whether Patroni's failsafe mode must keep the primary in its role.
    pub failsafe: bool,
    /// When the fault is reverted.
    pub until: Until,
    /// The longest write gap that the drill allows.
    pub bound: Bound,
    /// How many machines with PostgreSQL the cluster needs in order to recover.
    pub data_nodes: usize,
    /// How many etcd voters the cluster needs in order to recover.
    pub voters: usize,
}

/// When the fault is reverted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// Nothing has to be reverted.
    Once,
    /// When another machine acknowledges writes.
    Failover,
    /// When the leader key would have expired: ttl + loop_wait + 5 s.
    LockExpiry,
    /// After 5 s.
    Moment,
    /// 5 s after the leader key names another member; clients write only in these 5 s.
    Succession,
}

/// The longest write gap that a drill allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// The plan's bound for the named fault.
    Planned(&'static str),
    /// Writes must not be interrupted: one loop_wait, plus one election of etcd.
    NoInterruption,
    /// The sum of the plan's bounds for the two named faults, one after the other.
    Sum(&'static str, &'static str),
    /// The time that the fault stays, plus the plan's bound for the named fault.
    Held(&'static str),
    /// 15 s for the replicas to fall behind, plus the plan's bound for the named fault.
    Behind(&'static str),
    /// 60 s for the machines to start, plus the plan's bound for node-loss.
    Restart,
    /// No bound: the clients pause on purpose.
    Unmeasured,
}

const fn drill(name: &'static str, tier: Tier, target: Target, fault: Fault) -> Drill {
    Drill {
        name,
        variant: None,
        tier,
        target,
        before: &[],
        fault,
        effect: "",
        undo: "nothing to revert",
        new_leader: Expect::MustNot,
        new_timeline: Expect::MustNot,
        failsafe: false,
        until: Until::Once,
        bound: Bound::NoInterruption,
        data_nodes: 2,
        voters: 1,
    }
}

/// How long an effect may take to show that comes with the fault.
const EFFECT_WITHIN: Duration = Duration::from_secs(15);

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
        effect: "a request to etcd was late",
        undo: ON_NODE,
        until: Until::LockExpiry,
        ..drill("etcd-slow", Tier::SingleFault, Target::All, Fault::SlowEtcd)
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

/// How long the certificates of the drill `certificate-expired` live.
pub const LEAF_LIFE: Duration = Duration::from_secs(60);

/// How many acknowledged commits a drill may lose under a durability.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// None: one lost commit fails the round.
    None,
    /// Any number; the report has the count.
    Reported,
}

impl Drill {
    /// `name` or `name/variant`, as `--drill` takes it and hactl prints it.
    #[must_use]
    pub fn title(&self) -> String {
        self.variant.map_or_else(|| self.name.to_owned(), |variant| format!("{}/{variant}", self.name))
    }

    /// Whether this drill may lose acknowledged commits. Without synchronous replication, a failover that the old primary
    /// did not agree to may lose commits that were not replicated yet.
    #[must_use]
    pub fn loss(&self, durability: Durability) -> Loss {
        let unasked = self.new_leader != Expect::MustNot && self.fault != Fault::Switchover;
        if durability == Durability::Async && unasked { Loss::Reported } else { Loss::None }
    }

    /// The longest write gap that the cluster file allows for this drill, in milliseconds.
    #[must_use]
    pub fn limit_ms(&self, limits: &BTreeMap<String, u64>) -> Option<u64> {
        let title = self.title();
        [title.as_str(), self.name, "all"].into_iter().find_map(|word| limits.get(word).copied())
    }

    /// How long the effect may take to show.
    #[must_use]
    pub const fn effect_within(&self) -> Duration {
        match self.fault {
            Fault::ExpireCertificates => LEAF_LIFE.saturating_add(EFFECT_WITHIN),
            _ => EFFECT_WITHIN,
        }
    }

    /// How long the fault stays if nothing ends it sooner, in seconds.
    #[must_use]
    pub fn hold(&self, timers: &Timers, bound: f64) -> f64 {
        match self.until {
            Until::Once => 0.0,
            Until::Failover => bound,
            Until::LockExpiry => f64::from(timers.ttl + timers.loop_wait + 5),
            Until::Succession => f64::from(timers.ttl + timers.loop_wait + 15),
            Until::Moment => 5.0,
        }
    }
}

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
