//! The run record: `.hactl/NAME/runs/<UTC time>-<command>/` with every event, the full output of
//! every tool, and the values between the stages.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    context::{ClusterDir, retention},
    event::Event,
    file::{private, private_dir},
};

/// The record of one run, open for writing.
pub struct Record {
    dir: PathBuf,
    events: File,
    logs: BTreeMap<String, File>,
}

impl Record {
    /// Makes the directory and points `runs/latest` to it.
    ///
    /// # Errors
    /// When the directory cannot be made or written to.
    pub fn create(cluster: &ClusterDir, command: &str, now: Timestamp) -> io::Result<Self> {
        let runs = cluster.runs();
        private_dir(&runs)?;
        let stamp = now.strftime("%Y%m%dT%H%M%S");
        let command = command.replace(' ', "-");
        let mut name = format!("{stamp}-{command}");
        let mut count = 1;
        // Two runs within one second get different names.
        while let Err(error) = fs::DirBuilder::new().mode(0o700).create(runs.join(&name)) {
            if error.kind() != io::ErrorKind::AlreadyExists || count > 99 {
                return Err(error);
            }
            count += 1;
            name = format!("{stamp}-{command}-{count}");
        }
        let dir = runs.join(&name);
        // First, since the disk may be full: `latest` must name a record that can be written.
        let events = private(&dir.join("events.jsonl")).inspect_err(|_| _ = fs::remove_dir(&dir))?;
        let beside = runs.join(format!(".latest-{}", std::process::id()));
        let _ = fs::remove_file(&beside);
        symlink(&name, &beside)?;
        fs::rename(&beside, runs.join("latest"))?;
        retention::remove_old_runs(&runs, &name);
        Ok(Self { dir, events, logs: BTreeMap::new() })
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes an event, and a tool's line to the tool's own log. A full disk must not stop the run: the record then
    /// misses lines, and the work's own writes report the disk.
    pub(crate) fn write(&mut self, event: &Event, line: &str) {
        if let Event::Output { tool, line, .. } = event {
            if !self.logs.contains_key(tool)
                && let Ok(file) = private(&self.dir.join(format!("{tool}.log")))
            {
                self.logs.insert(tool.clone(), file);
            }
            if let Some(log) = self.logs.get_mut(tool) {
                let _ = writeln!(log, "{line}");
            }
        } else {
            let _ = writeln!(self.events, "{line}");
        }
    }

    /// Writes the value that one stage hands to the next, as `NAME.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep<T: Serialize>(dir: &Path, name: &str, value: &T) -> io::Result<()> {
        let mut file = private(&dir.join(format!("{name}.json")))?;
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")
    }
}
