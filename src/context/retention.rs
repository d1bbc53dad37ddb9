//! The run records of a cluster, and which of them are kept: the newest, up to a number and a size.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use serde_json::Value;

/// Records that are kept at most.
const MOST_RUNS: usize = 100;

/// Bytes that the records have at most: about ten histories of all drills.
const MOST_BYTES: u64 = 1 << 30;

/// The part of `events.jsonl` that has its last line.
const TAIL_BYTES: u64 = 256 * 1024;

/// All runs below `runs`, oldest first, by their names.
#[must_use]
pub fn runs(runs: &Path) -> Vec<String> {
    let entries = fs::read_dir(runs).into_iter().flatten().flatten();
    // `latest` is a second name of one of them.
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<String> = dirs.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// Removes the oldest records below `dir`, until number and size are within the limits. The record `current` and the newest
/// record of a failed run stay.
pub(super) fn remove_old_runs(dir: &Path, current: &str) {
    remove_beyond(dir, current, MOST_RUNS, MOST_BYTES);
}

fn remove_beyond(dir: &Path, current: &str, most_runs: usize, most_bytes: u64) {
    let names: Vec<String> = runs(dir).into_iter().filter(|name| is_record(name)).collect();
    let sizes: Vec<u64> = names.iter().map(|name| size(&dir.join(name))).collect();
    let (mut count, mut bytes) = (names.len(), sizes.iter().sum::<u64>());
    if count <= most_runs && bytes <= most_bytes {
        return;
    }
    let failed = names.iter().rev().find(|name| *name != current && has_failed(&dir.join(name)));
    for (name, size) in names.iter().zip(sizes) {
        if count <= most_runs && bytes <= most_bytes {
            return;
        }
        if name == current || Some(name) == failed {
            continue;
        }
        // A record that cannot be removed takes room, but does not stop the run.
        if fs::remove_dir_all(dir.join(name)).is_ok() {
            (count, bytes) = (count - 1, bytes.saturating_sub(size));
        }
    }
}

/// Whether hactl gave the directory its name: `20260102T030405-up`.
fn is_record(name: &str) -> bool {
    let Some((stamp, command)) = name.split_once('-') else { return false };
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    !command.is_empty() && stamp.split_once('T').is_some_and(|(day, time)| digits(day, 8) && digits(time, 6))
}

/// Whether a run failed, or did not reach its end: its last event is not the summary of a success.
fn has_failed(run: &Path) -> bool {
    let events = tail(&run.join("events.jsonl")).unwrap_or_default();
    let last = events.lines().next_back().and_then(|line| serde_json::from_str::<Value>(line).ok());
    last.is_none_or(|event| event["type"] != "summary" || event["ok"] != true)
}

/// The last part of a file.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The bytes of the files below `dir`.
fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: &str = "{\"type\":\"summary\",\"ok\":true}\n";
    const FAILED: &str = "{\"type\":\"error\"}\n{\"type\":\"summary\",\"ok\":false}\n";

    /// Records of ten bytes beside their events, the oldest first.
    fn records(events: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (day, events) in (1..).zip(events) {
            let run = dir.path().join(format!("2026010{day}T000000-up"));
            fs::create_dir_all(run.join("journals")).unwrap();
            fs::write(run.join("events.jsonl"), events).unwrap();
            fs::write(run.join("journals/node1"), vec![b'x'; 1000]).unwrap();
        }
        dir
    }

    fn days(dir: &Path) -> String {
        runs(dir).iter().map(|name| &name[7..8]).collect()
    }

    #[test]
    fn oldest_records_go_first_and_the_last_failed_and_the_current_stay() {
        let left = |events: &[&str], most_runs, most_bytes| {
            let dir = records(events);
            let newest = runs(dir.path()).pop().unwrap();
            remove_beyond(dir.path(), &newest, most_runs, most_bytes);
            days(dir.path())
        };
        let five = [ENDED, FAILED, ENDED, ENDED, ""];
        assert_eq!(left(&five, 5, u64::MAX), "12345");
        assert_eq!(left(&five, 4, u64::MAX), "2345");
        assert_eq!(left(&five, 2, u64::MAX), "25");
        assert_eq!(left(&five, 0, 0), "25");
        // By size: three records have a little more than 3000 bytes.
        assert_eq!(left(&five, 5, 3500), "245");
        // The newest failed run alone; one that did not reach its end has failed.
        assert_eq!(left(&[FAILED, FAILED, "{}\n", ENDED, ENDED], 1, u64::MAX), "35");
    }

    #[test]
    fn directory_of_another_name_is_never_removed() {
        let dir = records(&[ENDED, ENDED]);
        for name in ["0-mine", "20260101-up", "20260101T00000x-up", "20260101T000000-"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        remove_beyond(dir.path(), "20260102T000000-up", 0, 0);
        assert_eq!(runs(dir.path()).len(), 5);
    }
}
