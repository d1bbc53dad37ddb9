//! `hactl down`: removes everything in reverse order, and checks that it is removed.

use std::{fs, path::PathBuf};

use super::frame::{Acting, LockUse, Operation, Outcome, Preflight, SecretsUse, perform};
use crate::{
    context::{ClusterDir, Context, RunContext},
    deployment::{Cluster, Deployment},
    error::{Error, Result},
    event::{Stage, Summary},
    model::{Dns, InstanceKey},
    platform,
    stage::{
        decommission::{self, TeardownRequest},
        dns, machines,
        own_module::open_module,
    },
    terraform::{self, Destroyed, provider},
};

/// What `down` would do, for the confirmation.
#[derive(Clone, Debug, Default)]
pub struct TeardownPreview {
    pub headline: &'static str,
    pub things: Vec<String>,
    /// When the backups were last proved to restore; none for a cluster without backups.
    pub last_restore: Option<String>,
}

/// What `down` would destroy or stop: records, then containers, networks and volumes with the cluster's label; elsewhere the
/// machines of the last run.
///
/// # Errors
/// When the engine does not answer, Terraform cannot say what it made, or what is asked for does not fit the platform.
pub async fn preview(
    context: &Context,
    deployment: &mut Deployment,
    request: &TeardownRequest,
) -> Result<TeardownPreview> {
    fits(&deployment.cluster, request)?;
    let mut headline = "These will be destroyed, with the data on them:";
    let cluster = &deployment.cluster;
    let recorded = async || terraform::recorded(context, &cluster.dir(), &cluster.plan).await;
    let made = platform::made(context, &cluster.plan, deployment.known.fleet_if_any()?, recorded).await?;
    let things = match (made, cluster.plan.platform.own_module().cloned()) {
        (Some(made), _) => made,
        (None, Some(module)) if module.destroy => {
            let (_server, module) = open_module(context, deployment, &module).await?;
            module.resources(context).await?
        }
        (None, _) => {
            headline = match request.wipe_data {
                true => "The machines stay; the cluster on them will be removed, with its data:",
                false => "The machines stay; the cluster on them will be stopped:",
            };
            match can_stop(context, deployment, request).await? {
                true => decommission::said(&decommission::machines(context, deployment).await?, request),
                false => Vec::new(),
            }
        }
    };
    let records = records(&deployment.cluster)
        .into_iter()
        .filter(|_| !things.is_empty())
        .map(|name| format!("DNS record {name}"));
    let last_restore = deployment.cluster.last_restore();
    Ok(TeardownPreview { headline, things: records.chain(things.clone()).collect(), last_restore })
}

/// Refuses options that do not fit the cluster's platform.
fn fits(cluster: &Cluster, request: &TeardownRequest) -> Result<()> {
    let refused = |what: &str, cause: String, hint: &str| {
        Err(Error::usage("down-options", format!("run `down {what}` on"), cluster.name()).cause(cause).hint(hint))
    };
    let gone = || {
        "`down` destroys the machines of this cluster with their data; this option is for platform hosts, and for \
         platform terraform with `destroy: false`"
            .to_owned()
    };
    let stay = cluster.plan.platform.machines_stay();
    if request.wipe_data && !stay {
        return refused("--wipe-data", gone(), "Leave the option out");
    }
    if !request.leave.is_empty() && !stay {
        return refused("--leave", gone(), "Leave the option out");
    }
    match request.leave.iter().find(|key| !cluster.plan.nodes.contains_key(*key)) {
        None => Ok(()),
        Some(key) => {
            let names: Vec<&str> = cluster.plan.nodes.keys().map(InstanceKey::as_str).collect();
            refused(
                "--leave",
                format!("{key} is not a machine of the cluster, which has {}", names.join(", ")),
                "Give the key of an instance",
            )
        }
    }
}

/// Whether the secrets open machines that stay, so that the cluster on them is stopped; false where it never ran on any that
/// is asked.
///
/// # Errors
/// When it runs on some, and the secrets are missing or cannot be opened.
async fn can_stop(context: &Context, deployment: &mut Deployment, request: &TeardownRequest) -> Result<bool> {
    let nodes = deployment.known.last_fleet()?.into_iter().flat_map(|fleet| fleet.nodes.values());
    let busy = nodes.filter(|node| !node.node.roles.is_empty() && !request.leave.contains(node.key()));
    let busy: Vec<InstanceKey> = busy.map(|node| node.key().clone()).collect();
    let missing = deployment.vault_if_any(context).await?.is_none();
    if missing && !busy.is_empty() {
        let hint = lost(&deployment.cluster, request, &busy);
        deployment.vault(context).await.map_err(|error| error.hint(hint))?;
    }
    Ok(!missing)
}

