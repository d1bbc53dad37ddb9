//! etcd, etcdctl and etcdutl of one version, from the first source that is available and can be checked.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    cache,
    go_module::GoModule,
    http,
    lock::LockFile,
    sum::Sum,
    tool,
    unpack::{self, Archive},
    versions,
};
use crate::{
    context::Context,
    env,
    error::{Error, Kind, Result, codes},
    event::{Event, Stage},
    exec::Command,
    model::{Arch, EtcdSource, EtcdVersion},
};

/// The programs that the directory holds.
const PROGRAMS: [&str; 3] = ["etcd", "etcdctl", "etcdutl"];

/// Where the project has its releases.
const RELEASES: &str = "https://github.com/etcd-io/etcd/releases/download";

/// Where sources of a build come from, for messages.
const PROXY: &str = "the Go module proxy";

/// The oldest Go that understands a module file which names a newer one, and can fetch it.
const OLDEST_GO: u32 = 21;

/// A directory with the three programs of etcd, cached. Sources in order: the archive that is given; the
/// project's release, from the mirror that is given or its own server; a build from the Go module proxy.
/// Of the last two, what the cache or `lock` has goes before what would have to be resolved.
///
/// # Errors
/// When the given archive is not available, when a file does not have its known sum, when Go is
/// missing or too old, or when the build fails.
pub async fn etcd(
    context: &Context,
    version: EtcdVersion,
    arch: Arch,
    source: Option<&EtcdSource>,
    lock: &LockFile,
) -> Result<PathBuf> {
    let wanted = EtcdRequest { context, version, arch, lock };
    let server = match source {
        Some(EtcdSource::Archive { location, sha256 }) => {
            return wanted.archive(Archive::new(location, sha256)?, "the cluster file names it").await;
        }
        Some(EtcdSource::Mirror(address)) => address,
        None => RELEASES,
    };
    if let Some(dir) = wanted.cached().await {
        return Ok(dir);
    }
    if let Some(dir) = wanted.released(server).await? {
        return Ok(dir);
    }
    wanted.built().await
}

/// Something whose sums are known, and whether by the lock file instead of by hactl itself.
struct Summed<T> {
    what: T,
    locked: bool,
}

impl<T> Summed<T> {
    const fn new(what: T, locked: bool) -> Self {
        Self { what, locked }
    }
}

struct EtcdRequest<'a> {
    context: &'a Context,
    version: EtcdVersion,
    arch: Arch,
    lock: &'a LockFile,
}

