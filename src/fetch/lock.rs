//! `NAME.lock.json`: the sums of what this hactl does not pin, resolved once and kept beside the cluster
//! file, made to be committed.
//!
//! hactl never resolves again what is in it: later downloads must have these sums. Only what
//! is missing is added, and a file that cannot be read is left alone.

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{go_module::GoModule, sum::Sum};
use crate::{
    error::{Error, Result, codes},
    file,
    model::{Arch, EtcdVersion, PythonVersion},
};

/// The format of the file that this hactl writes.
const FORMAT: u32 = 1;

/// Wheels by the name of their project.
pub(super) type Wheels = BTreeMap<String, Wheel>;

/// One version of a Python project, for every architecture.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wheel {
    pub(super) version: String,
    /// Sums by file name.
    pub(super) files: BTreeMap<String, Sum>,
}

/// One version of etcd: the project's release, or what its build takes, or both.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Etcd {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    release: BTreeMap<Arch, Sum>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    build: Option<GoModule>,
}

#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    etcd: BTreeMap<EtcdVersion, Etcd>,
    /// By Patroni's version and the nodes' Python.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    patroni: BTreeMap<String, BTreeMap<String, Wheels>>,
}

/// The lock file of one cluster, whether it is there or not.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    contents: Mutex<Contents>,
}

impl LockFile {
    /// Reads the file at `path`; nothing is locked where there is none.
    ///
    /// # Errors
    /// When the file cannot be read or is broken, with the line.
    pub fn read(path: PathBuf) -> Result<Self> {
        let empty = Contents { version: FORMAT, etcd: BTreeMap::new(), patroni: BTreeMap::new() };
        let contents = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let place = format!("{}:{}:{}", path.display(), error.line(), error.column());
                broken(place).source(&error)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => empty,
            Err(error) => return Err(Error::failed("lock-file", "read the lock file", path.display()).source(&error)),
        };
        if contents.version != FORMAT {
            let cause = format!("its format is {}, but this hactl reads format {FORMAT}", contents.version);
            return Err(broken(path.display().to_string()).cause(cause));
        }
        Ok(Self { path, contents: Mutex::new(contents) })
    }

    /// The file's name, for messages.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(super) fn etcd_release(&self, version: EtcdVersion, arch: Arch) -> Option<Sum> {
        self.get(|contents| contents.etcd.get(&version)?.release.get(&arch).cloned())
    }

    pub(super) fn etcd_build(&self, version: EtcdVersion) -> Option<GoModule> {
        self.get(|contents| contents.etcd.get(&version)?.build.clone())
    }

    pub(super) fn wheels(&self, version: &str, python: PythonVersion) -> Option<Wheels> {
        self.get(|contents| contents.patroni.get(version)?.get(&python.to_string()).cloned())
    }

    pub(super) fn keep_etcd_release(&self, version: EtcdVersion, sums: BTreeMap<Arch, Sum>) -> Result<()> {
        self.keep(|contents| contents.etcd.entry(version).or_default().release = sums)
    }

    pub(super) fn keep_etcd_build(&self, version: EtcdVersion, module: GoModule) -> Result<()> {
        self.keep(|contents| contents.etcd.entry(version).or_default().build = Some(module))
    }

    pub(super) fn keep_wheels(&self, version: &str, python: PythonVersion, wheels: Wheels) -> Result<()> {
        self.keep(|contents| {
            contents.patroni.entry(version.to_owned()).or_default().insert(python.to_string(), wheels);
        })
    }

    /// Adds to the error of a download without the sum of `entry` what the user can do.
    pub(super) fn explain(&self, error: Error, entry: &str) -> Error {
        if error.code != codes::DOWNLOAD_CHANGED {
            return error;
        }
        error.cause(format!("the expected checksum is that of {entry} in {}", self.path.display())).hint(
            "Find out why the file changed at its source; if you accept the change, delete that entry from the lock \
             file and run the same command again",
        )
    }

    fn get<T>(&self, entry: impl FnOnce(&Contents) -> Option<T>) -> Option<T> {
        entry(&self.contents.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, change: impl FnOnce(&mut Contents)) -> Result<()> {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut contents);
        let write = || -> io::Result<()> {
            let mut text = serde_json::to_vec_pretty(&*contents)?;
            text.push(b'\n');
            file::replace(&self.path, &text)
        };
        write().map_err(|error| {
            Error::failed("lock-file", "write the lock file", self.path.display())
                .source(&error)
                .hint("Free disk space or grant write access there, then run the same command again")
        })
    }
}

