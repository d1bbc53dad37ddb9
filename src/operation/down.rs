//! `hactl down`: everything gone again, in reverse order, and checked to be gone.

use std::fs;

use crate::{
    context::{ClusterDir, Context, RunContext},
    deployment::{Cluster, lock::Locks, look},
    error::{Error, Result},
    event::{Stage, Summary},
    fleet::Fleet,
    model::{Dns, InstanceKey, Platform},
    platform::local::Engine,
    secrets::Vault,
    stage::{decommission, dns, hypervisor, machines},
    terraform::{self, Destroyed},
};

/// What is asked of `down`.
#[derive(Clone, Debug, Default)]
pub struct Teardown {
    /// RunContext records and the age key go, too.
    pub purge: bool,
    /// `NAME.secrets.age` goes, too.
    pub secrets: bool,
    /// Data goes from machines that stay.
    pub wipe_data: bool,
    /// Machines that stay as they are, since they do not answer any more.
    pub leave: Vec<InstanceKey>,
}

/// What `down` would do, for the one who is asked.
#[derive(Clone, Debug, Default)]
pub struct Doomed {
    pub headline: &'static str,
    pub things: Vec<String>,
}

/// What `down` would destroy or stop: records, then containers, networks and volumes with the cluster's label; elsewhere the
/// machines of the last run.
///
/// # Errors
/// When the engine does not answer, Terraform cannot say what it made, or what is asked for does not fit the platform.
pub async fn doomed(context: &Context, cluster: &Cluster, asked: &Teardown) -> Result<Doomed> {
    fits(cluster, asked)?;
    let mut headline = "These will be destroyed, with the data on them:";
    let things = match &cluster.plan.platform {
        Platform::Local(_) => leftovers(context, cluster).await?,
        Platform::Proxmox(proxmox) => hypervisor::made(context, cluster, proxmox).await?,
        Platform::Terraform(module) if module.destroy => {
            let (_server, module) = machines::open_module(context, cluster, module).await?;
            module.resources(context).await?
        }
        Platform::Hosts(_) | Platform::Terraform(_) | Platform::Adopted(_) => {
            headline = match asked.wipe_data {
                true => "The machines stay, and the cluster on them goes, with its data:",
                false => "The machines stay, and the cluster on them is stopped:",
            };
            match Secrets::open(context, cluster).await.to_stop(context, cluster, asked)? {
                Some(vault) => decommission::said(&decommission::machines(context, cluster, vault).await?, asked),
                None => Vec::new(),
            }
        }
    };
    let records = records(cluster).into_iter().filter(|_| !things.is_empty()).map(|name| format!("record {name}"));
    Ok(Doomed { headline, things: records.chain(things.clone()).collect() })
}

/// Whether what is asked for means something on the cluster's platform.
fn fits(cluster: &Cluster, asked: &Teardown) -> Result<()> {
    let refused = |what: &str, cause: String, hint: &str| {
        Err(Error::usage("down-options", format!("run `down {what}` on"), cluster.name()).cause(cause).hint(hint))
    };
    let gone = || {
        "its machines go with all that is on them; these options are for platform hosts, and for platform terraform with \
         `destroy: false`"
            .to_owned()
    };
    let stay = decommission::stays(&cluster.plan.platform);
    if asked.wipe_data && !stay {
        return refused("--wipe-data", gone(), "leave the option out");
    }
    if !asked.leave.is_empty() && !stay {
        return refused("--leave", gone(), "leave the option out");
    }
    match asked.leave.iter().find(|key| !cluster.plan.nodes.contains_key(*key)) {
        None => Ok(()),
        Some(key) => {
            let names: Vec<&str> = cluster.plan.nodes.keys().map(InstanceKey::as_str).collect();
            refused("--leave", format!("{key} is none of its machines: {}", names.join(", ")), "give a machine's key")
        }
    }
}

/// The secrets, opened once: most of a cluster can be taken away without them.
struct Secrets {
    exist: bool,
    opened: Result<Vault>,
}

impl Secrets {
    async fn open(context: &Context, cluster: &Cluster) -> Self {
        let paths = cluster.secrets(&context.dirs);
        Self { exist: paths.file.exists(), opened: Vault::open(context, cluster.name(), &paths).await }
    }

    /// None where there are none.
    fn if_any(&self) -> Result<Option<&Vault>> {
        match self.exist {
            true => self.opened.as_ref().map(Some).map_err(Clone::clone),
            false => Ok(None),
        }
    }

    /// What opens machines that stay, so that the cluster on them is stopped; none where it never ran on any that is asked.
    fn to_stop(&self, context: &Context, cluster: &Cluster, asked: &Teardown) -> Result<Option<&Vault>> {
        let nodes = look::kept_fleet(&context.dirs, cluster).map(|fleet| fleet.nodes).unwrap_or_default();
        let busy = nodes.into_values().filter(|node| !node.node.roles.is_empty());
        let busy: Vec<InstanceKey> = busy.map(|node| node.node.key).filter(|key| !asked.leave.contains(key)).collect();
        match &self.opened {
            Err(error) if !self.exist && !busy.is_empty() => Err(error.clone().hint(lost(cluster, asked, &busy))),
            _ => self.if_any(),
        }
    }
}

