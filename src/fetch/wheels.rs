//! Patroni's wheels for the Python of the nodes, which need no package index and no compiler then.

use std::path::{Path, PathBuf};

use super::{
    cache,
    python::{PythonEnvironment, pip, python_environment, requirements},
    tool,
    versions::{Arch, PATRONI, PINNED, Pinned, SOURCES, pinned},
};
use crate::{
    context::Context,
    error::{Error, Result},
    event::{Event, Stage},
    exec::Command,
    model::PythonVersion,
};

/// The levels of the C library that pinned wheels may ask for; the oldest supported release has 2.35.
const LEVELS: [&str; 4] = ["manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014"];

/// A directory with Patroni `version`, its etcd client, PostgreSQL driver and all that they need, cached.
///
/// # Errors
/// When this hactl has no pinned files for that version or that Python, no Python of its own, or when
/// a download fails.
pub async fn patroni_wheels(context: &Context, version: &str, python: PythonVersion, arch: Arch) -> Result<PathBuf> {
    let object = format!("Patroni {version} for Python {python}");
    if version != PATRONI {
        return Err(Error::usage("patroni-version", "download", object)
            .cause(format!("this hactl has pinned files of Patroni {PATRONI} only"))
            .hint(format!("set `patroni: {{version: {PATRONI}}}` in the cluster file, or leave it out")));
    }
    let Some(pins) = pinned(python) else {
        let known: Vec<_> = PINNED.iter().map(|pinned| pinned.python.to_string()).collect();
        return Err(Error::usage("python-version", "download", object)
            .cause(format!("this hactl has pinned files for Python {} only", known.join(", ")))
            .hint("use Debian 12 or 13, or Ubuntu 22.04 or 24.04, on the nodes"));
    };
    let name = format!("{PATRONI}-py{}{}-{arch}", python.major, python.minor);
    let dir = context.dirs.cache.join("patroni").join(name);
    cache::obtain(context, &dir, async |new| make(context, pins, arch, &object, new).await).await
}

async fn make(context: &Context, pins: &Pinned, arch: Arch, object: &str, new: &Path) -> Result<()> {
    let environment = python_environment(context).await?;
    context
        .events
        .emit(Event::Download {
            what: object.to_owned(),
            source: "the package index that pip is set to".to_owned(),
            reason: "every file is pinned by its SHA-256".to_owned(),
        })
        .await;
    let failed = |error: &std::io::Error| Error::failed("cache", "write to the cache", new.display()).source(error);
    let temporary = tempfile::tempdir().map_err(|error| failed(&error))?;
    let wheels = requirements(temporary.path(), "wheels.txt", pins.patroni).map_err(|error| failed(&error))?;
    let sources = requirements(temporary.path(), "sources.txt", SOURCES).map_err(|error| failed(&error))?;
    context.events.step(Stage::Fetch, None, format!("downloading {object}")).await;
    let download = download(&environment, pins.python, arch, &wheels, new);
    tool::run(context, "pip", "download", object, &download).await?;
    // Two of them are published as source only. Both are pure Python: one wheel serves every version.
    tool::run(context, "pip", "build the wheels of", object, &build(&environment, &sources, new)).await?;
    Ok(())
}

fn download(
    environment: &PythonEnvironment,
    python: PythonVersion,
    arch: Arch,
    requirements: &str,
    target: &Path,
) -> Command {
    pip(environment, "download")
        .arg("--only-binary=:all:")
        .args(["--implementation=cp".to_owned(), format!("--python-version={python}")])
        .args(LEVELS.iter().map(|level| format!("--platform={level}_{}", arch.machine())))
        .args(["-d".to_owned(), target.display().to_string(), "-r".to_owned(), requirements.to_owned()])
}

fn build(environment: &PythonEnvironment, requirements: &str, target: &Path) -> Command {
    pip(environment, "wheel")
        // With the environment's own pinned setuptools instead of whatever is newest.
        .args(["--no-build-isolation", "--no-binary=:all:"])
        .args(["-w".to_owned(), target.display().to_string(), "-r".to_owned(), requirements.to_owned()])
        // The same bytes whenever it is built.
        .env("SOURCE_DATE_EPOCH", "946684800")
}
