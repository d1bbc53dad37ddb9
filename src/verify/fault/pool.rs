//! Clients that hold transactions open, as many as a pool has connections. They connect from here, as the owner of the first
//! database, and change nothing: their transactions have no ID and no snapshot between two statements.
//!
//! The undo is in the transactions themselves. Each begins with `idle_in_transaction_session_timeout`, so PostgreSQL ends it at
//! the deadline, and the end of hactl closes its connection, which ends it, too.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustls::ClientConfig;
use tokio::{task::JoinSet, time::timeout};
use tokio_postgres::{Config, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use super::target::FaultTarget;
use crate::{
    access::DatabaseLogin,
    component::{
        Reached,
        pgbouncer::{self, PoolerView},
        reach,
    },
    error::{Error, Result},
    fleet::FleetNode,
    model::{InstanceKey, Secret},
    verify::clients::{Opened, said},
};

/// How long a connection to a pooler may take, also where each of its connections is in use.
const CONNECT: Duration = Duration::from_secs(10);

/// The timeout of the canary, and how long PostgreSQL may take to end its transaction.
const CANARY: Duration = Duration::from_millis(300);
const CANARY_WITHIN: Duration = Duration::from_secs(5);

/// The pause between two looks at a connection.
const LOOK: Duration = Duration::from_millis(100);

/// How long the end of a transaction may take.
const END: Duration = Duration::from_secs(2);

/// How long a client must have waited for a connection, in seconds, as PgBouncer counts.
const WAITED: u64 = 1;

/// Where the clients connect to, and as whom.
#[derive(Clone)]
struct PoolerAccess {
    host: String,
    port: u16,
    database: String,
    user: String,
    password: Secret,
    tls: Arc<ClientConfig>,
    ssl: SslMode,
}

impl PoolerAccess {
    fn of(node: &FleetNode, login: &DatabaseLogin, cluster: &FaultTarget<'_>) -> Self {
        let endpoint = pgbouncer::endpoint(node);
        let DatabaseLogin { database, user, password } = login.clone();
        let (tls, ssl) = (Arc::clone(&cluster.access.keys.clients_tls), cluster.access.keys.postgres_ssl);
        Self { host: endpoint.host, port: endpoint.port, database, user, password, tls, ssl }
    }

    /// A connection to the pooler. It has a server only once it has asked something.
    async fn open(&self) -> Result<Opened, String> {
        let mut config = Config::new();
        config.host(&self.host).port(self.port).connect_timeout(CONNECT).ssl_mode(self.ssl);
        config.user(&self.user).password(self.password.expose()).dbname(&self.database);
        config.application_name("hactl verify");
        let connected = timeout(CONNECT, config.connect(MakeRustlsConnect::new(ClientConfig::clone(&self.tls)))).await;
        match connected {
            Ok(connected) => {
                connected.map(|(client, driver)| Opened::new(client, driver)).map_err(|error| said(&error))
            }
            Err(_) => Err(format!("no connection within {} s", CONNECT.as_secs())),
        }
    }

    /// Begins a transaction that PostgreSQL ends when it has been idle for `longest`.
    async fn begin(&self, longest: Duration) -> Result<Opened, String> {
        let opened = self.open().await?;
        opened.client.batch_execute(&statements(longest)).await.map_err(|error| said(&error))?;
        Ok(opened)
    }
}

/// `LOCAL`: the next transaction on the same connection to the server has the server's own setting.
fn statements(longest: Duration) -> String {
    format!("BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{}ms'; SELECT 1", longest.as_millis())
}

/// Why this computer cannot hold a pool of the cluster; none if it can.
pub(super) async fn obstacle(cluster: &FaultTarget<'_>) -> Option<String> {
    let Some(login) = cluster.owner else {
        return Some("hactl does not know the password of a database's owner, whom the poolers let in".to_owned());
    };
    let node = cluster.fleet.data_nodes().next()?;
    let said = PoolerAccess::of(node, login, cluster).open().await.err()?;
    Some(format!("could not connect to the pooler on {}: {said}", node.key()))
}

/// Shows on the pooler of the only target that PostgreSQL ends such a transaction. Nothing is held yet.
pub(super) async fn arm(targets: &[InstanceKey], deadline: Duration, cluster: &FaultTarget<'_>) -> Result<Holders> {
    let failed = |key: &str, cause: String| {
        let error = Error::failed("drill-fault", "test the undo of open transactions through the pooler on", key);
        error.cause(cause)
    };
    let (Some(key), Some(login), Some(entry)) = (targets.first(), cluster.owner, &cluster.plan.endpoint) else {
        return Err(failed("the cluster", "the cluster has no pooler that hactl can log in to".to_owned()));
    };
    let pooler = PoolerAccess::of(cluster.node(key)?, login, cluster);
    let canary = pooler.begin(CANARY).await.map_err(|said| failed(key.as_str(), said))?;
    let ended = async {
        while !canary.client.is_closed() {
            tokio::time::sleep(LOOK).await;
        }
    };
    if timeout(CANARY_WITHIN, ended).await.is_err() {
        let cause = format!("PostgreSQL did not end a transaction that was idle for {} ms", CANARY.as_millis());
        return Err(failed(key.as_str(), cause));
    }
    Ok(Holders {
        key: key.clone(),
        pooler,
        size: pgbouncer::pool_size(cluster.plan, entry),
        deadline,
        all: entry.can_hold(),
        stop: CancellationToken::new(),
        begun: Arc::default(),
        ended: Arc::default(),
        tasks: JoinSet::new(),
    })
}

/// The clients that hold the transactions. Dropped, they close their connections, which ends the transactions.
pub(super) struct Holders {
    key: InstanceKey,
    pooler: PoolerAccess,
    /// How many connections the pool has, and so how many clients.
    size: u32,
    deadline: Duration,
    /// Whether each of these clients gets a connection: in session mode others may keep theirs.
    all: bool,
    stop: CancellationToken,
    /// How many of them hold a transaction.
    begun: Arc<AtomicU32>,
    /// Why the first of them ended before it should.
    ended: Arc<Mutex<Option<String>>>,
    tasks: JoinSet<()>,
}

impl Holders {
    /// Starts the clients. In session mode other clients keep their connections, and some of these wait.
    pub(super) fn begin(&mut self) {
        for _ in 0..self.size {
            let (pooler, deadline) = (self.pooler.clone(), self.deadline);
            let (stop, begun, ended) = (self.stop.clone(), Arc::clone(&self.begun), Arc::clone(&self.ended));
            self.tasks.spawn(async move {
                if let Err(said) = hold(&pooler, deadline, &stop, &begun).await {
                    ended.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(said);
                }
            });
        }
    }

    /// Why one of the clients ended before it should.
    pub(super) fn complaint(&self) -> Option<String> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the pool has no connection left, and other clients wait for one.
    pub(super) async fn hold_all(&self, cluster: &FaultTarget<'_>) -> Result<bool> {
        let failed = |cause: String| {
            Error::failed("drill-fault", "hold every connection of the pooler on", &self.key).cause(cause)
        };
        if let Some(said) = self.complaint() {
            return Err(failed(said));
        }
        // A connection that is about to be there would serve one more client.
        if self.all && self.begun.load(Ordering::Relaxed) < self.size {
            return Ok(false);
        }
        let node = cluster.node(&self.key)?;
        let (access, fleet) = (cluster.control, cluster.fleet);
        let asked = async {
            let remote = &reach(access, node).await?;
            pgbouncer::ask(Reached { remote, access, fleet, node }).await
        };
        let view = asked.await.map_err(|error| failed(error.to_string()))?;
        Ok(is_exhausted(&view, &self.pooler.database, self.size))
    }

    /// Ends the transactions and the connections.
    pub(super) async fn end(&mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Holds a transaction until `stop`; an error says why it ended before.
async fn hold(
    pooler: &PoolerAccess,
    deadline: Duration,
    stop: &CancellationToken,
    begun: &AtomicU32,
) -> Result<(), String> {
    let opened = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        opened = pooler.begin(deadline) => opened?,
    };
    begun.fetch_add(1, Ordering::Relaxed);
    while timeout(LOOK, stop.cancelled()).await.is_err() {
        if opened.client.is_closed() {
            return Err("a connection that held a transaction ended before its time".to_owned());
        }
    }
    // A rollback gives the connection back to the pool; without one, PgBouncer closes it.
    drop(timeout(END, opened.client.batch_execute("ROLLBACK")).await);
    Ok(())
}

/// Whether each of `size` connections to `database` is there, and a client has waited for one for so long that it does not get one.
fn is_exhausted(view: &PoolerView, database: &str, size: u32) -> bool {
    let pools = || view.pools.iter().filter(|pool| pool.database == database);
    let servers: u64 = pools().map(|pool| pool.servers).sum();
    servers >= u64::from(size) && pools().any(|pool| pool.waiting > 0 && pool.longest_wait >= WAITED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::pgbouncer::Pool;

    #[test]
    fn pool_is_exhausted_when_a_client_waits_for_one_of_all_its_connections() {
        let pool = |database: &str, servers, waiting, longest_wait| Pool {
            database: database.to_owned(),
            user: "app".to_owned(),
            active: 5,
            waiting,
            servers,
            longest_wait,
        };
        for (pools, expected) in [
            (vec![pool("app", 13, 1, 1)], true),
            // Several owners share the connections of a database.
            (vec![pool("app", 8, 0, 0), pool("app", 5, 2, 3)], true),
            (vec![pool("app", 12, 1, 1)], false),
            (vec![pool("app", 13, 0, 0)], false),
            // It waits for a transaction of another client that is about to end.
            (vec![pool("app", 13, 1, 0)], false),
            (vec![pool("app_replicas", 13, 1, 1)], false),
            (vec![], false),
        ] {
            let view = PoolerView { pools: pools.clone(), ..PoolerView::default() };
            assert_eq!(is_exhausted(&view, "app", 13), expected, "{pools:?}");
        }
    }

    #[test]
    fn held_transaction_ends_by_itself_at_the_deadline() {
        assert_eq!(
            statements(Duration::from_secs(50)),
            "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '50000ms'; SELECT 1"
        );
    }
}
