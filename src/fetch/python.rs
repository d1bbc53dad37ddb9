//! hactl's own Python environment: ansible-core, Mitogen and pip, pinned with hashes, created on first use.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    cache, tool,
    versions::{PINNED, Pinned, pinned},
};
use crate::{
    context::Context,
    env,
    error::{Error, Kind, Result},
    event::{Event, Stage},
    exec::Command,
    model::PythonVersion,
};

/// Interpreters in the order in which they are tried.
const INTERPRETERS: [&str; 5] = ["python3", "python3.13", "python3.12", "python3.11", "python3.10"];

/// Where pip takes packages from, for messages.
pub(super) const INDEX: &str = "the package index that pip is set to";

/// The last thing written into an environment. It holds the environment's path: environments cannot be
/// moved, so one that was moved with its cache is made again.
const COMPLETE: &str = ".complete";

/// A virtual environment that is there and whole.
#[derive(Clone, Debug)]
pub struct PythonEnvironment {
    dir: PathBuf,
    version: PythonVersion,
}

impl PythonEnvironment {
    #[must_use]
    pub fn python(&self) -> PathBuf {
        self.dir.join("bin/python")
    }

    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    pub(super) const fn version(&self) -> PythonVersion {
        self.version
    }

    /// Where its packages lie.
    #[must_use]
    pub fn site_packages(&self) -> PathBuf {
        self.dir.join(format!("lib/python{}/site-packages", self.version))
    }
}

/// The environment for the Python at hand, made where it is not there yet.
///
/// # Errors
/// When no fitting Python is on this machine, or its packages cannot be downloaded.
pub async fn python_environment(context: &Context) -> Result<PythonEnvironment> {
    let (interpreter, pins) = find_python(context).await?;
    let digest: String =
        Sha256::digest(pins.ansible.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let dir = context.dirs.cache.join("ansible").join(format!("{digest}-py{}", pins.python));
    let environment = PythonEnvironment { dir, version: pins.python };
    if is_complete(&environment) {
        return Ok(environment);
    }
    let _lock = cache::lock(context, &environment.dir).await?;
    if !is_complete(&environment) {
        make(context, interpreter, pins, &environment).await?;
    }
    Ok(environment)
}

fn is_complete(environment: &PythonEnvironment) -> bool {
    let dir = &environment.dir;
    // The interpreter is a link: it dangles when the system's Python went away.
    fs::read(dir.join(COMPLETE)).is_ok_and(|path| path == dir.as_os_str().as_encoded_bytes())
        && environment.python().exists()
}

async fn make(context: &Context, interpreter: &str, pins: &Pinned, environment: &PythonEnvironment) -> Result<()> {
    let dir = &environment.dir;
    let object = dir.display().to_string();
    let failed = |error: &io::Error| Error::failed("cache", "write to the cache", &object).source(error);
    context
        .events
        .emit(Event::Download {
            what: "ansible-core and Mitogen".to_owned(),
            source: INDEX.to_owned(),
            reason: "first use with this Python; every file is pinned by its SHA-256".to_owned(),
        })
        .await;
    context.events.step(Stage::Fetch, None, "creating the Python environment").await;
    // Made in place, since it cannot be moved; `--clear` empties what an interrupted run left.
    let venv = Command::new(interpreter).args(["-m", "venv", "--clear"]).arg(object.as_str());
    tool::run(context, "venv", "create the Python environment", &object, &venv).await?;
    let requirements = dir.join("requirements.txt");
    fs::write(&requirements, pins.ansible).map_err(|error| failed(&error))?;
    let install =
        pip(environment, "install").arg("--only-binary=:all:").arg("-r").arg(requirements.display().to_string());
    context.events.step(Stage::Fetch, None, "downloading ansible-core and Mitogen").await;
    tool::run(context, "pip", "download ansible-core and Mitogen into", &object, &install).await?;
    fs::write(dir.join(COMPLETE), dir.as_os_str().as_encoded_bytes()).map_err(|error| failed(&error))
}

/// A call of pip that takes only what is pinned.
pub(super) fn pip(environment: &PythonEnvironment, subcommand: &str) -> Command {
    resolving_pip(environment, subcommand).args(["--require-hashes", "--no-deps"])
}

/// A call of pip that finds out what is needed. The user's settings (`PIP_*`, pip.conf) stay in force.
pub(super) fn resolving_pip(environment: &PythonEnvironment, subcommand: &str) -> Command {
    Command::new(environment.python())
        .args(["-m", "pip", subcommand, "--no-input", "--progress-bar=off", "--disable-pip-version-check"])
        .pass_prefix(env::PIP_)
        // Meant for installing outside of environments; here it would only fail.
        .env(env::PIP_USER, "0")
}

/// The Python of this machine that Ansible will run on.
///
/// # Errors
/// Of kind `Missing` when there is none that hactl has pinned packages for.
pub async fn controller_python(context: &Context) -> Result<PythonVersion> {
    Ok(find_python(context).await?.1.python)
}

/// The first interpreter that hactl has pinned packages for.
async fn find_python(context: &Context) -> Result<(&'static str, &'static Pinned)> {
    let mut found = Vec::new();
    for interpreter in INTERPRETERS {
        // Debian has the modules of virtual environments in a package of their own.
        let probe = "import sys; print('%d.%d' % sys.version_info[:2]); import venv, ensurepip";
        let done = match Command::new(interpreter).args(["-c", probe]).run(context, |_| ()).await {
            Ok(done) => done,
            Err(error) if error.kind == Kind::Missing => continue,
            Err(error) => return Err(error),
        };
        let Some(version) = done.stdout.lines().next().and_then(|line| line.parse::<PythonVersion>().ok()) else {
            let said = done.tail.last().map(|line| format!(": {line}")).unwrap_or_default();
            found.push(format!("{interpreter} exists, but does not run{said}"));
            continue;
        };
        match pinned(version) {
            Some(pins) if done.status.success() => return Ok((interpreter, pins)),
            Some(_) => found.push(format!("{interpreter} is {version}, without the modules venv and ensurepip")),
            None => found.push(format!("{interpreter} is {version}")),
        }
    }
    let (oldest, newest) = (PINNED[0].python, PINNED[PINNED.len() - 1].python);
    let cause = if found.is_empty() { "no directory of PATH has `python3`".to_owned() } else { found.join("; ") };
    Err(Error::missing("python-missing", "create the Python environment of", "Ansible").cause(cause).hint(format!(
        "Install Python {oldest} to {newest} with virtual environments (`apt-get install python3 python3-venv`), then \
         run the same command again"
    )))
}

/// Writes a requirement file for one call of pip.
pub(super) fn requirements(dir: &Path, name: &str, text: &str) -> io::Result<String> {
    let path = dir.join(name);
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}
