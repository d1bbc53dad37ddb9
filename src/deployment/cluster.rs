//! NAME -> a cluster: its file found, checked and planned.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::state_location::StateLocation;
use crate::{
    assets::Assets,
    context::{ClusterDir, Context, Dirs},
    error::{Error, Result, codes},
    model::{
        Account, AdoptedHosts, Backup, Choices, ClusterName, DatabaseLocale, DatabaseName, Distribution, InstanceKey,
        ProvedRestore, Secret, Settled,
    },
    plan::{self, Plan, PlannedInstance, Refusal, Warning},
    secrets::{self, SecretsPaths, Sources, Vault},
    spec::{self, Origin, Record, SecretCommand, Source},
};

/// A cluster as its file and its record mean it; nothing has been asked or changed yet.
pub struct Cluster {
    pub(crate) source: Source,
    pub plan: Plan,
    pub(crate) record: Record,
    /// The roles, playbooks, templates and modules that it is made with.
    pub(crate) assets: Assets,
    /// Commands that give passwords.
    commands: Vec<SecretCommand>,
    /// Where its files lie.
    dirs: Dirs,
}

impl Cluster {
    /// Finds, checks and plans the cluster that `name` means.
    ///
    /// # Errors
    /// When no cluster has that name, or with every problem of its file.
    pub fn open(name: &str, dirs: &Dirs) -> Result<Self> {
        let source = spec::resolve(name, dirs)?;
        let spec = source.load()?;
        let record = Record::read(&dirs.cluster(&spec.name).record())?.unwrap_or_default();
        let mut plan = plan::decide(&spec, &record.choices)?;
        let assets = Assets::open(spec.assets.as_deref())?;
        plan.warnings.extend(assets.changed().map(|message| Warning {
            code: codes::ASSETS.to_owned(),
            message,
            hint: Some("After an update of hactl, compare them with the output of `hactl eject DIR`".to_owned()),
        }));
        Ok(Self { source, plan, record, assets, commands: spec.secrets, dirs: dirs.clone() })
    }

    /// Plans again with what was chosen for the machines `made`, wherever that was, and what runs on them.
    ///
    /// # Errors
    /// When that cannot be planned.
    pub(crate) fn choose(
        &mut self,
        made: &BTreeMap<InstanceKey, PlannedInstance>,
        settled: Option<Settled>,
    ) -> Result<()> {
        self.record.choices = Choices { settled, ..plan::choices(made) };
        self.replan()
    }

    /// What runs on the machines, as far as a run has noted it.
    pub(crate) const fn settled(&self) -> Option<&Settled> {
        self.record.choices.settled.as_ref()
    }

    /// Plans again with what was found to run on the machines.
    ///
    /// # Errors
    /// When that cannot be planned.
    pub(crate) fn settle(&mut self, settled: Settled) -> Result<()> {
        self.record.choices.settled = Some(settled);
        self.replan()
    }

    /// Whether the machines can move from what runs to the versions that are planned.
    ///
    /// # Errors
    /// With the place of the version in the cluster file.
    pub(crate) fn can_move(&self) -> Result<()> {
        let Some(runs) = self.settled() else { return Ok(()) };
        plan::moves(&self.plan, runs).map_err(|refusal| self.refused(refusal))
    }

    /// Whether the file asks for a locale of ICU that no run has noted: the database may exist without it.
    pub(crate) fn has_new_icu_locales(&self) -> bool {
        self.settled().is_some_and(|runs| {
            self.plan
                .postgres
                .icu_locales
                .iter()
                .any(|(database, locale)| runs.icu_locales.get(database) != Some(locale))
        })
    }

    /// Whether the databases that exist have the locales of the file.
    ///
    /// # Errors
    /// With the place of the locale in the cluster file.
    pub(crate) fn fits_databases(&self, found: &BTreeMap<String, DatabaseLocale>) -> Result<()> {
        plan::locales_of_databases(&self.plan, found).map_err(|refusal| self.refused(refusal))
    }

    fn refused(&self, refusal: Refusal) -> Error {
        let field: Vec<&str> = refusal.field.iter().map(String::as_str).collect();
        let problem = self.source.problem(&field, &refusal.message, None);
        let mut error = Error::usage(refusal.code, refusal.what, self.name()).cause(&problem);
        error.locations = [problem.location()].into();
        error.hint(refusal.hint)
    }

    fn replan(&mut self) -> Result<()> {
        let warnings = std::mem::take(&mut self.plan.warnings);
        self.plan = plan::decide(&self.source.load()?, &self.record.choices)?;
        // Those about the assets are the command's, not the plan's.
        self.plan.warnings.extend(warnings.into_iter().filter(|warning| warning.code == codes::ASSETS));
        Ok(())
    }

    #[must_use]
    pub const fn name(&self) -> &ClusterName {
        &self.plan.cluster
    }

    /// `.hactl/NAME`.
    #[must_use]
    pub fn dir(&self) -> ClusterDir {
        self.dirs.cluster(self.name())
    }

    /// The state that runs elsewhere read, too; none where it is this machine's alone.
    pub(crate) fn state_location(&self) -> Option<StateLocation> {
        StateLocation::of(&self.plan)
    }

