//! The secrets of a cluster, opened once and at one place.

use jiff::Timestamp;

use super::{Cluster, Deployment, known::Known, secrets_file::Secrets};
use crate::{
    component,
    context::Context,
    error::{Error, Result},
    model::Account,
    secrets::Vault,
};

impl Deployment {
    /// The secrets of the cluster.
    ///
    /// # Errors
    /// When there are none, or they cannot be opened.
    pub async fn vault(&mut self, context: &Context) -> Result<&mut Vault> {
        Secrets::open(&mut self.secrets, context, &self.cluster).await.vault()
    }

    /// The same; none where there are none.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub async fn vault_if_any(&mut self, context: &Context) -> Result<Option<&mut Vault>> {
        match Secrets::open(&mut self.secrets, context, &self.cluster).await {
            Secrets::Open { vault, .. } => Ok(Some(vault)),
            Secrets::Unreadable(error) => Err(error.clone()),
            Secrets::Absent(_) => Ok(None),
        }
    }

    /// The same, with the passwords that the environment and the file's commands give.
    ///
    /// # Errors
    /// When there are none, they cannot be opened, or a command fails.
    pub async fn vault_with_given(&mut self, context: &Context) -> Result<&mut Vault> {
        self.vault(context).await?;
        self.take_given(context).await?;
        self.vault(context).await
    }

    /// Lets the environment and the file's commands give passwords, once.
    pub(super) async fn take_given(&mut self, context: &Context) -> Result<()> {
        if let Some(Secrets::Open { vault, given }) = &mut self.secrets
            && !*given
        {
            self.cluster.take_given(context, vault).await?;
            *given = true;
        }
        Ok(())
    }

    /// The secrets, beside the rest of the cluster.
    ///
    /// # Errors
    /// When there are none, or they cannot be opened.
    pub async fn parts(&mut self, context: &Context) -> Result<(&Cluster, &Known, &mut Vault)> {
        let Self { cluster, known, secrets } = self;
        let vault = Secrets::open(secrets, context, cluster).await.vault()?;
        Ok((cluster, known, vault))
    }

    /// The secrets, if they are open.
    #[must_use]
    pub fn opened(&self) -> Option<&Vault> {
        match &self.secrets {
            Some(Secrets::Open { vault, .. }) => Some(vault),
            _ => None,
        }
    }

    /// Why the secrets that exist could not be opened; none where they are open or there are none.
    pub(crate) const fn unreadable_secrets(&self) -> Option<&Error> {
        match &self.secrets {
            Some(Secrets::Unreadable(error)) => Some(error),
            _ => None,
        }
    }

    /// Makes the secrets, where there are none yet.
    ///
    /// # Errors
    /// When they cannot be opened or made.
    pub async fn create_vault(&mut self, context: &Context) -> Result<&mut Vault> {
        if !matches!(self.secrets, Some(Secrets::Open { .. })) {
            let paths = self.cluster.secrets();
            let (accounts, certificates) = (Account::of_every_cluster(), component::certificates());
            let (name, now) = (self.cluster.name(), Timestamp::now());
            let vault = Vault::open_or_create(context, name, &paths, &accounts, &certificates, now).await?;
            self.secrets = Some(Secrets::Open { vault: Box::new(vault), given: false });
        }
        self.vault(context).await
    }

    /// Opens the secrets for a run that makes or changes machines, or makes them where there are none yet. Passwords of
    /// databases' owners are among them from the start, so that a file that is committed then stays right.
    ///
    /// # Errors
    /// When they cannot be opened or made, or do not fit the cluster that there is.
    pub(crate) async fn open_to_change(&mut self, context: &Context) -> Result<()> {
        self.is_not_emptied()?;
        self.has_secrets()?;
        let unknown = self.known.elsewhere.is_none() && self.known.machines.is_absent();
        let location = self.cluster.state_location();
        let vault = self.create_vault(context).await?;
        if let Some(location) = location.filter(|_| unknown && !vault.node_leaves().is_empty()) {
            let message =
                format!("the secrets file lists machines of this cluster, but the state ({location}) has none");
            let hint = "Ignore this after `hactl down`. If the cluster still exists, its state is elsewhere: stop, \
                        and restore the `backend` that it was made with";
            context.events.warn("state-empty", message, Some(hint.to_owned())).await;
        }
        self.take_given(context).await?;
        self.take_over()?;
        let accounts = self.cluster.accounts();
        let vault = self.vault(context).await?;
        if vault.ensure_passwords(&accounts)? {
            vault.save()?;
        }
        self.has_all(&accounts)
    }

    /// Refuses to go on without secrets that only the user can give.
    fn has_all(&self, accounts: &[Account]) -> Result<()> {
        let Some(vault) = self.opened() else { return Ok(()) };
        let unset = accounts.iter().filter(|account| account.is_from_outside() && vault.password(account).is_err());
        let unset: Vec<String> = unset.map(ToString::to_string).collect();
        let Some(first) = unset.first() else { return Ok(()) };
        let name = self.cluster.name();
        let error = Error::usage("secret-unset", "find the secrets of", name);
        let error = unset.iter().fold(error, |error, unset| {
            error.cause(format!("{} has no {unset}", self.cluster.secrets_file().display()))
        });
        Err(error.hint(format!("Run `hactl secrets {name} set {first}`, which reads it from standard input")))
    }

    /// What a run that changes the cluster takes over from runs elsewhere, and must not undo: host keys that the secrets file
    /// here does not have yet, and passwords.
    ///
    /// # Errors
    /// When the secrets file here is older than the cluster, or is not there at all.
    pub(crate) fn take_over(&mut self) -> Result<()> {
        self.take_host_keys();
        match (&self.known.elsewhere, self.opened()) {
            (Some(record), Some(vault)) => record.fits(vault),
            _ => Ok(()),
        }
    }

    /// The same for a run that only takes away.
    pub(crate) fn take_host_keys(&mut self) {
        if let (Some(record), Some(Secrets::Open { vault, .. })) = (&self.known.elsewhere, &mut self.secrets) {
            vault.set_host_keys(record.host_keys(vault));
        }
    }

    /// Refuses to create machines a second time when their state is in another place.
    ///
    /// # Errors
    /// When the last run here left machines, and the state has none.
    fn is_not_emptied(&self) -> Result<()> {
        let Some(location) = self.cluster.state_location().filter(|_| self.known.emptied) else { return Ok(()) };
        let name = self.cluster.name();
        Err(Error::failed("state-empty", "find the machines of", name)
            .cause(format!("the last run in this directory left machines, but the state ({location}) has none"))
            .hint(format!(
                "If `hactl down` was run elsewhere, run `hactl down {name}` here too, to remove the local records. \
                 Otherwise the state is elsewhere: check that {} are those that the cluster was made with",
                location.credentials()
            )))
    }

    /// Refuses to create new secrets for machines that already exist.
    ///
    /// # Errors
    /// When the state has machines, and their secrets are not here.
    pub(super) fn has_secrets(&self) -> Result<()> {
        let file = self.cluster.secrets_file();
        let Some(location) = self.cluster.state_location().filter(|_| !file.exists()) else { return Ok(()) };
        if self.known.machines.is_absent() {
            return Ok(());
        }
        Err(Error::missing("secrets-missing", "open the secrets file", file.display())
            .cause(format!("the file does not exist, but the state ({location}) has machines that were made with it"))
            .hint(
                "Commit the file where the cluster was made, and pull it here; hactl cannot log in to the machines \
                 without it",
            ))
    }

    /// Says when the secrets file is another one than before: runs elsewhere have the one that was committed.
    pub(crate) async fn say_saved(&self, context: &Context) {
        let saved = self.opened().is_some_and(Vault::was_saved);
        if self.cluster.state_location().is_some() && saved {
            let message = format!("{} has changed: commit it", self.cluster.secrets_file().display());
            let hint = "Commit it before the next run elsewhere: with the old file, that run signs new certificates \
                        and installs them on every machine";
            context.events.warn("secrets-changed", message, Some(hint.to_owned())).await;
        }
    }
}
