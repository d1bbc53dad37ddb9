//! The stage itself: the order in which Terraform is asked to do things.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{
    changes::{Action, Changes},
    guard::{guard, voters_gone},
    terraform::Terraform,
    workspace::{Machines, Workspace, variables},
};
use crate::{
    context::{ClusterDir, Context},
    error::{Error, Result},
    fleet::Outputs,
    model::InstanceKey,
};

/// Resources that Terraform works on at once: one per node, within reason for the machine.
const PARALLELISM: std::ops::RangeInclusive<usize> = 10..=100;

/// What `up` and `plan` find out before anything is done.
#[derive(Debug)]
pub struct Planned {
    pub changes: Changes,
    /// Why `up` would refuse this plan.
    pub refused: Option<Error>,
}

/// The machines that there are, and what was done for it.
#[derive(Debug)]
pub struct Provisioned {
    pub outputs: Outputs,
    pub changes: Changes,
}

/// What would be done, and whether it would be refused. `reattach` is the value of
/// `TF_REATTACH_PROVIDERS`; none leaves the user's own.
///
/// # Errors
/// Those of Terraform, with every diagnostic.
pub async fn plan(
    context: &Context,
    dir: &ClusterDir,
    machines: &Machines<'_>,
    reattach: Option<String>,
) -> Result<Planned> {
    Ok(prepare(context, dir, machines, reattach).await?.planned)
}

/// Makes the machines as planned: exactly the plan that was read is applied.
///
/// # Errors
/// When the guard refuses the plan, and those of Terraform with every diagnostic.
pub async fn apply(
    context: &Context,
    dir: &ClusterDir,
    machines: &Machines<'_>,
    reattach: Option<String>,
) -> Result<Provisioned> {
    let Prepared { terraform, workspace, planned, parallelism } = prepare(context, dir, machines, reattach).await?;
    if let Some(error) = planned.refused {
        return Err(error);
    }
    if !planned.changes.is_empty() {
        let command = terraform.apply(&workspace.plan_file(), parallelism);
        terraform.stream(context, "apply", command).await?;
    }
    remove_plan(&workspace);
    let outputs = read_outputs(context, &terraform).await?.vms;
    Ok(Provisioned { outputs, changes: planned.changes })
}

/// Destroys everything that Terraform made for the cluster; what was done, or none when there was
/// nothing. Whoever calls this has asked the user.
///
/// # Errors
/// Those of Terraform, with every diagnostic.
pub async fn destroy(context: &Context, dir: &ClusterDir, reattach: Option<String>) -> Result<Option<Changes>> {
    let workspace = Workspace::new(dir);
    if !workspace.has_state() {
        return Ok(None);
    }
    workspace.write_trees()?;
    let terraform = Terraform::find(context, &workspace.stack(), reattach).await?;
    workspace.init(context, &terraform).await?;
    let parallelism = *PARALLELISM.end();
    terraform.stream(context, "plan", terraform.plan(&workspace.plan_file(), parallelism, true)).await?;
    let changes = show(context, &terraform, &workspace).await?;
    if !changes.is_empty() {
        terraform.stream(context, "apply", terraform.apply(&workspace.plan_file(), parallelism)).await?;
    }
    remove_plan(&workspace);
    Ok(Some(changes))
}

/// The machines as the last run left them; empty when none did.
///
/// # Errors
/// Those of Terraform.
pub async fn outputs(context: &Context, dir: &ClusterDir) -> Result<Outputs> {
    let workspace = Workspace::new(dir);
    if !workspace.has_state() {
        return Ok(Outputs::new());
    }
    let terraform = Terraform::find(context, &workspace.stack(), None).await?;
    Ok(read_outputs(context, &terraform).await?.vms)
}

struct Prepared {
    terraform: Terraform,
    workspace: Workspace,
    planned: Planned,
    parallelism: usize,
}

