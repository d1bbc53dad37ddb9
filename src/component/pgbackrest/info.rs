//! What pgBackRest says of a cluster's repository: its backups, and from when on the cluster can be restored.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gaps::{Entry, Gap, Made, gaps};
use crate::{
    error::{Error, Result},
    ssh::{Finished, Remote},
};

/// How long the repository may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(90);

/// How long it may take for `hactl status`.
const LOOK_WITHIN: Duration = Duration::from_secs(15);

/// The backups of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Backups {
    /// The cluster's name in the repository.
    pub stanza: String,
    /// The backups, the oldest first.
    pub backups: Vec<BackupView>,
    /// The earliest point in time to which the cluster can be restored: the second after the end of the oldest backup; null without one.
    #[schemars(with = "Option<String>")]
    pub restorable_from: Option<Timestamp>,
    /// The newest WAL segment in the repository; null without one.
    pub last_segment: Option<String>,
    /// The gaps in the WAL archive, the oldest first; null if the archive could not be listed in time.
    pub gaps: Option<Vec<Gap>>,
    /// Whether the machine that was asked makes a backup now.
    pub is_running: bool,
}

/// One backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BackupView {
    /// Its name.
    pub label: String,
    /// `full`, `diff` or `incr`.
    pub kind: String,
    /// When it began.
    #[schemars(with = "String")]
    pub started: Timestamp,
    /// When it ended.
    #[schemars(with = "String")]
    pub ended: Timestamp,
    /// The WAL position at its end, which is the earliest that `--lsn` of `hactl restore` accepts; null if pgBackRest does not report it.
    pub stop_lsn: Option<String>,
    /// The size of the data in bytes.
    pub size_bytes: u64,
    /// The bytes that it added to the repository.
    pub added_bytes: u64,
    /// Whether pgBackRest found damaged pages.
    pub has_errors: bool,
}

#[cfg(test)]
impl BackupView {
    /// A full backup of nothing, in no time.
    pub(crate) fn sample(label: &str, ended: Timestamp) -> Self {
        Self {
            label: label.to_owned(),
            kind: "full".to_owned(),
            started: ended,
            ended,
            stop_lsn: None,
            size_bytes: 0,
            added_bytes: 0,
            has_errors: false,
        }
    }
}

#[cfg(test)]
impl Backups {
    /// A repository whose archive has no segment and misses none.
    pub(crate) fn sample(backups: Vec<BackupView>, restorable_from: Option<Timestamp>) -> Self {
        let stanza = "pg-1a2b3c4d".to_owned();
        Self { stanza, backups, restorable_from, last_segment: None, gaps: Some(Vec::new()), is_running: false }
    }
}

#[derive(Deserialize)]
struct Stanza {
    name: String,
    #[serde(default)]
    archive: Vec<Archive>,
    #[serde(default)]
    backup: Vec<Backup>,
    status: Status,
    #[serde(default)]
    repo: Vec<Repository>,
}

/// What pgBackRest says of one repository.
#[derive(Deserialize)]
struct Repository {
    status: Status,
}

#[derive(Deserialize)]
struct Archive {
    max: Option<String>,
}

#[derive(Deserialize)]
struct Backup {
    label: String,
    archive: Option<Archived>,
    #[serde(rename = "type")]
    kind: String,
    timestamp: Times,
    #[serde(default)]
    lsn: Option<Positions>,
    info: Sizes,
    #[serde(default)]
    error: Option<bool>,
}

/// The WAL that a backup needs.
#[derive(Deserialize)]
struct Archived {
    start: Option<String>,
}

#[derive(Deserialize)]
struct Times {
    start: i64,
    stop: i64,
}

#[derive(Deserialize)]
struct Positions {
    stop: Option<String>,
}

#[derive(Deserialize)]
struct Sizes {
    size: u64,
    repository: Added,
}

#[derive(Deserialize)]
struct Added {
    delta: u64,
}

#[derive(Deserialize)]
struct Status {
    code: u32,
    message: String,
    #[serde(default)]
    lock: Option<Locks>,
}

/// Commands that work on the stanza now, on the machine that was asked.
#[derive(Deserialize)]
struct Locks {
    backup: Held,
}

#[derive(Deserialize)]
struct Held {
    held: bool,
}

/// pgBackRest's status of a stanza without a backup.
const NO_BACKUP: u32 = 2;

