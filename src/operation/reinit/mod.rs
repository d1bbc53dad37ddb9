//! `hactl reinit`: a replica gets a new copy of the primary's data, and its old data is kept aside.

mod preflight;
mod settled;

use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::preflight::{Space, obstacles};
use super::{
    frame::{LockUse, Operation, Outcome, Preflight, SecretsUse, perform},
    obstacle::refuse,
};
use crate::{
    component::patroni,
    context::{Context, RunContext},
    deployment::{Deployment, RunningCluster},
    error::{Error, Result},
    event::{Event, Stage, Summary},
    fleet::FleetNode,
    health,
    model::InstanceKey,
};

pub const REINIT: Operation = Operation {
    command: "reinit",
    on_adopted: false,
    reads_state: true,
    preflight: Preflight::Nothing,
    secrets: SecretsUse::Open,
    locks: LockUse::Cluster,
};

/// Which replica gets a new copy.
#[derive(Clone, Debug)]
pub struct ReinitRequest {
    pub key: InstanceKey,
    /// Whether its data may be lost, and whether the primary may be alone meanwhile.
    pub allowed: bool,
}

/// How long a look at a directory may take.
const LOOK: Duration = Duration::from_secs(60);

/// How long the stop of Patroni and PostgreSQL may take beyond `primary_stop_timeout`, which the unit's limit counts in.
const STOP: Duration = Duration::from_secs(60);

/// The pause between two looks at the copy.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a copy may show no progress.
const STALLED_AFTER: Duration = Duration::from_secs(180);

/// Copies the primary's data to a replica.
///
/// # Errors
/// When the cluster cannot bear it, which changes nothing; when the copy does not advance.
pub async fn reinit(run: &RunContext, deployment: Deployment, request: &ReinitRequest) -> Result<Summary> {
    let done = perform(run, deployment, &REINIT, async |acting| {
        let cluster = acting.deployment.running(&run.context).await?;
        let node = cluster.fleet.node(request.key.as_str())?;
        let copied = run.stage(Stage::Reinit, replace(run, &cluster, node, request)).await?;
        let name = &cluster.plan.cluster;
        let key = &request.key;
        let size = megabytes(copied.kib);
        let message = match &copied.kept {
            Some(kept) => format!(
                "{name}: {key} streams with a new copy of {size}; its old data is kept in {kept} there. Remove it with \
                 `hactl ssh {name} {key} -- rm -r {kept}` when nothing in it is missed."
            ),
            None => {
                format!("{name}: {key} streams with a new copy of {size}; what its data directory had was removed.")
            }
        };
        let next = vec![format!("hactl status {name}")];
        Ok((Outcome { message, next, changed: true, ..Outcome::default() }, ()))
    });
    Ok(done.await?.0)
}

/// A new copy.
struct Copied {
    kib: u64,
    /// Where the old data is.
    kept: Option<String>,
}

fn megabytes(kib: u64) -> String {
    format!("{} MiB", kib / 1024)
}

async fn replace(
    run: &RunContext,
    cluster: &RunningCluster,
    node: &FleetNode,
    request: &ReinitRequest,
) -> Result<(Copied, Option<String>)> {
    let (context, key) = (&run.context, node.key());
    let say = async |words: String| context.events.step(Stage::Reinit, Some(key), words).await;
    let looked = async { Ok(health::diagnose(&cluster.plan, &health::observe(&cluster.fleet, &cluster.access).await)) };
    let health = context.interruptible("inspect the machines of", &cluster.plan.cluster, looked).await?;
    run.keep("health", &health)?;
    let Some(leader) = health.leader.as_ref() else {
        let error = refused(cluster, key).cause("the cluster has no primary to copy from");
        return Err(error.hint(format!("Run `hactl status {}`", cluster.plan.cluster)));
    };
    let primary = cluster.fleet.node(leader.as_str())?;
    let (there, own) = tokio::try_join!(directory(cluster, primary), directory(cluster, node))?;
    let space = Space { needed_kib: there.kib, free_kib: own.free_kib, tablespaces: own.tablespaces };
    let found = obstacles(&health, key, &space, request.allowed);
    refuse(found, || refused(cluster, key), &cluster.plan.cluster)?;
    let members = settled::wait(context, cluster, primary).await?;
    let kept = space.fits().then(|| format!("{}.diverged-{}", own.path, Timestamp::now().strftime("%Y%m%dT%H%M%SZ")));
    say(match &kept {
        Some(kept) => format!("stopping Patroni and moving the data directory to {kept}"),
        None => "stopping Patroni and removing the data directory".to_owned(),
    })
    .await;
    let script =
        include_str!("replace.sh").replace("@DIR@", &own.path).replace("@KEPT@", kept.as_deref().unwrap_or_default());
    let patience = STOP + Duration::from_secs(cluster.plan.patroni.timers.primary_stop_timeout.into());
    // The unit on the node ends its work whatever becomes of this run.
    let said = output(cluster, node, &script, patience).await.map_err(|error| {
        error.hint(format!("Run `hactl status {}`: Patroni was started again", cluster.plan.cluster))
    })?;
    // A copy that a run before this one began and did not end is removed.
    let kept = kept.filter(|_| said == "kept");
    let kib = copied(context, cluster, node, there.kib).await?;
    settled::named(context, cluster, primary, &members).await?;
    let event = Event::Reinitialized { node: key.to_string(), bytes: kib * 1024, kept: kept.clone() };
    context.events.emit(event).await;
    let detail = format!("{key} streams with a new copy of {}", megabytes(kib));
    Ok((Copied { kib, kept }, Some(detail)))
}

