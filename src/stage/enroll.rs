//! Fleet -> the same machines, each with a known host key, a finished first boot, and access for hactl.
//!
//! A host key is given by the platform, or recorded at first contact; then it is pinned in `NAME.secrets.age`, so that
//! another runner knows it too. It is forgotten before Terraform replaces its machine, and by `hactl secrets NAME
//! host-keys forget`.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use crate::{
    component,
    context::{Context, RunContext},
    deployment::{Cluster, ssh_keys},
    error::{Error, Result},
    event::Stage,
    fleet::{Fleet, FleetNode},
    model::{ClusterName, Hop, SshTarget},
    secrets::{HostKeys, Vault},
    ssh::{self, Finished, Remote, SshError, SshFailure, SshKeys},
};

/// How long a machine may take to accept the login of hactl after Terraform has created it.
const CREATED_ANSWERS_WITHIN: Duration = Duration::from_secs(180);

/// The same for a machine that was enrolled before, and may be starting again.
const ENROLLED_ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// The same for an existing machine at its first connection: what the file says of it may be wrong.
const EXISTING_ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// How long cloud-init may take after that.
const FIRST_BOOT_WITHIN: Duration = Duration::from_secs(600);

/// Prints the status of cloud-init.
const CLOUD_INIT_STATUS: &str = include_str!("cloud_init_status.sh");

/// Installs Python where it lacks.
const ENSURE_PYTHON: &str = include_str!("python.sh");

/// The Python that the inventory names.
const PYTHON: &str = "/usr/bin/python3";

/// How long the distribution's repository and other users of its packages may take for it.
const PYTHON_WITHIN: Duration = Duration::from_secs(600);

/// Where machines that are not enrolled yet come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// They were just created: the first boot may not have finished, and no known_hosts file has them.
    JustCreated,
    /// They existed before: a login that they refuse now is not accepted later, and the user's known_hosts file may
    /// have them.
    Existing,
}

/// The pause before a machine that ended a session is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long an SSH server may take to refuse to forward a connection.
const FORWARDS_WITHIN: Duration = Duration::from_secs(2);

/// How long a small question may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Waits until hactl can log in to every machine with a role, and records the host keys. For local nodes the platform
/// has done all that already.
///
/// # Errors
/// With every machine that does not accept the login, and what was last seen of it.
pub(crate) async fn enroll(run: &RunContext, cluster: &Cluster, vault: &mut Vault, fleet: Fleet) -> Result<Fleet> {
    let platform = &cluster.plan.platform;
    if platform.local().is_some() {
        return Ok(fleet);
    }
    let context = &run.context;
    let keys = ssh_keys::load(context, platform, vault)?;
    let origin = if platform.hosts().is_some() { Origin::Existing } else { Origin::JustCreated };
    let mut known = vault.host_keys().clone();
    let enrolled = tokio::select! {
        enrolled = enroll_machines(context, fleet, &mut known, &keys, origin) => enrolled,
        () = context.stop.cancelled() => Err(Error::interrupted("reach the machines of", cluster.name())),
    };
    // Also if a machine refused: the others are enrolled from now on.
    vault.pin_host_keys(known)?;
    enrolled
}

