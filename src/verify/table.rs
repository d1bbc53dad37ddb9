//! The drill's own database, role and tables: made before the first round, gone after the last.

use std::time::Duration;

use futures_util::TryStreamExt;
use postgres_protocol::password::scram_sha_256;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::{
    clients::said,
    history::{RowId, Rows},
};
use crate::{
    access::Access,
    component::postgres,
    error::{Error, Result},
    fleet::{Fleet, FleetNode},
    model::{InstanceKey, Secret, reserved},
};

/// Database and role of the drills.
pub(super) const NAME: &str = reserved::DRILLS;

/// How long a statement of the preparation may take; a commit that waits for a replica would wait for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// The drills' place in the cluster.
pub(super) struct Table<'a> {
    fleet: &'a Fleet,
    access: &'a Access,
    pub(super) password: Secret<String>,
    /// The comment on database, role and tables: what has another is not dropped.
    mark: String,
}

impl<'a> Table<'a> {
    /// Creates role and database on the primary, after dropping what a killed run has left.
    ///
    /// # Errors
    /// When the primary refuses, or a commit is not acknowledged in time.
    pub(super) async fn create(fleet: &'a Fleet, access: &'a Access, primary: &InstanceKey) -> Result<Self> {
        let password = Secret::new(format!("{:032x}", rand::random::<u128>()));
        let mut table = Self { fleet, access, password, mark: String::new() };
        let client = table.connect(primary, "postgres").await?;
        let mark = postgres::mark(&client).await;
        table.mark = mark.map_err(|error| table.failed("query", primary).cause(said(&error)))?;
        table.drop(primary).await?;
        // The password itself is never sent: a server may log its statements.
        let verifier = scram_sha_256(table.password.expose().as_bytes());
        let mark = &table.mark;
        // Statements in one message are one transaction: the role never exists without its mark.
        let role = format!("CREATE ROLE {NAME} LOGIN PASSWORD '{verifier}'; COMMENT ON ROLE {NAME} IS '{mark}'");
        table.execute(&client, primary, &role).await?;
        // The template of users may have objects, which would have no mark.
        let database = format!("CREATE DATABASE {NAME} OWNER {NAME} TEMPLATE template0");
        table.execute(&client, primary, &database).await?;
        table.execute(&client, primary, &format!("COMMENT ON DATABASE {NAME} IS '{mark}'")).await?;
        Ok(table)
    }

    /// Makes the table of one round. It has no unique constraint, so that duplicate rows show.
    pub(super) async fn begin(&self, primary: &InstanceKey, table: &str) -> Result<()> {
        let client = self.connect(primary, NAME).await?;
        let text = format!(
            "CREATE TABLE public.{table} (client integer NOT NULL, seq bigint NOT NULL); \
             COMMENT ON TABLE public.{table} IS '{}'; ALTER TABLE public.{table} OWNER TO {NAME}",
            self.mark
        );
        self.execute(&client, primary, &text).await
    }

