//! Clients that are not hactl: psql, which is libpq, connects with the connection string that `hactl status` prints, byte for
//! byte. One client writes all the time. Another one keeps its connection idle, as a pool does, and uses it only while the fault is in
//! place. Where the cluster has an entry point, a third one writes through the poolers, and in a drill of the entry point two more that know
//! one pooler only. They have no deadline of their own: how long they hang is up to the string.
//!
//! A write is `pg_logical_emit_message`: a commit that waits for its replicas like any other, and leaves no row behind in the
//! user's database. Its transaction's ID shows afterwards whether it is there.

use std::{
    fmt,
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

/// A commit that waits for replicas. psql prints one line for it: `written`, the transaction, and the host that psql is connected
/// to.
const WRITE: &str = "SELECT CASE WHEN pg_logical_emit_message(true, 'hactl_verify', '') IS NOT NULL THEN 'written' END, \
                     txid_current(), :'HOST';";

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
    /// It writes all the time, through one pooler, and knows no other.
    OnePooler,
    /// The same with a new connection for each write.
    Reconnects,
}

impl LibpqKind {
    pub(super) const fn is_pooled(self) -> bool {
        matches!(self, Self::Pooled | Self::OnePooler | Self::Reconnects)
    }
}

impl fmt::Display for LibpqKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Writes => "psql with the printed connection string",
            Self::Idle => "psql with an idle connection",
            Self::Pooled => "psql with every pooler in its connection string",
            Self::OnePooler => "psql that knows one pooler",
            Self::Reconnects => "psql that connects for each transaction",
        })
    }
}

/// What one of these clients wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LibpqClient {
    pub(super) kind: LibpqKind,
    /// When it was woken, if it kept its connection idle.
    pub(super) woken: Option<Micros>,
    pub(super) written: Vec<Written>,
    pub(super) failed: Vec<Failure>,
}

/// An acknowledged write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) at: Micros,
    /// The transaction's ID.
    pub(super) transaction: i64,
    /// The host that the client was connected to.
    pub(super) through: String,
}

/// A write that was not acknowledged, or a connection that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) at: Micros,
    /// What psql said.
    pub(super) reason: String,
}

impl LibpqClient {
    /// When its writes were acknowledged.
    pub(super) fn times(&self) -> Vec<Micros> {
        self.written.iter().map(|written| written.at).collect()
    }
}

/// psql's answer to [`WRITE`].
fn acknowledged(answer: &str, at: Micros) -> Option<Written> {
    let mut words = answer.split('|');
    let (word, transaction, through) = (words.next()?, words.next()?.parse().ok()?, words.next()?.to_owned());
    (word == "written").then_some(Written { at, transaction, through })
}

impl Psql {
    pub(super) fn new(context: &Context, printed: PrintedString) -> Self {
        Self { context: context.clone(), printed }
    }

    /// Every kind of client that the cluster has a string for; `pooler` is the host of the pooler that some of them stay on.
    fn kinds(&self, pooler: Option<&str>) -> Vec<LibpqKind> {
        let mut kinds = vec![LibpqKind::Writes, LibpqKind::Idle];
        if self.printed.pooled.is_some() {
            kinds.push(LibpqKind::Pooled);
            kinds.extend(pooler.iter().flat_map(|_| [LibpqKind::OnePooler, LibpqKind::Reconnects]));
        }
        kinds
    }

    fn command(&self, kind: LibpqKind, pooler: Option<&str>) -> Command {
        let pooled = self.printed.pooled.as_ref().filter(|_| kind.is_pooled());
        let mut dsn = pooled.unwrap_or(&self.printed.dsn).clone();
        if let Some(host) = pooler.filter(|_| matches!(kind, LibpqKind::OnePooler | LibpqKind::Reconnects)) {
            // libpq takes the last one.
            dsn.push_str(&format!(" host={host}"));
        }
        // Without a terminal psql asks for no password.
        let psql = Command::new("psql").args(["-XAtqw", "-v", "ON_ERROR_STOP=1"]).arg(dsn);
        match &self.printed.password {
            Some(password) => psql.env(env::PGPASSWORD, password.expose().as_str()),
            None => psql,
        }
    }