/// Enrolls every machine of `fleet` that has a role, all at once.
///
/// # Errors
/// With every machine that does not accept the login.
async fn enroll_machines(
    context: &Context,
    mut fleet: Fleet,
    known: &mut HostKeys,
    keys: &SshKeys,
    origin: Origin,
) -> Result<Fleet> {
    known.machines.retain(|key, _| fleet.nodes.contains_key(key));
    record_bastion_keys(context, &mut fleet, known).await?;
    let connected = join_all(fleet.nodes.values().filter(|node| !node.node.roles.is_empty()).map(async |node| {
        let recorded = known.machines.get(node.key()).filter(|pinned| {
            // A platform that knows the key goes first: another one is another machine.
            node.ssh.host_key.as_ref().is_none_or(|given| ssh::same_key(given, pinned))
        });
        (node.key().clone(), first_connection(context, &fleet.cluster, node, recorded.cloned(), keys, origin).await)
    }))
    .await;
    let mut errors = Vec::new();
    for (key, shown) in connected {
        match shown {
            Ok(host_key) => {
                if let Some(node) = fleet.nodes.get_mut(&key) {
                    node.ssh.host_key = Some(host_key.clone());
                }
                known.forgotten.remove(key.as_str());
                known.machines.insert(key, host_key);
            }
            Err(error) => errors.push(error),
        }
    }
    match errors.len() {
        0 => Ok(fleet),
        1 => Err(errors.remove(0)),
        count => {
            let all = Error::failed("ssh", "reach", format!("{count} machines of {} by SSH", fleet.cluster));
            let mut hints: Vec<String> = errors.iter().filter_map(|error| error.hint.clone()).collect();
            hints.sort();
            hints.dedup();
            let said = |error: &Error| format!("{}: {}", error.object, error.causes.join("; "));
            Err(errors.iter().map(said).fold(all, Error::cause).hint(hints.join("\n")))
        }
    }
}

/// Records the host keys of bastions. Those are the user's own machines, whose file of known hosts may have them.
async fn record_bastion_keys(context: &Context, fleet: &mut Fleet, known: &mut HostKeys) -> Result<()> {
    let user_hosts = ssh::home(&context.env).join(".ssh/known_hosts");
    let mut used = BTreeMap::new();
    let with_roles = fleet.nodes.values_mut().filter(|node| !node.node.roles.is_empty());
    for hop in with_roles.filter_map(|node| node.ssh.bastion.as_mut()) {
        let place = format!("{}:{}", hop.host, hop.port);
        let key = match used.get(&place).or_else(|| known.bastions.get(&place)) {
            Some(key) => key.clone(),
            None => bastion_key(context, hop, &place, &user_hosts).await?,
        };
        hop.host_key = Some(key.clone());
        used.insert(place, key);
    }
    known.forgotten.retain(|name, _| !used.contains_key(name));
    known.bastions = used;
    Ok(())
}

/// The host key that a bastion shows.
async fn bastion_key(context: &Context, hop: &Hop, place: &str, user_hosts: &Path) -> Result<String> {
    let shown = ssh::scan_host_key(&hop.host, hop.port, user_hosts).await?;
    if !shown.known {
        let step = format!("bastion {place}: host key recorded at first contact: {}", shown.fingerprint);
        context.events.step(Stage::Provision, None, step).await;
    }
    Ok(shown.key)
}

/// Waits until a machine accepts the login; returns its host key. If none is `recorded`, it also waits for the end of
/// the first boot and checks that sudo works; a machine with a recorded key has passed these checks.
async fn first_connection(
    context: &Context,
    cluster: &ClusterName,
    node: &FleetNode,
    recorded: Option<String>,
    keys: &SshKeys,
    origin: Origin,
) -> Result<String> {
    let began = Instant::now();
    let key = node.key();
    let mut target = node.ssh.clone();
    target.host_key = recorded.clone().or(target.host_key);
    if origin == Origin::Existing && target.host_key.is_none() && target.bastion.is_none() {
        target.host_key = user_known_key(context, &target).await?;
    }
    let (patience, just_created) = match (origin, &recorded) {
        (Origin::JustCreated, _) => (CREATED_ANSWERS_WITHIN, recorded.is_none()),
        (Origin::Existing, Some(_)) => (ENROLLED_ANSWERS_WITHIN, false),
        (Origin::Existing, None) => (EXISTING_ANSWERS_WITHIN.saturating_sub(began.elapsed()), false),
    };
    let on_seen = async |seen: &str| context.events.step(Stage::Provision, Some(key), format!("waiting: {seen}")).await;
    let connected = Remote::first_connection(key, &target, keys, patience, just_created, on_seen).await;
    let (remote, shown) = connected.map_err(|error| with_remedy(error, cluster, node, origin))?;
    if recorded.is_some() {
        check_forwarding(node, &remote).await?;
        return Ok(shown);
    }
    let remote = wait_for_first_boot(context, node, remote, keys).await?;
    check_root(node, &remote).await?;
    ensure_python(node, &remote, origin).await?;
    let shown = match target.host_key {
        Some(_) => shown,
        None => key_after_first_boot(node, &remote, shown, keys).await?,
    };
    check_forwarding(node, &remote).await?;
    let fingerprint = ssh::fingerprint(&shown);
    context.events.step(Stage::Provision, Some(key), format!("host key recorded: {fingerprint}")).await;
    Ok(shown)
}

