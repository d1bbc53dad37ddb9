//! Whose the machines are: the part of Terraform's values that comes from the secrets file.

use uuid::Uuid;

use crate::{
    context::Context,
    deployment::{Cluster, Known, record, ssh_keys},
    error::Result,
    platform::Machines,
    secrets::Vault,
};

/// Whose the machines are, and who may log in.
pub(crate) struct MachineIdentity {
    pub(crate) uuid: Uuid,
    pub(crate) authorized_keys: Vec<String>,
    pub(crate) record: String,
}

impl MachineIdentity {
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

    /// What Terraform makes the machines of `cluster` with. `image` is that of local nodes that are made now.
    pub(crate) fn machines<'a>(&'a self, cluster: &'a Cluster, image: Option<&'a str>) -> Machines<'a> {
        Machines {
            plan: &cluster.plan,
            assets: &cluster.assets,
            image,
            uuid: self.uuid,
            authorized_keys: &self.authorized_keys,
            record: &self.record,
        }
    }
}
