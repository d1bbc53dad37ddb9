//! Clients that write while the fault is injected: each attempt is one row with an id of its own, one
//! autocommitted INSERT, and goes into the history with what the client knows of its outcome.
//!
//! Most take the application's path: every host, `target_session_attrs=read-write`, TLS verified. Some
//! stay on one node each, to see what a node acknowledges that should not. No client ever sends a
//! cancel request: PostgreSQL answers that with success for a commit that is only local (syncrep.c).

use std::{
    future::poll_fn,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{AbortHandle, JoinSet},
};
use tokio_postgres::{
    AsyncMessage, Config, Connection, Statement,
    config::{SslMode, TargetSessionAttrs},
    error::Severity,
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use super::history::{Attempt, Client, Disconnect, Micros, Outcome, RowId, Server};
use crate::{access::Access, component::postgres, fleet::FleetNode, model::Secret};

/// How long one host may take until it answers a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// How long a client waits for an acknowledgement. On the application's path every attempt in doubt doubles it, since a
/// server that holds commits back keeps each abandoned connection until it may let it go. A pinned client never waits
/// longer: it must see when its node acknowledges something that it should not.
const PATIENCE: Duration = Duration::from_secs(2);
const LONGEST_PATIENCE: Duration = Duration::from_secs(8);

/// The pause after an attempt that was refused, so that a server without a primary is not flooded.
const PAUSE: Duration = Duration::from_millis(50);

/// How clients reach the servers, and as whom.
#[derive(Clone)]
pub(super) struct ClientAccess {
    /// The servers, in the order of the history's nodes.
    pub(super) nodes: Arc<[FleetNode]>,
    pub(super) path: ClientPath,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) ssl: SslMode,
    pub(super) user: String,
    pub(super) password: Secret<String>,
    pub(super) database: String,
}

/// The way of a client's packets.
#[derive(Clone)]
pub(super) enum ClientPath {
    /// The path of any application.
    Direct,
    /// Through each node's SSH session, if the network or the servers reject direct connections.
    Tunnel(Arc<Access>),
}

impl ClientPath {
    /// The value in the report.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Tunnel(_) => "tunnel",
        }
    }
}

/// What clients need to write: where, as whom, into which table.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) access: ClientAccess,
    pub(super) table: String,
    /// The moment from which the history counts.
    pub(super) began: Instant,
    /// The least time between two attempts of one client.
    pub(super) interval: Duration,
}

impl ClientAccess {
    /// Whether a client gets through to the server of `node`, and may write there. The text of an error says what was
    /// seen.
    pub(super) async fn try_once(&self, node: usize) -> Result<(), String> {
        let opened = match tokio::time::timeout(CONNECT * 3, self.open(&[node], false)).await {
            Ok(opened) => opened?,
            Err(_) => return Err(format!("no connection within {} s", (CONNECT * 3).as_secs())),
        };
        let seen = opened.node(&self.nodes).await;
        seen.map(drop)
    }

    /// A connection to the first of `nodes` that answers; to the first that takes writes where those are wanted.
    async fn open(&self, nodes: &[usize], writable: bool) -> Result<Opened, String> {
        let mut config = Config::new();
        config.user(&self.user).password(self.password.expose()).dbname(&self.database);
        config.application_name("hactl verify").ssl_mode(self.ssl);
        let tls = MakeRustlsConnect::new(ClientConfig::clone(&self.tls));
        let ClientPath::Tunnel(access) = &self.path else {
            config.connect_timeout(CONNECT).tcp_user_timeout(CONNECT);
            if writable {
                config.target_session_attrs(TargetSessionAttrs::ReadWrite);
            }
            for node in nodes.iter().map(|node| &self.nodes[*node]) {
                config.host(node.address.to_string()).port(postgres::endpoint(node).port);
            }
            let (client, connection) = config.connect(tls).await.map_err(|error| said(&error))?;
            return Ok(Opened::new(client, connection));
        };
        let mut refusals = Vec::new();
        for node in nodes.iter().map(|node| &self.nodes[*node]) {
            let opened = async {
                let remote = access.connect(node).await.map_err(|error| error.causes.join(": "))?;
                let (server, mut tls) = (postgres::endpoint(node), tls.clone());
                let stream = remote.tunnel(&server.host, server.port, CONNECT).await;
                let stream = stream.map_err(|error| error.causes().join(": "))?;
                let tls = MakeTlsConnect::<tokio::net::UnixStream>::make_tls_connect(&mut tls, &server.host);
                let tls = tls.map_err(|error| error.to_string())?;
                let (client, connection) = config.connect_raw(stream, tls).await.map_err(|error| said(&error))?;
                let opened = Opened::new(client, connection);
                if writable {
                    let asked = opened.client.query_one("SHOW transaction_read_only", &[]).await;
                    if asked.map_err(|error| said(&error))?.get::<_, &str>(0) == "on" {
                        return Err("the server is read-only".to_owned());
                    }
                }
                Ok(opened)
            };
            match tokio::time::timeout(CONNECT * 2, opened).await {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(said)) => refusals.push(format!("{}: {said}", node.key())),
                Err(_) => refusals.push(format!("{}: no connection within {} s", node.key(), (CONNECT * 2).as_secs())),
            }
        }
        Err(refusals.join("; "))
    }
}

