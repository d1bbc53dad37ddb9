//! `hactl inventory`: what the last run wrote, built again without touching anything.

use crate::{
    ansible::inventory::{self, Inventory},
    context::Context,
    deployment::Deployment,
    error::{Error, Result},
    stage::{prepare, software},
};

/// The inventory of the machines of the last provisioning.
///
/// # Errors
/// When the cluster was never provisioned from here.
pub async fn inventory(context: &Context, deployment: &mut Deployment) -> Result<Inventory> {
    deployment.known.fleet(&deployment.cluster)?;
    deployment.vault_with_given(context).await?;
    let (cluster, known, vault) = deployment.parts(context).await?;
    let fleet = known.fleet(cluster)?;
    let downloads = prepare::downloads(context, cluster).await?;
    let material = software::material(context, cluster, vault, &downloads);
    inventory::build(&cluster.plan, fleet, &material).map_err(|error| Error {
        hint: Some(format!("Run `hactl up {}` to create what is missing", cluster.name())),
        ..error
    })
}
