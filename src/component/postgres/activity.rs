//! What a switchover of the primary would interrupt, and how far its standbys are.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio_postgres::{Client, Row};

use super::client::{failure, superuser};
use crate::{
    access::Access,
    component::probe::Observed,
    fleet::{Fleet, FleetNode},
};

/// What happens on a primary at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Activity {
    /// Sessions of clients, without this one.
    pub(crate) sessions: i64,
    /// Open transactions, the oldest first.
    pub(crate) transactions: Vec<LongTransaction>,
    /// Base backups that are copied from this server, by the ID of their process.
    pub(crate) backups: Vec<i32>,
    /// Prepared transactions, by their names.
    pub(crate) prepared: Vec<String>,
    /// Logical slots that PostgreSQL does not copy to the standbys.
    pub(crate) logical_slots: Vec<String>,
    /// Standbys that stream, by their machine's key.
    pub(crate) standbys: BTreeMap<String, Standby>,
    /// Open transactions on standbys.
    pub(crate) readers: Vec<Reader>,
}

/// A transaction on a standby.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reader {
    /// The key of the standby's machine.
    pub(crate) standby: String,
    /// How long the standby lets it hold up replay, in seconds; none without a limit.
    pub(crate) delay: Option<i64>,
    pub(crate) transaction: LongTransaction,
}

/// A transaction of a client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LongTransaction {
    pub(crate) pid: i32,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) seconds: f64,
}

/// How far a standby is behind its primary.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Standby {
    /// Bytes of WAL that it has not on its disk.
    pub(crate) not_flushed: i64,
    /// Bytes of WAL that it has not replayed.
    pub(crate) not_replayed: i64,
    /// Seconds since it last said how far it is.
    pub(crate) silent: f64,
}

/// Asks a primary.
///
/// # Errors
/// What was seen instead of an answer.
pub(crate) async fn activity(client: &Client, fleet: &Fleet) -> Observed<Activity> {
    let sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let backups = "SELECT pid FROM pg_stat_progress_basebackup ORDER BY pid";
    let prepared = "SELECT gid FROM pg_prepared_xacts ORDER BY prepared";
    // The column `failover` exists from PostgreSQL 17 on.
    let slots = "SELECT slot_name::text FROM pg_replication_slots AS slot WHERE slot_type = 'logical' \
                 AND NOT (coalesce(current_setting('sync_replication_slots', true), 'off') = 'on' \
                          AND coalesce((to_jsonb(slot) ->> 'failover')::boolean, false)) ORDER BY 1";
    let standbys = "SELECT application_name, pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn)::int8, \
                    pg_wal_lsn_diff(pg_current_wal_flush_lsn(), replay_lsn)::int8, \
                    extract(epoch FROM clock_timestamp() - reply_time)::float8 FROM pg_stat_replication \
                    WHERE state = 'streaming' AND application_name <> 'pg_basebackup'";
    let texts = |rows: Vec<Row>| rows.iter().map(|row| row.get(0)).collect();
    let standby = |row: &Row| {
        let unknown = |value: Option<i64>| value.unwrap_or(i64::MAX);
        let silent = row.get::<_, Option<f64>>(3).unwrap_or(f64::INFINITY);
        (
            fleet.key_of(row.get(0)),
            Standby { not_flushed: unknown(row.get(1)), not_replayed: unknown(row.get(2)), silent },
        )
    };
    Ok(Activity {
        sessions: rows(client, sessions).await?.first().map(|row| row.get(0)).unwrap_or_default(),
        transactions: rows(client, TRANSACTIONS).await?.iter().map(transaction).collect(),
        backups: rows(client, backups).await?.iter().map(|row| row.get(0)).collect(),
        prepared: texts(rows(client, prepared).await?),
        logical_slots: texts(rows(client, slots).await?),
        standbys: rows(client, standbys).await?.iter().map(standby).collect(),
        readers: Vec::new(),
    })
}

/// The open transactions of clients, the oldest first.
const TRANSACTIONS: &str = "SELECT pid, coalesce(usename, '')::text, coalesce(datname, '')::text, \
                            extract(epoch FROM clock_timestamp() - xact_start)::float8 FROM pg_stat_activity \
                            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL \
                            ORDER BY xact_start";

fn transaction(row: &Row) -> LongTransaction {
    LongTransaction { pid: row.get(0), user: row.get(1), database: row.get(2), seconds: row.get(3) }
}

/// The open transactions of standbys. One that does not answer has none that are known: health says that it is silent.
pub(crate) async fn readers(access: &Access, standbys: impl Iterator<Item = &FleetNode>) -> Vec<Reader> {
    let asked = standbys.map(async |node| {
        let client = superuser(access, node, "postgres").await?;
        let setting = "SELECT setting::int8 FROM pg_settings WHERE name = 'max_standby_streaming_delay'";
        let milliseconds = rows(&client, setting).await?.first().map_or(-1, |row| row.get::<_, i64>(0));
        let delay = (milliseconds >= 0).then_some(milliseconds / 1000);
        let reader = |row: &Row| Reader { standby: node.key().to_string(), delay, transaction: transaction(row) };
        Observed::Ok(rows(&client, TRANSACTIONS).await?.iter().map(reader).collect::<Vec<_>>())
    });
    join_all(asked).await.into_iter().flatten().flatten().collect()
}

/// The process of a backup that is copied from a server: a base backup, or one of pgBackRest, which has a session on the
/// primary and on the standby that it copies.
///
/// # Errors
/// What was seen instead of an answer.
pub(crate) async fn backup(access: &Access, node: &FleetNode) -> Observed<Option<i32>> {
    let client = superuser(access, node, "postgres").await?;
    let statement = "SELECT pid FROM pg_stat_progress_basebackup UNION \
                     SELECT pid FROM pg_stat_activity WHERE application_name = 'pgBackRest [backup]' ORDER BY 1";
    Ok(rows(&client, statement).await?.first().map(|row| row.get(0)))
}

/// Writes a checkpoint, so that the one of a stop that follows has little to write.
///
/// # Errors
/// What was seen instead of an answer.
pub(crate) async fn checkpoint(client: &Client) -> Observed<()> {
    client.batch_execute("CHECKPOINT").await.map_err(|error| failure(&error))
}

/// How far the WAL is that a primary has on its disk, in bytes.
///
/// # Errors
/// What was seen instead of an answer.
pub(crate) async fn flushed(client: &Client) -> Observed<i64> {
    let rows = rows(client, "SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::int8").await?;
    Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
}

/// How far the WAL is that each standby has on its disk, in bytes, by its machine's key.
///
/// # Errors
/// What was seen instead of an answer.
pub(crate) async fn flushed_by(client: &Client, fleet: &Fleet) -> Observed<BTreeMap<String, i64>> {
    let statement = "SELECT application_name, coalesce(pg_wal_lsn_diff(flush_lsn, '0/0'), 0)::int8 \
                     FROM pg_stat_replication WHERE state = 'streaming' AND application_name <> 'pg_basebackup'";
    Ok(rows(client, statement).await?.iter().map(|row| (fleet.key_of(row.get(0)), row.get(1))).collect())
}

async fn rows(client: &Client, statement: &str) -> Observed<Vec<Row>> {
    client.query(statement, &[]).await.map_err(|error| failure(&error))
}
