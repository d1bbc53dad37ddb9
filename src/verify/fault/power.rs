//! Power: the platform takes it from machines, and a process beside hactl restores it.
//!
//! That process, the watcher, is another hactl in a session of its own. It powers the machines on at its deadline, when the
//! pipe from the run that started it closes for any reason, and when it gets a signal to stop. What it must know comes by
//! that pipe, and a token by its environment: neither is in its arguments. A drill relies on it only after a canary, a
//! second watcher whose deadline comes at once, has acted by itself.

use std::{path::PathBuf, time::Duration};

use futures_util::future::{join_all, try_join_all};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::unix::pipe,
    process::ChildStdin,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{shell, target::FaultTarget};
use crate::{
    context::Context,
    env,
    error::{Error, Result, codes},
    exec::{Command, Detached},
    model::InstanceKey,
    platform::power::{Power, PowerOrder},
};

/// What the watcher prints when it is able to restore power.
const READY: &str = "ready";
/// What the watcher prints when the machines have power.
const RESTORED: &str = "restored";
/// The deadline of the canary, a watcher that is tested before the one that a drill relies on.
const CANARY: Duration = Duration::from_millis(300);
/// How long the watcher may take until it says so, and until it has ended: commands of the user may be slow.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long the watcher tries while the platform refuses.
const RETRIES: u32 = 120;
/// How long a machine may take from its power to the first answer by SSH.
const STARTS_WITHIN: Duration = Duration::from_secs(120);

const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn obstacle(cluster: &FaultTarget<'_>) -> Result<Option<String>> {
    let order = match order(cluster, cluster.members().map(|node| node.key())).await? {
        Ok(order) => order,
        Err(reason) => return Ok(Some(reason)),
    };
    let power = order.open(cluster.context).await?;
    let checked = join_all(power.keys().into_iter().map(|key| power.check(key))).await;
    let reason = |error: Error| if error.causes.is_empty() { error.to_string() } else { error.causes.join("; ") };
    Ok(checked.into_iter().find_map(Result::err).map(reason))
}

async fn order(
    cluster: &FaultTarget<'_>,
    keys: impl IntoIterator<Item = &InstanceKey>,
) -> Result<Result<PowerOrder, String>> {
    PowerOrder::find(cluster.context, cluster.plan, cluster.fleet, keys).await
}

/// The power of some machines, and the watcher beside it.
pub(super) struct Switch {
    power: Power,
    /// Dropped, it makes the watcher act and end.
    line: Option<ChildStdin>,
    ended: CancellationToken,
}

/// Starts the watcher and waits until it is ready. A canary runs before it: a watcher of the same machines whose deadline
/// comes at once. They have power, so it changes nothing, but it has to act by itself. Both are the proof that the undo
/// will come.
pub(super) async fn arm(targets: &[InstanceKey], deadline: Duration, cluster: &FaultTarget<'_>) -> Result<Switch> {
    let context = cluster.context;
    let untested = || Error::failed("power-watch", "test the power watcher of", names(targets.iter()));
    let failed = || Error::failed("power-watch", "start the power watcher for", names(targets.iter()));
    let order = order(cluster, targets).await?.map_err(|reason| failed().cause(reason))?;
    let mut canary = start(&order, CANARY, context, &untested).await?;
    heard(&mut canary, RESTORED).await.map_err(|said| untested().cause(said))?;
    let detached = start(&order, deadline, context, &failed).await?;
    let power = order.open(&undisturbed(context)).await?;
    let (line, mut output) = detached.split();
    let ended = CancellationToken::new();
    let end = ended.clone();
    tokio::spawn(async move {
        let mut rest = String::new();
        // Only the end of its output counts.
        while output.read_line(&mut rest).await.is_ok_and(|count| count > 0) {}
        end.cancel();
    });
    Ok(Switch { power, line: Some(line), ended })
}

/// A watcher that is ready.
async fn start(
    order: &PowerOrder,
    deadline: Duration,
    context: &Context,
    failed: &impl Fn() -> Error,
) -> Result<Detached> {
    let mut watcher = Command::new(program(context)?)
        .arg("power-watch")
        .args(["--after-ms".to_owned(), deadline.as_millis().to_string()])
        .pass(&[env::PROXMOX_VE_API_TOKEN]);
    if order.has_commands() {
        // They get what they get from this process.
        watcher = watcher.pass_prefix("");
    }
    let mut detached = watcher.detach(context).await?;
    let text = serde_json::to_string(order).map_err(|error| failed().source(&error))?;
    detached.tell(&text).await.map_err(|error| failed().source(&error))?;
    heard(&mut detached, READY).await.map_err(|said| failed().cause(said))?;
    Ok(detached)
}

/// Waits until a watcher prints `word`.
///
/// # Errors
/// With what it printed instead.
async fn heard(watcher: &mut Detached, word: &str) -> std::result::Result<(), String> {
    match tokio::time::timeout(PATIENCE, watcher.line()).await {
        Ok(Some(said)) if said == word => Ok(()),
        Ok(Some(said)) => Err(said),
        Ok(None) => Err(format!("the watcher exited before it reported `{word}`")),
        Err(_) => Err(format!("the watcher did not report `{word}` within {} s", PATIENCE.as_secs())),
    }
}

/// For the undo, which a stop of the run must not interrupt.
fn undisturbed(context: &Context) -> Context {
    Context { stop: CancellationToken::new(), ..context.clone() }
}

