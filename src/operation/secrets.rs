//! `hactl secrets NAME create` and `recipients`: the secrets file without a machine, and who can open it.

use jiff::Timestamp;

use crate::{
    context::{Context, RunContext},
    deployment::Cluster,
    error::Result,
    event::Summary,
    model::{Account, Certificate},
    secrets::{Recipient, Vault},
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
    let (accounts, certificates) = (Account::of_every_cluster(), Certificate::OF_EVERY_CLUSTER);
    let now = Timestamp::now();
    let mut vault = Vault::open_or_create(context, cluster.name(), &paths, &accounts, &certificates, now).await?;
    cluster.take_given(context, &mut vault).await?;
    if vault.ensure_passwords(&cluster.accounts())? {
        vault.save()?;
    }
    let changed = vault.was_saved();
    let done =
        if changed { "is ready: commit it, and keep its key where CI keeps secrets" } else { "has all it needs" };
    Ok(summary(run, cluster, changed, done))
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
