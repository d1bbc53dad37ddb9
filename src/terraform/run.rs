//! The stage itself: the order in which Terraform's commands run.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    backend,
    binary::Terraform,
    changes::{Action, Changes, GoneRecords, ResourceChange, gone_records},
    consent::Consent,
    environment::Environment,
    guard::{guard, keeps_protection},
    module,
    moved::{as_imports, moved, relocate},
    orphans::{self, Owner},
    outcome::{Destroyed, Planned, Provisioned},
    outputs::{Read, parse_outputs},
    program::terraform_binary,
    recorded::recorded,
    roll::{self, Step},
    voters::{starts_anew, voters_gone},
    workspace::Workspace,
};
use crate::{
    context::{ClusterDir, Context},
    error::{Error, Result},
    model::InstanceKey,
    plan::Plan,
    platform::{self, Machines, variables},
};

/// Resources that Terraform works on at once: one per node, within limits that this machine can handle.
const PARALLELISM: std::ops::RangeInclusive<usize> = 10..=100;

/// Plans the changes, and decides whether `up` would refuse them. `reattach` is the value of `TF_REATTACH_PROVIDERS`;
/// `None` leaves the user's own.
///
/// # Errors
/// Those of Terraform, with every diagnostic.
pub async fn plan(
    context: &Context,
    dir: &ClusterDir,
    machines: &Machines<'_>,
    consent: &Consent,
    reattach: Option<String>,
) -> Result<Planned> {
    if let Some(module) = machines.plan.platform.own_module() {
        return module::plan(context, dir, module, machines, consent, reattach).await;
    }
    Ok(prepare(context, dir, machines, consent, reattach, false).await?.planned)
}

/// Applies exactly the plan that hactl has read. `before_it` gets the changes before the apply starts. Where the plan may
/// stop several members, each is changed by a plan of its own first, one after another.
///
/// # Errors
/// When the guard refuses the plan, and those of Terraform with every diagnostic.
pub async fn apply(
    context: &Context,
    dir: &ClusterDir,
    machines: &Machines<'_>,
    consent: &Consent,
    reattach: Option<String>,
    mut before_it: impl AsyncFnMut(&Changes) -> Result<()>,
) -> Result<Provisioned> {
    if let Some(module) = machines.plan.platform.own_module() {
        return module::apply(context, dir, module, machines, consent, reattach, before_it).await;
    }
    let (mut done, mut rolled) = (BTreeSet::new(), None);
    let prepared = loop {
        let mut prepared = prepare(context, dir, machines, consent, reattach.clone(), true).await?;
        if let Some(error) = prepared.planned.refused.take() {
            return Err(error);
        }
        let changes = &prepared.planned.changes;
        let Some(step) = roll::next_alone(machines.plan, changes, &prepared.consent, &done)? else { break prepared };
        rolled.get_or_insert_with(|| changes.clone());
        prepared.change_alone(context, machines.plan, &step, &mut before_it).await?;
        done.insert(step.key);
    };
    let Prepared {
        terraform,
        workspace,
        before,
        consent,
        planned: Planned { changes, .. },
        gone,
        starts_anew,
        parallelism,
    } = prepared;
    let outputs = if changes.is_empty() && before.record.as_deref().unwrap_or_default() == machines.record {
        before.vms
    } else {
        if let Err(error) = before_it(&changes).await {
            remove_plan(&workspace);
            return Err(error);
        }
        if starts_anew {
            workspace.note_new_start()?;
        }
        if unprotect(context, dir, machines.plan, &changes).await? {
            let command = terraform.plan(&workspace.plan_file(), parallelism, false);
            terraform.stream(context, "plan", command).await?;
            let (again, _) = show(context, &terraform, &workspace).await?;
            // Between the two plans somebody may have changed machines, or the cluster its health.
            let checked = match guard(machines.plan, &again, &consent) {
                Ok(()) => before_it(&again).await,
                Err(error) => Err(error),
            };
            if let Err(error) = checked {
                remove_plan(&workspace);
                return Err(error);
            }
        }
        let command = terraform.apply(&workspace.plan_file(), parallelism);
        terraform.stream(context, "apply", command).await?;
        read_outputs(context, &terraform).await?.vms
    };
    remove_plan(&workspace);
    workspace.end_new_start()?;
    workspace.end_import()?;
    Ok(Provisioned { outputs, changes: rolled.unwrap_or(changes), gone })
}

