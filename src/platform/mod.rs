//! What hactl knows of each platform: one folder says all of it, and each question to it is one match here.
//!
//! What follows from the cluster file alone is asked of [`Platform`] itself; what Terraform has to say is handed in.

pub mod adopted;
mod commands;
pub mod hosts;
pub mod local;
mod machines;
pub mod power;
pub mod proxmox;
mod recorded;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value as Json, json};
use uuid::Uuid;

pub use self::{
    machines::Machines,
    recorded::{FoundFlags, MachinePlace, MovedMachine, Recorded, RecordedMachine, Surveyed},
};
use crate::{
    context::Context,
    error::{Error, Result},
    fleet::Fleet,
    model::{InstanceKey, Platform, Reboots},
    plan::Plan,
};

/// How long hactl waits for an answer of a machine that should be gone.
const SILENT_WITHIN: Duration = Duration::from_secs(2);

/// Whether the program on this machine that makes local nodes answers.
///
/// # Errors
/// When it does not.
pub async fn engine_answers(context: &Context, platform: &Platform) -> Result<()> {
    match platform {
        Platform::Local(_) => local::Engine::connect(&context.env).await.map(drop),
        _ => Ok(()),
    }
}

/// Checks whether the platform has what the machines are made from, and where the machines are that exist. `fleet` is what
/// the last run left; `recorded` is asked only where it matters.
///
/// # Errors
/// With everything that is missing.
pub async fn preflight(
    context: &Context,
    plan: &Plan,
    fleet: Option<&Fleet>,
    recorded: impl AsyncFnOnce() -> Result<Recorded>,
) -> Result<Surveyed> {
    match &plan.platform {
        Platform::Proxmox(proxmox) => proxmox::cluster::preflight(context, plan, proxmox, fleet, recorded).await,
        _ => Ok(Surveyed::default()),
    }
}

/// Checks only that the platform answers: a teardown needs no more of it.
///
/// # Errors
/// With why it cannot be asked.
pub async fn answers(context: &Context, platform: &Platform) -> Result<()> {
    match platform {
        Platform::Proxmox(proxmox) => proxmox::cluster::answers(context, proxmox).await,
        _ => Ok(()),
    }
}

/// The values of the variables of the platform's stack. `kept` are the images of local nodes that exist.
#[must_use]
pub fn variables(machines: &Machines<'_>, kept: &BTreeMap<InstanceKey, String>) -> Json {
    match &machines.plan.platform {
        Platform::Local(local) => local::variables(machines, local, kept),
        Platform::Proxmox(proxmox) => proxmox::variables(machines, proxmox),
        Platform::Hosts(hosts) => hosts::variables(machines, hosts),
        Platform::Adopted(_) | Platform::Terraform(_) => json!({}),
    }
}

/// Lets the platform remove these machines again, given by their numbers, where it was told to refuse that.
///
/// # Errors
/// When the platform refuses.
pub async fn unprotect(context: &Context, platform: &Platform, vmids: &BTreeSet<u32>) -> Result<()> {
    match platform {
        Platform::Proxmox(proxmox) => proxmox::cluster::unprotect(context, proxmox, vmids).await,
        _ => Ok(()),
    }
}

/// Which machines wait for a restart; none on a platform that does not report it.
pub async fn reboots(context: &Context, platform: &Platform, fleet: &Fleet) -> Option<Result<Reboots>> {
    match platform {
        Platform::Proxmox(proxmox) => Some(proxmox::cluster::reboots(context, proxmox, fleet).await),
        _ => None,
    }
}

/// What a teardown would destroy, as the platform itself knows it; none where only Terraform or the machines can say.
///
/// # Errors
/// When the platform does not answer, and those of `recorded`.
pub async fn made(
    context: &Context,
    plan: &Plan,
    fleet: Option<&Fleet>,
    recorded: impl AsyncFnOnce() -> Result<Recorded>,
) -> Result<Option<Vec<String>>> {
    Ok(match &plan.platform {
        Platform::Local(_) => Some(leftovers(context, plan).await?),
        Platform::Proxmox(proxmox) => Some(proxmox::cluster::made(proxmox, &recorded().await?, fleet)),
        Platform::Hosts(_) | Platform::Terraform(_) | Platform::Adopted(_) => None,
    })
}

/// Checks that no object of the cluster is left. Its machines were `before`; `begun` is the UUID of machines that a run
/// began to make here.
///
/// # Errors
/// With everything that is still there.
pub async fn is_gone(context: &Context, plan: &Plan, before: Option<&Fleet>, begun: Option<Uuid>) -> Result<()> {
    match (&plan.platform, before) {
        (Platform::Local(_), _) => {
            let left = leftovers(context, plan).await?;
            if left.is_empty() {
                return Ok(());
            }
            let error = Error::failed("left-behind", "remove all objects of", &plan.cluster)
                .cause(format!("these objects remain: {}", left.join(", ")));
            Err(error.hint(
                "Run `hactl down` in the directory where the cluster was created: Terraform's state here does not \
                 have these objects",
            ))
        }
        (Platform::Proxmox(proxmox), before) => {
            if let Some(uuid) = begun {
                proxmox::cluster::is_empty(context, plan, proxmox, uuid).await?;
            }
            match before {
                Some(before) => is_silent(before).await,
                None => Ok(()),
            }
        }
        (Platform::Terraform(module), Some(before)) if module.destroy => is_silent(before).await,
        _ => Ok(()),
    }
}

async fn leftovers(context: &Context, plan: &Plan) -> Result<Vec<String>> {
    local::Engine::connect(&context.env).await?.cluster_leftovers(&plan.cluster).await
}

/// Checks that nothing answers by SSH any more where the machines of `fleet` were.
///
/// # Errors
/// With every machine that still does.
async fn is_silent(fleet: &Fleet) -> Result<()> {
    // Only the bastion reaches the machines behind it.
    let direct = fleet.nodes.values().filter(|node| node.ssh.bastion.is_none());
    let attempts = direct.map(async |node| {
        let endpoint = (node.ssh.host.as_str(), node.ssh.port);
        let connected = tokio::time::timeout(SILENT_WITHIN, tokio::net::TcpStream::connect(endpoint)).await;
        matches!(connected, Ok(Ok(_))).then(|| format!("{} at {}:{}", node.hostname(), endpoint.0, endpoint.1))
    });
    let left: Vec<String> = futures_util::future::join_all(attempts).await.into_iter().flatten().collect();
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::failed("left-behind", "remove all objects of", &fleet.cluster)
        .cause(format!("the SSH ports of removed machines still accept connections: {}", left.join(", ")))
        .hint("Check whether another machine has the address: Terraform has removed the cluster's machines"))
}

/// What to look at when a machine does not answer by SSH.
#[must_use]
pub fn unreachable_hint(plan: &Plan) -> String {
    let up = format!("`hactl up {}`", plan.cluster);
    match &plan.platform {
        Platform::Adopted(_) => "Check that `ssh` itself reaches it".to_owned(),
        Platform::Local(_) => format!("Run {up} to start the container again; `docker ps -a` shows it"),
        _ => format!(
            "Check that it is running and reachable from here; if it was recreated, run {up} and follow its hint"
        ),
    }
}
