//! What a drill is: its target, its fault, and what is expected of the cluster.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;

use crate::plan::{Durability, Timers};

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
    /// The machine whose pooler clients connect to first.
    Pooler,
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
    /// SIGSTOP and SIGCONT to etcd, again and again.
    FreezeEtcd,
    /// Every certificate of a machine expires.
    ExpireCertificates,
    /// Connections to the REST API send nothing, and stay open.
    ExhaustRest,
    /// A backend asks for more memory than there is, and the kernel kills it.
    ExhaustMemory,
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
    /// SIGKILL to PgBouncer; its unit restarts it.
    KillPooler,
    /// SIGKILL to every process of HAProxy; its unit restarts it.
    KillProxy,
    /// Open transactions of clients hold every connection of a pool.
    HoldPool,
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
    /// When the automatic undo reverts it, which is due 20 s after it was armed. hactl reverts nothing before.
    Undo,
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

pub(super) const fn drill(name: &'static str, tier: Tier, target: Target, fault: Fault) -> Drill {
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

    /// Whether the drill is about the entry point, and is judged by what clients of the poolers see.
    #[must_use]
    pub fn is_through_poolers(&self) -> bool {
        self.target == Target::Pooler
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
            Until::Undo => 20.0,
        }
    }
}
