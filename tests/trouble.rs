//! What this machine may lack or refuse, before any node is made: no engine, no Terraform, no Python,
//! full and read-only disks, secrets that are broken or cannot be opened. Each is named with the next
//! step, leaves nothing half-written, and the next command resumes. Small file systems need root or `sudo -n`.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::as_root;

const NAME: &str = "t-tr-none";

/// A directory with a cluster file, and an engine that is not there.
struct Place {
    dir: TempDir,
    env: BTreeMap<String, String>,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("hactl-trouble-").tempdir().unwrap();
        fs::write(dir.path().join(format!("{NAME}.yaml")), "instances: {node1: {}}\n").unwrap();
        Self { dir, env: BTreeMap::new() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn set(&mut self, name: &str, value: impl Into<PathBuf>) {
        self.env.insert(name.to_owned(), value.into().display().to_string());
    }

    /// A command that must fail: its exit code and its error.
    fn fails(&self, args: &[&str]) -> (i32, Value) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.args(args).args([NAME, "--output", "json"]).current_dir(self.dir.path()).stdin(Stdio::null());
        for name in ["HACTL_DIR", "HACTL_AGE_KEY_FILE", "HACTL_AGE_KEY_COMMAND"] {
            command.env_remove(name);
        }
        let done = command.envs(&self.env).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(!stderr.contains("panicked"), "{stderr}");
        let of_line = |line: &str| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["type"] == "error").then(|| event["error"].clone())
        };
        let error = stdout.lines().find_map(of_line).or_else(|| serde_json::from_str(&stdout).ok());
        let error = error.unwrap_or_else(|| panic!("no error from {args:?}: {stdout}{stderr}"));
        println!("   {args:?}: {} {error:#}", done.status);
        assert!(error["hint"].is_string(), "no next step: {error}");
        (done.status.code().unwrap(), error)
    }

    /// As [`Place::fails`], for what the machine lacks; `words` must be in the error.
    fn lacks(&self, args: &[&str], code: &str, words: &[&str]) {
        let (exit, error) = self.fails(args);
        assert_eq!((exit, error["code"].as_str().unwrap()), (3, code), "{error}");
        contains(&error, words);
    }

    /// Every file with its bytes, but run records and the lock, which are there to be written.
    fn tree(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut dirs = vec![self.dir.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() && !path.ends_with("runs") && !path.ends_with("bin") {
                    dirs.push(path);
                } else if path.is_file() && !path.ends_with("lock") {
                    let bytes = fs::read(&path).unwrap();
                    let sum = bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
                    found.insert(path, format!("{} bytes, {sum:x}", bytes.len()));
                }
            }
        }
        found
    }

    /// A PATH with these programs and no others.
    fn only(&mut self, programs: &[&str]) {
        let bin = self.path("bin");
        let _ = fs::remove_dir_all(&bin);
        fs::create_dir(&bin).unwrap();
        for program in programs {
            let path = std::env::var_os("PATH").unwrap();
            let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.exists());
            let mut found = found.unwrap_or_else(|| panic!("{program} is installed"));
            if *program == "python3" {
                // It may be a script that looks for the interpreter.
                let real = Command::new(&found).args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
                found = String::from_utf8(real.stdout).unwrap().trim().into();
            }
            symlink(found, bin.join(program)).unwrap();
        }
        self.set("PATH", bin);
    }

    /// Makes the cluster's secrets: an `up` gets that far before it fails for want of room to download to.
    fn with_secrets() -> Self {
        let place = Self::new();
        let cache = Tmpfs::new(place.path("cache"), "size=64k");
        let mut first = Self { env: BTreeMap::new(), dir: place.dir };
        first.set("HACTL_CACHE_DIR", &cache.0);
        first.fails(&["up"]);
        assert!(first.path(&format!("{NAME}.secrets.age")).exists());
        drop(cache);
        first.env.clear();
        first
    }
}

