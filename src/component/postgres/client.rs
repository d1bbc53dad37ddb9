//! PostgreSQL itself: who is in recovery, and who streams.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as _,
};

use rustls::ClientConfig;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::{Client, Config, error::SqlState, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    locale::{self, CollationView},
    service::endpoint,
};
use crate::{
    access::{Access, PATIENCE},
    component::probe::{self, Observed, ProbeError, Reached},
    fleet::FleetNode,
    model::DatabaseLocale,
    ssh::Remote,
};

/// One server's answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PostgresView {
    pub in_recovery: bool,
    /// Standbys that stream from here, by their machine's key where it is one of these; `pg_basebackup`'s stream is not among them.
    pub streaming: BTreeMap<String, String>,
    /// The state of the senders to standbys that do not stream, by the same keys.
    pub senders: BTreeMap<String, String>,
    /// The copies of the data that it is sending, in bytes, by the receiving machine's key or address.
    pub copies: BTreeMap<String, u64>,
    /// The replication slots, on a primary.
    pub slots: Vec<SlotView>,
    /// Roles and databases whose settings lower `synchronous_commit`.
    pub lowered: Vec<String>,
    /// Its databases.
    pub databases: BTreeSet<String>,
    /// Their locales.
    pub locales: BTreeMap<String, DatabaseLocale>,
    /// Databases that were made with another version of the library that sorts text than this machine has.
    pub collations: Vec<CollationView>,
    /// How far the standbys that stream from here are behind with their replay, by the same keys as `streaming`.
    pub replay: BTreeMap<String, ReplayLag>,
    pub version: String,
    /// A standby that does not replay what it receives.
    pub replay_paused: bool,
    /// What its configuration files say of each parameter, by the name in lower case, and why PostgreSQL refuses it;
    /// none where the role may not read that.
    pub files: Option<BTreeMap<String, FileSetting>>,
    /// What the archiver of a primary has done; none where it archives nothing.
    pub archiver: Option<ArchiverView>,
    /// Whether it serves TLS: the connection that asks is made with it where it can be.
    pub tls: bool,
}

/// The archiver of a primary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiverView {
    /// The last segment that was archived.
    pub archived: Option<String>,
    /// The segment that could not be archived, if that is newer than the last success.
    pub failing: Option<String>,
    /// Seconds since the last success, or since the counters began.
    pub since_s: u64,
}

/// A replication slot of the primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SlotView {
    /// The slot's name; that of a member's slot is the member's name, with `_` for `-`.
    pub name: String,
    /// `physical` or `logical`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether a client reads it now.
    pub active: bool,
    /// PostgreSQL's word: `reserved`, `extended`, `unreserved` or `lost`; null if the slot holds no WAL.
    pub wal_status: Option<String>,
    /// The WAL that it holds, in bytes; null if it holds none.
    pub retained_bytes: Option<u64>,
}

/// How far a standby is behind with its replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ReplayLag {
    /// The WAL that it has not replayed, in bytes.
    pub bytes: u64,
    /// The time from a commit to its replay there, in seconds; none if not known.
    pub seconds: Option<f64>,
}

/// A parameter's last line in the configuration files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileSetting {
    pub value: String,
    /// Why PostgreSQL cannot apply it. A value that only waits for a restart has none.
    pub error: Option<String>,
}

