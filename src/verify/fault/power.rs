//! Power: the container engine takes it from nodes of the local platform, and a process beside hactl restores it.
//!
//! That process, the watcher, is another hactl in a session of its own. It powers the nodes on at its deadline, when the
//! pipe from the run that started it closes for any reason, and when it gets a signal to stop.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use futures_util::future::{join_all, try_join_all};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt},
    net::unix::pipe,
    process::ChildStdin,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::target::FaultTarget;
use crate::{
    context::Context,
    env,
    error::{Error, Result, codes},
    exec::Command,
    model::InstanceKey,
    platform::local::{Engine, Progress, node_name},
};

/// What the watcher prints when it is able to restore power.
const READY: &str = "ready";
/// How long the watcher may take until it says so, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the watcher tries while the engine refuses.
const RETRIES: u32 = 120;

pub(super) async fn obstacle(cluster: &FaultTarget<'_>) -> Result<Option<String>> {
    if is_elsewhere(cluster) {
        let reason = match cluster.plan.platform.proxmox() {
            Some(_) => {
                "this version cannot power machines off and on with Proxmox's API; `primary-isolated` cuts the primary off from the \
                 network instead"
            }
            None => "hactl cannot power these machines back on, because it reaches them only by SSH",
        };
        return Ok(Some(reason.to_owned()));
    }
    let (engine, names) = (engine(cluster).await?, names(cluster.members().map(|node| node.key()), cluster));
    for name in names.values() {
        if engine.find_node(name).await?.is_none() {
            return Ok(Some(format!("the container engine has no container {name}")));
        }
    }
    Ok(None)
}

/// Whether the machines do not run in the container engine.
const fn is_elsewhere(cluster: &FaultTarget<'_>) -> bool {
    cluster.plan.platform.local().is_none()
}

async fn engine(cluster: &FaultTarget<'_>) -> Result<Engine> {
    Engine::connect(&cluster.context.env).await
}

fn names<'k>(keys: impl Iterator<Item = &'k InstanceKey>, cluster: &FaultTarget<'_>) -> BTreeMap<InstanceKey, String> {
    keys.map(|key| (key.clone(), node_name(&cluster.plan.cluster, key))).collect()
}

/// The power of some nodes, and the watcher beside it.
pub(super) struct Switch {
    engine: Engine,
    names: BTreeMap<InstanceKey, String>,
    /// Dropped, it makes the watcher act and end.
    line: Option<ChildStdin>,
    ended: CancellationToken,
}

/// Starts the watcher and waits until it is ready: that is the proof that the undo will come.
pub(super) async fn arm(targets: &[InstanceKey], deadline: Duration, cluster: &FaultTarget<'_>) -> Result<Switch> {
    let (engine, names) = (engine(cluster).await?, names(targets.iter(), cluster));
    let failed = || {
        Error::failed("power-watch", "start the power watcher for", Vec::from_iter(names.values().cloned()).join(", "))
    };
    let first = names.values().next().ok_or_else(|| failed().cause("no machine is named"))?;
    let node = engine
        .find_node(first)
        .await?
        .ok_or_else(|| failed().cause(format!("the container engine has no container {first}")))?;
    let watcher = Command::new(program(cluster.context)?)
        .arg("power-watch")
        .args(["--uuid".to_owned(), node.uuid.to_string()])
        .args(["--after-ms".to_owned(), deadline.as_millis().to_string()])
        .args(names.values().cloned());
    let mut detached = watcher.detach(cluster.context).await?;
    match tokio::time::timeout(PATIENCE, detached.line()).await {
        Ok(Some(said)) if said == READY => {}
        Ok(Some(said)) => return Err(failed().cause(said)),
        Ok(None) => return Err(failed().cause("the watcher exited without output")),
        Err(_) => return Err(failed().cause(format!("the watcher was not ready within {} s", PATIENCE.as_secs()))),
    }
    let (line, mut output) = detached.split();
    let ended = CancellationToken::new();
    let end = ended.clone();
    tokio::spawn(async move {
        let mut rest = String::new();
        // It prints nothing more: only the end of its output counts.
        let _ = output.read_line(&mut rest).await;
        end.cancel();
    });
    Ok(Switch { engine, names, line: Some(line), ended })
}

/// The hactl that the watcher is. Tests are another program and name it.
fn program(context: &Context) -> Result<PathBuf> {
    match context.env.get(env::HACTL_PROGRAM) {
        Some(program) => Ok(PathBuf::from(program)),
        None => std::env::current_exe()
            .map_err(|error| Error::failed("power-watch", "find the program of", "hactl").source(&error)),
    }
}

impl Switch {
    pub(super) async fn off(&self) -> Result<()> {
        try_join_all(self.names.values().map(|name| self.engine.kill_node(name))).await.map(drop)
    }

    pub(super) async fn is_off(&self) -> Result<bool> {
        Ok(self.running().await?.is_empty())
    }