fn contains(error: &Value, words: &[&str]) {
    for word in words {
        assert!(error.to_string().contains(word), "no {word} in {error:#}");
    }
}

/// A small file system of its own, gone with the value.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn new(dir: PathBuf, options: &str) -> Self {
        fs::create_dir_all(&dir).unwrap();
        let options = format!("{options},uid={},gid={}", nix::unistd::getuid(), nix::unistd::getgid());
        let mut mount = as_root("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&dir);
        assert!(mount.status().unwrap().success(), "{mount:?}: this test needs root or `sudo -n`");
        Self(dir)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // A process that still uses the file system must not prevent the cleanup.
        let _ = as_root("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn command_without_an_engine_fails_and_makes_nothing() {
    let mut place = Place::new();
    let before = place.tree();
    let dead = place.path("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    for (host, cause) in
        [("unix:///nonexistent/docker.sock", "does not exist"), (&format!("unix://{}", dead.display()), "efused")]
    {
        place.env.insert("DOCKER_HOST".to_owned(), host.to_owned());
        for command in [&["up"][..], &["provision"], &["plan"], &["down", "--yes"], &["image", "build"]] {
            place.lacks(command, "engine-missing", &[host, cause, "apt-get install docker.io"]);
        }
    }
    assert_eq!(place.tree(), before);
}

#[test]
fn command_without_a_program_fails_and_names_the_program() {
    let mut place = Place::new();
    let before = place.tree();
    place.only(&["python3", "ssh"]);
    for command in ["up", "provision", "plan"] {
        place.lacks(
            &[command],
            "terraform-missing",
            &["no directory of PATH has `terraform` or `tofu`", "developer.hashicorp.com"],
        );
    }
    place.only(&["terraform", "ssh"]);
    for command in ["up", "provision"] {
        place.lacks(&[command], "python-missing", &["no directory of PATH has `python3`", "apt-get install python3"]);
    }
    place.only(&["terraform", "python3"]);
    for command in ["up", "provision"] {
        place.lacks(&[command], "ssh-missing", &["no directory of PATH has `ssh`", "apt-get install openssh-client"]);
    }
    place.only(&[]);
    place.env.insert("DOCKER_HOST".to_owned(), "unix:///nonexistent/docker.sock".to_owned());
    place.lacks(
        &["up"],
        "tools-missing",
        &["/nonexistent/docker.sock", "`terraform`", "python3", "`ssh`", "hactl doctor"],
    );
    assert_eq!(place.tree(), before);
}

#[test]
fn terraform_too_old_is_named_with_its_version() {
    use std::os::unix::fs::PermissionsExt;
    let mut place = Place::new();
    place.only(&["python3", "sh", "ssh"]);
    let old = place.path("bin/terraform");
    fs::write(&old, "#!/bin/sh\necho '{\"terraform_version\":\"1.5.7\"}'\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    place.lacks(&["up"], "terraform-too-old", &["1.5.7", "1.9"]);
}

#[test]
fn directory_that_is_read_only_is_named() {
    let mut place = Place::new();
    let dir = Tmpfs::new(place.path("ro"), "ro,size=64k");
    place.set("HACTL_DIR", dir.path());
    for command in [&["up"][..], &["provision"], &["configure"], &["down", "--yes"]] {
        let (exit, error) = place.fails(command);
        assert_eq!((exit, error["code"].as_str()), (1, Some("lock")), "{error}");
        contains(&error, &[dir.path().to_str().unwrap(), "Read-only file system", "HACTL_DIR"]);
    }
}

#[test]
fn directory_on_a_full_disk_is_named_and_has_no_partial_files() {
    let mut place = Place::new();
    let before = place.tree();
    // No room for as much as the lock's directory, for the record, for the secrets' key.
    for (options, at_most) in [("size=4k,nr_inodes=2", "lock"), ("size=4k,nr_inodes=5", "record"), ("size=12k", "")] {
        let dir = Tmpfs::new(place.path("full"), options);
        place.set("HACTL_DIR", dir.path());
        let (exit, error) = place.fails(&["up"]);
        assert_eq!(exit, 1, "{error}");
        contains(&error, &["No space left on device", dir.path().to_str().unwrap()]);
        if !at_most.is_empty() {
            assert_eq!(error["code"], at_most, "{options}: {error}");
        }
        let key = dir.path().join(NAME).join("age.key");
        assert!(!fs::read(&key).is_ok_and(|bytes| bytes.is_empty()), "{options}: an empty key");
        drop(dir);
        assert_eq!(place.tree(), before, "{options}");
    }
}

#[test]
fn cache_on_a_full_disk_is_named_with_its_variable() {
    let mut place = Place::new();
    let cache = Tmpfs::new(place.path("cache"), "size=1m");
    place.set("HACTL_CACHE_DIR", cache.path());
    let (exit, error) = place.fails(&["fetch"]);
    assert_eq!(exit, 1, "{error}");
    contains(&error, &["o space left on device", "HACTL_CACHE_DIR"]);
}

#[test]
fn temporary_directory_on_a_full_disk_is_named_with_its_variable() {
    let mut place = Place::new();
    let temporary = Tmpfs::new(place.path("tmp"), "size=4k,nr_inodes=1");
    place.set("TMPDIR", temporary.path());
    let (exit, error) = place.fails(&["plan"]);
    assert_eq!(exit, 1, "{error}");
    contains(&error, &[temporary.path().to_str().unwrap(), "No space left on device", "TMPDIR"]);
}

#[test]
fn secrets_that_cannot_be_opened_are_kept() {
    let mut place = Place::with_secrets();
    let file = place.path(&format!("{NAME}.secrets.age"));
    let key = place.path(&format!(".hactl/{NAME}/age.key"));
    let (good, good_key) = (fs::read(&file).unwrap(), fs::read(&key).unwrap());
    let mut turned = good.clone();
    let middle = turned.len() / 2;
    turned[middle] = if turned[middle] == b'A' { b'B' } else { b'A' };

    for bad in [&good[..good.len() / 2], b"", b"not age\n", &turned] {
        fs::write(&file, bad).unwrap();
        let before = place.tree();
        for command in ["up", "provision", "plan"] {
            let (exit, error) = place.fails(&[command]);
            assert_eq!(exit, 1, "{error}");
            contains(&error, &["t-tr-none.secrets.age", "damaged", "git checkout"]);
        }
        assert_eq!(place.tree(), before);
    }
    fs::write(&file, &good).unwrap();

    fs::remove_file(&key).unwrap();
    let before = place.tree();
    for command in ["up", "provision", "plan"] {
        place.lacks(&[command], "secrets-identity-missing", &["age.key", "HACTL_AGE_KEY_FILE"]);
    }
    place.set("HACTL_AGE_KEY_FILE", "/nonexistent/key");
    let (_, error) = place.fails(&["up"]);
    contains(&error, &["/nonexistent/key", "HACTL_AGE_KEY_FILE"]);
    place.env.clear();
    assert_eq!(place.tree(), before);

    // A key of somebody else: the file is whole, and opens with another one.
    let other = Place::with_secrets();
    fs::copy(other.path(&format!(".hactl/{NAME}/age.key")), &key).unwrap();
    let (_, error) = place.fails(&["up"]);
    contains(&error, &["t-tr-none.secrets.age", "age.key"]);
    assert_eq!(fs::read(&file).unwrap(), good);

    // With its own key back the next command gets as far as before.
    fs::write(&key, good_key).unwrap();
    place.env.insert("DOCKER_HOST".to_owned(), "unix:///nonexistent/docker.sock".to_owned());
    place.lacks(&["up"], "engine-missing", &[]);
    assert_eq!(fs::read(&file).unwrap(), good);
}
