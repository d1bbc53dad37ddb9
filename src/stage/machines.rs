//! Plan -> Outputs -> Fleet: the machines, by Terraform.

use std::{collections::BTreeMap, fmt::Write as _};

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{
    decommission, dns, enroll, hypervisor,
    ownership::{self, Looked},
    prepare,
};
use crate::{
    context::{Context, RunContext},
    deployment::{Cluster, lock::Locks, look, shared_record, ssh_keys},
    error::{Error, Result},
    event::{Stage, Summary},
    file,
    fleet::Fleet,
    health,
    model::{InstanceKey, RootModule},
    plan::{Plan, Platform},
    platform::local::{self, Engine},
    secrets::Vault,
    terraform::{self, Changes, Consent, Destroyed, GoneRecords, Machines, Module, provider::Server},
};

pub(crate) struct Provisioned {
    pub(crate) fleet: Fleet,
    pub(crate) changed: bool,
}

/// What machines are made with, beside the plan.
pub(crate) struct With<'a> {
    /// The node image of local nodes.
    pub(crate) image: Option<&'a str>,
    pub(crate) agreed: &'a Consent,
}

/// The provider, served for the time of one Terraform run, and the variable by which it is found.
pub(crate) async fn serve(context: &Context, platform: &Platform) -> Result<(Server, String)> {
    let engine = match platform {
        Platform::Local(_) => Some(Engine::connect(&context.env).await?),
        _ => None,
    };
    let server = Server::start(engine, context, &std::env::temp_dir())?;
    let reattach = server.reattach_env(context.env.get("TF_REATTACH_PROVIDERS").map(String::as_str))?;
    Ok((server, reattach))
}

/// Tries whether the user's own key and module are there, before anything is made.
pub(crate) fn check(context: &Context, cluster: &Cluster) -> Result<()> {
    ssh_keys::users_key(context, &cluster.plan.platform)?;
    match &cluster.plan.platform {
        Platform::Terraform(module) => terraform::module_dir(context, module).map(drop),
        _ => Ok(()),
    }
}

/// Makes the machines and their records, and sees that they answer under their names.
pub(crate) async fn apply(
    run: &RunContext,
    cluster: &Cluster,
    vault: &mut Vault,
    with: &With<'_>,
) -> Result<Provisioned> {
    let (provisioned, gone) = make(run, cluster, vault, with).await?;
    dns::answers(run, cluster, &provisioned.fleet, &gone).await?;
    Ok(provisioned)
}

/// What the user has agreed to, with what is known of the machines as the last run left them.
fn consent(context: &Context, cluster: &Cluster, agreed: &Consent) -> Consent {
    let fleet = look::fleet(&context.dirs, cluster).ok();
    let nodes = fleet.into_iter().flat_map(|fleet| fleet.nodes);
    Consent { ran: nodes.map(|(key, node)| (key, node.node.roles)).collect(), ..agreed.clone() }
}

/// A member of a cluster is stopped only while all the others are well.
async fn may_restart(context: &Context, cluster: &Cluster, vault: &Vault, agreed: &Consent) -> Result<()> {
    let Ok(fleet) = look::fleet(&context.dirs, cluster) else { return Ok(()) };
    let busy = fleet.nodes.values().any(|node| !node.node.roles.is_empty());
    if agreed.restart.is_empty() || !busy {
        return Ok(());
    }
    let access = look::access(context, cluster, vault)?;
    let health = health::diagnose(&cluster.plan, &health::observe(&fleet, &access).await);
    if health.is_healthy() {
        return Ok(());
    }
    let error = Error::failed("not-healthy", "restart a machine of", cluster.name());
    let error = health.problems.iter().map(|problem| problem.message.clone()).fold(error, Error::cause);
    Err(error
        .hint(format!("repair that first: `hactl status {0}`, or `hactl up {0}` without the change", cluster.name())))
}

