//! The section `backup` -> repositories, retention and schedule.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use super::{
    checker::Checker,
    file::{BackupFile, S3RepositoryFile, ScheduleFile},
};
use crate::model::{Backup, RepositoryName, Retention, S3Repository, Schedule};

/// Parameters that hactl sets for backups.
const OWNED: [&str; 4] = ["archive_mode", "archive_command", "archive_library", "restore_command"];

pub(super) fn backup(
    checker: &mut Checker<'_, '_>,
    written: BackupFile,
    parameters: &BTreeMap<String, Value>,
) -> Backup {
    for name in OWNED.iter().filter(|name| parameters.contains_key(**name)) {
        let message = "cannot be set in a cluster file with `backup`: hactl sets it";
        checker.say(&["postgres", "parameters", name], message);
    }
    let repositories = written.repositories.unwrap_or_default();
    // The schema has reported a missing field.
    let path = ["backup", "repositories"];
    if checker.has(&path) && repositories.len() != 1 {
        let message = format!("expected one repository, found {}: hactl writes to one", repositories.len());
        checker.say(&path, message);
    }
    let mut checked = BTreeMap::new();
    for (name, repository) in repositories {
        let Some(s3) = repository.and_then(|repository| repository.s3) else {
            let message = "names no store, for example `s3: {bucket: pg-backups, endpoint: ..., region: ...}`";
            checker.say(&["backup", "repositories", name.as_str()], message);
            continue;
        };
        if let Some(s3) = self::s3(checker, &name, s3) {
            checked.insert(name, s3);
        }
    }
    let retention = written.retention.unwrap_or_default();
    let retention = Retention { full: retention.full.unwrap_or(2), days: retention.days.unwrap_or(14) };
    let schedule = written.schedule.and_then(|written| self::schedule(checker, &written));
    Backup { stanza: written.stanza, repositories: checked, retention, schedule }
}

/// The schema has reported a missing full backup.
fn schedule(checker: &mut Checker<'_, '_>, written: &ScheduleFile) -> Option<Schedule> {
    let ScheduleFile { full, differential, incremental } = *written;
    let mut larger = ("full", full?);
    for (name, period) in [("differential", differential), ("incremental", incremental)] {
        let Some(period) = period else { continue };
        if period >= larger.1 {
            let message = format!(
                "`{}` is not more often than `{}`, the time of `{}`: that backup has all of it",
                period.as_str(),
                larger.1.as_str(),
                larger.0
            );
            checker.say(&["backup", "schedule", name], message);
        }
        larger = (name, period);
    }
    Some(Schedule { full: full?, differential, incremental })
}

/// The schema has checked the fields one by one.
fn s3(checker: &mut Checker<'_, '_>, name: &RepositoryName, written: S3RepositoryFile) -> Option<S3Repository> {
    let at = |field| ["backup", "repositories", name.as_str(), "s3", field];
    let ca = written.ca.and_then(|file| match fs::read_to_string(checker.dir().join(&file)) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => Some(text),
        Ok(_) => {
            checker.say(&at("ca"), format!("{file} has no certificate in PEM"));
            None
        }
        Err(error) => {
            checker.say(&at("ca"), format!("{file} cannot be read: {error}"));
            None
        }
    });
    let endpoint = written.endpoint?;
    let address = endpoint.trim_start_matches("https://").trim_end_matches('/');
    let (host, port) = match address.split_once(':') {
        None => (address, 443),
        Some((host, text)) => match text.parse::<u16>() {
            Ok(port @ 1..) => (host, port),
            _ => {
                checker.say(&at("endpoint"), format!("`{text}` is not a port: expected 1 to 65535"));
                (host, 443)
            }
        },
    };
    Some(S3Repository {
        bucket: written.bucket?,
        host: host.to_owned(),
        port,
        region: written.region?,
        path: written.path.unwrap_or_else(|| "/pgbackrest".to_owned()),
        path_style: written.path_style.unwrap_or(!host.ends_with(".amazonaws.com")),
        ca,
    })
}