async fn prepare(
    context: &Context,
    dir: &ClusterDir,
    machines: &Machines<'_>,
    reattach: Option<String>,
) -> Result<Prepared> {
    let workspace = Workspace::new(dir);
    workspace.write_trees()?;
    let terraform = Terraform::find(context, &workspace.stack(), reattach).await?;
    workspace.init(context, &terraform).await?;
    let before = if workspace.has_state() { read_outputs(context, &terraform).await? } else { Read::default() };
    let parallelism = (machines.plan.nodes.len() + 1).clamp(*PARALLELISM.start(), *PARALLELISM.end());

    let mut kept = before.images;
    let changes = loop {
        workspace.write_variables(&variables(machines, &kept))?;
        let command = terraform.plan(&workspace.plan_file(), parallelism, false);
        terraform.stream(context, "plan", command).await?;
        let changes = show(context, &terraform, &workspace).await?;
        // A node that is made again has nothing of its old image left to keep, and that may be gone.
        let made: BTreeSet<_> = made_nodes(&changes).collect();
        let count = kept.len();
        kept.retain(|key, image| image == machines.image || !made.contains(key));
        if kept.len() == count {
            break changes;
        }
    };
    let created = before.vms.keys().cloned().collect();
    let refused = guard(machines.plan, &changes)
        .err()
        .or_else(|| voters_gone(machines.plan, &changes, &created).map(|refusal| refusal.error(machines.plan)));
    Ok(Prepared { terraform, workspace, planned: Planned { changes, refused }, parallelism })
}

fn made_nodes(changes: &Changes) -> impl Iterator<Item = &InstanceKey> {
    let made = changes.resources.iter().filter(|change| {
        change.kind == "hactl_node"
            && (change.action == Action::Create || change.action == Action::Replace && change.unfinished)
    });
    made.filter_map(|change| change.node.as_ref())
}

async fn show(context: &Context, terraform: &Terraform, workspace: &Workspace) -> Result<Changes> {
    let shown = terraform.show(&workspace.plan_file()).succeed(context, |_| ()).await?;
    Changes::parse(&shown.stdout)
}

/// A plan that was applied is of no more use, and holds all values.
fn remove_plan(workspace: &Workspace) {
    // One that stays is written over by the next run.
    let _ = std::fs::remove_file(workspace.plan_file());
}

/// The outputs that hactl reads.
#[derive(Debug, Default)]
struct Read {
    vms: Outputs,
    /// What each node was made from, on platforms that say so.
    images: BTreeMap<InstanceKey, String>,
}

async fn read_outputs(context: &Context, terraform: &Terraform) -> Result<Read> {
    let output = terraform.output().succeed(context, |_| ()).await?;
    parse_outputs(&output.stdout)
}

fn parse_outputs(json: &str) -> Result<Read> {
    #[derive(Deserialize)]
    struct Output<T> {
        value: T,
    }
    #[derive(Deserialize)]
    struct All {
        vms: Option<Output<Outputs>>,
        images: Option<Output<BTreeMap<InstanceKey, String>>>,
    }
    let all: All = serde_json::from_str(json).map_err(|error| {
        Error::failed("terraform-output", "read", "Terraform's output `vms`").source(&error).hint(
            "it must be a map { key = { id = string, name = string, ipv4 = string or null, ssh_host, ssh_port, host_key } }",
        )
    })?;
    Ok(Read {
        vms: all.vms.map(|output| output.value).unwrap_or_default(),
        images: all.images.map(|output| output.value).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_as_the_contract_has_them() {
        let json = r#"{"vms":{"sensitive":false,"type":["object",{}],"value":{"node1":{"id":"1","name":"pg-node1",
            "ipv4":"10.89.0.10","ssh_host":"127.0.0.1","ssh_port":22201,"host_key":"ssh-ed25519 AAAA"}}},
            "images":{"value":{"node1":"debian:12"}},"other":{"value":1}}"#;
        let read = parse_outputs(json).unwrap();
        let machine = &read.vms[&"node1".parse().unwrap()];
        assert_eq!((machine.ipv4.unwrap().to_string().as_str(), machine.ssh_port), ("10.89.0.10", Some(22_201)));
        assert_eq!(read.images.len(), 1);
        assert!(parse_outputs("{}").unwrap().vms.is_empty());
        assert_eq!(parse_outputs(r#"{"vms":{"value":[1]}}"#).unwrap_err().code, "terraform-output");
    }
}