/// Asks one server.
///
/// # Errors
/// What was seen instead of an answer.
pub(crate) async fn ask(Reached { remote, access, fleet, node }: Reached<'_>) -> Observed<PostgresView> {
    let ask = async {
        let client = connect(remote, access, node, "postgres").await?;
        let row = client
            .query_one(
                "SELECT pg_is_in_recovery(), current_setting('server_version'), \
                 (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), \
                 CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END, \
                 current_setting('server_version_num')::int",
                &[],
            )
            .await
            .map_err(|error| failure(&error))?;
        let databases = locale::databases(&client).await.map_err(|error| failure(&error))?;
        let collations = locale::collations(&client, row.get(4)).await.map_err(|error| failure(&error))?;
        // pg_basebackup streams WAL, too, and would count a replica that is still being made.
        let standbys = client
            .query(
                "SELECT application_name, sync_state, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() \
                 THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, replay_lsn)::int8, \
                 extract(epoch FROM replay_lag)::float8, state FROM pg_stat_replication \
                 WHERE application_name <> 'pg_basebackup'",
                &[],
            )
            .await
            .map_err(|error| failure(&error))?;
        let sender = |row: &tokio_postgres::Row| row.get::<_, Option<String>>(4).unwrap_or_default();
        let (streaming, others): (Vec<_>, Vec<_>) = standbys.into_iter().partition(|row| sender(row) == "streaming");
        // Servers before PostgreSQL 13 do not say how far a copy is.
        let copies = client
            .query(
                "SELECT host(r.client_addr), p.backup_streamed \
                 FROM pg_stat_progress_basebackup p JOIN pg_stat_replication r USING (pid) \
                 WHERE r.client_addr IS NOT NULL AND p.backup_streamed IS NOT NULL",
                &[],
            )
            .await;
        // Servers before PostgreSQL 13 have no `wal_status`.
        let slots = client
            .query(
                "SELECT slot_name::text, slot_type, active, wal_status, \
                 pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint \
                 FROM pg_replication_slots WHERE NOT pg_is_in_recovery() ORDER BY 1",
                &[],
            )
            .await;
        let archiver = client
            .query_opt(
                "SELECT last_archived_wal, \
                 CASE WHEN last_failed_time > coalesce(last_archived_time, '-infinity') THEN last_failed_wal END, \
                 extract(epoch FROM clock_timestamp() - coalesce(last_archived_time, stats_reset))::bigint \
                 FROM pg_stat_archiver WHERE NOT pg_is_in_recovery() AND current_setting('archive_mode') <> 'off'",
                &[],
            )
            .await;
        let archived = |row: tokio_postgres::Row| ArchiverView {
            archived: row.get(0),
            failing: row.get(1),
            since_s: row.get::<_, Option<i64>>(2).and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default(),
        };
        let slot = |row: &tokio_postgres::Row| SlotView {
            name: row.get(0),
            kind: row.get(1),
            active: row.get(2),
            wal_status: row.get(3),
            retained_bytes: row.get::<_, Option<i64>>(4).and_then(|bytes| u64::try_from(bytes).ok()),
        };
        let lowered = client
            .query(
                "SELECT coalesce(r.rolname, '') || '@' || coalesce(d.datname, '') \
                 FROM pg_db_role_setting s \
                 LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase \
                 WHERE EXISTS (SELECT 1 FROM unnest(s.setconfig) c \
                               WHERE c ~* '^synchronous_commit=(off|local|false|no|0)$')",
                &[],
            )
            .await
            .map_err(|error| failure(&error))?;
        // A role of an adopted cluster may not be a superuser.
        let files = client
            .query(
                "SELECT lower(f.name), coalesce(f.setting, ''), CASE WHEN s.pending_restart THEN NULL ELSE f.error END \
                 FROM pg_file_settings f LEFT JOIN pg_settings s ON lower(s.name) = lower(f.name) \
                 WHERE f.name IS NOT NULL ORDER BY f.seqno",
                &[],
            )
            .await;
        let replay = |row: &tokio_postgres::Row| {
            // A standby that has just connected has not told a position yet.
            let bytes = u64::try_from(row.get::<_, Option<i64>>(2)?).unwrap_or_default();
            // PostgreSQL forgets the time of a standby that has replayed all.
            let seconds = row.get::<_, Option<f64>>(3).or((bytes == 0).then_some(0.0));
            Some(ReplayLag { bytes, seconds })
        };
        let copy = |row: &tokio_postgres::Row| {
            let (address, bytes): (String, i64) = (row.get(0), row.get(1));
            let node = fleet.nodes.values().find(|node| node.addresses().iter().any(|own| own.to_string() == address));
            (node.map_or(address, |node| node.key().to_string()), u64::try_from(bytes).unwrap_or_default())
        };
        let setting = |row: &tokio_postgres::Row| (row.get(0), FileSetting { value: row.get(1), error: row.get(2) });
        Ok(PostgresView {
            archiver: archiver.ok().flatten().map(archived),
            files: files.ok().map(|rows| rows.iter().map(setting).collect()),
            in_recovery: row.get(0),
            version: row.get(1),
            replay_paused: row.get(3),
            tls: row.get::<_, Option<bool>>(2).unwrap_or_default(),
            databases: databases.keys().cloned().collect(),
            locales: databases,
            collations,
            senders: others.iter().map(|row| (fleet.key_of(row.get(0)), sender(row))).collect(),
            replay: streaming.iter().filter_map(|row| Some((fleet.key_of(row.get(0)), replay(row)?))).collect(),
            streaming: streaming.iter().map(|row| (fleet.key_of(row.get(0)), row.get(1))).collect(),
            lowered: lowered.iter().map(|row| row.get(0)).collect(),
            slots: slots.ok().map(|rows| rows.iter().map(slot).collect()).unwrap_or_default(),
            copies: copies.ok().map(|rows| rows.iter().map(copy).collect()).unwrap_or_default(),
        })
    };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(view) => view,
        Err(_) => Err(ProbeError::Timeout(format!("PostgreSQL did not answer within {} s", PATIENCE.as_secs()))),
    }
}

/// A connection as the superuser, through the node's own SSH session. The text of an error says what was seen.
pub(crate) async fn superuser(access: &Access, node: &FleetNode, database: &str) -> Observed<Client> {
    let remote = probe::reach(access, node).await?;
    connect(&remote, access, node, database).await
}

/// What a server says of itself while drills run.
pub(crate) struct Recovery {
    pub(crate) in_recovery: bool,
    /// That of its own WAL, or of the stream that it receives.
    pub(crate) timeline: Option<u32>,
    /// In microseconds since 1970, by the node's clock.
    pub(crate) postmaster_started: i64,
}

