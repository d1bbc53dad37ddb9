//! `hactl down`: everything gone again, in reverse order, and checked to be gone.

use std::fs;

use super::{Cluster, Run, dns, hypervisor, look, machines};
use crate::{
    context::{ClusterDir, Context},
    error::{Error, Result},
    event::{Stage, Summary},
    fleet::Fleet,
    local::Engine,
    model::{Dns, Platform},
    provision,
};

/// What `down` would destroy: containers, networks and volumes with the cluster's label; elsewhere the machines of the
/// last run.
///
/// # Errors
/// When the engine does not answer, or Terraform cannot say what it made.
pub async fn doomed(context: &Context, cluster: &Cluster) -> Result<Vec<String>> {
    match &cluster.plan.platform {
        Platform::Local(_) => Engine::connect(&context.env).await?.cluster_leftovers(cluster.name()).await,
        Platform::Proxmox(proxmox) => hypervisor::made(context, cluster, proxmox).await,
        Platform::Hosts(_) => Ok(Vec::new()),
    }
}

/// Sees that nothing of the cluster is left.
async fn is_gone(context: &Context, cluster: &Cluster, before: Option<&Fleet>) -> Result<()> {
    match &cluster.plan.platform {
        Platform::Local(_) => {
            let left = doomed(context, cluster).await?;
            if left.is_empty() {
                return Ok(());
            }
            let error = Error::failed("left-behind", "take away all of", cluster.name())
                .cause(format!("still there: {}", left.join(", ")));
            Err(error.hint(
                "Terraform's state here does not know them: was the cluster made from another directory? Run `down` there",
            ))
        }
        Platform::Proxmox(proxmox) => {
            if let Some(uuid) = provision::begun(&context.dirs.cluster(cluster.name()), &cluster.plan)? {
                hypervisor::is_empty(context, cluster, proxmox, uuid).await?;
            }
            match before {
                Some(before) => hypervisor::is_silent(cluster, before).await,
                None => Ok(()),
            }
        }
        Platform::Hosts(_) => Ok(()),
    }
}

/// The DNS records that go with the machines.
#[must_use]
pub fn records(cluster: &Cluster) -> Vec<String> {
    let name = |dns: &Dns| cluster.plan.nodes.values().map(|node| dns.fqdn(node.hostname.as_str())).collect();
    cluster.plan.dns.as_ref().map(name).unwrap_or_default()
}

/// Destroys the cluster's machines with their data, and what hactl keeps about them.
///
/// # Errors
/// When Terraform fails, or something of the cluster is still there afterwards.
pub async fn down(run: &Run, cluster: &Cluster, purge: bool, secrets: bool) -> Result<Summary> {
    let context = &run.context;
    let name = cluster.name();
    let dir = context.dirs.cluster(name);
    let changed = run
        .stage(Stage::Destroy, async {
            let before = look::fleet(&context.dirs, cluster).ok();
            if before.is_some() {
                hypervisor::answers(context, cluster).await?;
            }
            let (_server, reattach) = machines::serve(context, &cluster.plan.platform).await?;
            let destroyed = provision::destroy(context, &dir, &cluster.plan, &cluster.assets, Some(reattach)).await?;
            if let Some(destroyed) = &destroyed {
                dns::gone(context, &destroyed.gone).await?;
            }
            is_gone(context, cluster, before.as_ref()).await?;
            let changed = destroyed.is_some_and(|destroyed| !destroyed.changes.is_empty());
            Ok((changed, Some(if changed { "nothing is left" } else { "there was nothing" }.to_owned())))
        })
        .await?;
    forget(&dir, purge).map_err(|error| Error::failed("forget", "remove", dir.path().display()).source(&error))?;
    let file = cluster.secrets_file(&context.dirs);
    if secrets {
        remove(fs::remove_file(&file))
            .map_err(|error| Error::failed("forget", "remove", file.display()).source(&error))?;
    }
    let mut kept = Vec::new();
    if file.exists() {
        kept.push(file.display().to_string());
    }
    if !purge && dir.path().exists() {
        kept.push(dir.path().display().to_string());
    }
    let message =
        if kept.is_empty() { format!("{name} is gone.") } else { format!("{name} is gone. Kept: {}", kept.join(", ")) };
    Ok(Summary {
        ok: true,
        command: "down".to_owned(),
        cluster: name.to_string(),
        message,
        stages: run.times(),
        changed,
        ..Summary::default()
    })
}

/// Removes what describes machines that are gone. Run records and the age key stay, unless purged;
/// the lock's file goes last, by the next `up`.
fn forget(dir: &ClusterDir, purge: bool) -> std::io::Result<()> {
    for path in [dir.terraform(), dir.inventory(), dir.client()] {
        remove(fs::remove_dir_all(path))?;
    }
    for path in [dir.fleet(), dir.record()] {
        remove(fs::remove_file(path))?;
    }
    if purge {
        remove(fs::remove_dir_all(dir.path()))?;
    }
    Ok(())
}

fn remove(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
