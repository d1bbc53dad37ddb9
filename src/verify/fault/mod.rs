//! Strikes machines, sees that it hurt, and takes it back. Whatever becomes of hactl or of the network,
//! no fault outlives its deadline:
//!
//! ```text
//! obstacle   can it be done here? tried, not guessed
//! targets    who is struck, from what is so now; pure
//! arm        the undo is set and has been shown to work; nothing is broken yet
//! strike     the fault
//! undo       the same that the undo would do, now
//! ```
//!
//! A fault on a node is shell text around checked values ([`node_fault::NodeFault`]), and its undo is a timer of the
//! node's own systemd ([`timer`]). A node without power has no timer: a process outside of hactl gives it
//! its power back ([`power`]). Nothing is ever on the disk of a node, so a reboot is an undo, too.

mod disk;
mod network;
mod node_fault;
mod patroni;
mod power;
mod process;
pub(super) mod shell;
mod switchover;
mod targets;
#[cfg(test)]
mod tests;
mod timer;
mod unit;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::{join_all, try_join_all};

use self::{node_fault::NodeFault, power::Switch};
pub use self::{
    power::{Watch, watch},
    targets::targets,
    timer::{leftovers, sweep},
};
use super::catalogue::{Drill, Fault, Target};
use crate::{
    access::Access,
    context::Context,
    error::{Error, Result},
    fleet::{Fleet, FleetNode},
    model::{InstanceKey, Role},
    plan::Plan,
};

/// The pause between two looks for an effect.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the way back is tried after the undo should have come by itself.
const GRACE: Duration = Duration::from_secs(20);
/// Nobody strikes when the undo is due within this time.
const MARGIN: Duration = Duration::from_secs(2);

/// The ground that faults strike: machines and what opens them.
pub struct Ground<'a> {
    pub plan: &'a Plan,
    pub fleet: &'a Fleet,
    /// For looking at the cluster.
    pub access: &'a Access,
    /// For faults and undos alone: sessions that nothing else can hold up.
    pub control: &'a Access,
    pub context: &'a Context,
}

impl Ground<'_> {
    fn node(&self, key: &InstanceKey) -> Result<&FleetNode> {
        self.fleet.node(key.as_str())
    }

    /// What mends the cluster when a fault could not be taken back.
    fn next_step(&self) -> String {
        let name = &self.plan.cluster;
        match self.plan.platform.is_adopted() {
            true => format!("run `hactl verify {name}` again: it begins by taking back what was left"),
            false => format!("run `hactl up {name}`"),
        }
    }

    /// Machines that are part of the cluster, in the order of their keys.
    fn members(&self) -> impl Iterator<Item = &FleetNode> {
        self.fleet.nodes.values().filter(|node| !node.node.roles.is_empty())
    }

    /// Machines that a drill with this target may strike.
    fn candidates(&self, target: Target) -> Vec<&FleetNode> {
        let role = match target {
            Target::Primary | Target::Replica | Target::Replicas | Target::SyncReplica => Role::Patroni,
            Target::EtcdLeader | Target::EtcdMajority => Role::Etcd,
            Target::All => return self.members().collect(),
        };
        self.fleet.with_role(role).collect()
    }
}

/// Why `drill` cannot be done on these machines; none when it can. They are asked themselves.
///
/// # Errors
/// When a machine does not answer.
pub async fn obstacle(drill: &Drill, ground: &Ground<'_>) -> Result<Option<String>> {
    if let Some(reason) = targets::too_few(drill, ground.plan) {
        return Ok(Some(reason));
    }
    if drill.fault == Fault::PowerOff {
        return power::obstacle(ground).await;
    }
    let asked = ground.candidates(drill.target).into_iter().map(async |node| {
        let Some(blow) = NodeFault::new(drill.fault, node, ground) else { return Ok(None) };
        shell::objection(ground, node.key(), &blow.obstacle()).await
    });
    Ok(try_join_all(asked).await?.into_iter().flatten().next())
}

/// Sets the undo, after a canary has shown that undos work there. Nothing is broken yet.
///
/// # Errors
/// When a machine does not answer, or its undo does not work.
pub async fn arm<'a>(
    drill: &Drill,
    targets: &[InstanceKey],
    deadline: Duration,
    ground: &'a Ground<'a>,
) -> Result<Armed<'a>> {
    let id = format!("{:08x}", rand::random::<u32>());
    let way = match drill.fault {
        Fault::Switchover => Way::Switchover,
        Fault::PowerOff => Way::Power(power::arm(targets, deadline, ground).await?),
        fault => {
            let mut blows = BTreeMap::new();
            for key in targets {
                if let Some(blow) = NodeFault::new(fault, ground.node(key)?, ground) {
                    blows.insert(key.clone(), blow);
                }
            }
            timer::arm(&id, &blows, deadline, ground).await?;
            Way::Blows(blows)
        }
    };
    let until = Instant::now() + deadline;
    Ok(Armed {
        drill: *drill,
        targets: targets.to_vec(),
        ground,
        id,
        until,
        way,
        noted: BTreeMap::new(),
        undone: false,
    })
}

