//! The user's own Terraform module, opened with what it is handed.

use super::machine_identity::MachineIdentity;
use crate::{
    context::Context,
    deployment::Deployment,
    error::Result,
    model::RootModule,
    terraform::{
        Module,
        provider::{self, Server},
    },
};

/// Opens the user's own module, and the provider that is served to it as long as that lives.
///
/// # Errors
/// When the secrets cannot be opened, and those of Terraform.
pub(crate) async fn open_module(
    context: &Context,
    deployment: &mut Deployment,
    module: &RootModule,
) -> Result<(Server, Module)> {
    deployment.vault_if_any(context).await?;
    deployment.take_host_keys();
    let Deployment { cluster, known, .. } = &*deployment;
    let identity = MachineIdentity::of(context, cluster, known, deployment.opened())?;
    let machines = identity.machines(cluster, None);
    let (server, reattach) = provider::serve(context, &cluster.plan.platform).await?;
    Ok((server, Module::open(context, &cluster.dir(), module, &machines, Some(reattach)).await?))
}