async fn make(
    run: &RunContext,
    cluster: &Cluster,
    vault: &mut Vault,
    with: &With<'_>,
) -> Result<(Provisioned, GoneRecords)> {
    let With { image, agreed } = *with;
    run.stage(Stage::Provision, async {
        let context = &run.context;
        let dir = context.dirs.cluster(cluster.name());
        let keys = ssh_keys::authorized_keys(context, &cluster.plan.platform, vault)?;
        let last = look::fleet(&context.dirs, cluster).ok();
        let record = shared_record::record(cluster, vault, last.as_ref());
        let machines = Machines {
            plan: &cluster.plan,
            assets: &cluster.assets,
            image,
            uuid: vault.uuid(),
            authorized_keys: &keys,
            record: &record,
        };
        if let Some(image) = image {
            try_disks(context, &cluster.plan, image).await?;
        }
        may_restart(context, cluster, vault, agreed).await?;
        let (_server, reattach) = serve(context, &cluster.plan.platform).await?;
        let consent = consent(context, cluster, agreed);
        let mut met = None;
        let before = async |made: &Changes| {
            // Machines that exist are looked at first: nothing is made for those that are somebody else's.
            if let Platform::Hosts(hosts) = &cluster.plan.platform {
                let fleet = Fleet::new(&cluster.plan, &decommission::as_written(hosts))?;
                met = Some(meet(run, cluster, vault, fleet).await?);
            }
            cluster.note_choices(&context.dirs)?;
            forget(made, vault)
        };
        let provisioned = terraform::apply(context, &dir, &machines, &consent, Some(reattach.clone()), before).await?;
        cluster.note_choices(&context.dirs)?;
        run.keep("outputs", &provisioned.outputs)?;
        let fleet = Fleet::new(&cluster.plan, &provisioned.outputs)?;
        forget_others(&fleet, &shared_record::machine_ids(cluster, last.as_ref()), vault)?;
        // A machine that lets nobody in yet is known all the same, and one that was met is not forgotten meanwhile.
        let mut there = fleet.clone();
        vault.host_keys().tell(&mut there);
        keep_fleet(&dir.fleet(), &there)?;
        let (fleet, looked) = match met {
            Some(met) => met,
            None => meet(run, cluster, vault, fleet).await?,
        };
        run.keep("fleet", &fleet)?;
        keep_fleet(&dir.fleet(), &fleet)?;
        ownership::mark(context, looked).await?;
        if cluster.place().is_some() {
            // Host keys that were met just now: for runs elsewhere.
            let machines = Machines { record: &shared_record::record(cluster, vault, Some(&fleet)), ..machines };
            terraform::keep_record(context, &dir, &machines, Some(reattach)).await?;
        }
        let changed = !provisioned.changes.is_empty();
        let detail = if changed { provisioned.changes.to_string() } else { "no changes".to_owned() };
        Ok(((Provisioned { fleet, changed }, provisioned.gone), Some(detail)))
    })
    .await
}

/// Forgets the host keys of machines that are about to be made anew, so that the new ones are not taken for impostors,
/// also where this run does not live to meet them.
fn forget(changes: &Changes, vault: &mut Vault) -> Result<()> {
    let mut known = vault.host_keys().clone();
    for node in changes.machines_made() {
        known.forget(node.as_str());
    }
    vault.pin_host_keys(known)
}

/// Waits for the machines, and sees that none of them is somebody else's.
async fn meet(run: &RunContext, cluster: &Cluster, vault: &mut Vault, fleet: Fleet) -> Result<(Fleet, Looked)> {
    let fleet = enroll::enroll(run, cluster, vault, fleet).await?;
    let looked = ownership::look(run, cluster, vault, &fleet).await?;
    Ok((fleet, looked))
}

