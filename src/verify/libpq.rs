//! Clients that are not hactl: psql, which is libpq, connects with the connection string that `hactl status` prints, byte for
//! byte. One client writes all the time. Another one keeps its connection idle, as a pool does, and uses it only while the fault is in
//! place. They have no deadline of their own: how long they hang is up to the string.
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

/// The printed connection string, and the password where the string does not lead to one.
#[derive(Clone)]
pub struct PrintedString {
    pub dsn: String,
    pub password: Option<Secret<String>>,
}

/// How psql is started.
#[derive(Clone)]
pub(super) struct Psql {
    context: Context,
    printed: PrintedString,
}

/// What one of these clients wrote: the times of its acknowledged writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LibpqClient {
    /// When it was woken, if it kept its connection idle.
    pub(super) woken: Option<Micros>,
    /// Whether it kept its connection idle.
    pub(super) idle: bool,
    pub(super) acknowledged: Vec<Micros>,
}

impl Psql {
    pub(super) fn new(context: &Context, printed: PrintedString) -> Self {
        Self { context: context.clone(), printed }
    }

    fn command(&self) -> Command {
        // Without a terminal psql asks for no password.
        let psql = Command::new("psql").args(["-XAtqw", "-v", "ON_ERROR_STOP=1"]).arg(self.printed.dsn.clone());
        match &self.printed.password {
            Some(password) => psql.env(env::PGPASSWORD, password.expose().as_str()),
            None => psql,
        }
    }

    /// The version of psql, once a write by it was acknowledged; else why these clients cannot run.
    pub(super) async fn try_once(&self) -> Result<String, String> {
        let said = |error: Error| error.causes.join(": ");
        let version = Command::new("psql").arg("--version").run(&self.context, |_| {}).await.map_err(said)?;
        let mut dialogue = self.command().dialogue(&self.context).map_err(said)?;
        match tokio::time::timeout(FIRST, dialogue.ask(WRITE)).await {
            Ok(Some(_)) => Ok(version.stdout.trim().to_owned()),
            Ok(None) => Err(dialogue.complaint().await),
            Err(_) => Err(format!("no write was acknowledged within {} s", FIRST.as_secs())),
        }
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
    /// Starts a client that writes, and an idle one.
    pub(super) fn start(psql: &Psql, began: Instant) -> Self {
        let (stop, wake) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        let mut last = Vec::new();
        for idle in [false, true] {
            let seen = Arc::new(AtomicU64::new(0));
            last.push(Arc::clone(&seen));
            let (psql, stop) = (psql.clone(), stop.clone());
            let wake = idle.then(|| wake.clone());
            tasks.spawn(run(psql, wake, stop, seen, began));
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
            clients.extend(
                finished.ok().map(|client| LibpqClient { woken: self.woken.filter(|_| client.idle), ..client }),
            );
        }
        clients
    }
}

async fn run(
    psql: Psql,
    wake: Option<CancellationToken>,
    stop: CancellationToken,
    last: Arc<AtomicU64>,
    began: Instant,
) -> LibpqClient {
    let mut client = LibpqClient { woken: None, idle: wake.is_some(), acknowledged: Vec::new() };
    let write = async {
        let mut dialogue = None;
        loop {
            let mut open = match dialogue.take() {
                Some(open) => open,
                None => match psql.command().dialogue(&psql.context) {
                    Ok(open) => open,
                    Err(_) => return,
                },
            };
            if open.ask(WRITE).await.is_some() {
                let now = Micros::try_from(began.elapsed().as_micros()).unwrap_or(Micros::MAX);
                client.acknowledged.push(now);
                last.store(now, Ordering::Relaxed);
                dialogue = Some(open);
                if let Some(wake) = &wake {
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
