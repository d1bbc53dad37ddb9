//! Whose the machines are: the part of Terraform's values that comes from the secrets file.

use uuid::Uuid;

use crate::{
    context::Context,
    deployment::{Cluster, Known, record, ssh_keys},
    error::Result,
    platform::{Machines, Surveyed},
    secrets::Vault,
};

/// Whose the machines are, and who may log in.
#[derive(Default)]
pub(crate) struct MachineIdentity {
    pub(crate) uuid: Uuid,
    pub(crate) authorized_keys: Vec<String>,
    pub(crate) record: String,
    pub(crate) surveyed: Surveyed,
}

impl MachineIdentity {
    /// None of it before the first `up`, since only that makes the secrets.
    ///
    /// # Errors
    /// When the user's key or the record of the machines cannot be read.
    pub(crate) fn of(context: &Context, cluster: &Cluster, known: &Known, vault: Option<&Vault>) -> Result<Self> {
        let Some(vault) = vault else {
            return Ok(Self { surveyed: known.surveyed.clone(), ..Self::default() });
        };
        Ok(Self {
            uuid: vault.uuid(),
            authorized_keys: ssh_keys::authorized_keys(context, &cluster.plan.platform, vault)?,
            record: record(cluster, vault, known.fleet_if_any()?),
            surveyed: known.surveyed.clone(),
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
            surveyed: Some(&self.surveyed),
        }
    }
}