    /// Waits until the primary acknowledges commits without a replica.
    pub(super) async fn waits_for_no_replica(&self, primary: &InstanceKey) -> Result<()> {
        let client = self.connect(primary, "postgres").await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let row = client.query_one("SELECT current_setting('synchronous_standby_names')", &[]).await;
            let names: String = row.map_err(|error| self.failed("query", primary).cause(said(&error)))?.get(0);
            if names.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seen = format!(
                    "the primary still waits for {names} {} s after synchronous_mode was turned off",
                    PATIENCE.as_secs()
                );
                return Err(self.failed("turn off synchronous replication on", primary).cause(seen));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Those of `transactions` that are not committed on the primary. IDs from before a failover may be those of other
    /// transactions after it, so this says nothing where the timeline has changed.
    ///
    /// # Errors
    /// When the primary does not answer.
    pub(super) async fn uncommitted(&self, primary: &InstanceKey, transactions: &[i64]) -> Result<Vec<i64>> {
        let leader = self.connect(primary, NAME).await?;
        // The server has an error for an ID that it has not assigned yet.
        let query = "SELECT id FROM unnest($1::bigint[]) AS id WHERE CASE WHEN id < txid_snapshot_xmax(txid_current_snapshot()) \
                     THEN txid_status(id) IS DISTINCT FROM 'committed' ELSE true END ORDER BY id";
        let failed = |cause: String| self.failed("look for the transactions of the poolers on", primary).cause(cause);
        match tokio::time::timeout(PATIENCE, leader.query(query, &[&transactions])).await {
            Ok(rows) => Ok(rows.map_err(|error| failed(said(&error)))?.iter().map(|row| row.get(0)).collect()),
            Err(_) => Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    /// Reads the rows of a round on the settled primary and, once they have caught up, on every replica.
    ///
    /// # Errors
    /// When a node does not answer or a replica does not catch up within `patience`.
    pub(super) async fn read(&self, primary: &InstanceKey, table: &str, patience: Duration) -> Result<Rows> {
        let leader = self.connect(primary, NAME).await?;
        self.settle(&leader, primary, patience).await?;
        let caught = |error: &tokio_postgres::Error| self.failed("read the rows on", primary).cause(said(error));
        let lsn: String =
            leader.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.map_err(|error| caught(&error))?.get(0);
        let mut rows = Rows::default();
        for (index, node) in (0_u16..).zip(self.fleet.data_nodes()) {
            let key = node.key();
            let found = if key == primary {
                rows.primary = index;
                self.rows(&leader, key, table).await?
            } else {
                self.replayed(key, &lsn, table, patience).await?
            };
            rows.on.insert(index, found);
        }
        Ok(rows)
    }

    /// The rows on a replica that has replayed up to `lsn`. One that has just rejoined may start once more.
    async fn replayed(&self, key: &InstanceKey, lsn: &str, table: &str, patience: Duration) -> Result<Vec<RowId>> {
        let deadline = Instant::now() + patience;
        loop {
            let read = async {
                let client = self.connect(key, NAME).await?;
                self.catch_up(&client, key, lsn, deadline).await?;
                self.rows(&client, key, table).await
            };
            match read.await {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(500)).await,
                read => return read,
            }
        }
    }

    async fn rows(&self, client: &Client, key: &InstanceKey, table: &str) -> Result<Vec<RowId>> {
        let row = |row: tokio_postgres::Row| RowId {
            client: u16::try_from(row.get::<_, i32>(0)).unwrap_or(u16::MAX),
            seq: u32::try_from(row.get::<_, i64>(1)).unwrap_or(u32::MAX),
        };
        // One after the other: there may be millions, and a row as it comes is many times its two numbers.
        let read = async {
            let none: [i32; 0] = [];
            let found = client.query_raw(&format!("SELECT client, seq FROM public.{table}"), none).await?;
            found.map_ok(row).try_collect().await
        };
        read.await.map_err(|error| self.failed("read the rows on", key).cause(said(&error)))
    }

    /// Waits until no server process of the clients is left: an abandoned commit that still waits for a
    /// replica is on the replicas already, and visible on the primary only when it has ended.
    async fn settle(&self, leader: &Client, primary: &InstanceKey, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let left: i64 = leader
                .query_one("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", &[&NAME])
                .await
                .map_err(|error| self.failed("wait for the last commits on", primary).cause(said(&error)))?
                .get(0);
            if left == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seen = format!("{left} sessions of the clients did not end within {} s", patience.as_secs());
                return Err(self.failed("wait for the last commits on", primary).cause(seen));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn catch_up(&self, client: &Client, node: &InstanceKey, lsn: &str, deadline: Instant) -> Result<()> {
        let query = "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)";
        loop {
            let row = client.query_one(query, &[&lsn]).await;
            if row.map_err(|error| self.failed("read the rows on", node).cause(said(&error)))?.get(0) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seen = format!("the replica has not replayed up to {lsn} in time");
                return Err(self.failed("read the rows on", node).cause(seen));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Drops database and role, if they exist and hactl made them.
    ///
    /// # Errors
    /// When one of them, or a relation in the database, does not carry the mark.
    pub(super) async fn drop(&self, primary: &InstanceKey) -> Result<()> {
        let client = self.connect(primary, "postgres").await?;
        let query = "SELECT current_setting('server_version_num')::int, \
                     (SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = $1), \
                     (SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = $1)";
        let found = client.query_one(query, &[&NAME]).await;
        let found = found.map_err(|error| self.failed("query", primary).cause(said(&error)))?;
        let version: i32 = found.get(0);
        let [database, role]: [Option<String>; 2] = [found.get(1), found.get(2)];
        for (kind, mark) in [("database", &database), ("role", &role)] {
            if mark.as_ref().is_some_and(|mark| *mark != self.mark) {
                return Err(self.unmarked(primary, &format!("{kind} `{NAME}`")));
            }
        }
        if database.is_some()
            && let Some(relation) = self.unmarked_relation(primary).await?
        {
            return Err(self.unmarked(primary, &format!("`{relation}` in database `{NAME}`")));
        }
        // PostgreSQL 12 does not end the database's sessions itself.
        let text = match version {
            130_000.. => format!("DROP DATABASE IF EXISTS {NAME} WITH (FORCE)"),
            _ => {
                let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{NAME}'");
                self.execute(&client, primary, &end).await?;
                format!("DROP DATABASE IF EXISTS {NAME}")
            }
        };
        self.execute(&client, primary, &text).await?;
        self.execute(&client, primary, &format!("DROP ROLE IF EXISTS {NAME}")).await
    }

    /// The first relation in the drills' database that the drills did not make.
    async fn unmarked_relation(&self, primary: &InstanceKey) -> Result<Option<String>> {
        let client = self.connect(primary, NAME).await?;
        let query = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname <> 'information_schema' \
                     AND n.nspname NOT LIKE 'pg\\_%' AND obj_description(c.oid, 'pg_class') IS DISTINCT FROM $1 LIMIT 1";
        let found = client.query_opt(query, &[&self.mark]).await;
        let found = found.map_err(|error| self.failed("query", primary).cause(said(&error)))?;
        Ok(found.map(|row| row.get(0)))
    }

    /// hactl does not drop what it did not make: it may hold a user's rows.
    fn unmarked(&self, primary: &InstanceKey, what: &str) -> Error {
        let cluster = &self.fleet.cluster;
        Error::failed("drill-database", format!("drop {what} on"), primary)
            .cause("it does not carry the mark of this cluster's drills, so hactl may not have made it")
            .hint(format!(
                "Rename it if you need it, or drop it, with `hactl ssh {cluster} {primary} -- runuser -u postgres -- \
                 psql`. Then run the command again"
            ))
    }

    async fn connect(&self, key: &InstanceKey, database: &str) -> Result<Client> {
        let Some(node) = self.fleet.nodes.get(key) else {
            return Err(self.failed("connect to", key).cause("the cluster has no such machine"));
        };
        let failed = |seen: String| self.failed("connect to", key).cause(seen);
        match tokio::time::timeout(PATIENCE, postgres::superuser(self.access, node, database)).await {
            Ok(client) => client.map_err(|seen| failed(seen.to_string())),
            Err(_) => Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    async fn execute(&self, client: &Client, node: &InstanceKey, text: &str) -> Result<()> {
        match tokio::time::timeout(PATIENCE, client.batch_execute(text)).await {
            Ok(done) => done.map_err(|error| self.failed("prepare the drill database on", node).cause(said(&error))),
            Err(_) => Err(self
                .failed("prepare the drill database on", node)
                .cause(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    fn failed(&self, what: &str, node: &InstanceKey) -> Error {
        Error::failed("drill-database", what, node).hint(format!("Run `hactl status {}`", self.fleet.cluster))
    }
}

/// The data nodes, in the order of a history's nodes.
pub(super) fn data_nodes(fleet: &Fleet) -> impl Iterator<Item = &FleetNode> {
    fleet.data_nodes()
}