/// A connection, and what moves its bytes.
pub(super) struct Opened {
    pub(super) client: tokio_postgres::Client,
    /// The server has warned since the last write began.
    warned: Arc<AtomicBool>,
    driver: AbortHandle,
}

impl Drop for Opened {
    fn drop(&mut self) {
        // The socket closes at once, even where the server does not answer any more.
        self.driver.abort();
    }
}

impl Opened {
    pub(super) fn new<S, T>(client: tokio_postgres::Client, mut connection: Connection<S, T>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let warned = Arc::new(AtomicBool::new(false));
        let warn = Arc::clone(&warned);
        let driver = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message
                    && notice.parsed_severity() == Some(Severity::Warning)
                {
                    warn.store(true, Ordering::Release);
                }
            }
        });
        Self { client, warned, driver: driver.abort_handle() }
    }

    /// Which of `nodes` the connection leads to. Refuses a server whose acknowledgement would not guarantee a commit.
    async fn node(&self, nodes: &[FleetNode]) -> Result<u16, String> {
        let row = self
            .client
            .query_one("SELECT host(inet_server_addr()), current_setting('synchronous_commit')", &[])
            .await
            .map_err(|error| said(&error))?;
        let address: Option<String> = row.get(0);
        let synchronous: &str = row.get(1);
        if matches!(synchronous, "off" | "local") {
            return Err(format!(
                "synchronous_commit is {synchronous} on this server, so an acknowledgement would not guarantee a commit"
            ));
        }
        let address: Option<Ipv4Addr> = address.and_then(|text| text.parse().ok());
        let node = nodes.iter().position(|node| address.is_some_and(|address| node.addresses().contains(&address)));
        node.and_then(|node| u16::try_from(node).ok()).ok_or_else(|| match address {
            Some(address) => format!("the server has the address {address}, which no member has"),
            None => "the server reported no IPv4 address".to_owned(),
        })
    }
}

/// What is known while the clients write.
#[derive(Debug)]
pub(super) struct Progress {
    /// Acknowledgements on the application's path, by node.
    acknowledged: Vec<AtomicU64>,
    /// No client begins an attempt.
    resting: AtomicBool,
}

impl Progress {
    fn new(nodes: usize) -> Self {
        Self { acknowledged: (0..nodes).map(|_| AtomicU64::new(0)).collect(), resting: AtomicBool::new(false) }
    }

    /// Lets the clients keep their connections and write nothing, or write again.
    pub(super) fn rest(&self, resting: bool) {
        self.resting.store(resting, Ordering::Relaxed);
    }