/// What to do if the secrets are missing while the cluster still runs.
fn lost(cluster: &Cluster, request: &TeardownRequest, busy: &[InstanceKey]) -> String {
    let name = cluster.name();
    let leave = request.leave.iter().chain(busy).map(|key| format!(" --leave {key}")).collect::<String>();
    format!(
        "Restore the file from the repository or a backup; hactl cannot stop the cluster without it, and has stopped \
         nothing. If the file is lost, stop Patroni and etcd on the machines by hand, then run `hactl down \
         {name}{leave}` to remove the local records"
    )
}

/// The DNS records that go with the machines.
fn records(cluster: &Cluster) -> Vec<String> {
    let name = |dns: &Dns| cluster.plan.nodes.values().map(|node| dns.fqdn(node.hostname.as_str())).collect();
    cluster.plan.dns.as_ref().map(name).unwrap_or_default()
}

pub const DOWN: Operation = Operation {
    command: "down",
    on_adopted: false,
    reads_state: true,
    preflight: Preflight::Nothing,
    secrets: SecretsUse::IfAny,
    locks: LockUse::Teardown,
};

/// What came of a teardown.
struct FinishedTeardown {
    /// Something was stopped or destroyed.
    changed: bool,
    /// Only the local records were removed: nothing was stopped.
    forgotten: bool,
    dir: ClusterDir,
    secrets_file: PathBuf,
}

/// Destroys the cluster's machines with their data, or takes the cluster off machines that stay, and removes what hactl keeps
/// about them.
///
/// # Errors
/// When a service does not stop, Terraform fails, or something of the cluster is still there afterwards.
pub async fn down(run: &RunContext, deployment: Deployment, request: &TeardownRequest) -> Result<Summary> {
    fits(&deployment.cluster, request)?;
    let stays = deployment.cluster.plan.platform.machines_stay();
    let left = request.leave.iter().map(InstanceKey::as_str).collect::<Vec<_>>().join(", ");
    let work = perform(run, deployment, &DOWN, async |acting| {
        acting.ends_cluster = !stays;
        let stop = stays && can_stop(&run.context, &mut acting.deployment, request).await?;
        let (changed, forgotten) = run.stage(Stage::Destroy, tear_down(acting, request, stop, &left)).await?;
        let cluster = &acting.deployment.cluster;
        let finished =
            FinishedTeardown { changed, forgotten, dir: cluster.dir(), secrets_file: cluster.secrets_file() };
        Ok((Outcome { changed, ..Outcome::default() }, finished))
    });
    // Only with the locks released: otherwise another run has taken over the cluster, and needs the records.
    let (mut summary, finished) = work.await?;
    let FinishedTeardown { changed, forgotten, dir, secrets_file } = finished;
    // Data that stays is that of the voters that were chosen.
    let data_stays = stays && changed && !request.wipe_data;
    forget(&dir, request.purge, data_stays)
        .map_err(|error| Error::failed("forget", "remove", dir.path().display()).source(&error))?;
    if request.secrets {
        remove(fs::remove_file(&secrets_file))
            .map_err(|error| Error::failed("forget", "remove", secrets_file.display()).source(&error))?;
    }
    let mut kept = Vec::new();
    if secrets_file.exists() {
        kept.push(secrets_file.display().to_string());
    }
    if !request.purge && dir.path().exists() {
        kept.push(dir.path().display().to_string());
    }
    let name = &summary.cluster;
    let mut message = match (data_stays, changed) {
        _ if forgotten => format!("Removed the local records of {name}; nothing was stopped on the machines."),
        (true, _) => format!("{name} is stopped; its data stays on the machines."),
        (false, true) => format!("{name} is gone."),
        (false, false) => format!("{name} has no machines to remove."),
    };
    if !left.is_empty() && (changed || forgotten) {
        message += &format!(" Left as they are: {left}, with services and ownership marker.");
    }
    if !kept.is_empty() {
        message += &format!(" Kept: {}", kept.join(", "));
    }
    summary.next = match data_stays {
        true => vec![format!("hactl up {name}"), format!("hactl down {name} --wipe-data")],
        // For the machines that were left out, if they come back.
        false if changed && !left.is_empty() => vec![format!("hactl down {name} --wipe-data")],
        false => Vec::new(),
    };
    summary.message = message;
    Ok(summary)
}