/// Lets Proxmox remove the protected machines that the plan destroys: the user has agreed to it. Whether there were any. A
/// run that is killed after it leaves them without protection; the next `up` protects those that stay.
async fn unprotect(context: &Context, dir: &ClusterDir, plan: &Plan, changes: &Changes) -> Result<bool> {
    let destroyed = changes.resources.iter().filter(|change| change.is_machine() && change.protected);
    let destroyed = destroyed.filter(|change| matches!(change.action, Action::Delete | Action::Replace));
    let keys: BTreeSet<&InstanceKey> = destroyed.filter_map(|change| change.node.as_ref()).collect();
    if keys.is_empty() {
        return Ok(false);
    }
    let machines = recorded(context, dir, plan).await?.machines;
    let vmids = machines.iter().filter(|(key, _)| keys.contains(key)).filter_map(|(_, machine)| machine.vmid).collect();
    platform::unprotect(context, &plan.platform, &vmids).await?;
    Ok(true)
}

/// Writes another record to the state, with what later stages learnt of the machines, and changes nothing else.
///
/// # Errors
/// Those of Terraform.
pub async fn keep_record(
    context: &Context,
    dir: &ClusterDir,
    machines: &Machines<'_>,
    reattach: Option<String>,
) -> Result<()> {
    let plan = machines.plan;
    if let Some(module) = plan.platform.own_module() {
        return module::keep_record(context, dir, module, machines, reattach).await;
    }
    let workspace = Workspace::new(dir, plan);
    let environment = Environment::of(context, dir, &plan.platform, plan.backend.as_ref())?;
    let terraform = Terraform::find(context, &workspace.stack(), reattach, environment).await?;
    let terraform = terraform.with_state(&plan.cluster, plan.backend.as_ref());
    let before = read_outputs(context, &terraform).await?;
    if before.record.as_deref().unwrap_or_default() == machines.record {
        return Ok(());
    }
    workspace.write_variables(&variables(machines, &before.images))?;
    let parallelism = *PARALLELISM.start();
    let command = terraform.plan(&workspace.plan_file(), parallelism, false).arg("-refresh=false");
    terraform.stream(context, "plan", command).await?;
    let (changes, _) = show(context, &terraform, &workspace).await?;
    // If the machines' own apply has left changes, the next run handles them.
    if changes.is_empty() {
        terraform.stream(context, "apply", terraform.apply(&workspace.plan_file(), parallelism)).await?;
    }
    remove_plan(&workspace);
    Ok(())
}

/// Destroys everything that Terraform created for the cluster, and what a killed run created without writing it to the
/// state. Returns what Terraform did, or `None` if it had no state. The caller has asked the user before.
///
/// # Errors
/// Those of Terraform, with every diagnostic.
pub async fn destroy(
    context: &Context,
    dir: &ClusterDir,
    machines: &Machines<'_>,
    reattach: Option<String>,
) -> Result<Option<Destroyed>> {
    let Machines { plan, assets, .. } = *machines;
    let workspace = Workspace::new(dir, plan);
    workspace.is_of_this_platform(plan)?;
    if plan.backend.is_some() && !workspace.has_values() {
        // The machines were created from another machine: Terraform needs values to destroy them, too.
        workspace.write_variables(&variables(machines, &BTreeMap::new()))?;
    }
    let owner = workspace.owner()?;
    let destroyed = if workspace.has_state() {
        let environment = Environment::of(context, dir, &plan.platform, plan.backend.as_ref())?;
        workspace.write_trees(assets)?;
        workspace.write_moves(plan)?;
        let terraform = Terraform::find(context, &workspace.stack(), reattach, environment).await?;
        let terraform = terraform.with_state(&plan.cluster, plan.backend.as_ref());
        backend::settle(context, &workspace, &terraform, plan, true).await?;
        workspace.init(context, &terraform, assets).await?;
        Some(destroy_recorded(context, dir, &terraform, &workspace, owner.as_ref(), plan).await?)
    } else {
        None
    };
    if let Some(owner) = &owner {
        let known = destroyed.iter().flat_map(|destroyed| &destroyed.gone);
        let known = known.flat_map(|(_, names)| names.keys().map(String::as_str)).collect();
        orphans::remove_records(context, owner, &known).await?;
        orphans::remove(context, owner, |_, _| true).await?;
    }
    Ok(destroyed)
}

