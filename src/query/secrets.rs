//! What the secrets file says without a secret: the keys that open it, and the pinned host keys.

use std::collections::BTreeMap;

use crate::{context::Context, deployment::Deployment, error::Result, secrets::Recipient, ssh};

/// The public keys for which the secrets file is encrypted.
///
/// # Errors
/// When it cannot be opened.
pub async fn recipients(context: &Context, deployment: &mut Deployment) -> Result<Vec<Recipient>> {
    deployment.vault(context).await?.recipients()
}

/// The pinned host keys, each with its fingerprint: of instances, and of bastions by `HOST:PORT`.
///
/// # Errors
/// When the secrets file cannot be opened.
pub async fn host_keys(context: &Context, deployment: &mut Deployment) -> Result<BTreeMap<String, String>> {
    let vault = deployment.vault(context).await?;
    let shown =
        |key: &String| format!("{} {}", key.split_whitespace().next().unwrap_or_default(), ssh::fingerprint(key));
    Ok(vault.host_keys().iter().map(|(name, key)| (name, shown(key))).collect())
}
