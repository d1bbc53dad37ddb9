//! Which SSH keys open the machines of a cluster: hactl's own, or the user's.

use super::Cluster;
use crate::{
    context::Context,
    error::Result,
    model::{Platform, SshKeySource},
    secrets::{ClientFiles, SshIdentities, Vault},
    ssh::{self, PrivateKey, SshKeys},
};

/// The keys that open the machines of a cluster.
///
/// # Errors
/// When the user's key cannot be read.
pub(crate) fn load(context: &Context, platform: &Platform, vault: &Vault) -> Result<SshKeys> {
    let key = users_key(context, platform)?.unwrap_or_else(|| vault.ssh_key().private.clone().into());
    Ok(SshKeys::new(key, &context.env))
}

/// The user's key that opens the machines; none where that is hactl's own.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn users_key(context: &Context, platform: &Platform) -> Result<Option<PrivateKey>> {
    Ok(Some(match platform.ssh().key {
        SshKeySource::Vault => return Ok(None),
        SshKeySource::User => PrivateKey::of_the_user(&context.env)?,
        SshKeySource::Agent => PrivateKey::Agent,
        SshKeySource::File(path) => PrivateKey::read(&ssh::expanded(&path, &context.env))?,
    }))
}

/// Checks that the key file exists that the cluster file names, and that it is a usable key.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn check_named(context: &Context, platform: &Platform) -> Result<()> {
    match platform.ssh().key {
        SshKeySource::File(_) => users_key(context, platform).map(drop),
        // A plan needs no key as long as no machine exists, so that a machine without one can plan a new cluster.
        SshKeySource::Vault | SshKeySource::User | SshKeySource::Agent => Ok(()),
    }
}

/// The files of those keys, for programs that read files.
pub(crate) fn identities(context: &Context, cluster: &Cluster) -> SshIdentities {
    let machine = match cluster.plan.platform.ssh().key {
        SshKeySource::Vault => Some(cluster.dir().client().join(ClientFiles::SSH_KEY)),
        SshKeySource::User | SshKeySource::Agent => None,
        SshKeySource::File(path) => Some(ssh::expanded(&path, &context.env)),
    };
    SshIdentities { machine, bastion: ssh::user_key_files(&context.env) }
}

/// The public keys that new machines let in: hactl's own, and those of the key that the cluster file names.
///
/// # Errors
/// When the user's key cannot be read, or the agent has none.
pub(crate) fn authorized_keys(context: &Context, platform: &Platform, vault: &Vault) -> Result<Vec<String>> {
    let mut authorized = vec![vault.ssh_key().public.clone()];
    // Existing machines let the user in already.
    if platform.hosts().is_none()
        && let Some(key) = users_key(context, platform)?
    {
        authorized.extend(key.public()?);
    }
    Ok(authorized)
}