fn names<'k>(keys: impl Iterator<Item = &'k InstanceKey>) -> String {
    keys.map(InstanceKey::as_str).collect::<Vec<_>>().join(", ")
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
        // All of them before an error: no stop may still run when the revert begins.
        join_all(self.power.keys().into_iter().map(|key| self.power.off(key))).await.into_iter().collect()
    }

    pub(super) async fn is_off(&self) -> Result<bool> {
        let on = try_join_all(self.power.keys().into_iter().map(|key| self.power.is_on(key))).await?;
        Ok(!on.contains(&true))
    }

    /// Restores the power, and stops the watcher.
    pub(super) async fn on(&mut self) -> Result<()> {
        try_join_all(self.power.keys().into_iter().map(|key| self.power.on(key))).await?;
        self.line = None;
        tokio::time::timeout(PATIENCE, self.ended.cancelled()).await.map_err(|_| {
            Error::failed("power-watch", "stop the power watcher of", names(self.power.keys().into_iter()))
                .cause(format!("the process `hactl power-watch` is still running after {} s", PATIENCE.as_secs()))
                .hint("Wait until the process ends by itself at its deadline")
        })
    }

    /// Whether the watcher ended before hactl stopped it: it restored the power, or was killed.
    pub(super) fn watcher_ended(&self) -> bool {
        self.line.is_some() && self.ended.is_cancelled()
    }

    /// Whether the watcher, and not hactl, has restored the power.
    pub(super) async fn is_restored(&self) -> Result<bool> {
        let asked = try_join_all(self.power.keys().into_iter().map(|key| self.power.is_on(key))).await?;
        Ok(self.watcher_ended() && !asked.contains(&false))
    }
}

/// Members without power that should have it, and what powers them on. A machine whose power cannot be asked does not
/// answer either, which is found elsewhere.
async fn without_power(cluster: &FaultTarget<'_>) -> Result<Option<(Power, Vec<InstanceKey>)>> {
    let Ok(order) = order(cluster, cluster.members().map(|node| node.key())).await? else { return Ok(None) };
    let power = match order.open(cluster.context).await {
        Ok(power) => power,
        Err(error) if cluster.plan.platform.local().is_some() => return Err(error),
        Err(_) => return Ok(None),
    };
    let asked = join_all(power.keys().into_iter().map(async |key| (key.clone(), power.is_on(key).await))).await;
    let off = asked.into_iter().filter(|(_, on)| matches!(on, Ok(false))).map(|(key, _)| key).collect();
    Ok(Some((power, off)))
}

/// Members without power that should have it.
pub(super) async fn off(cluster: &FaultTarget<'_>) -> Result<Vec<InstanceKey>> {
    Ok(without_power(cluster).await?.map(|(_, off)| off).unwrap_or_default())
}

/// Gives them their power, and waits until they answer.
pub(super) async fn on(cluster: &FaultTarget<'_>) -> Result<()> {
    let Some((power, off)) = without_power(cluster).await? else { return Ok(()) };
    try_join_all(off.iter().map(async |key| {
        power.on(key).await?;
        let last = Instant::now() + STARTS_WITHIN;
        loop {
            match shell::succeed(cluster, key, "wait for the start of", "systemctl is-system-running --wait || :\n")
                .await
            {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > last || cluster.context.stop.is_cancelled() => return Err(error),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }))
    .await
    .map(drop)
}

/// The watcher: reads which machines it is for, says that it is ready, waits for `after`, powers them on, and says so.
///
/// # Errors
/// If a machine's power cannot be used at the start, or not restored until the end: nothing else restores it then.
pub async fn watch(after: Duration, context: &Context, say: impl Fn(&str)) -> Result<()> {
    let mut line = BufReader::new(line()?);
    let mut text = String::new();
    line.read_line(&mut text).await.map_err(|error| no_order().source(&error))?;
    let order: PowerOrder = serde_json::from_str(&text).map_err(|error| no_order().source(&error))?;
    let power = order.open(&undisturbed(context)).await?;
    try_join_all(power.keys().into_iter().map(|key| power.check(key))).await?;
    say(READY);
    let mut byte = [0];
    tokio::select! {
        () = tokio::time::sleep(after) => {}
        _ = line.read(&mut byte) => {}
        () = context.stop.cancelled() => {}
    }
    join_all(power.keys().into_iter().map(|key| power_on(&power, key))).await.into_iter().collect::<Result<()>>()?;
    say(RESTORED);
    Ok(())
}

/// Standard input, whose end is the end of the run that started this one.
fn line() -> Result<pipe::Receiver> {
    use std::os::fd::AsFd;
    let owned = std::io::stdin().as_fd().try_clone_to_owned();
    owned.and_then(|owned| pipe::Receiver::from_file(owned.into())).map_err(|error| no_order().source(&error))
}

fn no_order() -> Error {
    Error::usage("power-watch", "read", "standard input").hint("Do not run this command yourself: hactl starts it")
}

/// Tries until it works: the platform itself may be starting again.
async fn power_on(power: &Power, key: &InstanceKey) -> Result<()> {
    for _ in 0..RETRIES {
        match power.on(key).await {
            Ok(()) => return Ok(()),
            // The machine was removed or created again: its power is not ours to restore.
            Err(error) if error.code == codes::POWER_FOREIGN => return Ok(()),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    power.on(key).await
}