/// What is left to do without what opens the machines, on which the cluster runs on.
fn lost(cluster: &Cluster, asked: &Teardown, busy: &[InstanceKey]) -> String {
    let name = cluster.name();
    let leave = asked.leave.iter().chain(busy).map(|key| format!(" --leave {key}")).collect::<String>();
    format!(
        "bring it back from the repository or a backup: nothing was stopped, and without it hactl stops nothing on its \
         machines. If it is lost, stop Patroni and etcd there by hand; then `hactl down {name}{leave}` forgets them here"
    )
}

async fn leftovers(context: &Context, cluster: &Cluster) -> Result<Vec<String>> {
    Engine::connect(&context.env).await?.cluster_leftovers(cluster.name()).await
}

/// Sees that nothing of the cluster is left.
async fn is_gone(context: &Context, cluster: &Cluster, before: Option<&Fleet>, changed: bool) -> Result<()> {
    match (&cluster.plan.platform, before) {
        (Platform::Local(_), _) => {
            let left = leftovers(context, cluster).await?;
            if left.is_empty() {
                return Ok(());
            }
            let error = Error::failed("left-behind", "take away all of", cluster.name())
                .cause(format!("still there: {}", left.join(", ")));
            Err(error.hint(
                "Terraform's state here does not know them: was the cluster made from another directory? Run `down` there",
            ))
        }
        (Platform::Proxmox(proxmox), _) => {
            if let Some(uuid) = terraform::begun(&context.dirs.cluster(cluster.name()), &cluster.plan)? {
                hypervisor::is_empty(context, cluster, proxmox, uuid).await?;
            }
            match before {
                Some(before) => hypervisor::is_silent(cluster, before).await,
                None => Ok(()),
            }
        }
        (Platform::Terraform(module), Some(before)) if module.destroy => {
            let silent = hypervisor::is_silent(cluster, before).await;
            // Its state held nothing: it was perhaps not the one.
            silent.map_err(|error| if changed { error } else { error.hint(terraform::OTHER_STATE) })
        }
        _ => Ok(()),
    }
}

/// The DNS records that go with the machines.
fn records(cluster: &Cluster) -> Vec<String> {
    let name = |dns: &Dns| cluster.plan.nodes.values().map(|node| dns.fqdn(node.hostname.as_str())).collect();
    cluster.plan.dns.as_ref().map(name).unwrap_or_default()
}

/// Destroys the cluster's machines with their data, or takes the cluster off machines that stay, and removes what hactl keeps
/// about them.
///
/// # Errors
/// When a service does not stop, Terraform fails, or something of the cluster is still there afterwards.
pub async fn down(run: &RunContext, cluster: &Cluster, asked: &Teardown) -> Result<Summary> {
    fits(cluster, asked)?;
    let context = &run.context;
    let name = cluster.name();
    let dir = context.dirs.cluster(name);
    let stays = decommission::stays(&cluster.plan.platform);
    let left = asked.leave.iter().map(InstanceKey::as_str).collect::<Vec<_>>().join(", ");
    let secrets = Secrets::open(context, cluster).await;
    let to_stop = if stays { secrets.to_stop(context, cluster, asked)? } else { None };
    let mut locks = lock(run, cluster, &secrets, stays).await?;
    let done = run
        .stage(Stage::Destroy, async {
            let before = look::kept_fleet(&context.dirs, cluster).ok();
            if before.is_some() {
                hypervisor::answers(context, cluster).await?;
            }
            let stopped = match to_stop {
                Some(vault) => {
                    let fleet = decommission::machines(context, cluster, vault).await?;
                    decommission::release(run, cluster, &fleet, vault, asked, &mut locks.etcd).await?
                }
                None => false,
            };
            let destroyed = match &cluster.plan.platform {
                Platform::Terraform(module) if module.destroy => {
                    let (_server, module) = machines::open_module(context, cluster, module).await?;
                    Some(Destroyed { changes: module.destroy(context).await?, gone: Vec::new() })
                }
                Platform::Terraform(_) => None,
                platform => {
                    let (_server, reattach) = machines::serve(context, platform).await?;
                    let vault = if cluster.plan.backend.is_some() { secrets.if_any()? } else { None };
                    machines::destroy(context, cluster, vault, reattach).await?
                }
            };
            if let Some(destroyed) = &destroyed {
                dns::gone(context, &destroyed.gone).await?;
            }
            let changed = stopped || destroyed.is_some_and(|destroyed| !destroyed.changes.is_empty());
            is_gone(context, cluster, before.as_ref(), changed).await?;
            let forgotten = stays && !stopped && (changed || before.is_some());
            let detail = match (changed, stays, asked.wipe_data) {
                _ if forgotten => "nothing was stopped".to_owned(),
                (false, ..) => "there was nothing".to_owned(),
                (true, true, false) => "stopped and disabled; the data stays".to_owned(),
                _ if left.is_empty() => "nothing is left".to_owned(),
                _ => format!("nothing is left but on {left}"),
            };
            Ok(((changed, forgotten), Some(detail)))
        })
        .await;
    let done = if stays { locks.give_back(done).await } else { locks.drop_with_cluster(done).await };
    let (changed, forgotten) = done?;
    // Data that stays is that of the voters that were chosen.
    let data_stays = stays && changed && !asked.wipe_data;
    forget(&dir, asked.purge, data_stays)
        .map_err(|error| Error::failed("forget", "remove", dir.path().display()).source(&error))?;
    let file = cluster.secrets_file(&context.dirs);
    if asked.secrets {
        remove(fs::remove_file(&file))
            .map_err(|error| Error::failed("forget", "remove", file.display()).source(&error))?;
    }
    let mut kept = Vec::new();
    if file.exists() {
        kept.push(file.display().to_string());
    }
    if !asked.purge && dir.path().exists() {
        kept.push(dir.path().display().to_string());
    }
    let mut message = match (data_stays, changed) {
        _ if forgotten => format!("{name} is forgotten here; nothing of it was stopped."),
        (true, _) => format!("{name} is stopped; its data stays on the machines."),
        (false, true) => format!("{name} is gone."),
        (false, false) => format!("There was nothing of {name}."),
    };
    if !left.is_empty() && (changed || forgotten) {
        message += &format!(" Left as it is: {left}, with services and mark.");
    }
    if !kept.is_empty() {
        message += &format!(" Kept: {}", kept.join(", "));
    }
    let next = match data_stays {
        true => vec![format!("hactl up {name}"), format!("hactl down {name} --wipe-data")],
        // For what was left, should it come back.
        false if changed && !left.is_empty() => vec![format!("hactl down {name} --wipe-data")],
        false => Vec::new(),
    };
    Ok(Summary {
        ok: true,
        command: "down".to_owned(),
        cluster: name.to_string(),
        message,
        next,
        stages: run.times(),
        changed,
        ..Summary::default()
    })
}