    /// The version of psql, once a write by each string was acknowledged; else why these clients cannot run.
    pub(super) async fn try_once(&self) -> Result<String, String> {
        let said = |error: Error| error.causes.join(": ");
        let version = Command::new("psql").arg("--version").run(&self.context, |_| {}).await.map_err(said)?;
        for kind in self.kinds(None).into_iter().filter(|kind| *kind != LibpqKind::Idle) {
            let mut dialogue = self.command(kind, None).dialogue(&self.context).map_err(said)?;
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
    seen: Vec<Arc<Seen>>,
    woken: Option<Micros>,
}

/// What is known of a client while it writes.
struct Seen {
    kind: LibpqKind,
    /// Its acknowledged writes, and the time of the last one.
    count: AtomicU64,
    last: AtomicU64,
}

impl LibpqClients {
    /// Starts a client of each kind; `pooler` is the host of the pooler that some of them stay on.
    pub(super) fn start(psql: &Psql, pooler: Option<&str>, began: Instant) -> Self {
        let (stop, wake) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        let mut all = Vec::new();
        for kind in psql.kinds(pooler) {
            let seen = Arc::new(Seen { kind, count: AtomicU64::new(0), last: AtomicU64::new(0) });
            all.push(Arc::clone(&seen));
            let command = psql.command(kind, pooler);
            tasks.spawn(run(psql.context.clone(), command, wake.clone(), stop.clone(), seen, began));
        }
        Self { stop, wake, tasks, seen: all, woken: None }
    }

    /// Whether every client of the poolers has written this often.
    pub(super) fn pooled_wrote(&self, count: u64) -> bool {
        let mut pooled = self.seen.iter().filter(|seen| seen.kind.is_pooled());
        pooled.all(|seen| seen.count.load(Ordering::Relaxed) >= count)
    }

    /// Lets the idle client use its connection.
    pub(super) fn wake(&mut self, now: Micros) {
        self.woken.get_or_insert(now);
        self.wake.cancel();
    }

    /// Whether every client has written since `since`.
    pub(super) fn all_wrote_since(&self, since: Micros) -> bool {
        self.seen.iter().all(|seen| seen.last.load(Ordering::Relaxed) > since)
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
    context: Context,
    psql: Command,
    wake: CancellationToken,
    stop: CancellationToken,
    seen: Arc<Seen>,
    began: Instant,
) -> LibpqClient {
    let kind = seen.kind;
    let mut client = LibpqClient { kind, woken: None, written: Vec::new(), failed: Vec::new() };
    let now = || Micros::try_from(began.elapsed().as_micros()).unwrap_or(Micros::MAX);
    let write = async {
        let mut dialogue = None;
        loop {
            let mut open = match dialogue.take() {
                Some(open) => open,
                None => match psql.dialogue(&context) {
                    Ok(open) => open,
                    Err(_) => return,
                },
            };
            let answer = open.ask(WRITE).await;
            let at = now();
            match answer.as_deref().and_then(|answer| acknowledged(answer, at)) {
                Some(written) => {
                    client.written.push(written);
                    seen.last.store(at, Ordering::Relaxed);
                    seen.count.fetch_add(1, Ordering::Relaxed);
                    // Without input psql ends, and says so to the server.
                    match kind {
                        LibpqKind::Reconnects => drop(open.complaint().await),
                        _ => dialogue = Some(open),
                    }
                    if kind == LibpqKind::Idle {
                        wake.cancelled().await;
                    }
                }
                None => client.failed.push(Failure { at, reason: open.complaint().await }),
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use super::*;
    use crate::{context::Dirs, event::Events};

    /// psql by these strings.
    fn psql(pooled: Option<&str>) -> Psql {
        let env = BTreeMap::new();
        let dirs = Dirs::new(Path::new("/nowhere"), &env);
        let context = Context { dirs, env, events: Events::channel().0, stop: Default::default() };
        let pooled = pooled.map(str::to_owned);
        Psql::new(&context, PrintedString { dsn: "host=a,b port=5432".to_owned(), pooled, password: None })
    }

    #[test]
    fn clients_of_one_pooler_run_in_drills_of_the_entry_point_only() {
        use LibpqKind::{Idle, OnePooler, Pooled, Reconnects, Writes};
        let string = |psql: &Psql, kind| psql.command(kind, Some("b")).arguments().last().unwrap().clone();
        let with = psql(Some("host=a,b port=6432"));
        assert_eq!(with.kinds(None), [Writes, Idle, Pooled]);
        assert_eq!(with.kinds(Some("b")), [Writes, Idle, Pooled, OnePooler, Reconnects]);
        assert_eq!(psql(None).kinds(Some("b")), [Writes, Idle]);
        assert_eq!(string(&with, Pooled), "host=a,b port=6432");
        for kind in [OnePooler, Reconnects] {
            assert_eq!(string(&with, kind), "host=a,b port=6432 host=b");
        }
        for kind in [Writes, Idle] {
            assert_eq!(string(&with, kind), "host=a,b port=5432");
        }
    }

    #[test]
    fn answer_of_psql_has_the_transaction_and_the_host() {
        let expected = Written { at: 7, transaction: 4_294_967_400, through: "10.0.0.1".to_owned() };
        assert_eq!(acknowledged("written|4294967400|10.0.0.1", 7), Some(expected));
        for other in ["", "written", "written|x|10.0.0.1", "|735|10.0.0.1"] {
            assert_eq!(acknowledged(other, 7), None, "{other}");
        }
    }
}