async fn destroy_recorded(
    context: &Context,
    dir: &ClusterDir,
    terraform: &Terraform,
    workspace: &Workspace,
    owner: Option<&Owner>,
    plan: &Plan,
) -> Result<Destroyed> {
    let parallelism = *PARALLELISM.end();
    terraform.stream(context, "plan", terraform.plan(&workspace.plan_file(), parallelism, true)).await?;
    let (mut changes, mut gone) = show(context, terraform, workspace).await?;
    let plain = |change: &ResourceChange| {
        change.node.as_ref().and_then(|key| plan.nodes.get(key)).is_some_and(|node| node.roles.is_empty())
    };
    let kept = changes.resources.iter().filter(|change| change.protected && keeps_protection(plan, plain(change)));
    let kept: Vec<&str> = kept.map(|change| change.address.as_str()).collect();
    if !kept.is_empty() {
        let error = Error::failed("protected", "destroy the machines of", &plan.cluster)
            .cause(format!("Proxmox protects {}", kept.join(", ")));
        return Err(error.hint(format!(
            "Set `protection: false` under `platform.proxmox`, run `hactl up {0}`, then `hactl down {0}`",
            plan.cluster
        )));
    }
    if unprotect(context, dir, plan, &changes).await? {
        terraform.stream(context, "plan", terraform.plan(&workspace.plan_file(), parallelism, true)).await?;
        (changes, gone) = show(context, terraform, workspace).await?;
    }
    if let Some((owner, cluster)) = owner.and_then(|owner| Some((owner, owner.cluster.as_ref()?))) {
        // A node that is not in the state would keep the network and volume in use.
        let recorded = changes.resources.iter().filter(|change| change.is_machine());
        let recorded: BTreeSet<String> =
            recorded.filter_map(|change| Some(format!("{cluster}-{}", change.node.as_ref()?))).collect();
        orphans::remove(context, owner, |kind, name| kind == "container" && !recorded.contains(name)).await?;
    }
    // An apply that created no machine can leave a record, which must go as well: it would look like a cluster.
    if !changes.leaves_the_state() {
        terraform.stream(context, "apply", terraform.apply(&workspace.plan_file(), parallelism)).await?;
    }
    remove_plan(workspace);
    Ok(Destroyed { changes, gone })
}

struct Prepared {
    terraform: Terraform,
    workspace: Workspace,
    /// The machines as the run before this one left them.
    before: Read,
    /// What the user allows, with what the platform calls the machines.
    consent: Consent,
    planned: Planned,
    gone: GoneRecords,
    /// Whether everything that earlier runs created is gone, including the data.
    starts_anew: bool,
    /// What Terraform works on at once in the apply.
    parallelism: usize,
}

impl Prepared {
    /// Changes the machine of one member and nothing else.
    async fn change_alone(
        &self,
        context: &Context,
        plan: &Plan,
        step: &Step,
        before_it: &mut impl AsyncFnMut(&Changes) -> Result<()>,
    ) -> Result<()> {
        let Self { terraform, workspace, consent, parallelism, .. } = self;
        let command = terraform.plan(&workspace.plan_file(), *parallelism, false);
        terraform.stream(context, "plan", command.args(step.targets())).await?;
        let (changes, _) = show(context, terraform, workspace).await?;
        let checked = async {
            guard(plan, &changes, consent)?;
            roll::is_alone(plan, &changes, consent, step)?;
            before_it(&changes).await
        };
        if let Err(error) = checked.await {
            remove_plan(workspace);
            return Err(error);
        }
        let command = terraform.apply(&workspace.plan_file(), *parallelism);
        terraform.stream(context, "apply", command).await.map(drop)
    }
}