fn refused(cluster: &RunningCluster, key: &InstanceKey) -> Error {
    Error::failed("reinit-refused", "reinitialize", format!("{key} of {}", cluster.plan.cluster))
}

fn failed(cluster: &RunningCluster, key: &InstanceKey) -> Error {
    Error::failed("reinit-failed", "reinitialize", format!("{key} of {}", cluster.plan.cluster))
}

/// PostgreSQL's data directory on a machine.
struct Directory {
    path: String,
    kib: u64,
    free_kib: u64,
    tablespaces: u64,
}

async fn directory(cluster: &RunningCluster, node: &FleetNode) -> Result<Directory> {
    let said = output(cluster, node, include_str!("look.sh"), LOOK).await?;
    let mut lines = said.lines();
    let path = lines.next().unwrap_or_default().to_owned();
    let mut number = || lines.next().and_then(|line| line.trim().parse().ok());
    let numbers = (number(), number(), number());
    let (Some(kib), Some(free_kib), Some(tablespaces)) = numbers else {
        return Err(failed(cluster, node.key()).cause(format!("the size of its data directory is not known: {said}")));
    };
    Ok(Directory { path, kib, free_kib, tablespaces })
}

/// Runs a script that must succeed, and gives what it printed.
async fn output(cluster: &RunningCluster, node: &FleetNode, script: &str, patience: Duration) -> Result<String> {
    let done = cluster.access.connect(node).await?.run("/bin/sh", script.as_bytes(), patience).await?;
    let said = done.output().map_err(|cause| failed(cluster, node.key()).cause(cause))?;
    Ok(said.trim().to_owned())
}

/// Waits until the replica streams, for as long as its copy grows or its state changes. Gives the size of the copy.
async fn copied(context: &Context, cluster: &RunningCluster, node: &FleetNode, of: u64) -> Result<u64> {
    let (key, name) = (node.key(), &cluster.plan.cluster);
    let mut before = (0, String::new(), None);
    let mut advanced = Instant::now();
    let watched = async {
        loop {
            let (size, itself) = tokio::join!(directory(cluster, node), patroni::itself(&cluster.access, node));
            let kib = size.map_or(before.0, |directory| directory.kib);
            let (state, replayed, streams) = itself.map_or_else(
                |_| ("not answering".to_owned(), None, false),
                |itself| {
                    let streams = itself.replication_state.as_deref() == Some("streaming") && itself.role != "primary";
                    (itself.state, itself.xlog.replayed_location, streams)
                },
            );
            if streams && state == "running" {
                return Ok(kib);
            }
            let now = (kib, state, replayed);
            if now != before {
                let words = format!("{}: {} of about {}", now.1, megabytes(kib), megabytes(of));
                context.events.step(Stage::Reinit, Some(key), words).await;
                (before, advanced) = (now, Instant::now());
            }
            if advanced.elapsed() > STALLED_AFTER {
                let seconds = STALLED_AFTER.as_secs();
                return Err(Error::failed("reinit-stalled", "reinitialize", format!("{key} of {name}"))
                    .cause(format!(
                        "its copy did not advance for {seconds} s: it is {}, with {}",
                        before.1,
                        megabytes(kib)
                    ))
                    .hint(format!("Run `hactl logs {name} {key} --unit patroni` to see why")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    context.interruptible("wait for the copy of", key, watched).await
}
