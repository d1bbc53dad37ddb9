//! Injects a fault, checks that it took effect, and reverts it. Even if hactl dies or the network fails, no fault
//! outlives its deadline:
//!
//! ```text
//! obstacle   whether the machines can run the drill, by a test on each
//! targets    the nodes that the fault is injected into, from the present state; pure
//! arm        the undo is set and has been shown to work; nothing is broken yet
//! inject     the fault
//! revert     the same that the undo would do, now
//! ```
//!
//! A fault on a node is shell text around checked values ([`node_fault::NodeFault`], chosen in [`dispatch`]), and its
//! undo is a timer of the node's own systemd ([`timer`]). A node without power has no timer: a process outside of hactl gives it
//! its power back ([`power`]). Nothing is on the disk of a node, so a reboot also reverts a fault. The exception is
//! [`leaf`]: a unit that runs at boot reverts it.

mod bulk_load;
mod disk;
mod dispatch;
mod leaf;
mod memory;
mod network;
mod node_fault;
mod patroni;
mod pool;
mod postmaster;
mod power;
mod process;
mod rest;
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

pub use self::{
    leaf::without_valid,
    power::watch,
    target::FaultTarget,
    targets::{targets, without_entry_point},
    timer::{leftovers, sweep},
};
use self::{node_fault::NodeFault, pool::Holders, power::Switch};
use super::catalogue::{Drill, Fault};
use crate::{
    error::{Error, Result},
    model::InstanceKey,
};

/// The pause between two looks for an effect.
const PAUSE: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
/// How long hactl retries to revert a fault after its automatic undo was due.
const GRACE: Duration = Duration::from_secs(20);
/// How long a machine may take to boot that its watchdog device has reset.
const RESET: Duration = Duration::from_secs(180);
/// No fault is injected when its undo is due within this time.
const MARGIN: Duration = Duration::from_secs(2);

/// Why these machines cannot run `drill`, by a test on each; none if they can.
///
/// # Errors
/// When a machine does not answer.
pub async fn obstacle(drill: &Drill, cluster: &FaultTarget<'_>) -> Result<Option<String>> {
    if let Some(reason) = targets::too_few(drill, cluster.plan) {
        return Ok(Some(reason));
    }
    for before in drill.before {
        if let Some(reason) = on_nodes(before, cluster).await? {
            return Ok(Some(reason));
        }
    }
    match drill.fault {
        Fault::PowerOff => power::obstacle(cluster).await,
        Fault::HoldPool => Ok(pool::obstacle(cluster).await),
        _ => on_nodes(drill, cluster).await,
    }
}

/// The same for a fault on the machines themselves.
async fn on_nodes(drill: &Drill, cluster: &FaultTarget<'_>) -> Result<Option<String>> {
    let asked = cluster.candidates(drill.target).into_iter().map(async |node| {
        let Some(fault) = dispatch::on_node(drill.fault, node, cluster) else { return Ok(None) };
        shell::objection(cluster, node.key(), &fault.obstacle()).await
    });
    Ok(try_join_all(asked).await?.into_iter().flatten().next())
}

/// Arms the undo, after a test has shown that undos work on the targets. Nothing is broken yet.
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
        Fault::KillNewPrimary => Mechanism::NewPrimary,
        Fault::PowerOff => Mechanism::Power(Box::new(power::arm(targets, deadline, cluster).await?)),
        Fault::HoldPool => Mechanism::Pool(Box::new(pool::arm(targets, deadline, cluster).await?)),
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

/// How a fault is injected.
enum Mechanism {
    /// Shell text on the nodes.
    OnNodes(BTreeMap<InstanceKey, NodeFault>),
    /// The machines' power.
    Power(Box<Switch>),
    /// Transactions of hactl's own clients.
    Pool(Box<Holders>),
    /// A request to Patroni.
    Switchover,
    /// A request to Patroni, and a fault on the member that it promotes.
    NewPrimary,
}