/// The host key that a machine shows, where the user's own known_hosts file has it. A machine that does not answer has
/// more time later.
async fn user_known_key(context: &Context, target: &SshTarget) -> Result<Option<String>> {
    let user_hosts = ssh::home(&context.env).join(".ssh/known_hosts");
    match ssh::scan_host_key(&target.host, target.port, &user_hosts).await {
        Ok(shown) => Ok(shown.known.then_some(shown.key)),
        Err(error) if error.failure == SshFailure::OtherHostKey => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// Adds what the user can do: about a host key that is not the pinned one, and about an existing machine that refuses the
/// user or the key.
fn with_remedy(error: SshError, cluster: &ClusterName, node: &FleetNode, origin: Origin) -> Error {
    let (failure, bastion) = (error.failure, error.bastion.clone());
    let error = Error::from(error);
    match (failure, bastion) {
        (SshFailure::OtherHostKey, bastion) => {
            let name = bastion.as_deref().unwrap_or(node.key().as_str());
            let why = error.hint.clone().unwrap_or_default();
            error.hint(format!(
                "{}. If you reinstalled {name}, run `hactl secrets {cluster} host-keys forget {name}`, then `hactl up \
                 {cluster}`",
                why.trim_end_matches('.')
            ))
        }
        (SshFailure::KeyRefused, None) if origin == Origin::Existing => {
            let user = &node.ssh.user;
            error.hint(format!(
                "Check `ssh.user` and `ssh.key` of the platform in the cluster file, and that ~/.ssh/authorized_keys \
                 of user {user} has the public key; `ssh -v -i KEY {user}@ADDRESS` shows each step of the login"
            ))
        }
        _ => error,
    }
}

/// Waits for cloud-init if the machine has it, also through a restart that it causes. Its errors are only a warning: a
/// later stage fails if something that hactl needs is missing.
async fn wait_for_first_boot(
    context: &Context,
    node: &FleetNode,
    mut remote: Remote,
    keys: &SshKeys,
) -> Result<Remote> {
    let status = async |remote: &Remote, wait: &str, patience| {
        remote.run_as_user(&ssh::for_sh(&CLOUD_INIT_STATUS.replace("@WAIT@", wait)), b"", patience).await
    };
    context.events.step(Stage::Provision, Some(node.key()), "logged in; waiting for the first boot to finish").await;
    let deadline = Instant::now() + FIRST_BOOT_WITHIN;
    let done = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match status(&remote, "yes", left).await {
            Ok(done) => break done,
            // The session ended: the machine restarts, or its network does.
            Err(_) if Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
                let left = CREATED_ANSWERS_WITHIN.min(deadline.saturating_duration_since(Instant::now()));
                (remote, _) = Remote::first_connection(node.key(), &node.ssh, keys, left, true, async |_| ()).await?;
            }
            Err(error) => {
                let last = status(&remote, "no", ANSWERS_WITHIN).await;
                let last = last.map_or_else(|_| error.causes().join("; "), |done| one_line(&done));
                return Err(Error::failed("cloud-init", "enroll", node.key())
                    .cause(format!("cloud-init did not finish within {} s", FIRST_BOOT_WITHIN.as_secs()))
                    .cause(format!("last status: {last}"))
                    .hint("Read /var/log/cloud-init-output.log on the machine, then run the same command again"));
            }
        }
    };
    if done.status != 0 {
        let hint = "Read /var/log/cloud-init-output.log on the machine".to_owned();
        let message = format!("{}: cloud-init finished with errors: {}", node.key(), one_line(&done));
        context.events.warn("cloud-init", message, Some(hint)).await;
    }
    Ok(remote)
}

