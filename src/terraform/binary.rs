//! The `terraform` program: where it is, what it may see, and its commands as values.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use super::{
    diagnosis::{Diagnosis, TerraformError},
    environment::Environment,
    messages::{Diagnostic, Said, StateLock, diagnostics, interpret},
    program::{check_version, major_and_minor, terraform_binary},
};
use crate::{
    context::Context,
    dns, env,
    error::{Error, Result},
    exec::{BUFFERED_LINES, Command, Finished, Line},
    model::{Backend, ClusterName},
};

/// How long to wait for a state that another Terraform has locked: a Terraform whose hactl was killed ends within
/// seconds, because its provider ended with hactl.
const LOCK_TIMEOUT: &str = "-lock-timeout=60s";

/// Variables of the user that reach Terraform, beside those of every child. `TF_CLI_ARGS*` and
/// `TF_WORKSPACE` do not: they would change what commands do, unseen.
const PASSED: &[&str] =
    &[env::TF_LOG, env::TF_LOG_CORE, env::TF_LOG_PROVIDER, env::TF_LOG_PATH, env::TF_REGISTRY_CLIENT_TIMEOUT];

/// What init does with the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Init {
    /// The state stays where it is.
    AsItIs,
    /// Terraform uses the new place; the former place is not changed.
    Elsewhere,
    /// Terraform copies the state from the former place.
    Moving,
}

/// Terraform, in one working directory.
#[derive(Clone)]
pub struct Terraform {
    program: PathBuf,
    version: String,
    dir: PathBuf,
    /// The value of `TF_REATTACH_PROVIDERS`.
    reattach: Option<String>,
    /// `TF_CLI_CONFIG_FILE`, where it names a file that exists.
    config_file: Option<PathBuf>,
    environment: Environment,
    /// Whose state it is, and where that is when not on this machine; for messages.
    cluster: String,
    place: Option<Backend>,
}

/// The program and its version, for `hactl doctor`.
///
/// # Errors
/// Of kind `Missing` when Terraform is missing or too old.
pub async fn terraform_version(context: &Context) -> Result<String> {
    let terraform = Terraform::find(context, &context.dirs.work, None, Environment::default()).await?;
    Ok(format!("{} {}", terraform.program.display(), terraform.version))
}

impl Terraform {
    /// Finds Terraform and checks its version.
    ///
    /// # Errors
    /// Of kind `Missing` when Terraform is missing or too old.
    pub(super) async fn find(
        context: &Context,
        dir: &Path,
        reattach: Option<String>,
        environment: Environment,
    ) -> Result<Self> {
        let program = terraform_binary(context)?;
        let config_file = config_file(context).await;
        let version = String::new();
        let (cluster, place) = (String::new(), None);
        let dir = dir.to_owned();
        let terraform = Self { program, version, dir, reattach, config_file, environment, cluster, place };
        let answer = terraform.command(["version", "-json"]).succeed(context, |_| ()).await?;
        let version = check_version(&terraform.program, &answer.stdout)?;
        Ok(Self { version, ..terraform })
    }

    /// The same program for the state of `cluster` in `place`.
    pub(super) fn with_state(self, cluster: &ClusterName, place: Option<&Backend>) -> Self {
        Self { cluster: cluster.to_string(), place: place.cloned(), ..self }
    }

    /// The same program with the environment that opens another state as well.
    pub(super) fn and_with(&self, other: Environment) -> Self {
        let mut both = self.clone();
        both.environment.pass.extend(other.pass);
        both.environment.secrets.extend(other.secrets);
        // Two backends of one kind have the same.
        both.environment.prefix = both.environment.prefix.or(other.prefix);
        both
    }

