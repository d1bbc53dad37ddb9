//! The drills, one row each: what is struck and how, how its effect is seen, what takes it back, and
//! what must come of it. Tests assert this table and the documentation prints it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::plan::{Durability, Timers};

#[cfg(test)]
mod tests;

/// How much a drill may cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// What an administrator does on a working day.
    Gentle,
    /// One thing fails; the cluster is made for it.
    SingleFault,
    /// Beyond what the cluster promises to bridge: only where `disposable: true`.
    Destructive,
}

/// What is struck.
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
    /// etcd's leader.
    EtcdLeader,
    /// As many voters as leave etcd without a quorum; the primary's own is among them last.
    EtcdMajority,
    /// Every machine.
    All,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// `POST /switchover`.
    Switchover,
    /// SIGKILL to the postmaster.
    KillPostgres,
    /// SIGKILL to Patroni, whose unit starts it again.
    KillPatroni,
    /// SIGKILL to Patroni, whose unit is kept from starting: it stays dead.
    #[serde(rename = "bury-patroni")]
    StopPatroniForGood,
    /// SIGSTOP to Patroni.
    #[serde(rename = "stop-patroni")]
    HangPatroni,
    /// The machine loses its power.
    PowerOff,
    /// No packet to or from the other members; the administrator's and the clients' way stays open.
    Isolate,
    /// Patroni reaches no etcd; everything else works.
    CutFromEtcd,
    /// SIGKILL to etcd, whose unit is kept from starting.
    KillEtcd,
    /// Every request to etcd arrives late.
    SlowEtcd,
    /// The file system of PGDATA is filled.
    FillDisk,
    /// Packets between the members are lost at random.
    LosePackets,
    /// Packets between the members are late.
    DelayPackets,
    /// No packet to or from the PostgreSQL that a replica streams from.
    CutReplication,
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
    /// The name to ask for it by.
    pub name: &'static str,
    /// The variant, where the name has several.
    pub variant: Option<&'static str>,
    /// How much it may cost.
    pub tier: Tier,
    /// What is struck.
    pub target: Target,
    /// What is done to it.
    pub fault: Fault,
    /// How it is seen that the fault took effect.
    pub effect: &'static str,
    /// What takes it back, whatever becomes of hactl.
    pub undo: &'static str,
    /// Whether another member leads afterwards.
    pub new_leader: Expect,
    /// Whether a new timeline comes with it.
    pub new_timeline: Expect,
    /// Whether Patroni's failsafe mode has to hold the primary.
    pub failsafe: bool,
    /// When the fault is taken back.
    pub until: Until,
    /// The longest write gap that it may cause.
    pub bound: Bound,
    /// Data nodes without which nothing is left that could recover.
    pub data_nodes: usize,
    /// Voters of etcd without which nothing is left that could recover.
    pub voters: usize,
}

/// When the fault is taken back.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// There is nothing to take back.
    Once,
    /// Another node acknowledges writes.
    Failover,
    /// The leader's lock would have run out: ttl + loop_wait + 5 s.
    LockExpiry,
    /// 5 s.
    Moment,
    /// The leader key names another member; nobody writes until then, and everybody for 5 s from then on.
    Succession,
}

/// The longest write gap that the drill may cause.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// That of a fault in the plan's list.
    Planned(&'static str),
    /// Nothing may interrupt writes: one loop_wait, and one election of etcd.
    NoInterruption,
    /// Nothing is promised while the fault stays; then that of a fault in the plan's list.
    Held(&'static str),
    /// The machines' own start, within 60 s, and what the plan's node-loss takes.
    Restart,
    /// None: the clients are silent for a while themselves.
    Unmeasured,
}

const fn drill(name: &'static str, tier: Tier, target: Target, fault: Fault) -> Drill {
    Drill {
        name,
        variant: None,
        tier,
        target,
        fault,
        effect: "",
        undo: "nothing to take back",
        new_leader: Expect::MustNot,
        new_timeline: Expect::MustNot,
        failsafe: false,
        until: Until::Once,
        bound: Bound::NoInterruption,
        data_nodes: 2,
        voters: 1,
    }
}

const ON_NODE: &str = "a transient timer of systemd on the node";
const OUTSIDE: &str = "a watcher beside hactl powers it on";

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
        effect: "the postmaster's process is another",
        new_leader: Expect::May,
        new_timeline: Expect::May,
        bound: Bound::Planned("postgres-crash"),
        data_nodes: 1,
        ..drill("postgres-crash", Tier::SingleFault, Target::Primary, Fault::KillPostgres)
    },
    Drill {
        variant: Some("restart"),
        effect: "the unit's main process is another",
        data_nodes: 1,
        ..drill("patroni-crash", Tier::SingleFault, Target::Primary, Fault::KillPatroni)
    },
    Drill {
        variant: Some("dead"),
        effect: "the unit does not run",
        undo: ON_NODE,
        new_leader: Expect::Must,
        new_timeline: Expect::Must,
        until: Until::Failover,
        bound: Bound::Planned("patroni-crash"),
        ..drill("patroni-crash", Tier::SingleFault, Target::Primary, Fault::StopPatroniForGood)
    },
    Drill {
        effect: "the process is in state T",
        undo: ON_NODE,
        new_leader: Expect::Must,
        new_timeline: Expect::Must,
        until: Until::Failover,
        bound: Bound::Planned("patroni-hang"),
        ..drill("patroni-hang", Tier::SingleFault, Target::Primary, Fault::HangPatroni)
    },
    Drill {
        effect: "the machine does not run",
        undo: OUTSIDE,
        new_leader: Expect::Must,
        new_timeline: Expect::Must,
        until: Until::Failover,
        bound: Bound::Planned("node-loss"),
        voters: 3,
        ..drill("node-loss", Tier::SingleFault, Target::Primary, Fault::PowerOff)
    },
    Drill {
        effect: "no other member answers it",
        undo: ON_NODE,
        new_leader: Expect::Must,
        new_timeline: Expect::Must,
        until: Until::Failover,
        bound: Bound::Planned("primary-isolated"),
        voters: 3,
        ..drill("primary-isolated", Tier::SingleFault, Target::Primary, Fault::Isolate)
    },
    Drill {
        effect: "Patroni reaches no etcd",
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
        effect: "no member of etcd has a quorum",
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
        effect: "the machine does not run",
        undo: OUTSIDE,
        until: Until::LockExpiry,
        data_nodes: 3,
        voters: 3,
        ..drill("replica-loss", Tier::SingleFault, Target::Replica, Fault::PowerOff)
    },
    Drill {
        effect: "no other member answers it",
        undo: ON_NODE,
        until: Until::LockExpiry,
        data_nodes: 3,
        voters: 3,
        ..drill("sync-replica-isolated", Tier::SingleFault, Target::SyncReplica, Fault::Isolate)
    },
    Drill {
        effect: "the file system has no free block, and PostgreSQL has failed for want of one",
        undo: "a unit with a time limit holds the space in an unlinked file",
        new_leader: Expect::May,
        new_timeline: Expect::May,
        until: Until::LockExpiry,
        bound: Bound::Held("postgres-crash"),
        ..drill("disk-full", Tier::Destructive, Target::Primary, Fault::FillDisk)
    },
    Drill {
        variant: Some("loss"),
        effect: "the rule has dropped packets",
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
        effect: "a round trip takes longer",
        undo: ON_NODE,
        new_leader: Expect::May,
        new_timeline: Expect::May,
        until: Until::LockExpiry,
        bound: Bound::Planned("node-loss"),
        voters: 3,
        ..drill("slow-network", Tier::SingleFault, Target::All, Fault::DelayPackets)
    },
    Drill {
        effect: "no machine runs",
        undo: OUTSIDE,
        new_leader: Expect::May,
        new_timeline: Expect::May,
        until: Until::Moment,
        bound: Bound::Restart,
        ..drill("cluster-power-off", Tier::Destructive, Target::All, Fault::PowerOff)
    },
];