fn one_line(done: &Finished) -> String {
    let words: Vec<&str> = done.stdout.split_whitespace().chain(done.stderr.split_whitespace()).collect();
    words.join(" ")
}

/// Checks that the machine's SSH server forwards connections to its services. Whether they answer is another question. The
/// last use of the session, because a channel that does not open ends it.
async fn check_forwarding(node: &FleetNode, remote: &Remote) -> Result<()> {
    for component in component::on(&node.node) {
        let endpoint = (component.endpoint)(node);
        if let Err(error) = remote.tunnel(&endpoint.host, endpoint.port, FORWARDS_WITHIN).await
            && error.failure == SshFailure::TunnelProhibited
        {
            return Err(error.into());
        }
    }
    Ok(())
}

/// Checks that commands can be run as root there.
async fn check_root(node: &FleetNode, remote: &Remote) -> Result<()> {
    let uid = output_as_root(node, remote, "id -u", ANSWERS_WITHIN).await?;
    if uid.trim() == "0" { Ok(()) } else { Err(no_root(node, &uid)) }
}

/// Checks that Ansible's modules can run there. A machine that was just made gets what it lacks; nothing is installed on one
/// that existed before hactl has looked at it.
async fn ensure_python(node: &FleetNode, remote: &Remote, origin: Origin) -> Result<()> {
    let done = remote.run(&ssh::for_sh(&python_script(PYTHON, origin)), b"", PYTHON_WITHIN).await?;
    if done.status == 0 {
        return Ok(());
    }
    let last = done.stderr.lines().rev().filter(|line| !line.trim().is_empty()).take(5);
    let said: Vec<&str> = last.collect::<Vec<_>>().into_iter().rev().collect();
    let hint = match origin {
        Origin::JustCreated => {
            "Let the machine reach the repository of its distribution, or add the package python3 to the template; then run \
             the same command again"
        }
        Origin::Existing => "Run `apt-get install python3` on the machine, then the same command again",
    };
    Err(Error::failed("machine-python", "find Python on", node.key()).cause(said.join("\n")).hint(hint))
}

fn python_script(python: &str, origin: Origin) -> String {
    let install = if origin == Origin::JustCreated { "yes" } else { "no" };
    ENSURE_PYTHON.replace("@PYTHON@", python).replace("@INSTALL@", install)
}

/// What a script prints as root there. A script that fails does so because the user cannot become root.
pub(crate) async fn output_as_root(
    node: &FleetNode,
    remote: &Remote,
    script: &str,
    patience: Duration,
) -> Result<String> {
    let done = remote.run(&ssh::for_sh(script), b"", patience).await?;
    if done.status == 0 { Ok(done.stdout) } else { Err(no_root(node, &one_line(&done))) }
}

fn no_root(node: &FleetNode, said: &str) -> Error {
    let user = &node.ssh.user;
    Error::failed("sudo", "become root on", node.key())
        .cause(format!("`sudo -n` as user {user}: {}", said.trim()))
        .hint(format!(
            "Allow user {user} to run sudo without a password: add the line `{user} ALL=(ALL) NOPASSWD:ALL` to a file \
             in /etc/sudoers.d"
        ))
}

/// The host key after the first boot, which may have replaced the key that was shown before.
async fn key_after_first_boot(node: &FleetNode, remote: &Remote, shown: String, keys: &SshKeys) -> Result<String> {
    let done = remote.run_as_user("cat /etc/ssh/ssh_host_*_key.pub", b"", ANSWERS_WITHIN).await?;
    let own = |shown: &str| done.stdout.lines().any(|line| ssh::same_key(line, shown));
    if done.stdout.trim().is_empty() || own(&shown) {
        return Ok(shown);
    }
    let (_, again) = Remote::first_connection(node.key(), &node.ssh, keys, ANSWERS_WITHIN, true, async |_| ()).await?;
    // A key that does not change is stored elsewhere.
    if own(&again) || again == shown {
        return Ok(again);
    }
    Err(Error::failed("host-key", "record the host key of", node.key())
        .cause("its sshd presents a different key on each connection, and no file in /etc/ssh has any of them")
        .hint("Restart sshd on the machine, then run the same command again"))
}
