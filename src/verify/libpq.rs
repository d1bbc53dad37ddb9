//! Clients that are not hactl: psql, which is libpq, connects with the connection string that `hactl status` prints, byte for
//! byte. One client writes all the time. Another one keeps its connection idle, as a pool does, and uses it only while the fault is in
//! place. Where the cluster has an entry point, a third one writes through the poolers. They have no deadline of their own: how long they hang is up to the string.
//!
//! A write is `pg_logical_emit_message`: a commit that waits for its replicas like any other, and leaves no row behind in the
//! user's database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::history::Micros;
use crate::{context::Context, env, error::Error, exec::Command, model::Secret};

/// The pause between two writes, and after one that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// A commit that waits for replicas. psql prints one line for it.
const WRITE: &str = "SELECT 'written ' || (pg_logical_emit_message(true, 'hactl_verify', '') IS NOT NULL);";

/// How long the first write may take, before any fault.
const FIRST: Duration = Duration::from_secs(20);

/// The printed connection strings, and the password where they do not lead to one.
#[derive(Clone)]
pub struct PrintedString {
    pub dsn: String,
    /// Through the poolers, where the cluster has an entry point.
    pub pooled: Option<String>,
    pub password: Option<Secret<String>>,
}

/// How psql is started.
#[derive(Clone)]
pub(super) struct Psql {
    context: Context,
    printed: PrintedString,
}

/// What a client does with which of the printed strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LibpqKind {
    /// It writes all the time.
    Writes,
    /// It keeps its connection idle until it is woken.
    Idle,
    /// It writes all the time, through the poolers.
    Pooled,
}

/// What one of these clients wrote: the times of its acknowledged writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LibpqClient {
    pub(super) kind: LibpqKind,
    /// When it was woken, if it kept its connection idle.
    pub(super) woken: Option<Micros>,
    pub(super) acknowledged: Vec<Micros>,
}

impl Psql {
    pub(super) fn new(context: &Context, printed: PrintedString) -> Self {
        Self { context: context.clone(), printed }
    }

    /// Every kind of client that the cluster has a string for.
    fn kinds(&self) -> impl Iterator<Item = LibpqKind> {
        let pooled = self.printed.pooled.is_some().then_some(LibpqKind::Pooled);
        [LibpqKind::Writes, LibpqKind::Idle].into_iter().chain(pooled)
    }

    fn command(&self, kind: LibpqKind) -> Command {
        let pooled = self.printed.pooled.as_ref().filter(|_| kind == LibpqKind::Pooled);
        // Without a terminal psql asks for no password.
        let psql = Command::new("psql").args(["-XAtqw", "-v", "ON_ERROR_STOP=1"]);
        let psql = psql.arg(pooled.unwrap_or(&self.printed.dsn).clone());
        match &self.printed.password {
            Some(password) => psql.env(env::PGPASSWORD, password.expose().as_str()),
            None => psql,
        }
    }

    /// The version of psql, once a write by each string was acknowledged; else why these clients cannot run.
    pub(super) async fn try_once(&self) -> Result<String, String> {
        let said = |error: Error| error.causes.join(": ");
        let version = Command::new("psql").arg("--version").run(&self.context, |_| {}).await.map_err(said)?;
        for kind in self.kinds().filter(|kind| *kind != LibpqKind::Idle) {
            let mut dialogue = self.command(kind).dialogue(&self.context).map_err(said)?;
            match tokio::time::timeout(FIRST, dialogue.ask(WRITE)).await {
                Ok(Some(_)) => {}
                Ok(None) => return Err(dialogue.complaint().await),
                Err(_) => return Err(format!("no write was acknowledged within {} s", FIRST.as_secs())),
            }
        }
        let pooled = if self.printed.pooled.is_some() { ", also through the poolers" } else { "" };
        Ok(format!("{}{pooled}", version.stdout.trim()))
    }
}

/// Running clients.
pub(super) struct LibpqClients {
    stop: CancellationToken,
    /// The idle client uses its connection once this is cancelled.
    wake: CancellationToken,
    tasks: JoinSet<LibpqClient>,
    /// The time of each client's last acknowledged write.
    last: Vec<Arc<AtomicU64>>,
    woken: Option<Micros>,
}

impl LibpqClients {
    /// Starts a client of each kind.
    pub(super) fn start(psql: &Psql, began: Instant) -> Self {
        let (stop, wake) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        let mut last = Vec::new();
        for kind in psql.kinds() {
            let seen = Arc::new(AtomicU64::new(0));
            last.push(Arc::clone(&seen));
            let (psql, stop) = (psql.clone(), stop.clone());
            let wake = wake.clone();
            tasks.spawn(run(psql, kind, wake, stop, seen, began));
        }
        Self { stop, wake, tasks, last, woken: None }
    }

    /// Lets the idle client use its connection.
    pub(super) fn wake(&mut self, now: Micros) {
        self.woken.get_or_insert(now);
        self.wake.cancel();
    }

    /// Whether every client has written since `since`.
    pub(super) fn all_wrote_since(&self, since: Micros) -> bool {
        self.last.iter().all(|last| last.load(Ordering::Relaxed) > since)
    }

    /// Ends them. A statement under way is abandoned.
    pub(super) async fn finish(mut self) -> Vec<LibpqClient> {
        self.stop.cancel();
        let mut clients = Vec::new();
        while let Some(finished) = self.tasks.join_next().await {
            clients.extend(finished.ok().map(|client| {
                let woken = self.woken.filter(|_| client.kind == LibpqKind::Idle);
                LibpqClient { woken, ..client }
            }));
        }
        clients
    }
}

async fn run(
    psql: Psql,
    kind: LibpqKind,
    wake: CancellationToken,
    stop: CancellationToken,
    last: Arc<AtomicU64>,
    began: Instant,
) -> LibpqClient {
    let mut client = LibpqClient { kind, woken: None, acknowledged: Vec::new() };
    let write = async {
        let mut dialogue = None;
        loop {
            let mut open = match dialogue.take() {
                Some(open) => open,
                None => match psql.command(kind).dialogue(&psql.context) {
                    Ok(open) => open,
                    Err(_) => return,
                },
            };
            if open.ask(WRITE).await.is_some() {
                let now = Micros::try_from(began.elapsed().as_micros()).unwrap_or(Micros::MAX);
                client.acknowledged.push(now);
                last.store(now, Ordering::Relaxed);
                dialogue = Some(open);
                if kind == LibpqKind::Idle {
                    wake.cancelled().await;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = write => {}
    }
    client
}