/// Whether a server is in recovery, its timeline, and when it started.
pub(crate) async fn recovery(client: &Client) -> Observed<Recovery> {
    let row = client
        .query_one(
            "SELECT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() \
             THEN (SELECT received_tli::bigint FROM pg_stat_wal_receiver) \
             ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint END, (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint",
            &[],
        )
        .await
        .map_err(|error| failure(&error))?;
    let timeline: Option<i64> = row.get(1);
    let timeline = timeline.and_then(|timeline| u32::try_from(timeline).ok());
    Ok(Recovery { in_recovery: row.get(0), timeline, postmaster_started: row.get(2) })
}

/// How many seconds ago the cluster was initialised, by the node's own clock: the upper half of the system
/// identifier is the second in which `initdb` ran (xlog.c, BootStrapXLOG). Negative after the clock was stepped back.
///
/// # Errors
/// What was seen instead of an answer.
pub(crate) async fn age(access: &Access, node: &FleetNode) -> Observed<i64> {
    let client = superuser(access, node, "postgres").await?;
    let row = client
        .query_one(
            "SELECT extract(epoch FROM clock_timestamp())::bigint - (system_identifier >> 32) FROM pg_control_system()",
            &[],
        )
        .await
        .map_err(|error| failure(&error))?;
    Ok(row.get(0))
}

pub(super) async fn connect(remote: &Remote, access: &Access, node: &FleetNode, database: &str) -> Observed<Client> {
    let (tls, (user, password)) = (&access.keys.postgres_tls, &access.keys.superuser);
    let endpoint = endpoint(node);
    let stream = probe::tunnel(remote, &endpoint).await?;
    let mut make = MakeRustlsConnect::new(ClientConfig::clone(tls));
    let tls = MakeTlsConnect::<tokio::net::UnixStream>::make_tls_connect(&mut make, &endpoint.host)
        .map_err(ProbeError::other)?;
    let mut config = Config::new();
    config.user(user).password(password.expose()).dbname(database).application_name("hactl");
    config.ssl_mode(access.keys.postgres_ssl);
    // A superuser must not run functions that another role has put into a schema.
    config.options("-c search_path=pg_catalog,pg_temp -c statement_timeout=0 -c lock_timeout=0");
    let (client, connection) = config.connect_raw(stream, tls).await.map_err(|error| failure(&error))?;
    tokio::spawn(connection);
    Ok(client)
}

/// Why there is no answer.
pub(super) fn failure(error: &tokio_postgres::Error) -> ProbeError {
    let words = said(error);
    match error.code() {
        Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => ProbeError::Login(words),
        None if is_of_tls(error) => ProbeError::Tls(words),
        _ => ProbeError::Other(words),
    }
}

/// Whether TLS failed.
fn is_of_tls(error: &tokio_postgres::Error) -> bool {
    error.source().and_then(|cause| cause.downcast_ref()).is_some_and(probe::is_of_tls)
}

/// The server's message, if it answered.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{} (SQLSTATE {})", server.message(), server.code().code()),
        None => {
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            format!("{error}{source}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio_postgres::{NoTls, config::SslMode};

    use super::*;

    fn config(ssl_mode: SslMode) -> Config {
        let mut config = Config::new();
        config.user("postgres").password("wrong").ssl_mode(ssl_mode);
        config
    }

    /// Reads a message that begins with its length.
    async fn message(stream: &mut DuplexStream) {
        let length = stream.read_u32().await.unwrap();
        stream.read_exact(&mut vec![0; length as usize - 4]).await.unwrap();
    }

    #[tokio::test]
    async fn refused_password_is_a_login_error() {
        let (near, mut far) = tokio::io::duplex(4096);
        let server = async {
            message(&mut far).await;
            let fields = b"SFATAL\0C28P01\0Mno entry\0\0";
            far.write_u8(b'E').await.unwrap();
            far.write_u32(u32::try_from(fields.len()).unwrap() + 4).await.unwrap();
            far.write_all(fields).await.unwrap();
        };
        let config = config(SslMode::Disable);
        let (connected, ()) = tokio::join!(config.connect_raw(near, NoTls), server);
        let error = connected.err().unwrap();
        assert_eq!(failure(&error), ProbeError::Login("no entry (SQLSTATE 28P01)".to_owned()));
    }

    #[tokio::test]
    async fn certificate_from_an_unknown_authority_is_a_tls_error() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let made = rcgen::generate_simple_self_signed(["elsewhere".to_owned()]).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let own = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let theirs = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();

        let (near, mut far) = tokio::io::duplex(4096);
        let server = async {
            message(&mut far).await;
            far.write_u8(b'S').await.unwrap();
            tokio_rustls::TlsAcceptor::from(Arc::new(own)).accept(far).await.map(drop)
        };
        let mut make = MakeRustlsConnect::new(theirs);
        let tls = MakeTlsConnect::<DuplexStream>::make_tls_connect(&mut make, "elsewhere").unwrap();
        let config = config(SslMode::Require);
        let (connected, _) = tokio::join!(config.connect_raw(near, tls), server);
        let error = failure(&connected.err().unwrap());
        assert!(matches!(&error, ProbeError::Tls(words) if words.contains("UnknownIssuer")), "{error:?}");
    }
}