/// What `list.sh` printed: `pgbackrest info --output=json`, and the files of the archive, if they could be listed.
fn parsed(text: &str, now: Timestamp) -> Result<Backups, String> {
    // It quotes files of the repository as they are, and JSON has no control characters.
    let text = text.replace(char::is_control, " ");
    let mut parts = serde_json::Deserializer::from_str(&text);
    let stanzas = Vec::<Stanza>::deserialize(&mut parts).map_err(|error| format!("{error}: {text}"))?;
    // The list breaks off where the time for it ends.
    let listed = BTreeMap::<String, Entry>::deserialize(&mut parts).ok();
    let stanza = stanzas.into_iter().next().ok_or("it knows no stanza")?;
    if ![0, NO_BACKUP].contains(&stanza.status.code) {
        // That of the stanza is "other" if the repository cannot be read.
        let message = stanza.repo.into_iter().next().map_or(stanza.status.message, |first| first.status.message);
        return Err(readable(&message));
    }
    let time = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    // pgBackRest restores to a moment from a backup that ended before it, in whole seconds.
    let from = |ended: Timestamp| ended + SignedDuration::from_secs(1);
    let made = |backup: &Backup| {
        let start = backup.archive.as_ref()?.start.clone()?;
        Some(Made { start, from: from(time(backup.timestamp.stop)) })
    };
    let made: Vec<Made> = stanza.backup.iter().filter_map(made).collect();
    let gaps = listed.map(|listed| gaps(&listed, &made, now));
    let backups: Vec<BackupView> = stanza
        .backup
        .into_iter()
        .map(|backup| BackupView {
            label: backup.label,
            kind: backup.kind,
            started: time(backup.timestamp.start),
            ended: time(backup.timestamp.stop),
            stop_lsn: backup.lsn.and_then(|lsn| lsn.stop),
            size_bytes: backup.info.size,
            added_bytes: backup.info.repository.delta,
            has_errors: backup.error.unwrap_or_default(),
        })
        .collect();
    let restorable_from = backups.iter().map(|backup| backup.ended).min().map(from);
    let last_segment = stanza.archive.into_iter().filter_map(|archive| archive.max).max();
    let is_running = stanza.status.lock.is_some_and(|locks| locks.backup.held);
    Ok(Backups { stanza: stanza.name, backups, restorable_from, last_segment, gaps, is_running })
}

/// A message of pgBackRest, whose cause is in its later lines, without those that another passphrase makes of a file.
fn readable(message: &str) -> String {
    let garbled = |line: &&str| line.contains(|sign: char| sign.is_control() || sign == char::REPLACEMENT_CHARACTER);
    let lines = message.lines().map(str::trim).filter(|line| !line.is_empty() && !garbled(line));
    lines.collect::<Vec<_>>().join(" ")
}

/// What a command of pgBackRest printed. It says its errors on standard output, or in older versions on standard error.
fn printed(done: Finished) -> Result<String, String> {
    match done.status {
        0 => Ok(done.stdout),
        status => {
            let said = readable(&format!("{}\n{}", done.stderr, done.stdout));
            Err(format!("pgBackRest exited with status {status}: {said}"))
        }
    }
}

/// What a machine says of the repository and of the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub backups: Backups,
    /// Whether the last backup of the schedule failed on this machine.
    pub scheduled_failed: bool,
}

/// Asks for what `hactl status` shows, without waiting long for the repository.
///
/// # Errors
/// As [`ask`].
pub(crate) async fn look(remote: &Remote) -> Result<Seen> {
    let script = format!("{}{}", include_str!("look.sh"), list(LOOK_WITHIN));
    let done = remote.run("/bin/sh", script.as_bytes(), LOOK_WITHIN).await?;
    printed(done).and_then(|text| looked(&text, Timestamp::now())).map_err(unread)
}

/// What `look.sh` printed.
fn looked(text: &str, now: Timestamp) -> Result<Seen, String> {
    let (result, info) = text.split_once('\n').unwrap_or((text, ""));
    Ok(Seen { backups: parsed(info, now)?, scheduled_failed: result != "success" })
}

/// The script that lists the repository, for an answer within `patience`: the connection and each of its two questions get a part.
fn list(patience: Duration) -> String {
    include_str!("list.sh").replace("@SECONDS@", &(patience.as_secs() * 2 / 5).to_string())
}

fn unread(said: String) -> Error {
    Error::failed("backup-repository", "read the backups in", "the repository").cause(said)
}