    async fn running(&self) -> Result<Vec<&InstanceKey>> {
        let nodes = try_join_all(self.names.values().map(|name| self.engine.find_node(name))).await?;
        let both = self.names.keys().zip(nodes);
        Ok(both.filter(|(_, node)| node.as_ref().is_some_and(|node| node.running)).map(|(key, _)| key).collect())
    }

    /// Restores the power, and stops the watcher.
    pub(super) async fn on(&mut self) -> Result<()> {
        try_join_all(self.names.values().map(|name| self.engine.power_on_node(name))).await?;
        self.line = None;
        tokio::time::timeout(PATIENCE, self.ended.cancelled()).await.map_err(|_| {
            Error::failed(
                "power-watch",
                "stop the power watcher of",
                Vec::from_iter(self.names.values().cloned()).join(", "),
            )
            .cause(format!("the process `hactl power-watch` is still running after {} s", PATIENCE.as_secs()))
            .hint("Wait until the process ends by itself at its deadline")
        })
    }

    /// Whether the watcher ended before hactl stopped it: it restored the power, or was killed.
    pub(super) fn watcher_ended(&self) -> bool {
        self.line.is_some() && self.ended.is_cancelled()
    }
}

/// Nodes without power that should have it.
pub(super) async fn off(cluster: &FaultTarget<'_>) -> Result<Vec<InstanceKey>> {
    if is_elsewhere(cluster) {
        return Ok(Vec::new());
    }
    let (engine, names) = (engine(cluster).await?, names(cluster.members().map(|node| node.key()), cluster));
    let nodes = try_join_all(names.values().map(|name| engine.find_node(name))).await?;
    let off = names.into_keys().zip(nodes).filter(|(_, node)| node.as_ref().is_some_and(|node| !node.running));
    Ok(off.map(|(key, _)| key).collect())
}

/// Gives them their power, and waits until they answer.
pub(super) async fn on(cluster: &FaultTarget<'_>) -> Result<()> {
    if is_elsewhere(cluster) {
        return Ok(());
    }
    let engine = engine(cluster).await?;
    let names = names(off(cluster).await?.iter(), cluster);
    let progress = Progress::none();
    let started = names.values().map(|name| engine.start_node(name, &progress, &cluster.context.stop));
    try_join_all(started).await.map(drop)
}

/// The arguments of a watcher.
#[derive(Clone, Debug)]
pub struct PowerWatch {
    /// The cluster's UUID: containers without it are left alone.
    pub uuid: Uuid,
    pub after: Duration,
    /// Names of containers.
    pub names: Vec<String>,
}

/// The watcher: says that it is ready, waits, and powers the nodes on.
///
/// # Errors
/// If the engine does not answer at the start, or refuses until the end: nothing else restores the power then.
pub async fn watch(
    watch: &PowerWatch,
    env: &BTreeMap<String, String>,
    stop: &CancellationToken,
    say: impl Fn(&str),
) -> Result<()> {
    let engine = Engine::connect(env).await?;
    for name in &watch.names {
        check_ours(&engine, name, watch.uuid).await?;
    }
    let mut line = line()?;
    say(READY);
    let mut byte = [0];
    tokio::select! {
        () = tokio::time::sleep(watch.after) => {}
        _ = line.read(&mut byte) => {}
        () = stop.cancelled() => {}
    }
    let done = join_all(watch.names.iter().map(|name| power_on(&engine, name, watch.uuid))).await;
    done.into_iter().collect()
}

/// Standard input, whose end is the end of the run that started this one.
fn line() -> Result<pipe::Receiver> {
    use std::os::fd::AsFd;
    let owned = std::io::stdin().as_fd().try_clone_to_owned();
    owned.and_then(|owned| pipe::Receiver::from_file(owned.into())).map_err(|error| {
        Error::usage("power-watch", "read", "standard input")
            .source(&error)
            .hint("Do not run this command yourself: hactl starts it")
    })
}

/// Tries until it works: the engine itself may be starting again.
async fn power_on(engine: &Engine, name: &str, uuid: Uuid) -> Result<()> {
    for _ in 0..RETRIES {
        match check_ours(engine, name, uuid).await {
            Ok(()) if engine.power_on_node(name).await.is_ok() => return Ok(()),
            // The container was removed or created again: its power is not ours to restore.
            Err(error) if error.code == codes::POWER_FOREIGN => return Ok(()),
            _ => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
    engine.power_on_node(name).await
}

async fn check_ours(engine: &Engine, name: &str, uuid: Uuid) -> Result<()> {
    match engine.find_node(name).await? {
        Some(node) if node.uuid == uuid => Ok(()),
        _ => Err(Error::failed(codes::POWER_FOREIGN, "power on", name)
            .cause(format!("the cluster with the UUID {uuid} has no such container"))),
    }
}