/// Forgets the host keys of machines that are others than before, by what the platform calls them.
fn forget_others(fleet: &Fleet, before: &BTreeMap<InstanceKey, String>, vault: &mut Vault) -> Result<()> {
    let mut known = vault.host_keys().clone();
    for node in fleet.nodes.values() {
        let was = before.get(node.key());
        if was.is_some() && was != node.machine_id.as_ref() {
            known.forget(node.key().as_str());
        }
    }
    vault.pin_host_keys(known)
}

/// Before a node with a disk of its own is made, it is seen whether that can be had: nothing is half-made then.
async fn try_disks(context: &Context, plan: &Plan, image: &str) -> Result<()> {
    let engine = Engine::connect(&context.env).await?;
    for node in plan.nodes.values().filter(|node| node.disk_gb.is_some()) {
        // One that cannot be asked about is the provider's to report.
        if !matches!(engine.find_node(&local::node_name(&plan.cluster, &node.key)).await, Ok(Some(_))) {
            return engine.try_disk(image).await;
        }
    }
    Ok(())
}

pub(crate) fn keep_fleet(path: &std::path::Path, fleet: &Fleet) -> Result<()> {
    let write = || file::replace(path, &serde_json::to_vec_pretty(fleet)?);
    write().map_err(|error| Error::failed("fleet", "write", path.display()).source(&error).hint("is the disk full?"))
}

/// `hactl provision`: the machines, and no more.
///
/// # Errors
/// When a download, the image or Terraform fails.
pub async fn provision(run: &RunContext, cluster: &Cluster, agreed: &Consent) -> Result<Summary> {
    let context = &run.context;
    prepare::tools(context, &cluster.plan.platform).await?;
    dns::check(context, cluster).await?;
    hypervisor::check(context, cluster).await?;
    check(context, cluster)?;
    let mut vault = shared_record::open(context, cluster).await?;
    cluster.note(&context.dirs)?;
    let locks = Locks::take_if_known(run, cluster, "provision", &vault, false).await?;
    let work = async {
        shared_record::is_current(context, cluster).await?;
        let prepared = prepare::prepare(run, cluster, &vault, true).await?;
        let with = With { image: prepared.image.as_deref(), agreed };
        apply(run, cluster, &mut vault, &with).await
    };
    let result = work.await;
    // Also of a run that failed.
    shared_record::say_saved(context, cluster, &vault).await;
    let provisioned = locks.give_back(result).await?;
    let name = cluster.name();
    Ok(Summary {
        ok: true,
        command: "provision".to_owned(),
        cluster: name.to_string(),
        message: format!("{name}: {} machines.", provisioned.fleet.nodes.len()),
        next: vec![format!("hactl configure {name}"), format!("hactl down {name}")],
        stages: run.times(),
        changed: provisioned.changed,
        ..Summary::default()
    })
}

/// Destroys what Terraform made. Its values are those of the last run here; where that was elsewhere, they come from `vault`.
pub(crate) async fn destroy(
    context: &Context,
    cluster: &Cluster,
    vault: Option<&Vault>,
    reattach: String,
) -> Result<Option<Destroyed>> {
    let (uuid, keys) = match vault {
        Some(vault) => (vault.uuid(), ssh_keys::authorized_keys(context, &cluster.plan.platform, vault)?),
        None => (uuid::Uuid::nil(), Vec::new()),
    };
    let image = image_tag(cluster);
    let machines = Machines {
        plan: &cluster.plan,
        assets: &cluster.assets,
        image: image.as_deref(),
        uuid,
        authorized_keys: &keys,
        record: "",
    };
    let dir = context.dirs.cluster(cluster.name());
    terraform::destroy(context, &dir, &machines, Some(reattach)).await
}

fn image_tag(cluster: &Cluster) -> Option<String> {
    match &cluster.plan.platform {
        Platform::Local(local) => Some(prepare::image_tag(cluster, local)),
        _ => None,
    }
}

