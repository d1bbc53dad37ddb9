//! Commands that only look: the fleet of the last provisioning, its health, its connection string.

use std::{sync::Arc, time::Duration};

use super::Cluster;
use crate::{
    context::{Context, Dirs},
    error::{Error, Result},
    fleet::{Fleet, FleetNode},
    health::{self, Access, Health, Status},
    model::Role,
    remote::Remote,
    secrets::{AuthorityKind, ClientFiles, Vault},
    verify::fault::Ground,
};

/// How long `ssh`-like commands wait for a machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// The machines that the last provisioning left.
///
/// # Errors
/// When the cluster was never provisioned from here.
pub fn fleet(dirs: &Dirs, cluster: &Cluster) -> Result<Fleet> {
    let path = dirs.cluster(cluster.name()).fleet();
    let failed = || Error::failed("not-provisioned", "find the machines of", cluster.name());
    let text = std::fs::read(&path).map_err(|error| {
        let error = failed().cause(format!("{}: {error}", path.display()));
        error.hint(format!("`hactl up {}` makes them", cluster.name()))
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        failed()
            .cause(format!("{}: {error}", path.display()))
            .hint(format!("`hactl up {}` writes it anew", cluster.name()))
    })
}

/// What opens the doors of the cluster.
pub(super) fn access(vault: &Vault) -> Result<Access> {
    let client = vault.client();
    Ok(Access::new(
        Arc::new(vault.ssh_key().private.clone()),
        health::client_config(vault.authority(AuthorityKind::Control), Some((&client.certificate, &client.key)))?,
        health::client_config(vault.authority(AuthorityKind::Postgresql), None)?,
        ("postgres".to_owned(), vault.passwords().superuser),
        ("patroni".to_owned(), vault.passwords().restapi),
    ))
}

/// An SSH session to one node.
///
/// # Errors
/// When the secrets cannot be opened or the node does not answer.
pub async fn connect(context: &Context, cluster: &Cluster, node: &FleetNode) -> Result<Remote> {
    let vault = Vault::open(context, cluster.name(), &cluster.secrets(&context.dirs)).await?;
    let key = Arc::new(vault.ssh_key().private.clone());
    Remote::connect(node.key(), &node.ssh, &key, PATIENCE).await
}

/// The connection string of the first database's owner: every host, verified, without a password.
#[must_use]
pub fn dsn(dirs: &Dirs, cluster: &Cluster, fleet: &Fleet) -> String {
    let hosts: Vec<String> = fleet.with_role(Role::Patroni).map(|node| node.address.to_string()).collect();
    let files = dirs.cluster(cluster.name()).client();
    let quoted = |path: std::path::PathBuf| {
        let text = path.display().to_string();
        if text.contains([' ', '\'', '\\']) {
            format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
        } else {
            text
        }
    };
    let login = match cluster.plan.postgres.databases.iter().next() {
        Some((database, owner)) => format!("dbname={database} user={owner}"),
        None => "dbname=postgres user=postgres".to_owned(),
    };
    format!(
        "host={} port=5432 {login} target_session_attrs=read-write sslmode=verify-full sslrootcert={} passfile={}",
        hosts.join(","),
        quoted(files.join(ClientFiles::POSTGRESQL_CA)),
        quoted(files.join(ClientFiles::PASSFILE)),
    )
}

/// Looks at a cluster, once or again and again.
pub struct Watcher<'a> {
    cluster: &'a Cluster,
    fleet: Fleet,
    access: Access,
    dsn: String,
}

impl<'a> Watcher<'a> {
    /// Opens the secrets and finds the machines.
    ///
    /// # Errors
    /// When the cluster was never provisioned from here, or its secrets cannot be opened.
    pub async fn new(context: &Context, cluster: &'a Cluster) -> Result<Self> {
        let fleet = fleet(&context.dirs, cluster)?;
        let mut vault = Vault::open(context, cluster.name(), &cluster.secrets(&context.dirs)).await?;
        cluster.take_given(context, &mut vault).await?;
        let dsn = dsn(&context.dirs, cluster, &fleet);
        Ok(Self { cluster, fleet, access: access(&vault)?, dsn })
    }

    /// Asks every node. Takes at most 10 s, however many do not answer.
    pub async fn look(&self) -> Status {
        health::status(&self.cluster.plan, &self.health().await, self.dsn.clone())
    }

    /// The same as it was diagnosed.
    pub async fn health(&self) -> Health {
        health::diagnose(&self.cluster.plan, &health::observe(&self.fleet, &self.access).await)
    }

    /// The same machines, as drills strike them.
    #[must_use]
    pub const fn ground<'b>(&'b self, context: &'b Context) -> Ground<'b> {
        Ground { plan: &self.cluster.plan, fleet: &self.fleet, access: &self.access, control: &self.access, context }
    }
}
