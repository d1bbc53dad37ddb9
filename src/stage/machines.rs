//! Plan -> Outputs -> Fleet: the machines, by Terraform.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    dns, enroll,
    machine_identity::MachineIdentity,
    ownership::{self, Looked},
    prepare, vm_disks,
};
use crate::{
    context::{Context, RunContext},
    deployment::{Cluster, Deployment, Known, access, fleet_file, record, ssh_keys},
    error::{Error, Result, codes},
    event::Stage,
    fleet::Fleet,
    health,
    model::InstanceKey,
    plan::{
        Plan,
        safety::Unsafe,
        steps::{Blocked, Situation, next_step},
    },
    platform::{
        self, Machines, hosts,
        local::{self, Engine},
    },
    secrets::Vault,
    terraform::{self, Changes, Consent, Destroyed, GoneRecords, provider},
};

/// How long a cluster may take to become healthy after one of its machines was changed.
const HEALTHY_WITHIN: Duration = Duration::from_secs(120);

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

/// Checks that the platform has what the machines are made from, before Terraform runs, and learns where the machines are
/// that exist.
///
/// # Errors
/// With everything that is missing.
pub(crate) async fn survey_platform(context: &Context, deployment: &mut Deployment) -> Result<()> {
    let Deployment { cluster, known, .. } = deployment;
    let recorded = async || terraform::recorded(context, &cluster.dir(), &cluster.plan).await;
    // Also what the state has lost: its machines may still run.
    let fleet = known.last_fleet()?;
    let surveyed = platform::preflight(context, &cluster.plan, fleet, recorded).await?;
    known.surveyed = surveyed;
    Ok(())
}

/// Checks that, and that the user's own key and module exist.
///
/// # Errors
/// With the first of these that is missing.
pub(crate) async fn check(context: &Context, deployment: &mut Deployment) -> Result<()> {
    survey_platform(context, deployment).await?;
    let cluster = &deployment.cluster;
    ssh_keys::users_key(context, &cluster.plan.platform)?;
    match cluster.plan.platform.own_module() {
        Some(module) => terraform::module_dir(context, module).map(drop),
        None => Ok(()),
    }
}

/// Makes the machines and their records, and checks that their names resolve.
pub(crate) async fn apply(
    run: &RunContext,
    cluster: &Cluster,
    known: &Known,
    vault: &mut Vault,
    with: &With<'_>,
) -> Result<Provisioned> {
    let (provisioned, gone) = make(run, cluster, known, vault, with).await?;
    dns::answers(run, cluster, &provisioned.fleet, &gone).await?;
    Ok(provisioned)
}

/// What the user has agreed to, with what is known of the machines as the last run left them. Warns about names of
/// machines that the cluster does not have.
///
/// # Errors
/// When the record of the machines cannot be read.
pub(crate) async fn consent(context: &Context, cluster: &Cluster, known: &Known, agreed: &Consent) -> Result<Consent> {
    let nodes = known.fleet_if_any()?.into_iter().flat_map(|fleet| &fleet.nodes);
    let ran = nodes.map(|(key, node)| (key.clone(), node.node.roles.clone())).collect();
    let consent = Consent { ran, machine_ids: known.machine_ids(), ..agreed.clone() };
    if let Some(message) = consent.strangers(&cluster.plan) {
        let hint = "Check the names after `--allow-destroy`, `--allow-restart` and `--allow-change`".to_owned();
        context.events.warn("consent-unknown", message, Some(hint)).await;
    }
    Ok(consent)
}

/// Checks that these machines may stop now, one at a time. Before Terraform has planned, they are those that the user
/// allows to restart; then those that it is about to restart.
async fn may_restart(
    context: &Context,
    cluster: &Cluster,
    known: &Known,
    vault: &Vault,
    consent: &Consent,
    restarts: BTreeSet<InstanceKey>,
) -> Result<()> {
    let Some(fleet) = known.fleet_if_any()? else { return Ok(()) };
    let mut members = consent.ran.clone();
    for (key, node) in &cluster.plan.nodes {
        members.entry(key.clone()).or_default().extend(node.roles.iter().copied());
    }
    let situation = |key: &InstanceKey, problems: &[String]| Situation {
        members: members.clone(),
        restarts: [key.clone()].into(),
        // The guard has checked by now that each machine has the consent that it needs.
        agreed: consent.restart.iter().chain(consent.change.keys()).cloned().collect(),
        problems: problems.to_vec(),
    };
    if restarts.iter().all(|key| next_step(&situation(key, &[])) == Ok(None)) {
        return Ok(());
    }
    let access = access(context, cluster, vault)?;
    let seen = async { Ok(health::observe(fleet, &access).await) };
    let seen = context.interruptible("restart a machine of", cluster.name(), seen).await?;
    let health = health::diagnose(&cluster.plan, &seen);
    let problems: Vec<String> = health.problems.iter().map(|problem| problem.message.clone()).collect();
    let Some(blocked) = restarts.iter().find_map(|key| next_step(&situation(key, &problems)).err()) else {
        return Ok(());
    };
    let error = Error::failed("not-healthy", "restart a machine of", cluster.name());
    let error = match blocked {
        Blocked::Unsafe(_, Unsafe::Degraded(problems)) => problems.into_iter().fold(error, Error::cause),
        blocked => error.cause(blocked),
    };
    Err(error.hint(format!(
        "Repair the cluster first, as `hactl status {0}` says, or run `hactl up {0}` without the change",
        cluster.name()
    )))
}

