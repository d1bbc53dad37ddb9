//! What hactl knows of each platform: one folder says all of it, and each question to it is one match here.
//!
//! What follows from the cluster file alone is asked of [`Platform`] itself; what Terraform has to say is handed in.

pub mod adopted;
pub mod hosts;
pub mod local;
mod machines;
pub mod proxmox;
mod recorded;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value as Json, json};
use uuid::Uuid;

pub use self::{machines::Machines, recorded::Recorded};
use crate::{
    context::Context,
    error::{Error, Result},
    fleet::Fleet,
    model::{InstanceKey, Platform, Reboots},
    plan::Plan,
};

/// How long a machine that is gone may take to be silent.
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

/// Tries whether the platform has what the machines are made from. `recorded` is asked only where it matters.
///
/// # Errors
/// With everything that is missing.
pub async fn preflight(context: &Context, plan: &Plan, recorded: impl AsyncFnOnce() -> Result<Recorded>) -> Result<()> {
    match &plan.platform {
        Platform::Proxmox(proxmox) => proxmox::cluster::preflight(context, plan, proxmox, recorded).await,
        _ => Ok(()),
    }
}

/// Tries whether the platform can be asked, and no more: for a teardown, which needs nothing of it but to be there.
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

/// Which machines wait for a restart; none on a platform that knows nothing of it.
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

/// Sees that nothing of the cluster is left, whose machines were `before`. `begun` is the UUID of machines that a run began
/// to make here.
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
            let error = Error::failed("left-behind", "take away all of", &plan.cluster)
                .cause(format!("still there: {}", left.join(", ")));
            Err(error.hint(
                "Terraform's state here does not know them: was the cluster made from another directory? Run `down` there",
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

/// Sees that nothing answers by SSH any more where the machines of `fleet` were.
///
/// # Errors
/// With every machine that still does.
async fn is_silent(fleet: &Fleet) -> Result<()> {
    // What is behind a bastion is seen from there alone.
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
    Err(Error::failed("left-behind", "take away all of", &fleet.cluster)
        .cause(format!("something still answers where its machines were: {}", left.join(", ")))
        .hint("the machines were removed: has another one got the address, or was there a second one with it?"))
}

/// What to look at when a machine does not answer by SSH.
#[must_use]
pub fn unreachable_hint(plan: &Plan) -> String {
    let up = format!("`hactl up {}`", plan.cluster);
    match &plan.platform {
        Platform::Adopted(_) => "does `ssh` itself reach it?".to_owned(),
        Platform::Local(_) => format!("`docker ps -a` shows the container; {up} starts it again"),
        _ => format!("is it running, and reached from here? Of one that was made anew {up} says what to do"),
    }
}
