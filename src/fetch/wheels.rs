//! Patroni's wheels for the Python of the nodes, which need no package index and no compiler then.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    cache,
    lock::{LockFile, Wheel, Wheels},
    python::{INDEX, PythonEnvironment, pip, python_environment, requirements, resolving_pip},
    sum::Sum,
    tool,
    versions::{PATRONI, PINNED, Pinned, SOURCES, pinned},
};
use crate::{
    context::Context,
    env,
    error::{Error, Result},
    event::{Event, Stage},
    exec::Command,
    model::{Arch, PythonVersion},
};

/// The levels of the C library that pinned wheels may ask for; the oldest supported release has 2.35.
const LEVELS: [&str; 4] = ["manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014"];

/// A directory with Patroni `version`, its etcd client, PostgreSQL driver and all that they need, cached.
/// Of a version that this hactl does not pin, the sums are those of `lock`, or are resolved and kept there.
///
/// # Errors
/// When this hactl has no pinned files for that Python, no Python of its own, when a download fails, or
/// when a file has another sum than it must have.
pub async fn patroni_wheels(
    context: &Context,
    version: &str,
    python: PythonVersion,
    arch: Arch,
    lock: &LockFile,
) -> Result<PathBuf> {
    let what = format!("Patroni {version} for Python {python}");
    let Some(pins) = pinned(python) else {
        let known: Vec<_> = PINNED.iter().map(|pinned| pinned.python.to_string()).collect();
        return Err(Error::usage("python-version", "download", what)
            .cause(format!("this hactl has pinned files for Python {} only", known.join(", ")))
            .hint("Use Debian 12 or 13, or Ubuntu 22.04 or 24.04, on the machines"));
    };
    let name = format!("{version}-py{}{}-{arch}", python.major, python.minor);
    let dir = |mark: &str| context.dirs.cache.join("patroni").join(format!("{name}{mark}"));
    if version == PATRONI {
        let wanted =
            WheelRequest { python, arch, what, text: pins.patroni.to_owned(), pinned_in: "this hactl".to_owned() };
        return cache::obtain(context, &dir(""), async |new| make(context, &wanted, new).await).await;
    }
    let wheels = match lock.wheels(version, python) {
        Some(wheels) => wheels,
        None => {
            let wheels = resolve(context, version, pins, &what, lock).await?;
            lock.keep_wheels(version, python, wheels.clone())?;
            wheels
        }
    };
    let text = requirement_text(&wheels);
    let mark = format!("-{}", Sum::from(&Sha256::digest(&text)[..]).short());
    let wanted = WheelRequest { python, arch, what, text, pinned_in: lock.name() };
    let made = cache::obtain(context, &dir(&mark), async |new| make(context, &wanted, new).await).await;
    made.map_err(|error| lock.explain(error, &format!("patroni {version}, Python {python}")))
}

/// Wheels whose sums are known.
struct WheelRequest {
    python: PythonVersion,
    arch: Arch,
    what: String,
    /// A requirement file with every sum.
    text: String,
    /// Where the sums are kept.
    pinned_in: String,
}

async fn make(context: &Context, wanted: &WheelRequest, new: &Path) -> Result<()> {
    let (environment, what) = (python_environment(context).await?, &wanted.what);
    say(context, what, format!("every file is pinned by its SHA-256 in {}", wanted.pinned_in)).await;
    let failed = |error: &io::Error| Error::failed("cache", "write to the cache", new.display()).source(error);
    let scratch = tempfile::tempdir().map_err(|error| failed(&error))?;
    let wheels = requirements(scratch.path(), "wheels.txt", &wanted.text).map_err(|error| failed(&error))?;
    context.events.step(Stage::Fetch, None, format!("downloading {what}")).await;
    let download = for_nodes(pip(&environment, "download"), wanted.python, wanted.arch, new).args(["-r", &wheels]);
    tool::run(context, "pip", "download", what, &download).await?;
    build_sources(context, &environment, what, scratch.path(), new).await
}

/// Lets pip find what Patroni `version` needs, for every architecture. Of everything but Patroni the
/// versions are those that hactl pins, where it pins one.
async fn resolve(context: &Context, version: &str, pins: &Pinned, what: &str, lock: &LockFile) -> Result<Wheels> {
    let environment = python_environment(context).await?;
    say(context, what, format!("not pinned in this hactl: resolved by pip; the result is kept in {}", lock.name()))
        .await;
    let failed = |error: &io::Error| Error::failed("cache", "resolve the wheels of", what).source(error);
    let scratch = tempfile::tempdir().map_err(|error| failed(&error))?;
    let (built, found) = (scratch.path().join("built"), scratch.path().join("found"));
    build_sources(context, &environment, what, scratch.path(), &built).await?;
    let others = pins_in(pins.patroni).into_iter().filter(|pin| !pin.starts_with("patroni=="));
    let constraints: String = others.chain(pins_in(SOURCES)).map(|pin| format!("{pin}\n")).collect();
    let constraints = requirements(scratch.path(), "constraints.txt", &constraints).map_err(|error| failed(&error))?;
    for arch in Arch::ALL {
        let step = format!("resolving what Patroni {version} needs on {arch}");
        context.events.step(Stage::Fetch, None, step).await;
        let download = for_nodes(resolving_pip(&environment, "download"), pins.python, arch, &found)
            .args(["--find-links".to_owned(), built.display().to_string(), "-c".to_owned(), constraints.clone()])
            .args([format!("patroni[etcd3]=={version}"), "psycopg[binary]".to_owned()])
            .args(missed_by(environment.version(), pins));
        tool::run(context, "pip", "resolve", what, &download).await.map_err(|error| not_there(error, version))?;
    }
    wheels_in(&found).map_err(|error| failed(&error))
}