async fn prepare(
    context: &Context,
    dir: &ClusterDir,
    machines: &Machines<'_>,
    consent: &Consent,
    reattach: Option<String>,
    may_move: bool,
) -> Result<Prepared> {
    // Fails before anything is written.
    terraform_binary(context)?;
    let plan = machines.plan;
    let workspace = Workspace::new(dir, plan);
    workspace.is_of_this_platform(plan)?;
    workspace.write_trees(machines.assets)?;
    workspace.write_moves(plan)?;
    let environment = Environment::of(context, dir, &plan.platform, plan.backend.as_ref())?;
    let terraform = Terraform::find(context, &workspace.stack(), reattach, environment).await?;
    let terraform = terraform.with_state(&plan.cluster, plan.backend.as_ref());
    backend::settle(context, &workspace, &terraform, plan, may_move).await?;
    workspace.init(context, &terraform, machines.assets).await?;
    let before = if workspace.has_state() { read_outputs(context, &terraform).await? } else { Read::default() };
    let parallelism = (plan.nodes.len() + 1).clamp(*PARALLELISM.start(), *PARALLELISM.end());
    let of_apply = plan.platform.proxmox().and_then(|proxmox| proxmox.parallelism).map_or(parallelism, usize::from);

    let mut kept = before.images.clone();
    if may_move && !moved(machines).is_empty() {
        workspace.write_variables(&variables(machines, &kept))?;
        relocate(context, dir, &terraform, &workspace, machines).await?;
    }
    let (mut changes, gone) = loop {
        workspace.write_variables(&variables(machines, &kept))?;
        let command = terraform.plan(&workspace.plan_file(), parallelism, false);
        terraform.stream(context, "plan", command).await?;
        let (changes, gone) = show(context, &terraform, &workspace).await?;
        // A node that is created again does not keep its old image, which may be gone.
        let made: BTreeSet<_> = made_nodes(&changes).collect();
        let count = kept.len();
        kept.retain(|key, image| machines.image == Some(image.as_str()) || !made.contains(key));
        if kept.len() == count {
            break (changes, gone);
        }
    };
    as_imports(&mut changes, moved(machines));
    let created = if workspace.is_new_start() { BTreeSet::new() } else { before.vms.keys().cloned().collect() };
    let starts_anew = starts_anew(plan, &changes, &created);
    // Where the last run did not write down what the platform called the machines, the state has it.
    let ids = before.vms.iter().map(|(key, machine)| (key.clone(), machine.id.clone()));
    let consent = Consent { machine_ids: ids.chain(consent.machine_ids.clone()).collect(), ..consent.clone() };
    let refused = guard(plan, &changes, &consent)
        .err()
        .or_else(|| voters_gone(plan, &changes, &created).map(|refusal| refusal.error(plan)));
    let planned = Planned { changes, refused };
    Ok(Prepared { terraform, workspace, before, consent, planned, gone, starts_anew, parallelism: of_apply })
}

fn made_nodes(changes: &Changes) -> impl Iterator<Item = &InstanceKey> {
    let made = changes.resources.iter().filter(|change| {
        change.kind == "hactl_node"
            && (change.action == Action::Create || change.action == Action::Replace && change.unfinished)
    });
    made.filter_map(|change| change.node.as_ref())
}

async fn show(context: &Context, terraform: &Terraform, workspace: &Workspace) -> Result<(Changes, GoneRecords)> {
    let shown = terraform.ask(context, &terraform.show(&workspace.plan_file())).await?;
    Ok((Changes::parse(&shown)?, gone_records(&shown)?))
}

/// Removes the plan, which holds all values.
fn remove_plan(workspace: &Workspace) {
    // If this fails, the next run overwrites the plan.
    let _ = std::fs::remove_file(workspace.plan_file());
}

async fn read_outputs(context: &Context, terraform: &Terraform) -> Result<Read> {
    parse_outputs(&terraform.ask(context, &terraform.output()).await?)
}