    /// One command with its whole environment.
    pub(super) fn command<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = Command::new(&self.program)
            .args(args)
            .dir(&self.dir)
            .pass(PASSED)
            .pass(&self.environment.pass)
            .pass_prefix(env::TF_VAR_)
            .pass_prefix(env::TF_TOKEN_)
            .env(env::TF_IN_AUTOMATION, "1")
            .env(env::TF_INPUT, "0")
            .env(env::CHECKPOINT_DISABLE, "1");
        command = match self.environment.everything {
            // The module is the user's own: credentials of its providers and backend may be anywhere.
            true => command
                .pass_prefix("")
                .withhold_prefix(env::TF_CLI_ARGS)
                .withhold_prefix(env::HACTL_)
                .withhold(env::TF_WORKSPACE),
            false => command.env(env::TF_DATA_DIR, self.data_dir().display().to_string()),
        };
        if let Some(reattach) = &self.reattach {
            command = command.env(env::TF_REATTACH_PROVIDERS, reattach);
            if !self.environment.everything {
                // The provider is this process: it has the secret already.
                command = command.withhold(dns::SECRET_VARIABLE);
            }
        } else {
            command = command.pass(&[env::TF_REATTACH_PROVIDERS]);
        }
        if let Some(file) = &self.config_file {
            command = command.env(env::TF_CLI_CONFIG_FILE, file.display().to_string());
        }
        let command = self.environment.prefix.into_iter().fold(command, Command::pass_prefix);
        let set = self.environment.set.iter();
        set.fold(command.pass(&[env::TF_PLUGIN_CACHE_DIR]), |command, (name, value)| command.env(*name, value))
    }

    /// Whether its version is this one or newer.
    pub(super) fn is_at_least(&self, lowest: (u32, u32)) -> bool {
        major_and_minor(&self.version) >= lowest
    }

    /// Where Terraform keeps what init fetched.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.dir.join(".terraform")
    }

    /// Runs init; its lines go into the run's record.
    ///
    /// # Errors
    /// With the last lines of Terraform.
    pub(super) async fn run_init(&self, context: &Context, init: Init) -> Result<()> {
        self.stream(context, "init", self.init(init)).await.map(|_| ())
    }

    pub(super) fn init(&self, init: Init) -> Command {
        let command = self.command(["init", "-input=false", "-no-color"]);
        match init {
            Init::AsItIs => command,
            Init::Elsewhere => command.arg("-reconfigure"),
            // hactl has compared both states before, so Terraform's questions are answered with yes.
            Init::Moving => command.args(["-migrate-state", "-force-copy", LOCK_TIMEOUT]),
        }
    }

    /// What init depends on beside the configuration.
    pub(super) fn fingerprint(&self) -> String {
        // What is served by others needs no installation either.
        let served: Option<serde_json::Map<String, serde_json::Value>> =
            self.reattach.as_ref().and_then(|text| serde_json::from_str(text).ok());
        let served: Vec<String> = served.unwrap_or_default().into_iter().map(|(address, _)| address).collect();
        format!("{} {} {}\n", self.program.display(), self.version, served.join(" "))
    }

    /// A plan into `file`; of the destruction of everything when `destroy`.
    pub(super) fn plan(&self, file: &Path, parallelism: usize, destroy: bool) -> Command {
        let command = self
            .command(["plan", "-json", "-input=false", LOCK_TIMEOUT])
            .arg(format!("-parallelism={parallelism}"))
            .arg(format!("-out={}", file.display()));
        if destroy { command.arg("-destroy") } else { command }
    }

    pub(super) fn show(&self, file: &Path) -> Command {
        self.command(["show", "-json", "-no-color"]).arg(file.display().to_string())
    }

    pub(super) fn apply(&self, file: &Path, parallelism: usize) -> Command {
        self.command(["apply", "-json", "-input=false", LOCK_TIMEOUT])
            .arg(format!("-parallelism={parallelism}"))
            .arg(file.display().to_string())
    }

    /// The addresses of what is in the state.
    pub(super) fn state_list(&self) -> Command {
        self.command(["state", "list", "-no-color"])
    }

    pub(super) fn output(&self) -> Command {
        self.command(["output", "-json", "-no-color"])
    }

    /// The state as it is stored.
    pub(super) fn state_pull(&self) -> Command {
        self.command(["state", "pull", "-no-color"])
    }

    /// Removes a resource from the state, and leaves the object as it is.
    pub(super) fn state_rm(&self, address: &str) -> Command {
        self.command(["state", "rm", "-no-color", LOCK_TIMEOUT]).arg(address)
    }

    /// Takes an object into the state.
    pub(super) fn import(&self, address: &str, id: &str) -> Command {
        self.command(["import", "-input=false", "-no-color", LOCK_TIMEOUT]).arg(address).arg(id)
    }

    /// Releases a lock on the state that its run has left.
    pub(super) fn force_unlock(&self, id: &str) -> Command {
        self.command(["force-unlock", "-force", "-no-color"]).arg(id)
    }

    /// The lock of another run on the state: a plan that does not wait for the lock, and is not kept, reports it.
    pub(super) async fn held(&self, context: &Context) -> Result<Option<StateLock>> {
        let plan = self.command(["plan", "-json", "-input=false", "-refresh=false"]);
        let place = self.place.as_ref().map(|backend| backend.kind);
        let said = plan.run(context, |_| ()).await?.stdout;
        Ok(said.lines().find_map(|line| match interpret(line)? {
            Said::Diagnostic(diagnostic) => diagnostic.lock(place),
            Said::Resource(_) => None,
        }))
    }

    /// Runs a command that must succeed; its output goes to the caller, or into the error.
    ///
    /// # Errors
    /// With the last lines of Terraform.
    pub(super) async fn ask(&self, context: &Context, command: &Command) -> Result<String> {
        Ok(self.ask_diagnosed(context, command).await?)
    }

    /// The same, with what Terraform's text says of a failure.
    ///
    /// # Errors
    /// Those of [`Terraform::ask`].
    pub(super) async fn ask_diagnosed(&self, context: &Context, command: &Command) -> Result<String, TerraformError> {
        let shown =
            |error: Error| Error { causes: error.causes.iter().map(|cause| self.unseen(cause)).collect(), ..error };
        let finished = command
            .run(context, |_| ())
            .await
            .map_err(|error| TerraformError { diagnosis: Diagnosis::Other, error: shown(error) })?;
        let diagnosis = Diagnosis::of(&finished.tail);
        let finished = command.checked(finished).map_err(|error| TerraformError { diagnosis, error: shown(error) })?;
        Ok(finished.stdout)
    }

    /// The same for a command that needs the backend and no provider, also where Terraform does not know the backend
    /// yet, since the directory was never initialised here.
    ///
    /// # Errors
    /// Those of the command, or of init where that is what it lacked.
    pub(super) async fn ask_of_backend(&self, context: &Context, command: &Command) -> Result<String> {
        match self.ask_diagnosed(context, command).await {
            Err(TerraformError { diagnosis: Diagnosis::NotInitialised, .. }) => {
                // Init opens the backend first, and may fail later because it has no providers.
                let init = self.run_init(context, Init::AsItIs).await;
                self.ask(context, command).await.map_err(|error| init.err().unwrap_or(error))
            }
            answer => Ok(answer?),
        }
    }

    /// A text without the values of secrets.
    fn unseen(&self, text: &str) -> String {
        self.environment.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    /// Checks the configuration.
    ///
    /// # Errors
    /// With every diagnostic of Terraform.
    pub(super) async fn validate(&self, context: &Context) -> Result<()> {
        let finished = self.command(["validate", "-json"]).run(context, |_| ()).await?;
        if finished.status.success() {
            return Ok(());
        }
        let found = diagnostics(&finished.stdout);
        for diagnostic in &found {
            context.events.emit(diagnostic.event()).await;
        }
        Err(self.failed("validate", &found, &finished))
    }

    /// Runs a command that speaks JSON lines, and passes on what it says as events.
    ///
    /// # Errors
    /// With every error that Terraform reported, or its last lines when it reported none.
    pub(super) async fn stream(&self, context: &Context, name: &'static str, command: Command) -> Result<Finished> {
        let (sender, mut lines) = mpsc::channel::<Line>(BUFFERED_LINES);
        let mut errors: Vec<Diagnostic> = Vec::new();
        let forward = async {
            while let Some(line) = lines.recv().await {
                let line = Line { text: self.unseen(&line.text), ..line };
                context.events.emit(line.clone().event("terraform")).await;
                match interpret(&line.text) {
                    Some(Said::Diagnostic(diagnostic)) => {
                        context.events.emit(diagnostic.event()).await;
                        if diagnostic.severity == "error" {
                            errors.push(diagnostic);
                        }
                    }
                    Some(Said::Resource(event)) => context.events.emit(event).await,
                    None => {}
                }
            }
        };
        // The sender goes with the command, which ends the forwarding.
        let (finished, ()) = tokio::join!(command.stream(context, sender), forward);
        let finished = finished?;
        if finished.status.success() {
            return Ok(finished);
        }
        let place = self.place.as_ref().map(|backend| backend.kind);
        match errors.iter().find_map(|error| error.lock(place)) {
            Some(lock) => Err(self.locked(&lock)),
            None => Err(self.failed(name, &errors, &finished)),
        }
    }

    /// The error for a state that another run has locked.
    fn locked(&self, lock: &StateLock) -> Error {
        let place =
            self.place.as_ref().map_or_else(|| "the state".to_owned(), |backend| format!("the state ({backend})"));
        let error = Error::failed("state-locked", "lock", place);
        let error = error.cause(lock);
        if *lock == StateLock::Pg {
            return error.hint(
                "Wait until the other run has ended, then run the same command again. The lock ends with the database \
                 connection that holds it; run `SELECT client_addr, backend_start FROM pg_stat_activity JOIN pg_locks \
                 USING (pid) WHERE locktype = 'advisory'` there to see where that connection comes from",
            );
        }
        error.hint(format!(
            "Wait until that run has ended, then run the same command again. If that run is dead, run `hactl terraform \
             force-unlock {} {}`",
            self.cluster,
            lock.id().unwrap_or("LOCK")
        ))
    }

    fn failed(&self, name: &str, errors: &[Diagnostic], finished: &Finished) -> Error {
        let code = match name {
            "init" => "terraform-init",
            "plan" => "terraform-plan",
            "apply" => "terraform-apply",
            _ => "terraform-validate",
        };
        let mut error = Error::failed(code, format!("run terraform {name} in"), self.dir.display());
        for diagnostic in errors {
            error = error.cause(diagnostic);
        }
        if errors.is_empty() {
            let tail = self.unseen(&finished.tail.join("\n"));
            error = error.cause(crate::exec::describe_end(finished.status)).cause(tail);
        }
        error.hint("Read the full output in terraform.log of the run record; run the same command again to resume")
    }
}