impl EtcdRequest<'_> {
    fn what(&self) -> String {
        format!("etcd {} for {}", self.version, self.arch)
    }

    async fn say(&self, source: &str, reason: impl Into<String>) {
        let (what, source, reason) = (self.what(), source.to_owned(), reason.into());
        self.context.events.emit(Event::Download { what, source, reason }).await;
    }

    /// The directory in the cache; `mark` tells apart what comes from elsewhere.
    fn dir(&self, mark: &str) -> PathBuf {
        self.context.dirs.cache.join("etcd").join(format!("{}-{}{mark}", self.version, self.arch))
    }

    async fn archive(&self, archive: Archive, reason: &str) -> Result<PathBuf> {
        let dir = self.release_dir(&archive.sum);
        let make = async |new: &Path| {
            self.say(&archive.location, reason).await;
            unpack::unpack(self.context, &archive, &PROGRAMS, new).await
        };
        cache::obtain(self.context, &dir, make).await
    }

    /// The project's release; none where it is not available, and an event then says why. The server is
    /// asked for one file that may be missing, so that one that does not answer costs seconds, once.
    async fn released(&self, server: &str) -> Result<Option<PathBuf>> {
        let (version, arch) = (self.version, self.arch);
        let file = |arch| format!("etcd-v{version}-linux-{arch}.tar.gz");
        let location = format!("{server}/v{version}/{}", file(arch));
        let archive = |sum| Archive { location: location.clone(), sum };
        let found = match self.known_release() {
            Some(Summed { what: sum, locked }) => {
                let reason = format!("its SHA-256 is in {}", self.keeper(locked));
                let found = self.archive(archive(sum), &reason).await;
                found.map_err(|error| self.explain(error, locked, &format!("release, {arch}")))
            }
            // What was resolved once stays.
            None if self.lock.etcd_build(version).is_some() => return Ok(None),
            None => self.resolve_release(server, file, archive).await,
        };
        match found {
            Err(error) if error.code == codes::FETCH => {
                self.say(&location, format!("not used: {}", error.causes.join(": "))).await;
                Ok(None)
            }
            done => done.map(Some),
        }
    }

    /// The release by the sums that its server has. They are kept once the archive was found to have one.
    async fn resolve_release(
        &self,
        server: &str,
        file: impl Fn(Arch) -> String,
        archive: impl Fn(Sum) -> Archive,
    ) -> Result<PathBuf> {
        let url = format!("{server}/v{}/SHA256SUMS", self.version);
        let text = http::text(self.context, &url).await?;
        let sums: BTreeMap<_, _> =
            Arch::ALL.into_iter().filter_map(|arch| Some((arch, listed(&text, &file(arch))?))).collect();
        let Some(sum) = sums.get(&self.arch) else {
            return Err(
                Error::failed(codes::FETCH, "use", url).cause(format!("it lists no checksum for {}", file(self.arch)))
            );
        };
        let reason = format!("its SHA-256 comes from the release's SHA256SUMS and is kept in {}", self.lock.name());
        let dir = self.archive(archive(sum.clone()), &reason).await?;
        self.lock.keep_etcd_release(self.version, sums)?;
        Ok(dir)
    }

    fn known_release(&self) -> Option<Summed<Sum>> {
        let pinned = versions::etcd_release(self.version, self.arch).map(|sum| Summed::new(sum, false));
        pinned.or_else(|| Some(Summed::new(self.lock.etcd_release(self.version, self.arch)?, true)))
    }

    fn known_build(&self) -> Option<Summed<GoModule>> {
        let pinned = versions::etcd_module(self.version).map(|module| Summed::new(module, false));
        pinned.or_else(|| Some(Summed::new(self.lock.etcd_build(self.version)?, true)))
    }

    /// What an earlier run fetched or built: hactl then asks no server.
    async fn cached(&self) -> Option<PathBuf> {
        let release = self.known_release().map(|known| self.release_dir(&known.what));
        let build = self.known_build().map(|known| self.build_dir(&known));
        for dir in [release, build].into_iter().flatten() {
            if cache::is_whole(&dir).await {
                return Some(dir);
            }
        }
        None
    }

    fn release_dir(&self, sum: &Sum) -> PathBuf {
        self.dir(&format!("-{}", sum.short()))
    }

    fn build_dir(&self, known: &Summed<GoModule>) -> PathBuf {
        if !known.locked {
            return self.dir("");
        }
        let GoModule { go_mod, go_sum } = &known.what;
        let digest = Sha256::new().chain_update(go_mod).chain_update(go_sum).finalize();
        self.dir(&format!("-{}", Sum::from(&digest[..]).short()))
    }

    /// Who knows a sum.
    fn keeper(&self, locked: bool) -> String {
        if locked { self.lock.name() } else { "this hactl".to_owned() }
    }

    fn explain(&self, error: Error, locked: bool, part: &str) -> Error {
        if locked { self.lock.explain(error, &format!("etcd {}, {part}", self.version)) } else { error }
    }

    /// A build from the Go module proxy.
    async fn built(&self) -> Result<PathBuf> {
        let known = match self.known_build() {
            Some(known) => known,
            None => Summed::new(self.resolve_build().await?, true),
        };
        let make = async |new: &Path| {
            let reason = format!("built here; every source is pinned in {}", self.keeper(known.locked));
            self.say(PROXY, reason).await;
            self.build(&known.what, new).await
        };
        let built = cache::obtain(self.context, &self.build_dir(&known), make).await;
        built.map_err(|error| self.explain(error, known.locked, "build"))
    }

    /// Lets Go find what the build of this version takes, and keeps it.
    async fn resolve_build(&self) -> Result<GoModule> {
        let reason = format!("resolved by Go; the result is kept in {}", self.lock.name());
        self.say(PROXY, reason).await;
        check_go(self.context, self.version).await?;
        let what = self.what();
        let failed = |error: &std::io::Error| Error::failed("cache", "resolve the modules of", &what).source(error);
        let dir = scratch().map_err(|error| failed(&error))?;
        // An old version of Go is named, so that the result does not depend on that of this machine.
        let empty = format!("module hactl.local/etcd\n\ngo 1.{OLDEST_GO}\n");
        fs::write(dir.path().join("go.mod"), empty).map_err(|error| failed(&error))?;
        let get = go(dir.path(), self.arch)
            .args(["get", "-tool"])
            .args(packages().iter().map(|package| format!("{package}@v{}", self.version)));
        self.context.events.step(Stage::Fetch, None, format!("resolving the modules of etcd {}", self.version)).await;
        tool::run(self.context, "go", "resolve the modules of", &what, &get).await?;
        let read = |name| fs::read_to_string(dir.path().join(name)).map_err(|error| failed(&error));
        let module = GoModule { go_mod: read("go.mod")?, go_sum: read("go.sum")? };
        self.lock.keep_etcd_build(self.version, module.clone())?;
        Ok(module)
    }

    async fn build(&self, module: &GoModule, new: &Path) -> Result<()> {
        check_go(self.context, self.version).await?;
        let what = self.what();
        let failed = |error: &std::io::Error| Error::failed("cache", "write the build of", &what).source(error);
        let dir = scratch().map_err(|error| failed(&error))?;
        for (name, text) in [("go.mod", &module.go_mod), ("go.sum", &module.go_sum)] {
            fs::write(dir.path().join(name), text).map_err(|error| failed(&error))?;
        }
        self.context.events.step(Stage::Fetch, None, format!("building etcd {}", self.version)).await;
        let build = go_build(dir.path(), self.arch, &packages(), new);
        tool::run(self.context, "go", "build", &what, &build).await?;
        // Go names a program after its package; the server's is the daemon.
        fs::rename(new.join("server"), new.join("etcd")).map_err(|error| failed(&error))
    }
}

