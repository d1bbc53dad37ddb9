//! Resources that carry the cluster's UUID and are not in Terraform's state: a run created them and was killed before
//! Terraform wrote the state. `up` takes them over; a teardown removes them here.

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

/// The owner of the resources, read from the values that Terraform was given.
#[derive(Debug, Deserialize)]
pub(super) struct Owner {
    /// For local nodes: the prefix of the names of their containers.
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

/// Removes the addresses that carry the owner's mark from the names of its machines, except the names
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
            // Terraform has removed the records that it knew: without the server, the machines can still be destroyed.
            Err(error) if matches!(error.code, codes::DNS_SILENT | codes::DNS_SERVER) => {
                let causes = error.causes.join("; ");
                let message = format!("could not look for DNS records that are not in Terraform's state: {causes}");
                let hint = format!(
                    "Remove the names with a TXT record hactl={} when the server answers again",
                    owner.cluster_uuid
                );
                context.events.warn("dns-unseen", message, Some(hint)).await;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let ours = found.marks.iter().filter(|mark| mark.cluster == owner.cluster_uuid);
        let ours: BTreeSet<_> = ours.map(|mark| mark.address).collect();
        if !ours.is_empty() {
            zone.remove(host, &ours, Some(owner.cluster_uuid)).await?;
            let step = format!("removed record {}, which was not in Terraform's state", dns.fqdn(host));
            context.events.step(Stage::Destroy, None, step).await;
        }
    }
    Ok(())
}

/// Removes the owner's objects on this machine that `is_orphan` selects by kind (`container`, `network`, `volume`) and
/// name. Objects that carry another UUID stay.
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
        context.events.step(Stage::Destroy, None, format!("removed {left}, which was not in Terraform's state")).await;
    }
    Ok(())
}
