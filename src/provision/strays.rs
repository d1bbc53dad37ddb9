//! What carries the cluster's UUID and is not in Terraform's state: made by a run that was killed
//! before it could be written down. `up` takes it over; a teardown removes it here.

use serde::Deserialize;
use uuid::Uuid;

use crate::{context::Context, error::Result, event::Stage, local::Engine, model::ClusterName};

/// Whose the objects are: read from the values that Terraform was given.
#[derive(Debug, Deserialize)]
pub(super) struct Owner {
    pub(super) cluster: ClusterName,
    cluster_uuid: Uuid,
}

/// Removes the owner's objects for which `is_stray` holds, by kind (`container`, `network`,
/// `volume`) and name. Objects that carry another UUID stay.
///
/// # Errors
/// When the engine does not answer, or refuses.
pub(super) async fn remove(context: &Context, owner: &Owner, is_stray: impl Fn(&str, &str) -> bool) -> Result<()> {
    let engine = Engine::connect(&context.env).await?;
    // Sorted by kind: containers go before the networks and volumes that they use.
    for left in engine.cluster_leftovers(&owner.cluster).await? {
        let Some((kind, name)) = left.split_once(' ').filter(|(kind, name)| is_stray(kind, name)) else { continue };
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