fn broken(object: String) -> Error {
    Error::usage("lock-file", "read the lock file", object).hint(
        "Restore the file from version control, or delete it: hactl then resolves its contents again, and has no old \
         checksums to compare with",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYTHON: PythonVersion = PythonVersion { major: 3, minor: 11 };

    fn sum(digit: &str) -> Sum {
        digit.repeat(64).parse().unwrap()
    }

    fn etcd(text: &str) -> EtcdVersion {
        text.parse().unwrap()
    }

    #[test]
    fn lock_file_read_back_and_saved_again_has_the_same_bytes() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("pg.lock.json");
        let wheels = |names: [&str; 2]| -> Wheels {
            let wheel = |name: &str| Wheel {
                version: "1.0".to_owned(),
                files: BTreeMap::from([(format!("{name}-1.0-py3-none-any.whl"), sum("a"))]),
            };
            names.map(|name| (name.to_owned(), wheel(name))).into()
        };
        let module = GoModule { go_mod: "module x\n\ngo 1.21\n".to_owned(), go_sum: "a v1 h1:x=\n".to_owned() };

        let lock = LockFile::read(path.clone()).unwrap();
        assert!(!path.exists(), "reading makes no file");
        lock.keep_wheels("4.1.4", PYTHON, wheels(["patroni", "click"])).unwrap();
        lock.keep_etcd_build(etcd("3.6.15"), module.clone()).unwrap();
        lock.keep_etcd_release(etcd("3.5.9"), BTreeMap::from([(Arch::Amd64, sum("b"))])).unwrap();
        let text = fs::read_to_string(&path).unwrap();

        let lock = LockFile::read(path.clone()).unwrap();
        assert_eq!(lock.wheels("4.1.4", PYTHON).unwrap(), wheels(["click", "patroni"]));
        assert_eq!(lock.etcd_build(etcd("3.6.15")).unwrap(), module);
        assert_eq!(lock.etcd_release(etcd("3.5.9"), Arch::Amd64), Some(sum("b")));
        assert_eq!(lock.etcd_release(etcd("3.5.9"), Arch::Arm64), None);

        // In another order.
        let other = LockFile::read(temp.path().join("other.lock.json")).unwrap();
        other.keep_etcd_release(etcd("3.5.9"), BTreeMap::from([(Arch::Amd64, sum("b"))])).unwrap();
        other.keep_etcd_build(etcd("3.6.15"), module).unwrap();
        other.keep_wheels("4.1.4", PYTHON, wheels(["click", "patroni"])).unwrap();
        assert_eq!(fs::read_to_string(&other.path).unwrap(), text);
        assert!(text.contains("\"go.sum\": [\n          \"a v1 h1:x=\"\n"), "{text}");
    }

    #[test]
    fn broken_lock_file_is_an_error_with_its_line_and_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("pg.lock.json");
        let release = |sum: &str| {
            format!(
                "{{\n  \"version\": 1,\n  \"etcd\": {{\"3.6.1\": {{\"release\": {{\"amd64\":\n    \"{sum}\"}}}}}}\n}}"
            )
        };
        for (text, place) in [
            ("{\n  \"version\": 1,\n<<<<<<< HEAD\n".to_owned(), "pg.lock.json:3:1"),
            ("".to_owned(), "pg.lock.json:1:0"),
            (release("12"), "pg.lock.json:4:"),
            ("{\n  \"version\": 1,\n  \"other\": {}\n}".to_owned(), "pg.lock.json:3:9"),
            ("{\n  \"version\": 2\n}".to_owned(), "its format is 2"),
        ] {
            fs::write(&path, &text).unwrap();
            let error = LockFile::read(path.clone()).unwrap_err();
            assert!(error.to_string().contains(place) && error.hint.is_some(), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, release(&"1".repeat(64))).unwrap();
        assert_eq!(LockFile::read(path).unwrap().etcd_release(etcd("3.6.1"), Arch::Amd64), Some(sum("1")));
    }

    #[test]
    fn only_a_changed_checksum_is_explained_by_the_lock_file() {
        let lock = LockFile::read("pg.lock.json".into()).unwrap();
        let changed = Error::failed(codes::DOWNLOAD_CHANGED, "download", "x");
        let text = lock.explain(changed, "etcd 3.6.1").to_string();
        assert!(text.contains("etcd 3.6.1 in pg.lock.json") && text.contains("delete that entry"), "{text}");
        assert!(lock.explain(Error::failed(codes::FETCH, "download", "x"), "etcd 3.6.1").causes.is_empty());
    }
}
