//! NAME -> a cluster: its file found, checked and planned.

use std::path::{Path, PathBuf};

use crate::{
    assets::Assets,
    context::{Context, Dirs},
    error::Result,
    model::{ClusterName, DatabaseName},
    plan::{self, Plan, Warning},
    secrets::{SecretsPaths, Sources, Vault},
    spec::{self, Origin, Record, SecretCommand, Source},
};

/// A cluster as its file and its record mean it; nothing has been asked or changed yet.
pub struct Cluster {
    pub(super) source: Source,
    pub plan: Plan,
    pub(super) record: Record,
    /// The roles, playbooks, templates and modules that it is made with.
    pub(super) assets: Assets,
    /// Commands that give passwords.
    commands: Vec<SecretCommand>,
}

impl Cluster {
    /// Finds, checks and plans the cluster that `name` means.
    ///
    /// # Errors
    /// When there is none, or with every problem of its file.
    pub fn open(name: &str, dirs: &Dirs) -> Result<Self> {
        let source = spec::resolve(name, dirs)?;
        let spec = source.load()?;
        let record = Record::read(&dirs.cluster(&spec.name).record())?.unwrap_or_default();
        let mut plan = plan::decide(&spec, &record.choices)?;
        let assets = Assets::open(spec.assets.as_deref())?;
        plan.warnings.extend(assets.changed().map(|message| Warning {
            code: "assets".to_owned(),
            message,
            hint: Some("after an update of hactl, compare them with what `hactl eject DIR` writes then".to_owned()),
        }));
        Ok(Self { source, plan, record, assets, commands: spec.secrets })
    }

    #[must_use]
    pub const fn name(&self) -> &ClusterName {
        &self.plan.cluster
    }

    /// Where the secrets and the key that opens them lie.
    pub(super) fn secrets(&self, dirs: &Dirs) -> SecretsPaths {
        SecretsPaths::new(dirs, self.name(), self.file())
    }

    /// `NAME.lock.json`, whether it is there or not.
    pub(super) fn lock_file(&self, dirs: &Dirs) -> PathBuf {
        dirs.beside(self.file()).join(format!("{}.lock.json", self.name()))
    }

    /// The cluster file; none for a built-in blueprint.
    fn file(&self) -> Option<&Path> {
        match &self.source.origin {
            Origin::File(path) => Some(path),
            Origin::Blueprint(_) => None,
        }
    }

    /// The roles that own databases.
    pub(super) fn owners(&self) -> Vec<DatabaseName> {
        self.plan.postgres.databases.values().cloned().collect()
    }

    /// Lets the environment and the file's commands give passwords.
    pub(super) async fn take_given(&self, context: &Context, vault: &mut Vault) -> Result<()> {
        let commands: Vec<_> = self.commands.iter().map(|given| (&given.account, given.command.as_slice())).collect();
        let (dir, owners) = (self.source.dir(&context.dirs), self.owners());
        vault.take_given(context, &Sources { commands: &commands, dir, owners: &owners }).await
    }

    /// `NAME.secrets.age`, whether it is there or not.
    #[must_use]
    pub fn secrets_file(&self, dirs: &Dirs) -> PathBuf {
        self.secrets(dirs).file
    }

    /// The record as it is after this plan: choices that were made stick.
    pub(super) fn recorded(&self) -> Record {
        let mut record = Record { choices: self.plan.choices(), ..self.record.clone() };
        match &self.source.origin {
            Origin::File(path) => (record.source, record.blueprint) = (Some(path.clone()), None),
            Origin::Blueprint(name) => (record.source, record.blueprint) = (None, Some(name.clone())),
        }
        record
    }
}
