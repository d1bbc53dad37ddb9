//! A cluster that hactl did not make -> plan, fleet and access, as if it had: everything is read from the machines.
//!
//! ```text
//! ask      what runs on a machine, over SSH: processes, units, Patroni's own configuration
//! config   that configuration, of files and environment; pure
//! decide   who the machines are, and how their services are reached; pure
//! ```
//!
//! Nothing is changed on a machine. What was found is kept in `.hactl/NAME/adopted.json`, without any secret, so that a
//! machine that does not answer is still known.

mod ask;
mod config;
mod decide;
mod record;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio_postgres::config::SslMode;

pub use self::record::AdoptedRecord;
use self::{ask::MachineReport, decide::Answers};
use crate::{
    access::{Access, Keys, Shown},
    component::patroni,
    context::Context,
    error::{Error, Result},
    event::Stage,
    fleet::{Fleet, SshTarget},
    model::{Account, AdoptedHosts, Host, InstanceKey, Secret, SshKeySource},
    plan::{self, Plan, Running},
    ssh::{self, PrivateKey, Remote, SshKeys},
};

/// How long a machine may take to let hactl in.
const PATIENCE: Duration = Duration::from_secs(3);

/// The oldest Patroni and PostgreSQL that hactl knows.
const OLDEST_PATRONI: u32 = 3;
const OLDEST_POSTGRES: u32 = 12;

/// An adopted cluster: what it is, where it is, and what opens it.
pub struct Adopted {
    pub plan: Plan,
    pub fleet: Fleet,
    pub access: Access,
    /// The superuser's name, for the connection string.
    pub superuser: String,
}

/// Finds out what the cluster of `plan` is. `given` are passwords from outside.
///
/// # Errors
/// When no machine answers, a machine is not of this cluster, or no Patroni gives its configuration.
pub async fn adopt(
    context: &Context,
    plan: &Plan,
    hosts: &AdoptedHosts,
    mut given: BTreeMap<Account, Secret>,
) -> Result<Adopted> {
    let dir = context.dirs.cluster(&plan.cluster);
    let known = AdoptedRecord::read(&dir.adopted())?;
    let ssh = key(context, hosts)?;
    let answers = ask_all(context, plan, hosts, known.as_ref(), &ssh).await?;
    let failed = || Error::failed("adopt", "find out what runs on the machines of", &plan.cluster);
    if known.is_none() && answers.values().all(|(_, told)| told.is_err()) {
        return Err(silent(failed(), &answers));
    }
    let decided = decide::decide(plan, &answers, known.as_ref()).map_err(|problems| {
        let error = problems.iter().fold(failed(), Error::cause);
        error.hint("Correct `instances`, and start Patroni on a machine before hactl contacts it for the first time")
    })?;
    let fleet = decided.fleet;
    let (keys, superuser) = keys(hosts, &answers, ssh, &mut given)?;
    let access = Access::new(keys);

    let config = configuration(&fleet, &answers, &access).await;
    let running = match config {
        Ok((config, patroni_version)) => {
            let roles = fleet.nodes.iter().map(|(key, node)| (key.clone(), node.node.roles.clone())).collect();
            Running { config, patroni_version, dcs: decided.dcs, roles, watchdogs: decided.watchdogs }
        }
        Err(said) => {
            let Some(known) = known else {
                let error = said.into_iter().fold(failed(), Error::cause);
                return Err(error.hint("Start Patroni on one of the machines: hactl needs it at the first contact"));
            };
            // Timers and durability are in the DCS; they are what they were.
            let plan = Plan {
                platform: plan.platform.clone(),
                nodes: fleet.nodes.iter().map(|(key, node)| (key.clone(), node.node.clone())).collect(),
                drills: plan.drills.clone(),
                disposable: plan.disposable,
                ..known.plan
            };
            return Ok(Adopted { plan, fleet, access, superuser });
        }
    };
    let plan = plan::adopt(plan, &running);
    AdoptedRecord { plan: plan.clone(), fleet: fleet.clone() }.write(&dir)?;
    Ok(Adopted { plan, fleet, access, superuser })
}

/// Asks every machine at once, and records the host key of a machine at the first contact.
async fn ask_all(
    context: &Context,
    plan: &Plan,
    hosts: &AdoptedHosts,
    known: Option<&AdoptedRecord>,
    ssh: &SshKeys,
) -> Result<Answers> {
    let user_hosts = ssh::home(&context.env).join(".ssh/known_hosts");
    let asked = hosts.machines.iter().map(async |(key, host)| {
        let pinned = known.and_then(|known| known.fleet.nodes.get(key)).map(|node| &node.ssh);
        let pinned = pinned.filter(|ssh| ssh.host == host.host && ssh.port == host.port);
        let host_key = pinned.and_then(|ssh| ssh.host_key.clone());
        let (target, told) = meet(context, key, host, host_key, &user_hosts, ssh, hosts.unit.as_deref()).await;
        (key.clone(), (target, told))
    });
    tokio::select! {
        answers = join_all(asked) => Ok(answers.into_iter().collect()),
        () = context.stop.cancelled() => Err(Error::interrupted("find out what runs on", &plan.cluster)),
    }
}