/// What `hactl plan` shows.
#[derive(Serialize, JsonSchema)]
pub struct Planned {
    /// What is intended, decided from the cluster file alone.
    pub plan: Plan,
    /// What Terraform would do to the machines.
    pub changes: Changes,
    /// Why `up` would refuse these changes.
    pub refused: Option<Error>,
}

impl Planned {
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Terraform's part, for people.
    #[must_use]
    pub fn changes_text(&self) -> String {
        let mut text = String::new();
        if self.changes.is_empty() {
            text.push_str("Machines: no changes");
        } else {
            let _ = write!(text, "Machines: {}", self.changes);
        }
        // hactl does not know what these are: the user does, by their addresses.
        if matches!(self.plan.platform, Platform::Terraform(_)) {
            self.changes.listed().for_each(|line| _ = write!(text, "\n  {line}"));
        }
        if let Some(error) = &self.refused {
            let _ = write!(text, "\n\n`up` would refuse this: {error}");
        }
        text
    }
}

/// Opens the secrets for whoever makes none; none before the first `up`, since only that makes them.
async fn known_vault(context: &Context, cluster: &Cluster) -> Result<Option<Vault>> {
    let paths = cluster.secrets(&context.dirs);
    if !paths.file.exists() {
        return Ok(None);
    }
    let mut vault = Vault::open(context, cluster.name(), &paths).await?;
    shared_record::take_host_keys(cluster, &mut vault);
    Ok(Some(vault))
}

/// Whose the machines are, and who may log in.
fn identity(context: &Context, cluster: &Cluster, vault: Option<&Vault>) -> Result<(Uuid, Vec<String>, String)> {
    let Some(vault) = vault else { return Ok((Uuid::nil(), Vec::new(), String::new())) };
    let keys = ssh_keys::authorized_keys(context, &cluster.plan.platform, vault)?;
    let fleet = look::fleet(&context.dirs, cluster).ok();
    Ok((vault.uuid(), keys, shared_record::record(cluster, vault, fleet.as_ref())))
}

/// Opens the user's own module, and the provider that is served to it as long as that lives.
pub(crate) async fn open_module(context: &Context, cluster: &Cluster, module: &RootModule) -> Result<(Server, Module)> {
    let vault = known_vault(context, cluster).await?;
    let (uuid, keys, record) = identity(context, cluster, vault.as_ref())?;
    let (plan, assets) = (&cluster.plan, &cluster.assets);
    let machines = Machines { plan, assets, image: None, uuid, authorized_keys: &keys, record: &record };
    let (server, reattach) = serve(context, &plan.platform).await?;
    let dir = context.dirs.cluster(cluster.name());
    Ok((server, Module::open(context, &dir, module, &machines, Some(reattach)).await?))
}

/// `hactl plan`: what `up` would change on machines. Makes nothing but the files Terraform plans with.
///
/// # Errors
/// When Terraform cannot plan.
pub async fn plan(context: &Context, cluster: &Cluster, agreed: &Consent) -> Result<Planned> {
    hypervisor::check(context, cluster).await?;
    let dir = context.dirs.cluster(cluster.name());
    let mut vault = known_vault(context, cluster).await?;
    if let Some(vault) = &mut vault {
        cluster.take_given(context, vault).await?;
        shared_record::take_over(cluster, vault)?;
    }
    let (uuid, keys, record) = identity(context, cluster, vault.as_ref())?;
    let image = image_tag(cluster);
    let machines = Machines {
        plan: &cluster.plan,
        assets: &cluster.assets,
        image: image.as_deref(),
        uuid,
        authorized_keys: &keys,
        record: &record,
    };
    let (_server, reattach) = serve(context, &cluster.plan.platform).await?;
    context.events.step(Stage::Plan, None, "asking Terraform").await;
    let planned = terraform::plan(context, &dir, &machines, &consent(context, cluster, agreed), Some(reattach)).await?;
    Ok(Planned { plan: cluster.plan.clone(), changes: planned.changes, refused: planned.refused })
}
