//! A process that outlives this one, and the line between the two.

use std::{fs, io, os::fd::RawFd, process::Stdio};

use nix::unistd::close;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{ChildStdin, ChildStdout},
};

use super::{Command, describe_end};
use crate::{context::Context, error::Result};

/// `O_CLOEXEC` as `/proc/PID/fdinfo` shows it, in octal.
const CLOSE_ON_EXEC: u32 = 0o2_000_000;

/// The line to a detached process: it sees the end of its input when this is dropped, or when this
/// process ends in whatever way.
#[derive(Debug)]
pub struct Detached {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Detached {
    /// The next line that it says; none when it has ended.
    pub async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        // A failed read counts as the end of the output.
        let count = self.output.read_line(&mut line).await.unwrap_or(0);
        (count > 0).then(|| line.trim_end().to_owned())
    }

    /// Writes a line to its input.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn tell(&mut self, line: &str) -> io::Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await
    }

    /// The first half keeps the process's input open; the second half ends with the process.
    #[must_use]
    pub fn split(self) -> (ChildStdin, BufReader<ChildStdout>) {
        (self.input, self.output)
    }
}

impl Command {
    /// Starts a process in its own session and without a parent: no signal to this process, its
    /// group or its terminal reaches it.
    ///
    /// # Errors
    /// When `setsid` is not there or cannot start it.
    pub async fn detach(&self, context: &Context) -> Result<Detached> {
        let mut child = tokio::process::Command::new("setsid")
            .arg("--fork")
            .arg(self.program())
            .args(self.arguments())
            .env_clear()
            .envs(self.environment(context))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Self::new("setsid").not_started(&error))?;
        let lines = child.stdin.take().zip(child.stdout.take());
        // setsid itself ends as soon as it has forked.
        let status = child.wait().await.map_err(|error| self.failed().source(&error))?;
        match lines {
            Some((input, output)) if status.success() => Ok(Detached { input, output: BufReader::new(output) }),
            _ => Err(self.failed().cause(format!("setsid: {}", describe_end(status)))),
        }
    }
}

/// Closes what a detached process was given beside its standard streams, the cluster's lock above all:
/// no other run must wait for this process, or end it as an orphan.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn leave_parent() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fdinfo")?.flatten() {
        let Some(descriptor) = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        if descriptor > 2 && was_inherited(&info) {
            close(descriptor)?;
        }
    }
    Ok(())
}

/// Everything that this program opens itself is close-on-exec, so what is not came from the parent.
fn was_inherited(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & CLOSE_ON_EXEC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_without_close_on_exec_counts_as_inherited() {
        assert!(was_inherited("pos:\t0\nflags:\t0100002\nmnt_id:\t9\n"));
        assert!(!was_inherited("pos:\t0\nflags:\t02100002\nmnt_id:\t9\n"));
        assert!(!was_inherited(""));
    }
}
