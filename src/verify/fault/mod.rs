//! Injects a fault, checks that it took effect, and takes it back. Whatever becomes of hactl or of the network,
//! no fault outlives its deadline:
//!
//! ```text
//! obstacle   can it be done here? tried, not guessed
//! targets    the nodes that the fault is injected into, from the present state; pure
//! arm        the undo is set and has been shown to work; nothing is broken yet
//! inject     the fault
//! revert     the same that the undo would do, now
//! ```
//!
//! A fault on a node is shell text around checked values ([`node_fault::NodeFault`], chosen in [`dispatch`]), and its
//! undo is a timer of the node's own systemd ([`timer`]). A node without power has no timer: a process outside of hactl gives it
//! its power back ([`power`]). Nothing is ever on the disk of a node, so a reboot is an undo, too.

mod disk;
mod dispatch;
mod network;
mod node_fault;
mod patroni;
mod postmaster;
mod power;
mod process;
pub(super) mod shell;
mod switchover;
mod target;
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
    power::{PowerWatch, watch},
    target::FaultTarget,
    targets::targets,
    timer::{leftovers, sweep},
};
use super::catalogue::{Drill, Fault};
use crate::{
    error::{Error, Result},
    model::InstanceKey,
};

/// The pause between two looks for an effect.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the way back is tried after the undo should have come by itself.
const GRACE: Duration = Duration::from_secs(20);
/// No fault is injected when its undo is due within this time.
const MARGIN: Duration = Duration::from_secs(2);

/// Why `drill` cannot be done on these machines; none when it can. They are asked themselves.
///
/// # Errors
/// When a machine does not answer.
pub async fn obstacle(drill: &Drill, cluster: &FaultTarget<'_>) -> Result<Option<String>> {
    if let Some(reason) = targets::too_few(drill, cluster.plan) {
        return Ok(Some(reason));
    }
    if drill.fault == Fault::PowerOff {
        return power::obstacle(cluster).await;
    }
    let asked = cluster.candidates(drill.target).into_iter().map(async |node| {
        let Some(fault) = dispatch::on_node(drill.fault, node, cluster) else { return Ok(None) };
        shell::objection(cluster, node.key(), &fault.obstacle()).await
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
    cluster: &'a FaultTarget<'a>,
) -> Result<Armed<'a>> {
    let id = format!("{:08x}", rand::random::<u32>());
    let mechanism = match drill.fault {
        Fault::Switchover => Mechanism::Switchover,
        Fault::PowerOff => Mechanism::Power(power::arm(targets, deadline, cluster).await?),
        fault => {
            let mut faults = BTreeMap::new();
            for key in targets {
                if let Some(fault) = dispatch::on_node(fault, cluster.node(key)?, cluster) {
                    faults.insert(key.clone(), fault);
                }
            }
            timer::arm(&id, &faults, deadline, cluster).await?;
            Mechanism::OnNodes(faults)
        }
    };
    let until = Instant::now() + deadline;
    Ok(Armed {
        drill: *drill,
        targets: targets.to_vec(),
        cluster,
        id,
        until,
        mechanism,
        noted: BTreeMap::new(),
        reverted: false,
    })
}

/// How a fault comes about.
enum Mechanism {
    /// Shell text on the nodes.
    OnNodes(BTreeMap<InstanceKey, NodeFault>),
    /// The machines' power.
    Power(Switch),
    /// A request to Patroni.
    Switchover,
}

/// A fault whose undo is set. Dropped without [`Armed::revert`], it is taken back at its deadline.
pub struct Armed<'a> {
    drill: Drill,
    targets: Vec<InstanceKey>,
    cluster: &'a FaultTarget<'a>,
    /// What this fault's units on the nodes are called by.
    id: String,
    until: Instant,
    mechanism: Mechanism,
    /// The process that each fault hit.
    noted: BTreeMap<InstanceKey, u32>,
    reverted: bool,
}

impl Armed<'_> {
    /// Does the damage, on all targets at once.
    ///
    /// # Errors
    /// When the undo is about to come, or a target cannot be struck. Some may have been struck: undo it.
    pub async fn inject(&mut self) -> Result<()> {
        if Instant::now() + MARGIN > self.until {
            return Err(self.failed("strike").cause("its undo is about to come").hint("give it a later deadline"));
        }
        match &self.mechanism {
            Mechanism::OnNodes(faults) => {
                let struck = faults.iter().map(async |(key, fault)| {
                    let noted = shell::noted(self.cluster, key, &fault.inject(&self.id)).await?;
                    Ok::<_, Error>((key.clone(), noted))
                });
                // All of them, before an error ends it: nobody may be struck while the undo is already on its way.
                self.noted = join_all(struck).await.into_iter().collect::<Result<_>>()?;
                Ok(())
            }
            Mechanism::Power(switch) => switch.off().await,
            Mechanism::Switchover => switchover::inject(&self.targets, self.cluster).await,
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
        match &self.mechanism {
            Mechanism::OnNodes(faults) => {
                let looks = faults.iter().map(async |(key, fault)| {
                    let noted = self.noted.get(key).copied().unwrap_or_default();
                    shell::holds(self.cluster, key, &fault.effect(noted)).await
                });
                let hurt = try_join_all(looks).await?.into_iter().all(|seen| seen);
                Ok(hurt
                    && (self.drill.fault != Fault::KillEtcd
                        || unit::etcd_noticed(self.drill.target, &self.targets, self.cluster).await))
            }
            Mechanism::Power(switch) => switch.is_off().await,
            Mechanism::Switchover => Ok(switchover::took_effect(&self.targets, self.cluster).await),
        }
    }

    /// Whether the undo has come by itself before it was asked for: then the round says nothing.
    ///
    /// # Errors
    /// When a target cannot be asked.
    pub async fn fired(&self) -> Result<bool> {
        match &self.mechanism {
            _ if self.reverted => Ok(false),
            Mechanism::OnNodes(faults) => timer::fired(&self.id, faults, self.cluster).await,
            Mechanism::Power(switch) => Ok(switch.watcher_ended()),
            Mechanism::Switchover => Ok(false),
        }
    }

    /// Takes the fault back now and disarms the undo. Right also when nothing was struck, or when the
    /// undo came by itself; tried again until it is seen to have worked.
    ///
    /// # Errors
    /// When it has not worked by some time after the deadline.
    pub async fn revert(&mut self) -> Result<()> {
        let last = self.until.max(Instant::now()) + GRACE;
        while !self.reverted {
            match self.revert_once().await {
                Ok(()) => self.reverted = true,
                Err(error) if Instant::now() > last => {
                    return Err(error.hint(format!(
                        "the node's own undo was due by now: look at it, and {}",
                        self.cluster.next_step()
                    )));
                }
                Err(_) => tokio::time::sleep(PAUSE * 5).await,
            }
        }
        Ok(())
    }

    async fn revert_once(&mut self) -> Result<()> {
        match &mut self.mechanism {
            Mechanism::OnNodes(faults) => timer::revert(&self.id, faults, self.cluster).await,
            Mechanism::Power(switch) => switch.on().await,
            Mechanism::Switchover => Ok(()),
        }
    }

    fn failed(&self, what: &str) -> Error {
        let targets: Vec<&str> = self.targets.iter().map(InstanceKey::as_str).collect();
        Error::failed("drill-fault", format!("{what} by {}", self.drill.title()), targets.join(", "))
    }
}
