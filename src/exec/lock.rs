//! One lock per cluster, held by the run that changes it and inherited by every child process.
//!
//! A `flock` lasts until the last descriptor of it is closed. So when hactl is killed, the lock stays
//! with the Terraform or Ansible process that it left behind. A process that holds the file open without
//! a living hactl is an orphan, and has to end before the next run may start.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::{
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    file,
};

/// How long an orphan may take to end by itself after SIGTERM, before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// The same for Terraform, which writes its state at the end: more than a slow backend needs.
const TERRAFORM_GRACE: Duration = Duration::from_secs(15);

/// When not even killing helps: a process that waits for a dead disk.
const GIVE_UP: Duration = Duration::from_secs(18);

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
    /// Whether a living hactl holds the lock in `path`.
    #[must_use]
    pub fn is_held(path: &Path) -> bool {
        let holder = fs::read(path).ok().and_then(|text| serde_json::from_slice::<Holder>(&text).ok());
        holder.is_some_and(|holder| start_time(holder.pid) == Some(holder.started))
    }

    /// Takes the lock in `path`, after ending what a killed run left behind.
    ///
    /// # Errors
    /// When a living hactl holds it (who, and since when), or the file cannot be written.
    pub async fn acquire(path: &Path, command: &str) -> Result<Self> {
        let object = path.display();
        let failed = |error: std::io::Error| {
            Error::failed("lock", "take the lock", &object)
                .source(&error)
                .hint("Free disk space or grant write access there, or set HACTL_DIR to another directory")
        };
        if let Some(dir) = path.parent() {
            file::private_dir(dir).map_err(failed)?;
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
                    return Err(Error::failed("lock-held", "take the lock", &object)
                        .cause(format!("held by `{}` (process {}) since {}", holder.command, holder.pid, holder.since))
                        .hint("Wait until that process has ended, or stop it; then run the same command again"));
                }
                ended = end_orphans(path).await;
                file.try_lock().map_err(|_| {
                    Error::failed("lock-held", "take the lock", &object)
                        .cause("a process of a killed run still holds it")
                        .hint(format!("Run `fuser {object}` to find the process, and stop it"))
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
///
/// Ansible starts a process for each task: one that was just being started when its parent was asked to
/// end is seen only afterwards, and is asked as well. No other process would end it.
async fn end_orphans(path: &Path) -> Vec<String> {
    let started = Instant::now();
    let mut asked = BTreeMap::new();
    while started.elapsed() < GIVE_UP {
        let left = holders(path);
        if left.is_empty() {
            break;
        }
        for (pid, name) in left {
            let signal = if started.elapsed() > grace(&name) { Signal::SIGKILL } else { Signal::SIGTERM };
            if signal == Signal::SIGKILL || asked.insert(pid, name).is_none() {
                // It may have ended in the meantime.
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    asked.into_iter().map(|(pid, name)| format!("{pid} {name}")).collect()
}

fn grace(program: &str) -> Duration {
    if ["terraform", "tofu"].iter().any(|name| program.starts_with(name)) { TERRAFORM_GRACE } else { GRACE }
}

/// Processes other than this one that have inherited the file at `path`. Another hactl that is just asking for the
/// lock has it open, too, but to be closed on exec, and is not an orphan.
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
                    && !closes_on_exec(*pid, &file.file_name())
            })
        })
        .map(|pid| {
            let name = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/comm"))).unwrap_or_default();
            (pid, name.trim().to_owned())
        })
        .collect()
}

/// Whether a descriptor of another process has `O_CLOEXEC`, by the octal `flags` in its fdinfo (proc(5)).
fn closes_on_exec(pid: i32, descriptor: &std::ffi::OsStr) -> bool {
    let info = fs::read_to_string(Path::new(&format!("/proc/{pid}/fdinfo")).join(descriptor)).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| OFlag::from_bits_retain(flags).contains(OFlag::O_CLOEXEC))
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

    /// A lock is inherited by every child of this process, the shells of other tests among them.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    #[tokio::test]
    async fn second_run_fails_and_names_the_holder_of_the_lock() {
        let _alone = ALONE.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::acquire(&path, "hactl up pg").await.unwrap();
        let error = Lock::acquire(&path, "hactl down pg").await.unwrap_err();
        assert!(error.to_string().contains("`hactl up pg` (process"), "{error}");
        drop(first);
        assert!(Lock::acquire(&path, "hactl down pg").await.is_ok());
    }

    /// Runs `script` in a shell that plays the killed hactl: it takes the lock as descriptor 9, leaves children
    /// with it, and is gone. Then takes the lock, and gives what was ended and how long that took.
    async fn after_a_kill(script: &str) -> (Vec<String>, Duration) {
        let _alone = ALONE.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let script = format!("exec 9>>{}; flock -n 9 || exit 1; {script}", path.display());
        let mut shell = std::process::Command::new("bash");
        let done = shell.args(["-c", &script]).current_dir(&dir).stdout(std::process::Stdio::null()).status();
        assert!(done.unwrap().success());
        fs::write(&path, r#"{"pid":2147483646,"started":1,"command":"hactl up pg","since":"2026-01-01T00:00:00Z"}"#)
            .unwrap();
        let started = Instant::now();
        let lock = Lock::acquire(&path, "hactl up pg").await.unwrap();
        (lock.ended, started.elapsed())
    }

    #[tokio::test]
    async fn processes_left_by_a_killed_run_are_ended_before_the_lock_is_taken() {
        let (ended, took) = after_a_kill("sleep 300 & until [ \"$(cat /proc/$!/comm)\" = sleep ]; do :; done").await;
        assert_eq!(ended.len(), 1, "{ended:?}");
        assert!(ended[0].ends_with("sleep"));
        assert!(took < GRACE, "{took:?}");
    }

    #[tokio::test]
    async fn orphans_that_ignore_sigterm_or_start_later_are_ended() {
        // Like Ansible: asked to end, it has just started another one, which it leaves behind.
        let late = "trap 'sleep 300 & exit' TERM; touch late; while :; do read -t 1 <> <(:); done";
        let deaf = "trap '' TERM; touch deaf; while :; do read -t 1 <> <(:); done";
        let (ended, took) =
            after_a_kill(&format!("({late}) & ({deaf}) & until [ -e late ] && [ -e deaf ]; do :; done")).await;
        assert!(ended.len() >= 3, "{ended:?}");
        assert!(ended.iter().any(|name| name.ends_with("sleep")), "{ended:?}");
        assert!(took >= GRACE && took < GRACE + Duration::from_secs(3), "{took:?}");
    }

    #[tokio::test]
    async fn process_that_only_waits_for_the_lock_is_not_an_orphan() {
        let _alone = ALONE.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        File::create(&path).unwrap();
        let open = |by: &str| {
            let mut command = std::process::Command::new("python3");
            let script =
                format!("import os, time; os.open('lock', os.O_RDONLY){by}; print(flush=True); time.sleep(60)");
            let mut child =
                command.args(["-c", &script]).current_dir(&dir).stdout(std::process::Stdio::piped()).spawn().unwrap();
            child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
            child
        };
        // Python's descriptors close on exec unless they are told otherwise.
        let mut children = [open(""), open("; os.set_inheritable(3, True)")];
        let found: Vec<i32> = holders(&path).into_iter().map(|(pid, _)| pid).collect();
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(found, [i32::try_from(children[1].id()).unwrap()]);
    }

    #[test]
    fn terraform_gets_a_longer_grace_period_to_write_its_state() {
        assert_eq!(
            (grace("terraform"), grace("tofu"), grace("ansible-playboo")),
            (TERRAFORM_GRACE, TERRAFORM_GRACE, GRACE)
        );
    }
}