/// Nobody else changes or drills what is destroyed. Without what opens the machines they can still be destroyed.
async fn lock(run: &RunContext, cluster: &Cluster, secrets: &Secrets, stays: bool) -> Result<Locks> {
    match &secrets.opened {
        Ok(vault) => Locks::take_if_known(run, cluster, "down", vault, stays).await,
        // Nothing was ever made with secrets that there are not.
        Err(_) if !cluster.secrets_file(&run.context.dirs).exists() => Ok(Locks::default()),
        Err(error) => {
            let step = format!("no lock on the cluster: cannot {} {}", error.what, error.object);
            run.context.events.step(Stage::Destroy, None, step).await;
            Ok(Locks::default())
        }
    }
}

/// Removes what describes machines that are gone. RunContext records and the age key stay, unless purged;
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
    use crate::{context::Dirs, event::Events};

    #[tokio::test]
    async fn a_cluster_that_runs_on_is_not_forgotten_because_the_secrets_are_not_here() {
        let dir = tempfile::tempdir().unwrap();
        let file = "platform: {hosts: {ssh: {user: root}}}\n\
                    instances: {a: {address: 192.0.2.1}, b: {address: 192.0.2.2}, web: {address: 192.0.2.3, roles: []}}\n";
        fs::write(dir.path().join("pg.yaml"), file).unwrap();
        let env = BTreeMap::new();
        let dirs = Dirs::new(dir.path(), &env);
        let context = Context { dirs, env, events: Events::channel().0, stop: Default::default() };
        let cluster = Cluster::open("pg", &context.dirs).unwrap();
        let to_stop = async |leave: &[&str]| {
            let asked =
                Teardown { leave: leave.iter().map(|key| key.parse().unwrap()).collect(), ..Default::default() };
            let secrets = Secrets::open(&context, &cluster).await;
            secrets.to_stop(&context, &cluster, &asked).map(|vault| vault.is_some())
        };
        assert!(!to_stop(&[]).await.unwrap(), "nothing was ever made");

        let Platform::Hosts(hosts) = &cluster.plan.platform else { panic!("{:?}", cluster.plan.platform) };
        let fleet = Fleet::new(&cluster.plan, &decommission::as_written(hosts)).unwrap();
        let kept = context.dirs.cluster(cluster.name()).fleet();
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        machines::keep_fleet(&kept, &fleet).unwrap();
        let run = RunContext::new(context.clone(), dir.path().to_owned());
        let error = down(&run, &cluster, &Teardown::default()).await.unwrap_err();
        assert_eq!(error.code, "secrets-missing", "{error}");
        assert!(error.to_string().contains("`hactl down pg --leave a --leave b` forgets them"), "{error}");
        assert!(kept.exists() && doomed(&context, &cluster, &Teardown::default()).await.is_err());
        assert!(to_stop(&["a"]).await.unwrap_err().to_string().contains("--leave a --leave b"));
        assert!(!to_stop(&["b", "a"]).await.unwrap(), "they are left as they are");
    }
}