/// Stops and destroys. Whether anything was, and whether the cluster is only forgotten.
async fn tear_down(
    acting: &mut Acting<'_>,
    request: &TeardownRequest,
    stop: bool,
    left: &str,
) -> Result<((bool, bool), Option<String>)> {
    let Acting { run, deployment, locks, .. } = acting;
    let context = &run.context;
    let stays = deployment.cluster.plan.platform.machines_stay();
    let before = deployment.known.last_fleet()?.cloned();
    if before.is_some() {
        platform::answers(context, &deployment.cluster.plan.platform).await?;
    }
    let stopped = if stop {
        let fleet = decommission::machines(context, deployment).await?;
        let (cluster, _, vault) = deployment.parts(context).await?;
        decommission::decommission(run, cluster, &fleet, vault, request, &mut locks.etcd).await?
    } else {
        false
    };
    let destroyed = match deployment.cluster.plan.platform.own_module().cloned() {
        Some(module) if module.destroy => {
            let (_server, module) = open_module(context, deployment, &module).await?;
            Some(Destroyed { changes: module.destroy(context).await?, gone: Vec::new() })
        }
        Some(_) => None,
        None => {
            let (_server, reattach) = provider::serve(context, &deployment.cluster.plan.platform).await?;
            let shared = deployment.cluster.plan.backend.is_some();
            if shared {
                deployment.vault_if_any(context).await?;
            }
            let vault = deployment.opened().filter(|_| shared);
            machines::destroy(context, &deployment.cluster, vault, reattach).await?
        }
    };
    if let Some(destroyed) = &destroyed {
        dns::gone(context, &destroyed.gone).await?;
    }
    let changed = stopped || destroyed.is_some_and(|destroyed| !destroyed.changes.is_empty());
    let cluster = &deployment.cluster;
    let begun = terraform::begun(&cluster.dir(), &cluster.plan)?;
    let gone = platform::is_gone(context, &cluster.plan, before.as_ref(), begun).await;
    // A module with an empty state was perhaps not the one that made the machines.
    let other_state = !changed && cluster.plan.platform.own_module().is_some();
    gone.map_err(|error| if other_state { error.hint(terraform::OTHER_STATE) } else { error })?;
    let forgotten = stays && !stopped && (changed || before.is_some());
    let detail = match (changed, stays, request.wipe_data) {
        _ if forgotten => "nothing was stopped".to_owned(),
        (false, ..) => "nothing to remove".to_owned(),
        (true, true, false) => "stopped and disabled; the data stays".to_owned(),
        _ if left.is_empty() => "nothing is left".to_owned(),
        _ => format!("nothing is left except on {left}"),
    };
    Ok(((changed, forgotten), Some(detail)))
}

/// Removes what describes machines that are gone. Run records and the age key stay, unless purged;
/// the lock's file goes last, by the next `up`.
fn forget(dir: &ClusterDir, purge: bool, keep_choices: bool) -> std::io::Result<()> {
    for path in [dir.terraform(), dir.inventory(), dir.client()] {
        remove(fs::remove_dir_all(path))?;
    }
    for path in [dir.fleet(), dir.cluster_lock(), dir.machines_lock()] {
        remove(fs::remove_file(path))?;
    }
    if !keep_choices {
        remove(fs::remove_file(dir.record()))?;
    }
    if purge {
        remove(fs::remove_dir_all(dir.path()))?;
    }
    Ok(())
}

fn remove(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{context::Dirs, deployment::fleet_file, event::Events, fleet::Fleet, model::Platform, platform::hosts};

    #[tokio::test]
    async fn down_of_a_running_cluster_without_secrets_keeps_its_records() {
        let dir = tempfile::tempdir().unwrap();
        let file = "platform: {hosts: {ssh: {user: root}}}\n\
                    instances: {a: {address: 192.0.2.1}, b: {address: 192.0.2.2}, web: {address: 192.0.2.3, roles: []}}\n";
        fs::write(dir.path().join("pg.yaml"), file).unwrap();
        let env = BTreeMap::new();
        let dirs = Dirs::new(dir.path(), &env);
        let context = Context { dirs, env, events: Events::channel().0, stop: Default::default() };
        let deployment = || Deployment::open(Cluster::open("pg", &context.dirs).unwrap());
        let stops = async |leave: &[&str]| {
            let leave = leave.iter().map(|key| key.parse().unwrap()).collect();
            can_stop(&context, &mut deployment(), &TeardownRequest { leave, ..Default::default() }).await
        };
        assert!(!stops(&[]).await.unwrap(), "nothing was ever made");

        let cluster = deployment().cluster;
        let Platform::Hosts(machines) = &cluster.plan.platform else { panic!("{:?}", cluster.plan.platform) };
        let fleet = Fleet::new(&cluster.plan, &hosts::as_written(machines)).unwrap();
        let kept = cluster.dir().fleet();
        fleet_file::write(&kept, &fleet).unwrap();
        let run = RunContext::new(context.clone(), dir.path().to_owned());
        let error = down(&run, deployment(), &TeardownRequest::default()).await.unwrap_err();
        assert_eq!(error.code, "secrets-missing", "{error}");
        assert!(error.to_string().contains("run `hactl down pg --leave a --leave b`"), "{error}");
        assert!(kept.exists() && preview(&context, &mut deployment(), &TeardownRequest::default()).await.is_err());
        assert!(stops(&["a"]).await.unwrap_err().to_string().contains("--leave a --leave b"));
        assert!(!stops(&["b", "a"]).await.unwrap(), "they are left as they are");
    }
}
