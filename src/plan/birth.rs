//! Parameters that only a cluster that begins gets, because a server must restart to take them or because its clients would
//! notice: a cluster that runs keeps what it began with.

use std::collections::BTreeMap;

use serde_json::Value;

use super::backup;
use crate::model::PostgresMajor;

/// The newest set. 0 is that of the releases that had none.
pub(super) const NEWEST: u32 = 3;

/// The parameters of a set.
pub(super) fn parameters(set: u32) -> BTreeMap<String, Value> {
    if set == 0 {
        return BTreeMap::new();
    }
    let mut parameters =
        BTreeMap::from([("shared_preload_libraries", "pg_stat_statements"), ("track_io_timing", "on")]);
    if set > 1 {
        // A query on a replica holds up its promotion no longer than this.
        parameters.insert(STANDBY_DELAY, "5s");
    }
    if set > 2 {
        // A client that forgot its transaction holds its locks, and keeps vacuum from removing rows, no longer than this.
        parameters.insert(IDLE_TRANSACTION, "1h");
    }
    let parameters = parameters.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
    // Backups that are added later need no restart: the command is changed by a reload.
    parameters.chain(archive(true)).collect()
}

/// The archive of a cluster that has no backups, or has none any more. Without a command a server keeps its WAL until the restart
/// that ends `archive_mode`, so that stays on.
pub(super) fn archive(archives: bool) -> impl Iterator<Item = (String, Value)> {
    let parameters = [("archive_mode", "on"), ("archive_command", ARCHIVE_COMMAND)];
    parameters.into_iter().filter(move |_| archives).map(|(name, value)| (name.to_owned(), value.into()))
}

/// Whether the archive of a cluster is that of hactl.
#[must_use]
pub fn archives(parameters: &BTreeMap<String, Value>) -> bool {
    let text = |name: &str| parameters.get(name).and_then(Value::as_str).unwrap_or_default();
    text("archive_mode") == "on" && [ARCHIVE_COMMAND, backup::ARCHIVE_COMMAND].contains(&text("archive_command"))
}

const STANDBY_DELAY: &str = "max_standby_streaming_delay";
const IDLE_TRANSACTION: &str = "idle_in_transaction_session_timeout";

/// Succeeds, so that no WAL is kept for an archive that does not exist.
const ARCHIVE_COMMAND: &str = "/bin/true";

/// The set that a running cluster began with, by those of its parameters that need a restart, and by those that sets 2 and
/// 3 added.
#[must_use]
pub fn of(parameters: &BTreeMap<String, Value>) -> u32 {
    let text = |name: &str| parameters.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("archive_mode") != "on" || !text("shared_preload_libraries").contains("pg_stat_statements") {
        return 0;
    }
    let later = [STANDBY_DELAY, IDLE_TRANSACTION].into_iter().take_while(|name| parameters.contains_key(*name));
    later.fold(1, |set, _| set + 1)
}

/// Parameters by which PostgreSQL itself copies logical slots with `failover` to the standbys, from 17 on.
pub(super) fn failover_slots(major: PostgresMajor, given: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let level = given.get("wal_level").and_then(Value::as_str).unwrap_or_default();
    let logical = level.eq_ignore_ascii_case("logical");
    if major.number() < 17 || !logical {
        return BTreeMap::new();
    }
    ["sync_replication_slots", "hot_standby_feedback"].map(|name| (name.to_owned(), "on".into())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_of_a_running_cluster_is_found_by_its_parameters() {
        assert_eq!([0, 1, 2, NEWEST].map(|set| of(&parameters(set))), [0, 1, 2, NEWEST]);
        let mut changed = parameters(NEWEST);
        changed.insert("archive_command".to_owned(), "pgbackrest archive-push %p".into());
        assert_eq!(of(&changed), NEWEST);
        // The file of a cluster of set 1 sets what set 3 added.
        let mut own = parameters(1);
        own.insert(IDLE_TRANSACTION.to_owned(), "5min".into());
        assert_eq!(of(&own), 1);
        // An earlier release, with an archive in its file.
        let own = [("archive_mode", "on"), ("archive_command", "cp %p /mnt/%f")];
        assert_eq!(of(&own.map(|(name, value)| (name.to_owned(), value.into())).into()), 0);
    }

    #[test]
    fn slots_are_copied_from_postgresql_17_on_where_wal_is_logical() {
        let logical = BTreeMap::from([("wal_level".to_owned(), Value::from("logical"))]);
        let names = |major: u8, given: &BTreeMap<String, Value>| {
            failover_slots(major.try_into().unwrap(), given).into_keys().collect::<Vec<_>>()
        };
        assert_eq!(names(17, &logical), ["hot_standby_feedback", "sync_replication_slots"]);
        assert_eq!(names(16, &logical), [""; 0]);
        assert_eq!(names(17, &BTreeMap::new()), [""; 0]);
    }
}
