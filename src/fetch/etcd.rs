//! etcd, etcdctl and etcdutl of one version, from the first source that can be had and checked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    archive::{self, Archive},
    cache, tool,
    versions::{Arch, etcd_module, etcd_release_sha256},
};
use crate::{
    context::Context,
    error::{Error, Kind, Result},
    event::{Event, Stage},
    exec::Command,
    model::EtcdVersion,
};

/// The programs that the directory holds.
const PROGRAMS: [&str; 3] = ["etcd", "etcdctl", "etcdutl"];

/// The oldest Go that understands a module file which names a newer one, and can fetch it.
const OLDEST_GO: u32 = 21;

/// A directory with the three programs of etcd, cached. Sources in order: the archive that is given,
/// the project's release where its sum is pinned, a build from the Go module proxy.
///
/// # Errors
/// When the given archive cannot be had or has another sum, when Go is missing or too old, or when the
/// build fails.
pub async fn etcd(context: &Context, version: EtcdVersion, arch: Arch, given: Option<&Archive>) -> Result<PathBuf> {
    // An archive that is given is one of its own, also in the cache.
    let mark = given.map(|archive| format!("-{:.16}", archive.sha256())).unwrap_or_default();
    let dir = context.dirs.cache.join("etcd").join(format!("{version}-{arch}{mark}"));
    cache::obtain(context, &dir, async |new| make(context, version, arch, given, new).await).await
}

async fn make(context: &Context, version: EtcdVersion, arch: Arch, given: Option<&Archive>, new: &Path) -> Result<()> {
    let what = format!("etcd {version} for {arch}");
    let download = async |source: &str, reason: &str| {
        let (what, source, reason) = (what.clone(), source.to_owned(), reason.to_owned());
        context.events.emit(Event::Download { what, source, reason }).await;
    };
    if let Some(archive) = given {
        download(archive.location(), "the cluster file names it").await;
        return archive::unpack(context, archive, &PROGRAMS, new).await;
    }
    let url =
        format!("https://github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-{arch}.tar.gz");
    if let Some(sha256) = etcd_release_sha256(version, arch) {
        download(&url, "its SHA-256 is pinned in this hactl").await;
        let released = archive::unpack(context, &Archive::new(url.as_str(), sha256)?, &PROGRAMS, new).await;
        match released {
            Err(error) if error.kind == Kind::Failed => {
                let message = format!("the release of {what} cannot be used: {}", error.causes.join(": "));
                context.events.warn("release-unavailable", message, None).await;
            }
            done => return done,
        }
    } else {
        download(&url, "not used: this hactl pins no SHA-256 of it").await;
    }
    let reason = match etcd_module(version) {
        Some(_) => "built here; every source is pinned in this hactl",
        None => "built here; sources are checked against Go's checksum database",
    };
    download("the Go module proxy", reason).await;
    build(context, version, arch, new).await
}

async fn build(context: &Context, version: EtcdVersion, arch: Arch, new: &Path) -> Result<()> {
    check_go(context, version).await?;
    let object = format!("etcd {version} for {arch}");
    let failed = |error: &std::io::Error| Error::failed("cache", "write the build of", &object).source(error);
    let dir = tempfile::Builder::new().prefix("hactl-etcd-").tempdir().map_err(|error| failed(&error))?;
    let packages = ["server", "etcdctl", "etcdutl"].map(|part| format!("go.etcd.io/etcd/{part}/v3"));
    context.events.step(Stage::Fetch, None, format!("building etcd {version}")).await;
    if let Some(module) = etcd_module(version) {
        fs::write(dir.path().join("go.mod"), module.go_mod).map_err(|error| failed(&error))?;
        fs::write(dir.path().join("go.sum"), module.go_sum).map_err(|error| failed(&error))?;
    } else {
        let init = go(dir.path(), arch).args(["mod", "init", "hactl.local/etcd"]);
        tool::run(context, "go", "prepare the build of", &object, &init).await?;
        let get = go(dir.path(), arch)
            .args(["get", "-tool"])
            .args(packages.iter().map(|package| format!("{package}@v{version}")));
        tool::run(context, "go", "resolve the modules of", &object, &get).await?;
    }
    tool::run(context, "go", "build", &object, &go_build(dir.path(), arch, &packages, new)).await?;
    // Go names a program after its package; the server's is the daemon.
    fs::rename(new.join("server"), new.join("etcd")).map_err(|error| failed(&error))
}

/// A call of go in `dir`, for `arch`. The user's proxy, checksum database and caches stay in force.
fn go(dir: &Path, arch: Arch) -> Command {
    Command::new("go")
        .dir(dir)
        .pass(&[
            "GOPROXY",
            "GONOPROXY",
            "GOPRIVATE",
            "GOSUMDB",
            "GONOSUMDB",
            "GOFLAGS",
            "GOENV",
            "GOTOOLCHAIN",
            "GOROOT",
            "GOPATH",
            "GOMODCACHE",
            "GOCACHE",
            "GOTMPDIR",
            "GOAUTH",
            "NETRC",
        ])
        .env("CGO_ENABLED", "0")
        .env("GOOS", "linux")
        .env("GOARCH", arch.as_str())
        // A workspace file somewhere above must not take part.
        .env("GOWORK", "off")
}

fn go_build(dir: &Path, arch: Arch, packages: &[String], target: &Path) -> Command {
    go(dir, arch)
        // Nothing of this machine's paths gets into the programs, and nothing is resolved anew.
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o"])
        .arg(format!("{}/", target.display()))
        .args(packages.iter().map(String::as_str))
}

async fn check_go(context: &Context, version: EtcdVersion) -> Result<()> {
    let missing = |cause: String| {
        Error::missing("go-missing", "build", format!("etcd {version}"))
            .cause(cause)
            .hint("install Go 1.26 or newer (https://go.dev/dl) and put it on PATH, then run the same command again")
    };
    // Outside of any module, so that no file's wish for another version takes effect.
    let probe = Command::new("go").args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").dir("/");
    let done = match probe.run(context, |_| ()).await {
        Ok(done) => done,
        Err(error) if error.kind == Kind::Missing => return Err(missing("go is not on this machine".to_owned())),
        Err(error) => return Err(error),
    };
    let found = done.stdout.trim();
    match minor_of_go(found) {
        Some(minor) if minor >= OLDEST_GO => Ok(()),
        _ => Err(missing(format!("go is `{found}`: 1.{OLDEST_GO} is the oldest that can build it"))),
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
    fn the_build_takes_exactly_what_is_pinned() {
        let command = go_build(Path::new("/m"), Arch::Arm64, &["a".into(), "b".into()], Path::new("/out"));
        assert_eq!(
            command.arguments(),
            ["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", "/out/", "a", "b"]
        );
    }

    #[test]
    fn go_is_known_by_its_version() {
        for (text, minor) in [("go1.26.8", Some(26)), ("go1.19", Some(19)), ("go1.27rc1", Some(27)), ("", None)] {
            assert_eq!(minor_of_go(text), minor, "{text}");
        }
    }
}