/// Asks the repository, from a machine of the cluster.
///
/// # Errors
/// When the machine or the repository does not answer, or the repository has nothing of the cluster.
pub(crate) async fn ask(remote: &Remote) -> Result<Backups> {
    let done = remote.run("/bin/sh", list(ANSWERS_WITHIN).as_bytes(), ANSWERS_WITHIN).await?;
    printed(done).and_then(|text| parsed(&text, Timestamp::now())).map_err(unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = r#"[{"archive":[{"database":{"id":1,"repo-key":1},"id":"17-1","max":"000000020000000000000009",
        "min":"000000010000000000000001"}],"backup":[{"archive":{"start":"000000010000000000000005",
        "stop":"000000010000000000000005"},"backrest":{"format":5,"version":"2.55.1"},"database":{"id":1,"repo-key":1},
        "error":false,"info":{"delta":31181764,"repository":{"delta":3777384,"delta-map":32992,"size-map":32992},
        "size":31181764},"label":"20261130-022015F","lsn":{"start":"0/5000028","stop":"0/5000158"},"prior":null,
        "reference":null,"timestamp":{"start":1796005215,"stop":1796005216},"type":"full"}],"cipher":"aes-256-cbc",
        "db":[{"id":1,"repo-key":1,"system-id":7713778807210115485,"version":"17"}],"name":"hand",
        "repo":[{"cipher":"aes-256-cbc","key":1,"status":{"code":0,"message":"ok"}}],
        "status":{"code":0,"lock":{"backup":{"held":false}},"message":"ok"}}]"#;

    fn parsed(text: &str) -> Result<Backups, String> {
        super::parsed(text, Timestamp::from_second(1_796_100_000).unwrap())
    }

    #[test]
    fn segments_that_are_not_listed_are_gaps() {
        let file = |segment: &str| {
            format!(r#""17-1/0000000100000000/{segment}-ab.zst": {{"size": 1, "time": 1796005216, "type": "file"}}"#)
        };
        let files = [file("000000010000000000000005"), file("000000010000000000000007")].join(",");
        let seen = parsed(&format!("{INFO}\n{{{files}}}\n")).unwrap();
        let gaps = seen.gaps.unwrap();
        assert_eq!(gaps.len(), 1);
        assert_eq!((gaps[0].first.as_str(), gaps[0].from), ("000000010000000000000006", None));
        // Without all files of the archive nothing is known of it.
        for part in [String::new(), format!("{{{}", &files[..files.len() / 2])] {
            assert_eq!(parsed(&format!("{INFO}\n{part}")).unwrap().gaps, None, "{part}");
        }
        assert_eq!(parsed(&format!("{INFO}\n{{\".\":{{\"type\":\"path\"}}}}\n")).unwrap().gaps, Some(Vec::new()));
    }

    #[test]
    fn info_of_pgbackrest_is_backups_and_the_first_moment_to_restore_to() {
        let seen = parsed(INFO).unwrap();
        let backup = &seen.backups[0];
        assert_eq!(
            (backup.label.as_str(), backup.kind.as_str(), backup.added_bytes, backup.stop_lsn.as_deref()),
            ("20261130-022015F", "full", 3_777_384, Some("0/5000158"))
        );
        assert_eq!(seen.restorable_from, Some("2026-11-30T02:20:17Z".parse().unwrap()));
        assert_eq!((seen.stanza.as_str(), seen.last_segment.as_deref()), ("hand", Some("000000020000000000000009")));
        assert!(!seen.is_running && parsed(&INFO.replace("\"held\":false", "\"held\":true")).unwrap().is_running);
    }

    #[test]
    fn look_is_the_result_of_the_schedule_and_what_pgbackrest_says() {
        for (result, failed) in [("success", false), ("exit-code", true), ("signal", true)] {
            let seen = looked(&format!("{result}\n{INFO}\n"), Timestamp::now()).unwrap();
            assert_eq!((seen.scheduled_failed, seen.backups.backups.len()), (failed, 1), "{result}");
        }
        assert!(looked("success\n", Timestamp::now()).is_err() && looked("", Timestamp::now()).is_err());
    }

    #[test]
    fn stanza_that_cannot_be_read_is_an_error_and_one_without_backups_is_not() {
        let status = |code: u32, message: &str| {
            parsed(&format!(r#"[{{"name": "pg", "status": {{"code": {code}, "message": "{message}"}}}}]"#))
        };
        assert_eq!(status(1, "missing stanza path").unwrap_err(), "missing stanza path");
        // What another passphrase makes of a file is in the message.
        let unread = "[{\"name\": \"pg\", \"repo\": [{\"status\": {\"code\": 99, \"message\": \
                      \"[FormatError] unable to load\\nline 1: \u{fffd}\u{1f}\"}}], \"status\": {\"code\": 99, \
                      \"message\": \"other\"}}]";
        assert_eq!(parsed(unread).unwrap_err(), "[FormatError] unable to load");
        let denied = status(99, "[ProtocolError] unable to load info file 'archive.info':\\nProtocolError: HTTP 403");
        let cause = "[ProtocolError] unable to load info file 'archive.info': ProtocolError: HTTP 403";
        assert_eq!(denied.unwrap_err(), cause);
        assert!(status(2, "no valid backups").unwrap().backups.is_empty());
        assert!(parsed("[]").is_err() && parsed("").is_err());
    }

    #[test]
    fn error_on_either_output_is_the_cause() {
        let done = |status, stdout: &str, stderr: &str| {
            printed(Finished { status, stdout: stdout.to_owned(), stderr: stderr.to_owned() })
        };
        assert_eq!(done(0, "[]", "WARN: slow").unwrap(), "[]");
        for (stdout, stderr) in [("ERROR: [055]: no file\n", ""), ("", "ERROR: [055]: no file\n")] {
            let said = done(55, stdout, stderr).unwrap_err();
            assert_eq!(said, "pgBackRest exited with status 55: ERROR: [055]: no file");
        }
    }
}