/// How a fault comes about.
enum Way {
    /// Shell text on the nodes.
    Blows(BTreeMap<InstanceKey, NodeFault>),
    /// The machines' power.
    Power(Switch),
    /// A request to Patroni.
    Switchover,
}

/// A fault whose undo is set. Dropped without [`Armed::undo`], it is taken back at its deadline.
pub struct Armed<'a> {
    drill: Drill,
    targets: Vec<InstanceKey>,
    ground: &'a Ground<'a>,
    /// What this fault's units on the nodes are called by.
    id: String,
    until: Instant,
    way: Way,
    /// The process that each blow struck.
    noted: BTreeMap<InstanceKey, u32>,
    undone: bool,
}

impl Armed<'_> {
    /// Does the damage, on all targets at once.
    ///
    /// # Errors
    /// When the undo is about to come, or a target cannot be struck. Some may have been struck: undo it.
    pub async fn strike(&mut self) -> Result<()> {
        if Instant::now() + MARGIN > self.until {
            return Err(self.failed("strike").cause("its undo is about to come").hint("give it a later deadline"));
        }
        match &self.way {
            Way::Blows(blows) => {
                let struck = blows.iter().map(async |(key, blow)| {
                    let noted = shell::noted(self.ground, key, &blow.strike(&self.id)).await?;
                    Ok::<_, Error>((key.clone(), noted))
                });
                // All of them, before an error ends it: nobody may be struck while the undo is already on its way.
                self.noted = join_all(struck).await.into_iter().collect::<Result<_>>()?;
                Ok(())
            }
            Way::Power(switch) => switch.off().await,
            Way::Switchover => switchover::strike(&self.targets, self.ground).await,
        }
    }

    /// Looks until the effect is seen on every target, or patience runs out.
    ///
    /// # Errors
    /// When the last look failed.
    pub async fn took_effect(&self, patience: Duration) -> Result<bool> {
        let last = Instant::now() + patience;
        loop {
            let seen = self.look().await;
            if matches!(seen, Ok(true)) || Instant::now() > last {
                return seen;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn look(&self) -> Result<bool> {
        match &self.way {
            Way::Blows(blows) => {
                let looks = blows.iter().map(async |(key, blow)| {
                    let noted = self.noted.get(key).copied().unwrap_or_default();
                    shell::holds(self.ground, key, &blow.effect(noted)).await
                });
                let hurt = try_join_all(looks).await?.into_iter().all(|seen| seen);
                Ok(hurt && (self.drill.fault != Fault::KillEtcd || unit::etcd_noticed(self).await))
            }
            Way::Power(switch) => switch.is_off().await,
            Way::Switchover => Ok(switchover::took_effect(&self.targets, self.ground).await),
        }
    }

    /// Whether the undo has come by itself before it was asked for: then the round says nothing.
    ///
    /// # Errors
    /// When a target cannot be asked.
    pub async fn fired(&self) -> Result<bool> {
        match &self.way {
            _ if self.undone => Ok(false),
            Way::Blows(blows) => timer::fired(&self.id, blows, self.ground).await,
            Way::Power(switch) => Ok(switch.watcher_ended()),
            Way::Switchover => Ok(false),
        }
    }

    /// Takes the fault back now and disarms the undo. Right also when nothing was struck, or when the
    /// undo came by itself; tried again until it is seen to have worked.
    ///
    /// # Errors
    /// When it has not worked by some time after the deadline.
    pub async fn undo(&mut self) -> Result<()> {
        let last = self.until.max(Instant::now()) + GRACE;
        while !self.undone {
            match self.undo_once().await {
                Ok(()) => self.undone = true,
                Err(error) if Instant::now() > last => {
                    return Err(error.hint(format!(
                        "the node's own undo was due by now: look at it, and {}",
                        self.ground.next_step()
                    )));
                }
                Err(_) => tokio::time::sleep(PAUSE * 5).await,
            }
        }
        Ok(())
    }

    async fn undo_once(&mut self) -> Result<()> {
        match &mut self.way {
            Way::Blows(blows) => timer::undo(&self.id, blows, self.ground).await,
            Way::Power(switch) => switch.on().await,
            Way::Switchover => Ok(()),
        }
    }

    fn failed(&self, what: &str) -> Error {
        let targets: Vec<&str> = self.targets.iter().map(InstanceKey::as_str).collect();
        Error::failed("drill-fault", format!("{what} by {}", self.drill.title()), targets.join(", "))
    }
}
