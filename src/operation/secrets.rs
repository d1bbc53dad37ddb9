//! `hactl secrets NAME create`, `recipients` and `host-keys`: the secrets file without a machine, and who can open it.

use super::frame::{Operation, Outcome, perform};
use crate::{
    context::RunContext,
    deployment::{Cluster, Deployment},
    error::{Error, Result},
    event::Summary,
    model::{Account, Backup, RepositorySecret, Secret, nearest},
};

pub const SECRETS: Operation = Operation::on_files("secrets");

/// Encrypts the secrets file for one more key.
///
/// # Errors
/// When `key` is no public key, or the file cannot be opened or written.
pub async fn add_recipient(run: &RunContext, deployment: Deployment, key: &str) -> Result<Summary> {
    let work = perform(run, deployment, &SECRETS, async |acting| {
        let vault = acting.deployment.vault(&run.context).await?;
        let changed = vault.add_recipient(key)?;
        if changed {
            vault.save()?;
        }
        let done = if changed { "can be opened by one more key" } else { "could already be opened by this key" };
        Ok((outcome(&acting.deployment.cluster, changed, done), ()))
    });
    Ok(work.await?.0)
}

/// Encrypts the secrets file for one key less.
///
/// # Errors
/// When `key` is not among them or the only one at hand, or the file cannot be opened or written.
pub async fn remove_recipient(run: &RunContext, deployment: Deployment, key: &str) -> Result<Summary> {
    let work = perform(run, deployment, &SECRETS, async |acting| {
        let vault = acting.deployment.vault(&run.context).await?;
        vault.remove_recipient(key)?;
        vault.save()?;
        let done = "can no longer be opened by this key; the key still opens older copies of the file, and the \
                    secrets in it are unchanged";
        Ok((outcome(&acting.deployment.cluster, true, done), ()))
    });
    Ok(work.await?.0)
}

/// Makes the secrets file, or adds the passwords that the cluster file needs by now.
///
/// # Errors
/// When it cannot be opened, made or written.
pub async fn create_secrets(run: &RunContext, deployment: Deployment) -> Result<Summary> {
    let work = perform(run, deployment, &SECRETS, async |acting| {
        let context = &run.context;
        acting.deployment.create_vault(context).await?;
        acting.deployment.vault_with_given(context).await?;
        let (cluster, _, vault) = acting.deployment.parts(context).await?;
        if vault.ensure_passwords(&cluster.accounts())? {
            vault.save()?;
        }
        let changed = vault.was_saved();
        let done = if changed {
            "is ready: commit it, and store its key with the secrets of your CI"
        } else {
            "is already complete"
        };
        Ok((outcome(cluster, changed, done), ()))
    });
    Ok(work.await?.0)
}

/// Keeps a secret that others have made: that of a repository of backups.
///
/// # Errors
/// When the cluster file needs no such secret, the secret is not one line of text, or the file cannot be made or written.
pub async fn set_secret(run: &RunContext, deployment: Deployment, account: &str, secret: Secret) -> Result<Summary> {
    let work = perform(run, deployment, &SECRETS, async |acting| {
        let context = &run.context;
        let account = Account::from(account.to_owned());
        let known: Vec<Account> = acting.deployment.cluster.plan.backup.iter().flat_map(Backup::accounts).collect();
        if !known.contains(&account) {
            let names: Vec<String> = known.iter().map(ToString::to_string).collect();
            let error = Error::usage("secret-unknown", "keep", &account);
            return Err(match names.as_slice() {
                [] => error
                    .cause("only secrets of backups can be set, and the cluster file has no `backup`")
                    .hint("Add `backup` to the cluster file first"),
                names => {
                    let meant = nearest(&account.to_string(), names.iter().map(String::as_str));
                    error
                        .cause(format!("the cluster file needs {}", names.join(", ")))
                        .hint(format!("Set {}", meant.unwrap_or_else(|| "one of them".to_owned())))
                }
            });
        }
        acting.deployment.create_vault(context).await?;
        let (cluster, known, vault) = acting.deployment.parts(context).await?;
        // What was made before the first `up` has encrypted nothing yet.
        if let Account::Repository(_, RepositorySecret::Passphrase) = account
            && known.fleet_if_any()?.is_some()
            && vault.password(&account).is_ok_and(|kept| kept.expose() != secret.expose())
        {
            return Err(Error::usage("secret-kept", "replace", &account)
                .cause("backups that it has encrypted could not be read any more")
                .hint("Keep it. For another passphrase, give the repository another name in the cluster file"));
        }
        let changed = vault.set_password(&account, secret)?;
        if changed {
            vault.save()?;
        }
        let done = if changed { format!("has {account} now") } else { format!("already has this {account}") };
        let mut outcome = outcome(cluster, changed, &done);
        outcome.next = vec![format!("hactl up {}", cluster.name())];
        Ok((outcome, ()))
    });
    Ok(work.await?.0)
}

/// `hactl secrets NAME host-keys forget`: the next `up` records what these machines then show.
///
/// # Errors
/// When no host key of one of them is recorded, or the file cannot be opened or written.
pub async fn forget_host_keys(run: &RunContext, deployment: Deployment, names: &[String]) -> Result<Summary> {
    let work = perform(run, deployment, &SECRETS, async |acting| {
        let (cluster, _, vault) = acting.deployment.parts(&run.context).await?;
        let mut known = vault.host_keys().clone();
        let gone: Vec<bool> = names.iter().map(|name| known.forget(name)).collect();
        let unknown: Vec<&String> = names.iter().zip(&gone).filter(|(_, gone)| !**gone).map(|(name, _)| name).collect();
        if !unknown.is_empty() {
            let error = Error::usage("host-key-unknown", "forget the host keys of", cluster.name());
            let error =
                unknown.iter().fold(error, |error, name| error.cause(format!("no host key of {name} is recorded")));
            let names: Vec<String> = vault.host_keys().iter().map(|(name, _)| name).collect();
            let hint = match names.as_slice() {
                [] => format!("Run `hactl up {}` to record the host keys", cluster.name()),
                names => format!("Choose from the recorded host keys: {}", names.join(", ")),
            };
            return Err(
                error.hint(format!("{hint}; host keys of local nodes are not recorded, because hactl makes them"))
            );
        }
        vault.set_host_keys(known);
        vault.save()?;
        let name = cluster.name();
        let outcome = Outcome {
            message: format!("{name}: forgot the host keys of {}.", names.join(", ")),
            next: vec![format!("hactl up {name}")],
            changed: true,
            ..Outcome::default()
        };
        Ok((outcome, ()))
    });
    Ok(work.await?.0)
}

fn outcome(cluster: &Cluster, changed: bool, done: &str) -> Outcome {
    Outcome {
        message: format!("{} {done}.", cluster.secrets_file().display()),
        next: vec![format!("hactl secrets {} recipients", cluster.name())],
        changed,
        ..Outcome::default()
    }
}
