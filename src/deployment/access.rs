//! Secrets -> access to the services of the cluster.

use std::sync::Arc;

use tokio_postgres::config::SslMode;

use super::{Cluster, ssh_keys};
use crate::{
    access::{self, Access, Keys},
    context::Context,
    error::Result,
    model::{Account, Authority, Certificate},
    secrets::Vault,
};

/// Keys and logins for the services of the cluster.
///
/// # Errors
/// When a certificate or the user's key cannot be read.
pub(crate) fn access(context: &Context, cluster: &Cluster, vault: &Vault) -> Result<Access> {
    let client = vault.client(Certificate::CONTROLLER)?;
    let identity = Some((client.certificate.as_str(), &client.key));
    let control = access::client_config(vault.authority(Authority::CONTROL)?, identity)?;
    let postgres = access::client_config(vault.authority(Authority::POSTGRESQL)?, None)?;
    Ok(Access::new(Keys {
        ssh: ssh_keys::load(context, &cluster.plan.platform, vault)?,
        patroni_tls: Arc::clone(&control),
        etcd_tls: control,
        postgres_tls: Arc::clone(&postgres),
        clients_tls: postgres,
        postgres_ssl: SslMode::Require,
        superuser: ("postgres".to_owned(), vault.password(&Account::SUPERUSER)?.clone()),
        restapi: Some(("patroni".to_owned(), vault.password(&Account::RESTAPI)?.clone())),
    }))
}
