//! What carries the cluster's UUID and is not in Terraform's state: made by a run that was killed
//! before it could be written down. `up` takes it over; a teardown removes it here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use uuid::Uuid;

use crate::{
    context::Context,
    dns::{self, Zone},
    error::{Result, codes},
    event::Stage,
    model::{ClusterName, Dns, HostName, InstanceKey},
    platform::local::Engine,
};

/// Whose the objects are: read from the values that Terraform was given.
#[derive(Debug, Deserialize)]
pub(super) struct Owner {
    /// Of local nodes: the name that their containers begin with.
    pub(super) cluster: Option<ClusterName>,
    pub(super) cluster_uuid: Uuid,
    dns: Option<Dns>,
    #[serde(alias = "instances")]
    nodes: BTreeMap<InstanceKey, OwnedNode>,
}

#[derive(Debug, Deserialize)]
struct OwnedNode {
    #[serde(alias = "vm_name")]
    hostname: HostName,
}

/// Removes the addresses that carry the owner's mark from the names of its machines, but for those
/// `known` to Terraform, which removes them itself.
///
/// # Errors
/// When the DNS server does not answer, or refuses.
pub(super) async fn remove_records(context: &Context, owner: &Owner, known: &BTreeSet<&str>) -> Result<()> {
    let Some(dns) = &owner.dns else { return Ok(()) };
    let hosts = owner.nodes.values().map(|node| node.hostname.as_str());
    let orphans: Vec<&str> = hosts.filter(|host| !known.contains(dns.fqdn(host).as_str())).collect();
    if orphans.is_empty() {
        return Ok(());
    }
    let zone = Zone::new(dns.clone(), &dns::secret(&context.env)?)?;
    for host in orphans {
        let found = match zone.find_marked(host).await {
            Ok(found) => found,
            // What Terraform knew is gone: a server that is gone, too, must not keep the machines.
            Err(error) if matches!(error.code, codes::DNS_SILENT | codes::DNS_SERVER) => {
                let message = format!("records were not looked for: {}", error.causes.join("; "));
                let hint =
                    format!("once it answers again, remove there what has a TXT with hactl={}", owner.cluster_uuid);
                context.events.warn("dns-unseen", message, Some(hint)).await;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let ours = found.marks.iter().filter(|mark| mark.cluster == owner.cluster_uuid);
        let ours: BTreeSet<_> = ours.map(|mark| mark.address).collect();
        if !ours.is_empty() {
            zone.remove(host, &ours, Some(owner.cluster_uuid)).await?;
            let step = format!("removed record {}, which Terraform did not know", dns.fqdn(host));
            context.events.step(Stage::Destroy, None, step).await;
        }
    }
    Ok(())
}

/// Removes the owner's objects on this machine for which `is_orphan` holds, by kind (`container`, `network`,
/// `volume`) and name. Objects that carry another UUID stay.
///
/// # Errors
/// When the engine does not answer, or refuses.
pub(super) async fn remove(context: &Context, owner: &Owner, is_orphan: impl Fn(&str, &str) -> bool) -> Result<()> {
    let Some(cluster) = &owner.cluster else { return Ok(()) };
    let engine = Engine::connect(&context.env).await?;
    // Sorted by kind: containers go before the networks and volumes that they use.
    for left in engine.cluster_leftovers(cluster).await? {
        let Some((kind, name)) = left.split_once(' ').filter(|(kind, name)| is_orphan(kind, name)) else { continue };
        let uuid = match kind {
            "container" => engine.find_node(name).await?.map(|node| node.uuid),
            "network" => engine.find_network(name).await?.and_then(|network| network.uuid),
            _ => engine.find_volume(name).await?.and_then(|volume| volume.uuid),
        };
        if uuid != Some(owner.cluster_uuid) {
            continue;
        }
        match kind {
            "container" => engine.remove_node(name).await?,
            "network" => engine.remove_network(name).await?,
            _ => engine.remove_volume(name).await?,
        }
        context.events.step(Stage::Destroy, None, format!("removed {left}, which Terraform did not know")).await;
    }
    Ok(())
}