/// The positive control's fault proper: like node-loss, [`CUT_LEAD_MS`] after [`CUT_REPLICATION`].
pub const SELF_TEST: Drill = Drill {
    effect: "the machine does not run",
    undo: OUTSIDE,
    new_leader: Expect::Must,
    new_timeline: Expect::Must,
    until: Until::Failover,
    bound: Bound::Planned("node-loss"),
    data_nodes: 3,
    voters: 3,
    ..drill("self-test", Tier::Destructive, Target::Primary, Fault::PowerOff)
};

/// What comes before it: what the primary acknowledges from now on is nowhere else.
pub const CUT_REPLICATION: Drill = Drill {
    effect: "the rule has dropped packets",
    undo: ON_NODE,
    ..drill("self-test", Tier::Destructive, Target::Replicas, Fault::CutReplication)
};

/// What makes the control: an acknowledgement that promises one node only.
pub const ASYNCHRONOUS: Drill = Drill {
    effect: "the DCS says so",
    undo: ON_NODE,
    ..drill("self-test", Tier::Destructive, Target::Replica, Fault::Asynchronous)
};

/// The other control's fault: the primary outlives its Patroni, and a replica that does not learn of it
/// ([`CUT_REPLICA`]) goes on acknowledging its commits. Whatever writes to it after its successor has the
/// leader key loses what it writes, under every durability, unless something else stops the old primary.
pub const ORPHAN: Drill = Drill {
    effect: "the unit does not run",
    undo: ON_NODE,
    new_leader: Expect::Must,
    new_timeline: Expect::Must,
    until: Until::Succession,
    bound: Bound::Unmeasured,
    data_nodes: 3,
    voters: 3,
    ..drill("self-test", Tier::Destructive, Target::Primary, Fault::StopPatroniForGood)
};

/// The replica that does not learn that the leader key is another's.
pub const CUT_REPLICA: Drill = Drill {
    effect: "Patroni reaches no etcd",
    undo: ON_NODE,
    ..drill("self-test", Tier::Destructive, Target::Replica, Fault::CutFromEtcd)
};

/// What else would stop the old primary.
pub const STOP_GUARD: Drill = Drill {
    effect: "the unit does not run",
    undo: ON_NODE,
    ..drill("self-test", Tier::Destructive, Target::Primary, Fault::StopGuard)
};

/// How long before the primary loses its power replication is cut, in milliseconds: long enough for
/// hundreds of commits, short enough that Patroni does not notice.
pub const CUT_LEAD_MS: u64 = 300;

/// How many acknowledged commits a drill may lose under a durability.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// None: one is a failure.
    None,
    /// Measured and reported: the durability does not promise more.
    Reported,
}

impl Drill {
    /// `name` or `name/variant`, as it is asked for and printed.
    #[must_use]
    pub fn title(&self) -> String {
        self.variant.map_or_else(|| self.name.to_owned(), |variant| format!("{}/{variant}", self.name))
    }

    /// What an acknowledgement is worth in this drill. Without synchronous replication whatever moves the
    /// leadership without the old primary's consent may lose what was not yet replicated.
    #[must_use]
    pub fn loss(&self, durability: Durability) -> Loss {
        let unasked = self.new_leader != Expect::MustNot && self.fault != Fault::Switchover;
        if durability == Durability::Async && unasked { Loss::Reported } else { Loss::None }
    }

    /// How long the fault stays where nothing else ends it sooner, in seconds.
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
/// The first word that means nothing.
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
