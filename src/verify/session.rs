//! What comes before the first round of a verification, and after its last one.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    clients::{ClientAccess, ClientPath},
    fault::{self, FaultTarget},
    history_file,
    libpq::{PrintedString, Psql},
    table::{self, Table},
    verdict::{VERSION, Verdict, unproved},
};
use crate::{
    context::Context,
    error::{Error, Result},
    event::Stage,
    health,
    model::InstanceKey,
};

/// How long a cluster may take to be healthy before a round.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);

/// The same after Ctrl-C or SIGTERM.
const AFTER_A_STOP: Duration = Duration::from_secs(10);

/// What is fixed in a verdict before the first round.
pub struct Heading {
    pub started: String,
    pub platform: String,
    pub stamps: Vec<String>,
    pub seed: u64,
    /// The connection string that `hactl status` prints.
    pub printed: PrintedString,
}

/// How a verification went: what it found so far, and what ended it before its end.
pub struct Verification {
    pub verdict: Verdict,
    pub error: Option<Error>,
}

/// The run's directory, in which the histories are.
pub(super) fn record(history: &Path) -> &Path {
    history.parent().unwrap_or(history)
}

/// What comes before the first round.
pub(super) async fn begin<'a>(cluster: &'a FaultTarget<'_>, heading: Heading, history: &Path) -> Result<Beginning<'a>> {
    let plan = cluster.plan;
    fault::sweep(cluster).await?;
    let healthy = healthy(cluster).await?;
    let timers = &plan.patroni.timers;
    let verdict = Verdict {
        version: VERSION,
        cluster: plan.cluster.to_string(),
        started: heading.started,
        hactl: env!("CARGO_PKG_VERSION").to_owned(),
        platform: heading.platform,
        stamps: heading.stamps,
        durability: plan.patroni.durability.to_string(),
        fencing: plan.fencing.clone(),
        timers: BTreeMap::from([
            ("ttl".to_owned(), timers.ttl),
            ("loop_wait".to_owned(), timers.loop_wait),
            ("retry_timeout".to_owned(), timers.retry_timeout),
            ("primary_start_timeout".to_owned(), timers.primary_start_timeout),
            ("primary_stop_timeout".to_owned(), timers.primary_stop_timeout),
        ]),
        seed: heading.seed,
        path: "direct".to_owned(),
        libpq: String::new(),
        drills: Vec::new(),
    };
    let writer = history_file::Writer::create(history).map_err(|error| {
        Error::failed("record", "write", history.display()).source(&error).hint("Check that the disk has free space")
    })?;
    let table = Table::create(cluster.fleet, cluster.access, healthy.leader()).await?;
    let clients = match way_in(cluster, &table, healthy.leader()).await {
        Ok(clients) => clients,
        Err(error) => {
            // Report the first error; the next run drops what remains.
            let _ = table.drop(healthy.leader()).await;
            return Err(error);
        }
    };
    let psql = Psql::new(cluster.context, heading.printed);
    let libpq = match clients.path {
        ClientPath::Direct => psql.try_once().await,
        ClientPath::Tunnel(_) => Err("the primary rejects direct connections".to_owned()),
    };
    let psql = libpq.is_ok().then_some(psql);
    let libpq = libpq.unwrap_or_else(|reason| format!("not run: {reason}"));
    cluster
        .context
        .events
        .step(Stage::Verify, None, format!("libpq with the printed connection string: {libpq}"))
        .await;
    let verdict = Verdict { path: clients.path.as_str().to_owned(), libpq, ..verdict };
    Ok(Beginning { verdict, writer, table, clients, psql })
}

/// What the rounds start from.
pub(super) struct Beginning<'a> {
    pub(super) verdict: Verdict,
    pub(super) writer: history_file::Writer,
    pub(super) table: Table<'a>,
    pub(super) clients: ClientAccess,
    /// How psql connects with the printed string; none if it cannot.
    pub(super) psql: Option<Psql>,
}

/// How clients reach the servers: directly if the primary accepts their connections, else through SSH.
pub(super) async fn way_in(
    cluster: &FaultTarget<'_>,
    table: &Table<'_>,
    primary: &InstanceKey,
) -> Result<ClientAccess> {
    let nodes: Vec<_> = table::data_nodes(cluster.fleet).cloned().collect();
    let index = nodes.iter().position(|node| node.key() == primary).unwrap_or_default();
    let direct = ClientAccess {
        nodes: nodes.into(),
        path: ClientPath::Direct,
        tls: Arc::clone(&cluster.access.keys.clients_tls),
        ssl: cluster.access.keys.postgres_ssl,
        user: table::NAME.to_owned(),
        password: table.password.clone(),
        database: table::NAME.to_owned(),
    };
    let mut refusal = String::new();
    // A busy machine may let one connection wait for too long.
    for _ in 0..2 {
        match direct.try_once(index).await {
            Ok(()) => return Ok(direct),
            Err(said) => refusal = said,
        }
    }
    let tunnel = ClientAccess { path: ClientPath::Tunnel(Arc::new(cluster.access.apart())), ..direct };
    match tunnel.try_once(index).await {
        Ok(()) => {
            let words = format!("clients connect through SSH, because {primary} rejected a direct connection: {refusal}");
            cluster.context.events.step(Stage::Verify, None, words).await;
            Ok(tunnel)
        }
        Err(said) => Err(Error::failed("drill-path", "connect as a client to PostgreSQL on", primary)
            .cause(format!("directly: {refusal}"))
            .cause(format!("through SSH: {said}"))
            .hint(format!(
                "Allow the role {0} to connect to the database {0}, for example with `host {0} {0} samenet scram-sha-256` in pg_hba.conf",
                table::NAME
            ))),
    }
}

/// What comes after the last round: drops the drills' database and role, if the cluster is healthy.
pub(super) async fn end(
    cluster: &FaultTarget<'_>,
    table: &Table<'_>,
    verdict: Verdict,
    ended: Result<()>,
) -> Verification {
    let dropped = match leader_for_the_end(cluster).await {
        Ok(leader) => table.drop(&leader).await,
        Err(error) => Err(error),
    };
    Verification { verdict, error: ended.and(dropped).err() }
}

/// The primary to clean up on, also after Ctrl-C, within the seconds that a clean stop has.
pub(super) async fn leader_for_the_end(cluster: &FaultTarget<'_>) -> Result<InstanceKey> {
    let context = Context { stop: CancellationToken::new(), ..cluster.context.clone() };
    let patience = if cluster.context.stop.is_cancelled() { AFTER_A_STOP } else { HEALTHY_WITHIN };
    let healthy = health::wait_until_healthy(&context, cluster.plan, cluster.fleet, cluster.access, patience).await?;
    Ok(healthy.leader().clone())
}

pub(super) async fn healthy(cluster: &FaultTarget<'_>) -> Result<health::Healthy> {
    let FaultTarget { plan, fleet, access, context, .. } = cluster;
    health::wait_until_healthy(context, plan, fleet, access, HEALTHY_WITHIN).await.map_err(unproved)
}
