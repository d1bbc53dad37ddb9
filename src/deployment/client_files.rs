//! What clients on this machine use: keys, certificates, and how the machines are reached.

use super::{Cluster, ssh_keys};
use crate::{
    context::Context,
    error::Result,
    fleet::Fleet,
    secrets::{Vault, write_client_files},
};

/// Writes the files below `.hactl/NAME/client`.
///
/// # Errors
/// When one of them cannot be written.
pub(crate) fn client_files(context: &Context, cluster: &Cluster, vault: &Vault, fleet: &Fleet) -> Result<()> {
    let identities = ssh_keys::identities(context, cluster);
    write_client_files(&cluster.dir(), vault, fleet, &cluster.plan.postgres.databases, &identities)
}