/// The sum of `file` in the text of a SHA256SUMS.
fn listed(text: &str, file: &str) -> Option<Sum> {
    text.lines().find_map(|line| {
        let (sum, name) = line.split_once(char::is_whitespace)?;
        // The asterisk marks a binary file.
        (name.trim().trim_start_matches('*') == file).then(|| sum.parse().ok())?
    })
}

fn packages() -> [String; 3] {
    ["server", "etcdctl", "etcdutl"].map(|part| format!("go.etcd.io/etcd/{part}/v3"))
}

fn scratch() -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("hactl-etcd-").tempdir()
}

/// A call of go in `dir`, for `arch`. The user's proxy, checksum database and caches stay in force.
fn go(dir: &Path, arch: Arch) -> Command {
    Command::new("go")
        .dir(dir)
        .pass(&[
            env::GOPROXY,
            env::GONOPROXY,
            env::GOPRIVATE,
            env::GOSUMDB,
            env::GONOSUMDB,
            env::GOFLAGS,
            env::GOENV,
            env::GOTOOLCHAIN,
            env::GOROOT,
            env::GOPATH,
            env::GOMODCACHE,
            env::GOCACHE,
            env::GOTMPDIR,
            env::GOAUTH,
            env::NETRC,
        ])
        .env(env::CGO_ENABLED, "0")
        .env(env::GOOS, "linux")
        .env(env::GOARCH, arch.as_str())
        // A workspace file somewhere above must not take part.
        .env(env::GOWORK, "off")
}

fn go_build(dir: &Path, arch: Arch, packages: &[String], target: &Path) -> Command {
    go(dir, arch)
        // Nothing of this machine's paths gets into the programs, and nothing is resolved again.
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o"])
        .arg(format!("{}/", target.display()))
        .args(packages.iter().map(String::as_str))
}

async fn check_go(context: &Context, version: EtcdVersion) -> Result<()> {
    let missing = |cause: String| {
        Error::missing("go-missing", "build", format!("etcd {version}")).cause(cause).hint(
            "Set `etcd.mirror` or `etcd.archive` in the cluster file to the location of its release, or install \
                 Go 1.26 or newer (https://go.dev/dl) and add it to PATH; then run the same command again",
        )
    };
    // Outside of any module, so that no file's wish for another version takes effect.
    let probe = Command::new("go").args(["env", "GOVERSION"]).env(env::GOTOOLCHAIN, "local").dir("/");
    let done = match probe.run(context, |_| ()).await {
        Ok(done) => done,
        Err(error) if error.kind == Kind::Missing => return Err(missing("go is not on this machine".to_owned())),
        Err(error) => return Err(error),
    };
    let found = done.stdout.trim();
    match minor_of_go(found) {
        Some(minor) if minor >= OLDEST_GO => Ok(()),
        _ => Err(missing(format!("the installed go is `{found}`; the build needs 1.{OLDEST_GO} or newer"))),
    }
}

/// The minor version in `go1.26.8`.
fn minor_of_go(text: &str) -> Option<u32> {
    let rest = text.strip_prefix("go1.")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcd_build_uses_readonly_modules_and_pinned_arguments() {
        let command = go_build(Path::new("/m"), Arch::Arm64, &["a".into(), "b".into()], Path::new("/out"));
        assert_eq!(
            command.arguments(),
            ["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", "/out/", "a", "b"]
        );
    }

    #[test]
    fn checksum_is_found_by_the_whole_file_name() {
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let text =
            format!("{one}  etcd-v3.6.1-linux-amd64.tar.gz\r\n{two} *etcd-v3.6.1-linux-arm64.tar.gz\n12  short\n");
        let found = |file| listed(&text, file).map(|sum| sum.to_string());
        assert_eq!(found("etcd-v3.6.1-linux-amd64.tar.gz"), Some(one));
        assert_eq!(found("etcd-v3.6.1-linux-arm64.tar.gz"), Some(two));
        for missing in ["etcd-v3.6.1-linux-ppc64le.tar.gz", "amd64.tar.gz", "short"] {
            assert_eq!(found(missing), None);
        }
        assert_eq!(listed("<!DOCTYPE html>\n<html>", "short"), None);
    }

    #[test]
    fn go_minor_version_is_parsed() {
        for (text, minor) in [("go1.26.8", Some(26)), ("go1.19", Some(19)), ("go1.27rc1", Some(27)), ("", None)] {
            assert_eq!(minor_of_go(text), minor, "{text}");
        }
    }
}