async fn say(context: &Context, what: &str, reason: String) {
    context.events.emit(Event::Download { what: what.to_owned(), source: INDEX.to_owned(), reason }).await;
}

fn not_there(error: Error, version: &str) -> Error {
    let missing = format!("No matching distribution found for patroni[etcd3]=={version}");
    if error.causes.iter().any(|cause| cause.contains(&missing)) {
        return error.hint("Set `patroni.version` in the cluster file to a released version");
    }
    error
}

/// A call of pip that takes files for a node instead of this machine.
fn for_nodes(pip: Command, python: PythonVersion, arch: Arch, target: &Path) -> Command {
    pip.arg("--only-binary=:all:")
        .args(["--implementation=cp".to_owned(), format!("--python-version={python}")])
        .args(LEVELS.iter().map(|level| format!("--platform={level}_{}", arch.machine())))
        .args(["-d".to_owned(), target.display().to_string()])
}

/// `NAME==VERSION` of everything in a requirement file.
fn pins_in(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.contains("==") && !line.starts_with('#'))
        .filter_map(|line| line.split(' ').next())
        .collect()
}

/// Packages that the nodes' Python needs, and that pip does not see where it runs in another one: pip
/// reads the conditions of a requirement by the interpreter that it runs in.
fn missed_by(controller: PythonVersion, pins: &Pinned) -> Vec<String> {
    let names = |pins: &Pinned| -> BTreeSet<String> {
        pins_in(pins.patroni).into_iter().filter_map(|pin| Some(pin.split_once("==")?.0.to_owned())).collect()
    };
    let seen = pinned(controller).map(names).unwrap_or_default();
    names(pins).difference(&seen).cloned().collect()
}

/// The wheels in `dir`, without those that hactl builds from pinned sources.
fn wheels_in(dir: &Path) -> io::Result<Wheels> {
    let sources = pins_in(SOURCES);
    let mut wheels = Wheels::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let Some((name, version)) = name_and_version(&file) else { continue };
        if sources.iter().any(|pin| pin.split_once("==").is_some_and(|(source, _)| source == name)) {
            continue;
        }
        let sum = cache::sha256(&entry.path())?;
        wheels.entry(name).or_insert_with(|| Wheel { version, files: Default::default() }).files.insert(file, sum);
    }
    Ok(wheels)
}

/// The project and its version in the name of a wheel.
fn name_and_version(file: &str) -> Option<(String, String)> {
    let mut parts = file.strip_suffix(".whl")?.split('-');
    Some((parts.next()?.replace('_', "-").to_lowercase(), parts.next()?.to_owned()))
}

fn requirement_text(wheels: &Wheels) -> String {
    let line = |(name, wheel): (&String, &Wheel)| {
        let sums: String = wheel.files.values().map(|sum| format!(" --hash=sha256:{sum}")).collect();
        format!("{name}=={}{sums}\n", wheel.version)
    };
    wheels.iter().map(line).collect()
}

/// Builds into `target` the wheels of what is published as source only. These are pure Python: one serves
/// every version.
async fn build_sources(
    context: &Context,
    environment: &PythonEnvironment,
    what: &str,
    scratch: &Path,
    target: &Path,
) -> Result<()> {
    let sources = requirements(scratch, "sources.txt", SOURCES)
        .map_err(|error| Error::failed("cache", "build the wheels of", what).source(&error))?;
    tool::run(context, "pip", "build the wheels of", what, &build(environment, &sources, target)).await?;
    Ok(())
}

fn build(environment: &PythonEnvironment, requirements: &str, target: &Path) -> Command {
    pip(environment, "wheel")
        // With the environment's own pinned setuptools instead of whatever is newest.
        .args(["--no-build-isolation", "--no-binary=:all:"])
        .args(["-w".to_owned(), target.display().to_string(), "-r".to_owned(), requirements.to_owned()])
        // The same bytes whenever it is built.
        .env(env::SOURCE_DATE_EPOCH, "946684800")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(minor: u8) -> PythonVersion {
        PythonVersion { major: 3, minor }
    }

    #[test]
    fn wheels_are_identified_by_their_file_names() {
        let temp = tempfile::tempdir().unwrap();
        for file in [
            "psycopg_binary-3.3.9-cp311-cp311-manylinux_2_17_x86_64.whl",
            "psycopg_binary-3.3.9-cp311-cp311-manylinux_2_17_aarch64.whl",
            "patroni-4.1.4-py3-none-any.whl",
            "ydiff-1.4.2-py3-none-any.whl",
        ] {
            fs::write(temp.path().join(file), file).unwrap();
        }
        let wheels = wheels_in(temp.path()).unwrap();
        assert_eq!(wheels.keys().collect::<Vec<_>>(), ["patroni", "psycopg-binary"]);
        assert_eq!(wheels["psycopg-binary"].files.len(), 2);
        let text = requirement_text(&wheels);
        assert_eq!(pins_in(&text), ["patroni==4.1.4", "psycopg-binary==3.3.9"]);
        assert_eq!(text.matches(" --hash=sha256:").count(), 3);
    }

    #[test]
    fn packages_that_only_the_node_python_needs_are_requested_by_name() {
        let pins = |minor| pinned(python(minor)).unwrap();
        assert_eq!(missed_by(python(11), pins(11)), [""; 0]);
        assert_eq!(missed_by(python(13), pins(11)), ["typing-extensions"]);
        assert!(pins_in(SOURCES).iter().any(|pin| pin.starts_with("ydiff==")));
    }
}