/// A fault whose undo is armed. Dropped without [`Armed::revert`], it is reverted at its deadline.
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
    /// Injects the fault into all targets at once.
    ///
    /// # Errors
    /// If the undo is due too soon, or a target refuses the fault. Revert the fault then: other targets may have it.
    pub async fn inject(&mut self) -> Result<()> {
        if Instant::now() + MARGIN > self.until {
            return Err(self
                .failed("inject")
                .cause(format!("the automatic undo is due in less than {} s", MARGIN.as_secs()))
                .hint("Run the drill again when the machines are less busy"));
        }
        match &mut self.mechanism {
            Mechanism::OnNodes(faults) => {
                let struck = faults.iter().map(async |(key, fault)| {
                    let noted = shell::noted(self.cluster, key, &fault.inject(&self.id)).await?;
                    Ok::<_, Error>((key.clone(), noted))
                });
                // Wait for all of them before an error: no injection may still run when the revert begins.
                self.noted = join_all(struck).await.into_iter().collect::<Result<_>>()?;
                Ok(())
            }
            Mechanism::Power(switch) => switch.off().await,
            Mechanism::Pool(holders) => {
                holders.begin();
                Ok(())
            }
            Mechanism::Switchover => switchover::inject(&self.targets, self.cluster).await,
            Mechanism::NewPrimary => {
                let (key, noted) = switchover::kill_promoted(&self.targets, self.cluster).await?;
                self.noted = BTreeMap::from([(key, noted)]);
                Ok(())
            }
        }
    }

    /// Whether the effect must show before the next fault is injected, which ends it.
    pub fn is_lead(&self) -> bool {
        self.drill.fault == Fault::BulkLoad
    }

    /// Checks until every target shows the effect, or patience runs out.
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
            // A look at certificates starts a program on every machine.
            tokio::time::sleep(if self.drill.fault == Fault::ExpireCertificates { SECOND } else { PAUSE }).await;
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
                    && match self.drill.fault {
                        Fault::KillEtcd => unit::etcd_noticed(self.drill.target, &self.targets, self.cluster).await,
                        Fault::ExpireCertificates => leaf::all_expired(&self.targets, self.cluster).await,
                        Fault::BulkLoad => bulk_load::replicas_are_behind(&self.targets, self.cluster).await,
                        _ => true,
                    })
            }
            Mechanism::Power(switch) => switch.is_off().await,
            Mechanism::Pool(holders) => holders.hold_all(self.cluster).await,
            Mechanism::Switchover => Ok(switchover::new_leader(&self.targets, self.cluster).await.is_some()),
            Mechanism::NewPrimary => {
                let Some((key, noted)) = self.noted.first_key_value() else { return Ok(false) };
                let fault = process::kill_postgres(self.cluster.node(key)?);
                shell::holds(self.cluster, key, &fault.effect(*noted)).await
            }
        }
    }

    /// Whether the automatic undo ran before hactl reverted the fault: the round then proves nothing.
    ///
    /// # Errors
    /// When a target cannot be asked.
    pub async fn fired(&self) -> Result<bool> {
        match &self.mechanism {
            _ if self.reverted || self.resets() => Ok(false),
            Mechanism::OnNodes(faults) => timer::fired(&self.id, faults, self.cluster).await,
            Mechanism::Power(switch) => Ok(switch.watcher_ended()),
            Mechanism::Pool(holders) => Ok(holders.complaint().is_some()),
            Mechanism::Switchover | Mechanism::NewPrimary => Ok(false),
        }
    }

    /// Whether the automatic undo, and not hactl, has reverted the fault.
    ///
    /// # Errors
    /// When a target cannot be asked.
    pub async fn undone(&self) -> Result<bool> {
        match &self.mechanism {
            Mechanism::Power(switch) => switch.is_restored().await,
            _ => self.fired().await,
        }
    }

    /// Reverts the fault now and disarms the undo, also if nothing was injected or the undo has already run. Retries
    /// until it succeeds.
    ///
    /// # Errors
    /// If it has not succeeded some time after the deadline.
    pub async fn revert(&mut self) -> Result<()> {
        let grace = if self.resets() { GRACE + RESET } else { GRACE };
        let last = self.until.max(Instant::now()) + grace;
        while !self.reverted {
            match self.revert_once().await {
                Ok(()) => self.reverted = true,
                Err(error) if Instant::now() > last => {
                    return Err(error.hint(format!(
                        "Check {}, whose automatic undo is overdue; then {}",
                        self.targets(),
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
            Mechanism::Pool(holders) => {
                holders.end().await;
                Ok(())
            }
            Mechanism::Switchover | Mechanism::NewPrimary => Ok(()),
        }
    }

    /// Whether the watchdog device resets the machine, which reverts the fault and removes the timer of its undo.
    fn resets(&self) -> bool {
        self.cluster.plan.watchdog && matches!(self.drill.fault, Fault::HangPatroni | Fault::StopPatroniForGood)
    }

    fn targets(&self) -> String {
        self.targets.iter().map(InstanceKey::as_str).collect::<Vec<_>>().join(", ")
    }

    fn failed(&self, what: &str) -> Error {
        Error::failed("drill-fault", format!("{what} {} into", self.drill.title()), self.targets())
    }
}
