//! A cluster that runs, as commands that look and drills need it.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Cluster, Conninfo, Deployment, access,
    connection::{as_owner, as_superuser, endpoints},
};
use crate::{
    access::{Access, DatabaseLogin},
    context::Context,
    error::Result,
    fleet::{Fleet, FleetNode},
    model::{Account, Certificate, Endpoints},
    plan::Plan,
    platform::adopted::{self, Adopted},
    secrets::{ShortLeaves, Vault},
    ssh::Remote,
};

/// How long `ssh`-like commands wait for a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A running cluster: its plan, its machines, and the access to them.
pub struct RunningCluster {
    pub plan: Plan,
    pub fleet: Fleet,
    pub access: Access,
    /// How people connect, without a password.
    pub conninfo: Conninfo,
    /// Every way in, where the cluster has an entry point.
    pub endpoints: Option<Endpoints>,
    /// When hactl's own certificate for etcd and Patroni ends; none where hactl did not make it.
    pub own_certificate_ends: Option<Timestamp>,
    /// What makes certificates that end soon, for a drill; none where hactl made no certificates.
    pub short_leaves: Option<ShortLeaves>,
    /// Who logs in to the first database; none where hactl does not know the password.
    pub owner: Option<DatabaseLogin>,
}

impl RunningCluster {
    /// A cluster that hactl made, on the machines of `fleet`.
    ///
    /// # Errors
    /// When the secrets lack what opens it.
    pub(crate) fn made_here(context: &Context, cluster: &Cluster, vault: &mut Vault, fleet: Fleet) -> Result<Self> {
        Ok(Self {
            plan: cluster.plan.clone(),
            access: access(context, cluster, vault)?,
            conninfo: as_owner(cluster, &fleet),
            endpoints: endpoints(cluster, &fleet),
            own_certificate_ends: vault.client(Certificate::CONTROLLER)?.not_after(),
            short_leaves: Some(vault.short_leaves()),
            owner: owner(cluster, vault),
            fleet,
        })
    }

    /// An SSH session to one of its machines.
    ///
    /// # Errors
    /// When the machine does not answer.
    pub async fn connect(&self, node: &FleetNode) -> Result<Remote> {
        Ok(Remote::connect(node.key(), &node.ssh, &self.access.keys.ssh, PATIENCE).await?)
    }
}

/// The owner of the first database, as the printed connection strings have it.
fn owner(cluster: &Cluster, vault: &Vault) -> Option<DatabaseLogin> {
    let (database, user) = cluster.plan.postgres.databases.first_key_value()?;
    let password = vault.password(&Account::Owner(user.clone())).ok()?.clone();
    Some(DatabaseLogin { database: database.to_string(), user: user.to_string(), password })
}

impl Deployment {
    /// The cluster as it was made from here, or as it is found where it was made by others.
    ///
    /// # Errors
    /// When it was never provisioned from here, its secrets cannot be opened, or an adopted one tells nothing.
    pub async fn running(&mut self, context: &Context) -> Result<RunningCluster> {
        if let Some(hosts) = self.cluster.adopted() {
            let given = self.cluster.given(context).await?;
            let Adopted { plan, fleet, access, superuser } =
                adopted::adopt(context, &self.cluster.plan, hosts, given).await?;
            let conninfo = as_superuser(&fleet, &superuser);
            return Ok(RunningCluster {
                plan,
                fleet,
                access,
                conninfo,
                endpoints: None,
                own_certificate_ends: None,
                short_leaves: None,
                owner: None,
            });
        }
        let fleet = self.known.fleet(&self.cluster)?.clone();
        self.vault_with_given(context).await?;
        let (cluster, _, vault) = self.parts(context).await?;
        RunningCluster::made_here(context, cluster, vault, fleet)
    }

    /// Takes the plan of what runs: that of an adopted cluster is known only after it was asked.
    ///
    /// # Errors
    /// When an adopted cluster tells nothing.
    pub async fn plan_as_it_runs(&mut self, context: &Context) -> Result<()> {
        if self.cluster.adopted().is_some() {
            self.cluster.plan = self.running(context).await?.plan;
        }
        Ok(())
    }
}