/// Waits until the cluster is healthy again after the machine of `key` was changed: the next one may stop only then.
async fn is_back(context: &Context, cluster: &Cluster, known: &Known, vault: &Vault, key: &InstanceKey) -> Result<()> {
    let Some(fleet) = known.fleet_if_any()? else { return Ok(()) };
    let access = access(context, cluster, vault)?;
    context.events.step(Stage::Provision, Some(key), "waiting until the cluster is healthy again").await;
    health::wait_until_healthy(context, &cluster.plan, fleet, &access, HEALTHY_WITHIN).await.map(drop)
}

async fn make(
    run: &RunContext,
    cluster: &Cluster,
    known: &Known,
    vault: &mut Vault,
    with: &With<'_>,
) -> Result<(Provisioned, GoneRecords)> {
    let With { image, agreed } = *with;
    run.stage(Stage::Provision, async {
        let context = &run.context;
        let dir = cluster.dir();
        let identity = MachineIdentity::of(context, cluster, known, Some(vault))?;
        let machines = identity.machines(cluster, image);
        if let Some(image) = image {
            try_disks(context, &cluster.plan, image).await?;
        }
        let consent = consent(context, cluster, known, agreed).await?;
        may_restart(context, cluster, known, vault, &consent, consent.restart.clone()).await?;
        let (_server, reattach) = provider::serve(context, &cluster.plan.platform).await?;
        let mut met = None;
        let mut stopped: Option<InstanceKey> = None;
        let before = async |made: &Changes| {
            if let Some(key) = &stopped {
                is_back(context, cluster, known, vault, key).await?;
            }
            vm_disks::check(context, cluster, made).await?;
            let disrupted = made.resources.iter().filter(|change| change.disrupts());
            let disrupted: BTreeSet<InstanceKey> = disrupted.filter_map(|change| change.node.clone()).collect();
            stopped = disrupted.first().cloned();
            may_restart(context, cluster, known, vault, &consent, disrupted).await?;
            // Machines that exist are examined first: nothing is made for those that another cluster or system uses.
            if let Some(machines) = cluster.plan.platform.hosts() {
                let fleet = Fleet::new(&cluster.plan, &hosts::as_written(machines))?;
                met = Some(meet(run, cluster, vault, fleet).await?);
            }
            cluster.note_choices()?;
            forget(made, vault)
        };
        let provisioned = terraform::apply(context, &dir, &machines, &consent, Some(reattach.clone()), before).await;
        let provisioned = provisioned.map_err(|error| with_last_restore(error, cluster))?;
        cluster.note_choices()?;
        run.keep("outputs", &provisioned.outputs)?;
        let fleet = Fleet::new(&cluster.plan, &provisioned.outputs)?;
        forget_others(&fleet, &known.machine_ids(), vault)?;
        // A machine that accepts no login yet is recorded too, and a machine that was enrolled keeps its host key.
        let mut there = fleet.clone();
        vault.host_keys().tell(&mut there);
        fleet_file::write(&dir.fleet(), &there)?;
        let (fleet, looked) = match met {
            Some(met) => met,
            None => meet(run, cluster, vault, fleet).await?,
        };
        run.keep("fleet", &fleet)?;
        fleet_file::write(&dir.fleet(), &fleet)?;
        ownership::mark(context, looked).await?;
        if cluster.state_location().is_some() {
            // Host keys that were met just now: for runs elsewhere.
            let machines = Machines { record: &record(cluster, vault, Some(&fleet)), ..machines };
            terraform::keep_record(context, &dir, &machines, Some(reattach)).await?;
        }
        let changed = !provisioned.changes.is_empty();
        let detail = if changed { provisioned.changes.to_string() } else { "no changes".to_owned() };
        Ok(((Provisioned { fleet, changed }, provisioned.gone), Some(detail)))
    })
    .await
}

/// A plan that loses data is refused with what is known of the backups, before the user consents to it.
fn with_last_restore(mut error: Error, cluster: &Cluster) -> Error {
    if error.code == codes::PLAN_REFUSED
        && let (Some(hint), Some(last)) = (&mut error.hint, cluster.last_restore())
    {
        hint.push_str(&format!(". Before you do: {last}"));
    }
    error
}

/// Forgets the host keys of machines that are about to be replaced, so that the host keys of the new ones are accepted,
/// also if this run ends before it connects to them.
fn forget(changes: &Changes, vault: &mut Vault) -> Result<()> {
    let mut known = vault.host_keys().clone();
    for node in changes.machines_made() {
        known.forget(node.as_str());
    }
    vault.pin_host_keys(known)
}

/// Waits for the machines, and checks that none belongs to another cluster or system.
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

/// Checks that a node can have a disk of its own before one is made, so that nothing is left half-made.
async fn try_disks(context: &Context, plan: &Plan, image: &str) -> Result<()> {
    let engine = Engine::connect(&context.env).await?;
    for node in plan.nodes.values().filter(|node| node.disk_gb.is_some()) {
        // If the engine cannot say, the provider reports it.
        if !matches!(engine.find_node(&local::node_name(&plan.cluster, &node.key)).await, Ok(Some(_))) {
            return engine.try_disk(image).await;
        }
    }
    Ok(())
}

/// Destroys what Terraform made. Its values are those of the last run here; where that was elsewhere, they come from `vault`.
pub(crate) async fn destroy(
    context: &Context,
    cluster: &Cluster,
    vault: Option<&Vault>,
    reattach: String,
) -> Result<Option<Destroyed>> {
    let (uuid, authorized_keys) = match vault {
        Some(vault) => (vault.uuid(), ssh_keys::authorized_keys(context, &cluster.plan.platform, vault)?),
        None => (uuid::Uuid::nil(), Vec::new()),
    };
    let identity = MachineIdentity { uuid, authorized_keys, ..MachineIdentity::default() };
    let image = prepare::image_of(cluster);
    terraform::destroy(context, &cluster.dir(), &identity.machines(cluster, image.as_deref()), Some(reattach)).await
}
