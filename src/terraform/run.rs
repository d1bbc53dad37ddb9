//! The stage itself: the order in which Terraform's commands run.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    backend,
    binary::Terraform,
    changes::{Action, Changes, GoneRecords, MACHINES, gone_records},
    consent::Consent,
    environment::Environment,
    guard::guard,
    module,
    orphans::{self, Owner},
    outcome::{Destroyed, Planned, Provisioned},
    outputs::{Read, parse_outputs},
    program::terraform_binary,
    roll::{self, Step},
    voters::{starts_anew, voters_gone},
    workspace::Workspace,
};
use crate::{
    context::{ClusterDir, Context},
    error::{Error, Result},
    model::InstanceKey,
    plan::Plan,
    platform::{Machines, Recorded, variables},
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
        let Some(step) = roll::next_alone(machines.plan, changes, consent, &done)? else { break prepared };
        rolled.get_or_insert_with(|| changes.clone());
        prepared.change_alone(context, machines.plan, consent, &step, &mut before_it).await?;
        done.insert(step.key);
    };
    let Prepared { terraform, workspace, before, planned: Planned { changes, .. }, gone, starts_anew, parallelism } =
        prepared;
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
        let command = terraform.apply(&workspace.plan_file(), parallelism);
        terraform.stream(context, "apply", command).await?;
        read_outputs(context, &terraform).await?.vms
    };
    remove_plan(&workspace);
    workspace.end_new_start()?;
    workspace.end_import()?;
    Ok(Provisioned { outputs, changes: rolled.unwrap_or(changes), gone })
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
        Some(destroy_recorded(context, &terraform, &workspace, owner.as_ref(), plan).await?)
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
    terraform: &Terraform,
    workspace: &Workspace,
    owner: Option<&Owner>,
    plan: &Plan,
) -> Result<Destroyed> {
    let parallelism = *PARALLELISM.end();
    terraform.stream(context, "plan", terraform.plan(&workspace.plan_file(), parallelism, true)).await?;
    let (changes, gone) = show(context, terraform, workspace).await?;
    let protected: Vec<&str> =
        changes.resources.iter().filter(|change| change.protected).map(|change| change.address.as_str()).collect();
    if !protected.is_empty() {
        let error = Error::failed("protected", "destroy the machines of", &plan.cluster)
            .cause(format!("Proxmox protects {}", protected.join(", ")));
        return Err(error.hint(format!(
            "Set `protection: false` under `platform.proxmox`, run `hactl up {0}`, then `hactl down {0}`",
            plan.cluster
        )));
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

/// What earlier runs created, finished or not, and what import blocks name.
///
/// # Errors
/// Those of Terraform, or when the import blocks cannot be read.
pub async fn recorded(context: &Context, dir: &ClusterDir, plan: &Plan) -> Result<Recorded> {
    let workspace = Workspace::new(dir, plan);
    let mut text = workspace.import_blocks()?;
    let (backends, here) = backend::possible_backends(&workspace, plan)?;
    for backend in &backends {
        text += &backend::addresses(context, &plan.cluster, backend).await?;
    }
    if here {
        let terraform = Terraform::find(context, &workspace.stack(), None, Environment::default()).await?;
        text += &terraform.ask(context, &terraform.state_list()).await?;
    }
    Ok(Recorded { begun: begun(dir, plan)?, ..recorded_in(&text) })
}

/// Reads addresses, each at the end of its line.
fn recorded_in(text: &str) -> Recorded {
    let mut recorded = Recorded::default();
    for address in text.lines().filter_map(|line| line.split_whitespace().last()) {
        recorded.pool |= address.ends_with("proxmox_virtual_environment_pool.this");
        let key = address.strip_suffix("\"]").and_then(|start| start.rsplit_once("[\""));
        if let Some((resource, key)) = key
            && MACHINES.iter().any(|kind| resource.ends_with(&format!("{kind}.this")))
        {
            recorded.machines.extend(key.parse());
        }
    }
    recorded
}

/// The UUID of the cluster whose machines an earlier run has begun to create here, if any.
///
/// # Errors
/// When the values of that run cannot be read.
pub fn begun(dir: &ClusterDir, plan: &Plan) -> Result<Option<Uuid>> {
    let owner = Workspace::new(dir, plan).owner()?;
    // A plan before the first `up` has none yet.
    Ok(owner.map(|owner| owner.cluster_uuid).filter(|uuid| !uuid.is_nil()))
}

struct Prepared {
    terraform: Terraform,
    workspace: Workspace,
    /// The machines as the run before this one left them.
    before: Read,
    planned: Planned,
    gone: GoneRecords,
    /// Whether everything that earlier runs created is gone, including the data.
    starts_anew: bool,
    parallelism: usize,
}

impl Prepared {
    /// Changes the machine of one member and nothing else.
    async fn change_alone(
        &self,
        context: &Context,
        plan: &Plan,
        consent: &Consent,
        step: &Step,
        before_it: &mut impl AsyncFnMut(&Changes) -> Result<()>,
    ) -> Result<()> {
        let Self { terraform, workspace, parallelism, .. } = self;
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

    let mut kept = before.images.clone();
    let (changes, gone) = loop {
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
    let created = if workspace.is_new_start() { BTreeSet::new() } else { before.vms.keys().cloned().collect() };
    let starts_anew = starts_anew(plan, &changes, &created);
    // Where the last run did not write down what the platform called the machines, the state has it.
    let ids = before.vms.iter().map(|(key, machine)| (key.clone(), machine.id.clone()));
    let machine_ids = ids.chain(consent.machine_ids.clone()).collect();
    let refused = guard(plan, &changes, &Consent { machine_ids, ..consent.clone() })
        .err()
        .or_else(|| voters_gone(plan, &changes, &created).map(|refusal| refusal.error(plan)));
    let planned = Planned { changes, refused };
    Ok(Prepared { terraform, workspace, before, planned, gone, starts_anew, parallelism })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_and_pool_are_read_from_state_list_and_import_blocks() {
        let list = "module.machines.proxmox_virtual_environment_vm.this[\"node1\"]\n\
                    module.machines.terraform_data.origin[\"node2\"]\n\
                    module.pool[0].proxmox_virtual_environment_pool.this\n";
        let recorded = recorded_in(list);
        assert_eq!((recorded.machines.len(), recorded.pool), (1, true));
        let import = "import {\n  to = module.machines.proxmox_virtual_environment_container.this[\"a\"]\n  id = \"pve1/100\"\n}\n";
        let recorded = recorded_in(import);
        assert_eq!((recorded.machines.len(), recorded.pool), (1, false));
        assert_eq!(recorded_in(""), Recorded::default());
    }
}
