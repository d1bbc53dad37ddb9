//! What a rolling restart has to do: `.hactl/NAME/restart.json` from its first step to its end. A run that ended early is
//! continued by the same command, and restarts no server twice.

use std::{collections::BTreeMap, fs, io, path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    file,
    model::InstanceKey,
};

/// The version that this hactl writes, and the newest that it reads.
const VERSION: u32 = 1;

/// A task is continued for this long. Later, the same command begins another one.
const CONTINUED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Which servers restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRequest {
    /// The only one, if not all.
    pub member: Option<InstanceKey>,
    /// Only those of which Patroni says that a changed setting waits for it.
    pub pending: bool,
}

impl RestartRequest {
    pub(super) fn concerns(&self, key: &InstanceKey) -> bool {
        self.member.as_ref().is_none_or(|member| member == key)
    }
}

/// What is to do, and what was asked of Patroni.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Task {
    version: u32,
    pub(super) request: RestartRequest,
    pub(super) began: Timestamp,
    /// When the server of each member that had to restart was started.
    before: BTreeMap<InstanceKey, String>,
    /// The member whose server Patroni was asked to stop last, and when.
    asked: Option<(InstanceKey, Timestamp)>,
}

impl Task {
    pub(super) const fn new(request: RestartRequest, began: Timestamp) -> Self {
        Self { version: VERSION, request, began, before: BTreeMap::new(), asked: None }
    }

    /// The task that a run before this one did not end, if `request` is the same.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub(super) fn left(path: &Path, request: &RestartRequest, now: Timestamp) -> Result<Option<Self>> {
        let task: Option<Self> = file::read_record(path, VERSION).map_err(|cause| {
            Error::failed("restart-record", "read what is left of a restart in", path.display())
                .cause(&cause)
                .hint(cause.next_step("Remove the file: the restart then begins again"))
        })?;
        Ok(task.filter(|task| task.request == *request && now.duration_since(task.began) < CONTINUED_FOR))
    }

    /// Notes when the servers were started that have still to restart.
    pub(super) fn note<'a>(&mut self, started: impl Iterator<Item = (&'a InstanceKey, &'a str)>) {
        for (key, started) in started.filter(|(key, _)| self.request.concerns(key)) {
            self.before.entry(key.clone()).or_insert_with(|| started.to_owned());
        }
    }

    /// Whether the server that was started at `started` is another one than before the task.
    pub(super) fn has_restarted(&self, key: &InstanceKey, started: Option<&str>) -> bool {
        self.before.get(key).is_some_and(|before| started.is_some_and(|started| differ(before, started)))
    }

    /// Whether Patroni, which does it after `patience` at the latest, was asked to stop this server, and has not.
    pub(super) fn is_asked(&self, key: &InstanceKey, started: &str, (now, patience): (Timestamp, Duration)) -> bool {
        let asked = self.asked.as_ref().filter(|(asked, _)| asked == key);
        asked.is_some_and(|(_, at)| now.duration_since(*at).unsigned_abs() < patience)
            && !self.has_restarted(key, Some(started))
    }

    /// Writes that Patroni is about to be asked to stop the server of `key`.
    ///
    /// # Errors
    /// When it cannot be written: then Patroni is not asked.
    pub(super) fn ask(&mut self, path: &Path, key: &InstanceKey, now: Timestamp) -> Result<()> {
        self.asked = Some((key.clone(), now));
        self.write(path)
    }

    /// Writes that Patroni has refused what it was asked last.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn refused(&mut self, path: &Path) -> Result<()> {
        self.asked = None;
        self.write(path)
    }

    fn write(&self, path: &Path) -> Result<()> {
        let write = || file::replace(path, &serde_json::to_vec_pretty(self)?);
        write().map_err(|error| {
            let error = Error::failed("restart-record", "write", path.display()).source(&error);
            error.hint("Check that the disk has free space")
        })
    }
}

/// Whether two times are not the same. PostgreSQL tells them in its time zone, which a reload can change.
fn differ(before: &str, started: &str) -> bool {
    match (before.parse::<Timestamp>(), started.parse::<Timestamp>()) {
        (Ok(before), Ok(started)) => before != started,
        _ => before != started,
    }
}

/// Removes the record of a task that has ended.
///
/// # Errors
/// When it cannot be removed: the same command would take it for unfinished.
pub(super) fn end(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let error = Error::failed("restart-record", "remove", path.display()).source(&error);
            Err(error.hint("Remove the file: the restart has ended"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> InstanceKey {
        name.parse().unwrap()
    }

    #[test]
    fn task_that_was_left_is_continued_by_the_same_request_within_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("restart.json");
        let began: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let after = |seconds| began + SignedDuration::from_secs(seconds);
        let all = RestartRequest { member: None, pending: false };
        assert_eq!(Task::left(&path, &all, began).unwrap(), None);

        let mut task = Task::new(all.clone(), began);
        task.note([(&key("node1"), "10:00"), (&key("node2"), "10:01")].into_iter());
        task.ask(&path, &key("node2"), after(5)).unwrap();
        assert_eq!(Task::left(&path, &all, after(64)).unwrap().as_ref(), Some(&task));
        let is_asked = |name: &str, started: &str, seconds: i64| {
            task.is_asked(&key(name), started, (after(seconds), Duration::from_secs(16)))
        };
        assert!(is_asked("node2", "10:01", 20) && !is_asked("node2", "10:01", 21));
        assert!(!is_asked("node2", "12:00", 6) && !is_asked("node1", "10:00", 6));
        assert!(task.has_restarted(&key("node2"), Some("12:00")) && !task.has_restarted(&key("node2"), None));
        assert!(!task.has_restarted(&key("node3"), Some("12:00")));
        // A server that has restarted meanwhile keeps the time from before.
        task.note([(&key("node2"), "12:00")].into_iter());
        assert!(task.has_restarted(&key("node2"), Some("12:00")));

        let other = RestartRequest { member: Some(key("node2")), pending: false };
        assert_eq!(Task::left(&path, &other, after(10)).unwrap(), None);
        assert_eq!(Task::left(&path, &all, after(3600)).unwrap(), None);
        end(&path).unwrap();
        end(&path).unwrap();
        assert_eq!(Task::left(&path, &all, after(10)).unwrap(), None);
    }

    #[test]
    fn record_that_cannot_be_read_is_an_error_and_not_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("restart.json");
        for (text, cause) in [("{", "EOF"), ("{}", "missing field"), (r#"{"version": 2}"#, "a newer hactl wrote it")] {
            fs::write(&path, text).unwrap();
            let request = RestartRequest { member: None, pending: true };
            let error = Task::left(&path, &request, Timestamp::UNIX_EPOCH).unwrap_err();
            assert!(error.code == "restart-record" && error.causes[0].contains(cause), "{text}: {error}");
        }
    }

    #[test]
    fn start_of_a_server_is_the_same_in_every_time_zone() {
        let utc = "2026-11-30 13:00:00.123456+00:00";
        assert!(!differ(utc, "2026-11-30 14:00:00.123456+01:00") && differ(utc, "2026-11-30 13:00:00.123457+00:00"));
    }

    #[test]
    fn task_of_one_member_notes_that_member_alone() {
        let request = RestartRequest { member: Some(key("node2")), pending: false };
        let mut task = Task::new(request, Timestamp::UNIX_EPOCH);
        task.note([(&key("node1"), "10:00"), (&key("node2"), "10:01")].into_iter());
        assert_eq!(task.before, BTreeMap::from([(key("node2"), "10:01".to_owned())]));
    }
}