async fn meet(
    context: &Context,
    key: &InstanceKey,
    host: &Host,
    pinned: Option<String>,
    user_hosts: &Path,
    ssh: &SshKeys,
    unit: Option<&str>,
) -> (SshTarget, Result<MachineReport, String>) {
    let Host { host, port, user } = host.clone();
    let sudo = user != "root";
    let mut target = SshTarget { host, port, user, sudo, host_key: pinned, bastion: None };
    let words = |error: Error| match error.hint {
        Some(hint) => format!("{} ({hint})", error.causes.join(": ")),
        None => error.causes.join(": "),
    };
    if target.host_key.is_none() {
        match ssh::scan_host_key(&target.host, target.port, user_hosts).await {
            Ok(shown) => {
                if !shown.known {
                    let step = format!("host key recorded at first contact: {}", shown.fingerprint);
                    context.events.step(Stage::Health, Some(key), step).await;
                }
                target.host_key = Some(shown.key);
            }
            Err(error) => return (target, Err(words(error.into()))),
        }
    }
    // A machine that is gone may not hold up the others: `status` has to answer soon.
    let told = match tokio::time::timeout(PATIENCE, Remote::connect(key, &target, ssh, PATIENCE)).await {
        Err(_) => Err(format!("SSH on {}:{} did not answer within {} s", target.host, target.port, PATIENCE.as_secs())),
        Ok(Err(error)) => Err(words(error.into())),
        Ok(Ok(remote)) => ask::ask(&remote, unit).await.map_err(|said| match sudo {
            true => format!("{said} (user {} needs sudo without a password)", target.user),
            false => said,
        }),
    };
    (target, told)
}

/// The error of a cluster of which no machine answers.
fn silent(error: Error, answers: &Answers) -> Error {
    let said = answers.iter().filter_map(|(key, (_, told))| Some(format!("{key}: {}", told.as_ref().err()?)));
    said.fold(error, Error::cause)
        .hint("Check that `ssh` itself reaches the machines, then set the user and the key in `platform.hosts.ssh`")
}

/// What opens the machines.
fn key(context: &Context, hosts: &AdoptedHosts) -> Result<SshKeys> {
    let env = &context.env;
    let machine = match &hosts.ssh_key {
        SshKeySource::File(path) => PrivateKey::read(&ssh::expanded(path, env))?,
        SshKeySource::Agent => PrivateKey::Agent,
        // hactl has made no key for machines that it did not make.
        SshKeySource::User | SshKeySource::Vault => PrivateKey::of_the_user(env)?,
    };
    Ok(SshKeys::new(machine, env))
}

/// What opens the services: passwords from outside before those of Patroni's configuration.
fn keys(
    hosts: &AdoptedHosts,
    answers: &Answers,
    ssh: SshKeys,
    given: &mut BTreeMap<Account, Secret>,
) -> Result<(Keys, String)> {
    let patronis = || answers.values().filter_map(|(_, told)| told.as_ref().ok()?.patroni.as_ref());
    let named = patronis().find_map(|patroni| patroni.local.superuser.clone());
    let user = hosts.superuser.clone().or(named).unwrap_or_else(|| "postgres".to_owned());
    // A password of Patroni's configuration is that of its own superuser.
    let its = patronis().find(|patroni| patroni.local.superuser.as_ref().is_none_or(|name| *name == user));
    let its = its.and_then(|patroni| patroni.local.superuser_password.clone());
    let password = given.remove(&Account::SUPERUSER).or(its).unwrap_or_else(|| Secret::new(String::new()));
    let restapi = patronis().find_map(|patroni| patroni.local.restapi.clone());
    let restapi = match (given.remove(&Account::RESTAPI), restapi) {
        (Some(password), Some((user, _))) => Some((user, password)),
        (Some(password), None) => Some(("patroni".to_owned(), password)),
        (None, its) => its,
    };
    let etcd = patronis().find_map(|patroni| patroni.etcd_client.as_ref());
    let ctl = patronis().find_map(|patroni| patroni.ctl_client.as_ref());
    let shown = Arc::new(Shown::default());
    let config = |identity: Option<&(String, Secret)>| {
        shown.remember(identity.map(|(certificate, key)| (certificate.as_str(), key)))
    };
    let keys = Keys {
        ssh,
        patroni_tls: config(ctl)?,
        etcd_tls: config(etcd)?,
        postgres_tls: config(None)?,
        clients_tls: shown.only_these()?,
        postgres_ssl: SslMode::Prefer,
        superuser: (user.clone(), password),
        restapi,
    };
    Ok((keys, user))
}

/// Patroni's dynamic configuration and version, as the first member that answers knows them; else what each said.
async fn configuration(
    fleet: &Fleet,
    answers: &Answers,
    access: &Access,
) -> Result<(serde_json::Value, String), Vec<String>> {
    let answering = fleet.data_nodes().filter(|node| answers[node.key()].1.is_ok());
    let asked = answering.map(async |node| {
        let answer = tokio::try_join!(patroni::config(access, node), patroni::itself(access, node));
        (node.key(), answer)
    });
    let mut said = Vec::new();
    for (key, answer) in join_all(asked).await {
        match answer {
            Ok((config, itself)) => match too_old(&itself.patroni.version, itself.server_version) {
                None => return Ok((config, itself.patroni.version)),
                Some(reason) => said.push(format!("{key}: {reason}")),
            },
            Err(words) => said.push(format!("{key}: {words}")),
        }
    }
    if said.is_empty() {
        said.push("no machine that answers runs Patroni".to_owned());
    }
    Err(said)
}

/// Why hactl does not know what runs there; `postgres` is its `server_version_num`, 0 while it does not run.
fn too_old(patroni: &str, postgres: u32) -> Option<String> {
    let major: u32 = patroni.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    if major < OLDEST_PATRONI {
        return Some(format!("Patroni {patroni} runs there, but hactl needs {OLDEST_PATRONI}.0 or newer"));
    }
    let postgres = postgres / 10_000;
    (postgres > 0 && postgres < OLDEST_POSTGRES)
        .then(|| format!("PostgreSQL {postgres} runs there, but hactl needs {OLDEST_POSTGRES} or newer"))
}