    /// The machines of a cluster that hactl did not make; none for one that it made.
    pub(crate) const fn adopted(&self) -> Option<&AdoptedHosts> {
        self.plan.platform.adopted()
    }

    /// The release that its machines run, for the stages that bring software there.
    pub(crate) fn release(&self) -> Result<Distribution> {
        self.plan.platform.release().ok_or_else(|| self.not_made_here("install software on"))
    }

    /// Whether `command` may be run on it: only a cluster that hactl made is created, changed or removed.
    ///
    /// # Errors
    /// For an adopted cluster, with the commands that work on it.
    pub fn must_be_made_here(&self, command: &str) -> Result<()> {
        match self.adopted() {
            Some(_) => Err(self.not_made_here(&format!("run `{command}` on"))),
            None => Ok(()),
        }
    }

    fn not_made_here(&self, what: &str) -> Error {
        let name = self.name();
        Error::usage("adopted", what, name)
            .cause("the cluster file says `adopted: true`: hactl does not change a cluster that it did not make")
            .hint(format!(
                "Use `hactl status {name}`, `hactl verify {name}`, `hactl report {name}`, `hactl logs`, `hactl ssh` \
                 or `hactl psql`"
            ))
    }

    /// Where the secrets and the key that opens them lie.
    pub(crate) fn secrets(&self) -> SecretsPaths {
        SecretsPaths::new(&self.dirs, self.name(), self.file())
    }

    /// `NAME.lock.json`, whether it is there or not.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.dirs.beside(self.file()).join(format!("{}.lock.json", self.name()))
    }

    /// The cluster file; none for a built-in blueprint.
    fn file(&self) -> Option<&Path> {
        match &self.source.origin {
            Origin::File(path) => Some(path),
            Origin::Blueprint(_) => None,
        }
    }

    /// The roles that own databases.
    pub(crate) fn owners(&self) -> Vec<DatabaseName> {
        self.plan.postgres.databases.values().cloned().collect()
    }

    /// The accounts that have passwords.
    pub(crate) fn accounts(&self) -> Vec<Account> {
        let mut accounts = Account::of_every_cluster();
        accounts.extend(self.owners().into_iter().map(Account::Owner));
        accounts.extend(self.plan.backup.iter().flat_map(Backup::accounts));
        accounts
    }

    /// What the environment and the file's commands give, of an adopted cluster.
    pub(crate) async fn given(&self, context: &Context) -> Result<BTreeMap<Account, Secret>> {
        let commands: Vec<_> = self.commands.iter().map(|given| (&given.account, given.command.as_slice())).collect();
        let dir = self.source.dir(&context.dirs);
        secrets::given(context, &Sources { commands: &commands, dir, accounts: &Account::of_every_cluster() }).await
    }

    /// Lets the environment and the file's commands give passwords.
    pub(crate) async fn take_given(&self, context: &Context, vault: &mut Vault) -> Result<()> {
        let commands: Vec<_> = self.commands.iter().map(|given| (&given.account, given.command.as_slice())).collect();
        let (dir, accounts) = (self.source.dir(&context.dirs), self.accounts());
        vault.take_given(context, &Sources { commands: &commands, dir, accounts: &accounts }).await
    }

    /// `NAME.secrets.age`, whether it is there or not.
    #[must_use]
    pub fn secrets_file(&self) -> PathBuf {
        self.secrets().file
    }

    /// Notes where the cluster's file is, so that it is found by its name.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn note(&self) -> Result<()> {
        self.recorded(self.record.choices.clone()).write(&self.dir().record())
    }

    /// Notes that the backups were proved to restore.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn note_restored(&mut self, proved: ProvedRestore) -> Result<()> {
        self.record.restored = Some(proved);
        self.note()
    }

    /// When the backups were last proved to restore.
    pub(crate) const fn restored(&self) -> Option<ProvedRestore> {
        self.record.restored
    }

    /// When the backups were last proved to restore, for people who are about to lose data; none for a cluster without backups.
    #[must_use]
    pub fn last_restore(&self) -> Option<String> {
        self.plan.backup.as_ref()?;
        let name = self.name();
        Some(match self.record.restored {
            Some(ProvedRestore { at, .. }) => format!(
                "`hactl backup verify` last proved at {} that the backups of {name} restore",
                at.strftime("%Y-%m-%d %H:%M:%SZ")
            ),
            None => format!("no `hactl backup verify` has proved yet that the backups of {name} restore"),
        })
    }

    /// Notes what this plan has chosen: from now on it sticks. Not of a plan that is refused.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn note_choices(&self) -> Result<()> {
        let settled = self.settled().cloned();
        self.recorded(Choices { settled, ..self.plan.choices() }).write(&self.dir().record())
    }

    /// Notes that this plan has been carried out: its versions run.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn note_settled(&self) -> Result<()> {
        let settled = Some(self.plan.settled());
        self.recorded(Choices { settled, ..self.plan.choices() }).write(&self.dir().record())
    }

    fn recorded(&self, choices: Choices) -> Record {
        let mut record = Record { choices, ..self.record.clone() };
        match &self.source.origin {
            Origin::File(path) => (record.source, record.blueprint) = (Some(path.clone()), None),
            Origin::Blueprint(name) => (record.source, record.blueprint) = (None, Some(name.clone())),
        }
        record
    }
}
