//! The user's own Terraform module, opened with what it is handed.

use uuid::Uuid;

use crate::{
    context::Context,
    deployment::{Cluster, Deployment, Known, record, ssh_keys},
    error::Result,
    model::RootModule,
    secrets::Vault,
    terraform::{
        Machines, Module,
        provider::{self, Server},
    },
};

/// The cluster that the machines belong to, and the keys that may log in.
pub(crate) struct Identity {
    pub(crate) uuid: Uuid,
    pub(crate) authorized_keys: Vec<String>,
    pub(crate) record: String,
}

impl Identity {
    /// None of it before the first `up`, since only that makes the secrets.
    ///
    /// # Errors
    /// When the user's key or the record of the machines cannot be read.
    pub(crate) fn of(context: &Context, cluster: &Cluster, known: &Known, vault: Option<&Vault>) -> Result<Self> {
        let Some(vault) = vault else {
            return Ok(Self { uuid: Uuid::nil(), authorized_keys: Vec::new(), record: String::new() });
        };
        Ok(Self {
            uuid: vault.uuid(),
            authorized_keys: ssh_keys::authorized_keys(context, &cluster.plan.platform, vault)?,
            record: record(cluster, vault, known.fleet_if_any()?),
        })
    }
}

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
    let Identity { uuid, authorized_keys, record } = Identity::of(context, cluster, known, deployment.opened())?;
    let (plan, assets) = (&cluster.plan, &cluster.assets);
    let machines = Machines { plan, assets, image: None, uuid, authorized_keys: &authorized_keys, record: &record };
    let (server, reattach) = provider::serve(context, &plan.platform).await?;
    Ok((server, Module::open(context, &cluster.dir(), module, &machines, Some(reattach)).await?))
}