/// The user's CLI configuration. Terraform prints a warning about a missing file before its JSON, on every command;
/// hactl drops the variable instead, and warns once.
async fn config_file(context: &Context) -> Option<PathBuf> {
    let file = context.dirs.work.join(context.env.get(env::TF_CLI_CONFIG_FILE).filter(|file| !file.is_empty())?);
    if file.exists() {
        return Some(file);
    }
    let message = format!("ignored TF_CLI_CONFIG_FILE: {} does not exist", file.display());
    context
        .events
        .warn("terraform-config", message, Some("Unset TF_CLI_CONFIG_FILE, or set it to an existing file".to_owned()))
        .await;
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{context::Dirs, event::Events};

    fn context(env: &[(&str, &str)]) -> Context {
        let env: BTreeMap<_, _> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Context { dirs: Dirs::new(Path::new("/w"), &env), env, events: Events::channel().0, stop: Default::default() }
    }

    fn terraform() -> Terraform {
        Terraform {
            program: PathBuf::from("/usr/bin/terraform"),
            version: "1.11.4".to_owned(),
            dir: PathBuf::from("/w/stack"),
            reattach: Some("{}".to_owned()),
            config_file: None,
            environment: Environment::default(),
            cluster: "pg".to_owned(),
            place: None,
        }
    }

    #[test]
    fn terraform_commands_have_the_expected_arguments() {
        let file = Path::new("/w/plan");
        let plan = ["plan", "-json", "-input=false", "-lock-timeout=60s", "-parallelism=10", "-out=/w/plan"];
        assert_eq!(terraform().plan(file, 10, false).arguments(), plan);
        assert_eq!(terraform().plan(file, 10, true).arguments().last().unwrap(), "-destroy");
        let apply = ["apply", "-json", "-input=false", "-lock-timeout=60s", "-parallelism=12", "/w/plan"];
        assert_eq!(terraform().apply(file, 12).arguments(), apply);
        assert_eq!(terraform().show(file).arguments(), ["show", "-json", "-no-color", "/w/plan"]);
        assert_eq!(terraform().output().arguments(), ["output", "-json", "-no-color"]);
    }

    #[test]
    fn variables_that_change_commands_do_not_reach_terraform() {
        let context = context(&[
            ("TF_CLI_ARGS", "-no-color"),
            ("TF_CLI_ARGS_plan", "-destroy"),
            ("TF_WORKSPACE", "other"),
            ("TF_CLI_CONFIG_FILE", "/nonexistent"),
            ("TF_VAR_x", "1"),
            (dns::SECRET_VARIABLE, "aHVudGVyMg=="),
            ("TF_PLUGIN_CACHE_DIR", "/cache"),
            ("AGE_SECRET", "s"),
            ("HACTL_SECRET_SUPERUSER", "s"),
        ]);
        let env = terraform().output().environment(&context);
        let names: Vec<_> = env.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "CHECKPOINT_DISABLE",
                "LC_ALL",
                "TF_DATA_DIR",
                "TF_INPUT",
                "TF_IN_AUTOMATION",
                "TF_PLUGIN_CACHE_DIR",
                "TF_REATTACH_PROVIDERS",
                "TF_VAR_x"
            ]
        );
        let set = vec![("SSL_CERT_FILE", "/ca".to_owned())];
        let environment = Environment { set, pass: vec!["AGE_SECRET"], ..Environment::default() };
        let env = Terraform { environment, ..terraform() }.output().environment(&context);
        assert_eq!((env["SSL_CERT_FILE"].as_str(), env["AGE_SECRET"].as_str()), ("/ca", "s"));
        // Of the user's own module everything, but what would change commands, and what is hactl's.
        let environment =
            Environment { set: vec![("TF_WORKSPACE", "prod".to_owned())], everything: true, ..Environment::default() };
        let env = Terraform { environment, ..terraform() }.output().environment(&context);
        let gone = ["TF_CLI_ARGS", "TF_CLI_ARGS_plan", "HACTL_SECRET_SUPERUSER", "TF_DATA_DIR"];
        assert!(gone.iter().all(|name| !env.contains_key(*name)), "{env:?}");
        let kept = ["AGE_SECRET", dns::SECRET_VARIABLE, "TF_REATTACH_PROVIDERS"];
        assert!(kept.iter().all(|name| env.contains_key(*name)) && env["TF_WORKSPACE"] == "prod", "{env:?}");
        // A provider that Terraform starts by itself reads it there.
        let plain = Terraform { reattach: None, ..terraform() };
        assert!(plain.output().environment(&context).contains_key(dns::SECRET_VARIABLE));
    }
}
