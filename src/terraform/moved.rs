//! Containers that moved to another hypervisor: the provider looks for them on the former one and takes them for gone.
//! `up` lets Terraform forget them and import them from where they are.

use super::{
    binary::Terraform,
    changes::{Action, Changes},
    import,
    recorded::recorded,
    workspace::Workspace,
};
use crate::{
    context::{ClusterDir, Context},
    error::Result,
    event::Stage,
    model::ProxmoxKind,
    platform::{Machines, MovedMachine},
};

/// The machines that moved.
pub(super) fn moved<'a>(machines: &Machines<'a>) -> &'a [MovedMachine] {
    machines.surveyed.map_or(&[], |surveyed| &surveyed.moved)
}

/// What `up` will do with them: it imports what Terraform, which cannot find them, would create.
pub(super) fn as_imports(changes: &mut Changes, moved: &[MovedMachine]) {
    let created = changes.resources.iter_mut().filter(|change| change.is_machine() && change.action == Action::Create);
    for change in created.filter(|change| moved.iter().any(|machine| change.node.as_ref() == Some(&machine.key))) {
        change.action = Action::Import;
    }
}

/// Lets Terraform forget the machines, and import them from where they are: only the state changes. A run that is killed in
/// between leaves import blocks, with which the next run goes on.
///
/// # Errors
/// Those of Terraform, and when the import blocks cannot be written.
pub(super) async fn relocate(
    context: &Context,
    dir: &ClusterDir,
    terraform: &Terraform,
    workspace: &Workspace,
    machines: &Machines<'_>,
) -> Result<()> {
    let state = recorded(context, dir, machines.plan).await?.machines;
    // This run may have done it already.
    let there = |machine: &&MovedMachine| {
        state.get(&machine.key).and_then(|held| held.hypervisor.as_ref()) == Some(&machine.hypervisor)
    };
    let moved: Vec<&MovedMachine> = moved(machines).iter().filter(|machine| !there(machine)).collect();
    let before = workspace.import_blocks()?;
    let mut blocks = before.clone();
    for machine in &moved {
        import::block(&mut blocks, &import::address(ProxmoxKind::Lxc, &machine.key), &id(machine));
    }
    workspace.write_imports(&blocks)?;
    for machine in moved {
        let (held, address) = (&machine.held_as, import::address(ProxmoxKind::Lxc, &machine.key));
        terraform.ask(context, &terraform.state_rm(&import::address(ProxmoxKind::Lxc, held))).await?;
        terraform.ask(context, &terraform.import(&address, &id(machine))).await?;
        let step = format!(
            "{}: container {} is on {} now; Terraform took it over from there",
            machine.key, machine.vmid, machine.hypervisor
        );
        context.events.step(Stage::Provision, None, step).await;
    }
    workspace.write_imports(&before)
}

/// The container's name for the provider.
fn id(machine: &MovedMachine) -> String {
    format!("{}/{}", machine.hypervisor, machine.vmid)
}
