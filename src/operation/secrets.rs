//! `hactl secrets NAME`: the secrets file without a machine, the keys that can open it, and the host keys in it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    context::{Context, RunContext},
    deployment::Cluster,
    error::{Error, Result},
    event::Summary,
    secrets::{Recipient, Vault},
    ssh,
};

/// The public keys for which the secrets file is encrypted.
///
/// # Errors
/// When it cannot be opened.
pub async fn recipients(context: &Context, cluster: &Cluster) -> Result<Vec<Recipient>> {
    open(context, cluster).await?.recipients()
}

/// Encrypts the secrets file for a further key.
///
/// # Errors
/// When `key` is no public key, or the file cannot be opened or written.
pub async fn add_recipient(run: &RunContext, cluster: &Cluster, key: &str) -> Result<Summary> {
    let mut vault = open(&run.context, cluster).await?;
    let changed = vault.add_recipient(key)?;
    if changed {
        vault.save()?;
    }
    let done = if changed { "can be opened by one more key" } else { "could be opened by this key already" };
    Ok(summary(run, cluster, changed, done))
}

/// Encrypts the secrets file for one key less.
///
/// # Errors
/// When `key` is not among them or the only one at hand, or the file cannot be opened or written.
pub async fn remove_recipient(run: &RunContext, cluster: &Cluster, key: &str) -> Result<Summary> {
    let mut vault = open(&run.context, cluster).await?;
    vault.remove_recipient(key)?;
    vault.save()?;
    let done = "can be opened by one key less; older copies of it are as they were, and so are the secrets in it";
    Ok(summary(run, cluster, true, done))
}

/// Makes the secrets file, or adds the passwords that the cluster file needs by now.
///
/// # Errors
/// When it cannot be opened, made or written.
pub async fn create_secrets(run: &RunContext, cluster: &Cluster) -> Result<Summary> {
    let context = &run.context;
    let paths = cluster.secrets(&context.dirs);
    let mut vault = Vault::open_or_create(context, cluster.name(), &paths, Timestamp::now()).await?;
    cluster.take_given(context, &mut vault).await?;
    if vault.ensure_owners(&cluster.owners())? {
        vault.save()?;
    }
    let changed = vault.was_saved();
    let done =
        if changed { "is ready: commit it, and keep its key where CI keeps secrets" } else { "has all it needs" };
    Ok(summary(run, cluster, changed, done))
}

/// The pinned host keys, each with its fingerprint: of instances, and of bastions by `HOST:PORT`.
///
/// # Errors
/// When the secrets file cannot be opened.
pub async fn host_keys(context: &Context, cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let vault = open(context, cluster).await?;
    let shown =
        |key: &String| format!("{} {}", key.split_whitespace().next().unwrap_or_default(), ssh::fingerprint(key));
    Ok(vault.host_keys().iter().map(|(name, key)| (name, shown(key))).collect())
}

/// `hactl secrets NAME host-keys forget`: the next `up` records what these machines then show.
///
/// # Errors
/// When no host key of one of them is recorded, or the file cannot be opened or written.
pub async fn forget_host_keys(run: &RunContext, cluster: &Cluster, names: &[String]) -> Result<Summary> {
    let mut vault = open(&run.context, cluster).await?;
    let mut known = vault.host_keys().clone();
    let gone: Vec<bool> = names.iter().map(|name| known.forget(name)).collect();
    let unknown: Vec<&String> = names.iter().zip(&gone).filter(|(_, gone)| !**gone).map(|(name, _)| name).collect();
    if !unknown.is_empty() {
        let error = Error::usage("host-key-unknown", "forget the host keys of", cluster.name());
        let error = unknown.iter().fold(error, |error, name| error.cause(format!("none of {name} is recorded")));
        let names: Vec<String> = vault.host_keys().iter().map(|(name, _)| name).collect();
        let there =
            if names.is_empty() { "there are none".to_owned() } else { format!("there are {}", names.join(", ")) };
        return Err(error.hint(format!("{there}; local nodes get theirs from hactl, and none is recorded")));
    }
    vault.set_host_keys(known);
    vault.save()?;
    let name = cluster.name();
    Ok(Summary {
        ok: true,
        command: "secrets".to_owned(),
        cluster: name.to_string(),
        message: format!("{name}: host keys forgotten: {}.", names.join(", ")),
        next: vec![format!("hactl up {name}")],
        stages: run.times(),
        changed: true,
        ..Summary::default()
    })
}

async fn open(context: &Context, cluster: &Cluster) -> Result<Vault> {
    Vault::open(context, cluster.name(), &cluster.secrets(&context.dirs)).await
}

fn summary(run: &RunContext, cluster: &Cluster, changed: bool, done: &str) -> Summary {
    Summary {
        ok: true,
        command: "secrets".to_owned(),
        cluster: cluster.name().to_string(),
        message: format!("{} {done}.", cluster.secrets_file(&run.context.dirs).display()),
        next: vec![format!("hactl secrets {} recipients", cluster.name())],
        stages: run.times(),
        changed,
        ..Summary::default()
    }
}