    /// Acknowledgements so far on the application's path, by node.
    pub(super) fn by_node(&self) -> Vec<u64> {
        self.acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

/// Running clients.
pub(super) struct Clients {
    pub(super) clients: Vec<Client>,
    pub(super) progress: Arc<Progress>,
    stop: CancellationToken,
    tasks: JoinSet<(Vec<Attempt>, Vec<Disconnect>)>,
}

impl Clients {
    /// Starts `free` clients on the application's path, and `pinned` on each node.
    pub(super) fn start(entry: &Entry, free: u16, pinned: u16) -> Self {
        let nodes = entry.access.nodes.len();
        let progress = Arc::new(Progress::new(nodes));
        let stop = CancellationToken::new();
        let pins = (0..nodes).flat_map(|node| std::iter::repeat_n(u16::try_from(node).ok(), pinned.into()));
        let pins = std::iter::repeat_n(None, free.into()).chain(pins);
        let clients: Vec<Client> = (0..).zip(pins).map(|(id, pinned)| Client { id, pinned }).collect();
        let mut tasks = JoinSet::new();
        for client in &clients {
            let writer = Writer {
                client: client.clone(),
                entry: entry.clone(),
                progress: Arc::clone(&progress),
                stop: stop.clone(),
                attempts: Vec::new(),
                disconnects: Vec::new(),
            };
            tasks.spawn(writer.run());
        }
        Self { clients, progress, stop, tasks }
    }

    /// Ends them; what is under way is waited for, up to its own deadline.
    pub(super) async fn finish(mut self) -> (Vec<Attempt>, Vec<Disconnect>) {
        self.stop.cancel();
        let (mut attempts, mut disconnects) = (Vec::new(), Vec::new());
        while let Some(finished) = self.tasks.join_next().await {
            // A client that panicked has reported it; its attempts are missing, which the oracle sees as
            // unexpected rows.
            let (tried, lost) = finished.unwrap_or_default();
            attempts.extend(tried);
            disconnects.extend(lost);
        }
        attempts.sort_unstable_by_key(|attempt: &Attempt| (attempt.sent, attempt.row));
        disconnects.sort_by_key(|lost: &Disconnect| lost.at);
        (attempts, disconnects)
    }
}

/// One client.
struct Writer {
    client: Client,
    entry: Entry,
    progress: Arc<Progress>,
    stop: CancellationToken,
    attempts: Vec<Attempt>,
    disconnects: Vec<Disconnect>,
}

/// What became of one INSERT: the outcome, the server's timeline where it said so, and the reason.
type Written = (Outcome, Option<u32>, Option<Box<str>>);

impl Writer {
    async fn run(mut self) -> (Vec<Attempt>, Vec<Disconnect>) {
        let mut session: Option<Session> = None;
        let mut patience = PATIENCE;
        let mut seq = 0;
        // Spread the clients over the interval.
        tokio::time::sleep(self.entry.interval.mul_f64(rand::random())).await;
        while !self.stop.is_cancelled() {
            if self.progress.resting.load(Ordering::Relaxed) {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            seq += 1;
            let sent = self.now();
            let started = Instant::now();
            let current = match session.take() {
                Some(session) => Ok(session),
                None => self.connect().await,
            };
            let written = match current {
                // Nothing was sent.
                Err(reason) => (Outcome::Failed, None, Some(reason.into_boxed_str())),
                Ok(mut open) => {
                    let written = open.write(self.client.id, seq, patience).await;
                    if let Some(timeline) = written.1 {
                        open.server.timeline = timeline;
                    }
                    let server = open.server;
                    if open.ended {
                        let reason = written.2.clone().unwrap_or_default();
                        let (at, client, node) = (self.now(), self.client.id, server.node);
                        self.disconnects.push(Disconnect { at, client, node, reason });
                    }
                    // Drop a connection in doubt: a later answer would belong to no attempt.
                    if written.0 != Outcome::InDoubt {
                        session = Some(open);
                    }
                    self.note(seq, sent, Some(server), &written);
                    patience = match written.0 {
                        Outcome::InDoubt if self.client.pinned.is_none() => (patience * 2).min(LONGEST_PATIENCE),
                        _ => PATIENCE,
                    };
                    if written.0 == Outcome::Failed {
                        tokio::time::sleep(PAUSE).await;
                        // It may be a replica now: ask again where writes go.
                        session = session.filter(|_| self.client.pinned.is_some());
                    }
                    tokio::time::sleep(self.entry.interval.saturating_sub(started.elapsed())).await;
                    continue;
                }
            };
            self.note(seq, sent, None, &written);
            tokio::time::sleep(PAUSE).await;
        }
        (self.attempts, self.disconnects)
    }

    fn now(&self) -> Micros {
        Micros::try_from(self.entry.began.elapsed().as_micros()).unwrap_or(Micros::MAX)
    }

    fn note(&mut self, seq: u32, sent: Micros, server: Option<Server>, (outcome, _, reason): &Written) {
        if *outcome == Outcome::Acknowledged
            && self.client.pinned.is_none()
            && let Some(count) = server.and_then(|server| self.progress.acknowledged.get(usize::from(server.node)))
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let row = RowId { client: self.client.id, seq };
        let done = self.now();
        self.attempts.push(Attempt { row, sent, done, server, outcome: *outcome, reason: reason.clone() });
    }

    async fn connect(&self) -> Result<Session, String> {
        let entry = &self.entry;
        let count = entry.access.nodes.len();
        let (nodes, writable) = match self.client.pinned {
            Some(node) => (vec![usize::from(node)], false),
            // Each client begins with a different host, so some client finds the primary first.
            None => ((0..count).map(|offset| (usize::from(self.client.id) + offset) % count).collect(), true),
        };
        let all = CONNECT * 2 * u32::try_from(nodes.len()).unwrap_or(1);
        match tokio::time::timeout(all, Session::open(entry, &nodes, writable)).await {
            Ok(opened) => opened,
            Err(_) => Err(format!("no connection within {} s", all.as_secs())),
        }
    }
}

/// A connection, the prepared INSERT, and where it leads.
struct Session {
    opened: Opened,
    insert: Statement,
    server: Server,
    /// The server has ended the session, or the connection broke.
    ended: bool,
}

impl Session {
    async fn open(entry: &Entry, nodes: &[usize], writable: bool) -> Result<Self, String> {
        let opened = entry.access.open(nodes, writable).await?;
        let node = opened.node(&entry.access.nodes).await?;
        // The timeline is that of the moment of the commit: a replica's sessions live through its promotion.
        let insert = format!(
            "INSERT INTO {} VALUES ($1, $2) RETURNING substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)",
            entry.table
        );
        let insert = opened.client.prepare(&insert).await.map_err(|error| said(&error))?;
        Ok(Self { opened, insert, server: Server { node, timeline: 0 }, ended: false })
    }

    /// Writes one row and waits for its acknowledgement.
    async fn write(&mut self, client: u16, seq: u32, patience: Duration) -> Written {
        let (client, seq) = (i32::from(client), i64::from(seq));
        self.opened.warned.store(false, Ordering::Release);
        // `query_one` ends with ReadyForQuery, which comes after the commit; CommandComplete comes before it.
        let written =
            tokio::time::timeout(patience, self.opened.client.query_one(&self.insert, &[&client, &seq])).await;
        match written {
            Ok(Ok(row)) => {
                let timeline = row.try_get::<_, &str>(0).ok().and_then(|text| u32::from_str_radix(text, 16).ok());
                if self.opened.warned.load(Ordering::Acquire) {
                    return (Outcome::InDoubt, timeline, Some("acknowledged with a warning".into()));
                }
                match timeline {
                    Some(_) => (Outcome::Acknowledged, timeline, None),
                    None => (Outcome::InDoubt, None, Some("acknowledged without a timeline".into())),
                }
            }
            Ok(Err(error)) => {
                self.ended = !proves_nothing_was_committed(&error);
                let outcome = if self.ended { Outcome::InDoubt } else { Outcome::Failed };
                (outcome, None, Some(said(&error).into_boxed_str()))
            }
            Err(_) => {
                (Outcome::InDoubt, None, Some(format!("no answer within {} s", patience.as_secs()).into_boxed_str()))
            }
        }
    }
}

/// An ERROR rolls the transaction back. FATAL and PANIC end the session, maybe after the commit (57P01
/// comes while a commit waits for a replica), and a broken connection says nothing.
fn proves_nothing_was_committed(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|server| server.parsed_severity() == Some(Severity::Error))
}

/// The server's own message, if it sent one.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{} (SQLSTATE {})", server.message(), server.code().code()),
        None => {
            use std::error::Error as _;
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            format!("{error}{source}")
        }
    }
}
