//! One lock per cluster, held by whoever changes it and inherited by every child process.
//!
//! A `flock` lasts until the last descriptor of it is closed. So when hactl is killed, the lock stays
//! with the Terraform or Ansible process that it left behind, and whoever holds the file open without
//! a living hactl is exactly the orphan that has to end before the next run may start.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How long an orphan may take to end by itself after SIGTERM, before it is killed.
const ORPHAN_GRACE: Duration = Duration::from_secs(15);

/// The lock of one cluster. Given back when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    /// Orphans of an earlier run that were ended first, as `pid program`.
    pub ended: Vec<String>,
}

/// Who holds a lock, as written into its file.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: i32,
    /// Ticks since boot at which the process started: pids are used again, this pair is not.
    started: u64,
    command: String,
    since: Timestamp,
}

impl Lock {
    /// Takes the lock in `path`, after ending what a killed run left behind.
    ///
    /// # Errors
    /// When a living hactl holds it (who, and since when), or the file cannot be written.
    pub async fn acquire(path: &Path, command: &str) -> Result<Self> {
        let object = path.display();
        let failed = |error: std::io::Error| {
            Error::failed("lock", "lock", &object)
                .source(&error)
                .hint("make room or give write access there, or set HACTL_DIR to a directory elsewhere")
        };
        if let Some(dir) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .mode(0o600)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let mut ended = Vec::new();
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text).map_err(failed)?;
                if let Ok(holder) = serde_json::from_str::<Holder>(&text)
                    && start_time(holder.pid) == Some(holder.started)
                {
                    return Err(Error::failed("lock-held", "lock", &object)
                        .cause(format!("`{}` (process {}) holds it since {}", holder.command, holder.pid, holder.since))
                        .hint("wait until it has ended, or end it; then run the same command again"));
                }
                ended = end_orphans(path).await;
                file.try_lock().map_err(|_| {
                    Error::failed("lock-held", "lock", &object)
                        .cause("a process of a killed run still holds it")
                        .hint(format!("`fuser {object}` names it"))
                })?;
            }
        }
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        let holder = Holder {
            pid,
            started: start_time(pid).unwrap_or_default(),
            command: command.to_owned(),
            since: Timestamp::now(),
        };
        file.set_len(0).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        serde_json::to_writer(&mut file, &holder).map_err(|error| failed(error.into()))?;
        file.flush().map_err(failed)?;
        // Rust closes descriptors on exec; this one is meant to be inherited.
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|error| failed(error.into()))?;
        Ok(Self { _file: file, ended })
    }
}

/// Ends every process that has `path` open, and kills what does not end in time.
async fn end_orphans(path: &Path) -> Vec<String> {
    let found = holders(path);
    for (pid, _) in &found {
        // It may have ended in the meantime.
        let _ = kill(Pid::from_raw(*pid), Signal::SIGTERM);
    }
    let deadline = Instant::now() + ORPHAN_GRACE;
    loop {
        let left = holders(path);
        if left.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            for (pid, _) in left {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    found.into_iter().map(|(pid, name)| format!("{pid} {name}")).collect()
}

/// Processes other than this one that have the file at `path` open.
fn holders(path: &Path) -> Vec<(i32, String)> {
    let Ok(ours) = fs::metadata(path) else { return Vec::new() };
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let this = std::process::id();
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| u32::try_from(*pid) != Ok(this))
        .filter(|pid| {
            let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
            files.flatten().any(|file| {
                fs::metadata(file.path()).is_ok_and(|theirs| (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()))
            })
        })
        .map(|pid| {
            let name = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/comm"))).unwrap_or_default();
            (pid, name.trim().to_owned())
        })
        .collect()
}

/// Field 22 of `/proc/PID/stat`, counted after the command's closing parenthesis (proc(5)).
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    // A zombie has ended.
    if rest.trim_start().starts_with('Z') {
        return None;
    }
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_run_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::acquire(&path, "hactl up pg").await.unwrap();
        let error = Lock::acquire(&path, "hactl down pg").await.unwrap_err();
        assert!(error.to_string().contains("`hactl up pg` (process"), "{error}");
        drop(first);
        assert!(Lock::acquire(&path, "hactl down pg").await.is_ok());
    }

    #[tokio::test]
    async fn what_a_killed_run_left_behind_is_ended_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        // The shell plays the killed hactl: it takes the lock, leaves a child with it, and is gone.
        let script = format!(
            "exec 9>>{}; flock -n 9 || exit 1; sleep 300 & until [ \"$(cat /proc/$!/comm)\" = sleep ]; do :; done",
            path.display()
        );
        let done =
            std::process::Command::new("bash").args(["-c", &script]).stdout(std::process::Stdio::null()).status();
        assert!(done.unwrap().success());
        fs::write(&path, r#"{"pid":2147483646,"started":1,"command":"hactl up pg","since":"2026-01-01T00:00:00Z"}"#)
            .unwrap();
        let started = Instant::now();
        let lock = Lock::acquire(&path, "hactl up pg").await.unwrap();
        assert_eq!(lock.ended.len(), 1, "{:?}", lock.ended);
        assert!(lock.ended[0].ends_with("sleep"));
        assert!(started.elapsed() < ORPHAN_GRACE + Duration::from_secs(5));
    }
}
