//! Plan + Fleet + Material -> Inventory. The names of the variables are the contract with the roles.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::{Value, json};

use super::{Inventory, Material, Vars, digest, literal};
use crate::{
    component::{self, COMPONENTS, Lookup, RoleVars, pgbackrest},
    error::{Error, Result},
    fleet::{Fleet, FleetNode},
    model::{InstanceKey, Role},
    plan::Plan,
};

/// Builds the inventory: everything that Ansible is given.
///
/// # Errors
/// When `material` lacks a certificate or a password.
pub fn build(plan: &Plan, fleet: &Fleet, material: &Material) -> Result<Inventory> {
    let mut lookup = Lookup::new(&material.secrets);
    let with_roles = fleet.nodes.iter().filter(|(_, node)| !node.node.roles.is_empty());
    let host_secrets = with_roles.map(|(key, node)| {
        let components = component::on(&node.node);
        let vars = components.map(|component| (component.variables.host_secrets)(key, &mut lookup));
        (key.clone(), merged(vars))
    });
    let host_secrets: BTreeMap<_, _> = host_secrets.collect();
    let secrets = merged(COMPONENTS.iter().map(|component| (component.variables.secrets)(plan, &mut lookup)));
    let missing = lookup.missing();
    if !missing.is_empty() {
        let error = Error::failed("inventory-material", "build the inventory of", &plan.cluster);
        return Err(missing.iter().fold(error, |error, text| error.cause(text)));
    }

    let backed_up = fleet.data_nodes().filter(|_| plan.backup.is_some()).map(|node| node.key().clone()).collect();
    let groups = Role::ALL
        .iter()
        .map(|role| (role.as_str().to_owned(), fleet.with_role(*role).map(|node| node.key().clone()).collect()))
        .chain([(pgbackrest::GROUP.to_owned(), backed_up)])
        .chain(own_groups(fleet))
        .collect();
    let mut inventory = Inventory {
        cluster: plan.cluster.to_string(),
        groups,
        vars: cluster(plan, fleet, material),
        hosts: fleet.nodes.iter().map(|(key, node)| (key.clone(), host(node))).collect(),
        assets: material.assets.clone(),
        secrets,
        host_secrets,
    };
    // Among the secrets, because it is derived from them.
    let digest = digest::digest(&inventory);
    inventory.secrets.insert("hactl_digest".to_owned(), Value::String(digest));
    Ok(inventory)
}

/// The groups of components that only some clusters have, where a machine has the component.
fn own_groups(fleet: &Fleet) -> BTreeMap<String, BTreeSet<InstanceKey>> {
    let mut groups: BTreeMap<String, BTreeSet<InstanceKey>> = BTreeMap::new();
    for node in fleet.nodes.values() {
        for group in component::on(&node.node).filter_map(|component| component.group) {
            groups.entry(group.to_owned()).or_default().insert(node.key().clone());
        }
    }
    groups
}

fn cluster(plan: &Plan, fleet: &Fleet, material: &Material) -> Vars {
    let mut cluster = vars([
        ("ansible_python_interpreter", json!("/usr/bin/python3")),
        ("ansible_ssh_common_args", json!(ssh_arguments(&material.ssh_config))),
    ]);
    if let Some(file) = &material.ssh_private_key {
        cluster.extend(vars([("ansible_ssh_private_key_file", path(file))]));
    }
    // Where the kernel is the machine's own and hactl may change it, the clock is too.
    if !plan.kernel.is_empty() {
        cluster.extend(vars([("common_chrony", json!(true))]));
    }
    if plan.platform.grows_disks() {
        cluster.extend(vars([("common_grow_disks", json!(true))]));
    }
    cluster.extend(material.downloads.iter().flat_map(|done| vars([(done.variable, path(&done.dir))])));
    cluster.extend(merged(COMPONENTS.iter().flat_map(|component| {
        let variables = &component.variables;
        [(variables.install)(plan), (variables.cluster)(plan, fleet)]
    })));
    cluster
}

fn host(node: &FleetNode) -> Vars {
    let mut host = vars([
        ("ansible_host", json!(node.ssh.host)),
        ("ansible_port", json!(node.ssh.port)),
        ("ansible_user", json!(node.ssh.user)),
    ]);
    if node.ssh.sudo {
        host.extend(vars([("ansible_become", json!(true))]));
    }
    if let Some(device) = &node.data_device {
        host.extend(vars([("common_data_device", json!(device))]));
    }
    let components = component::on(&node.node);
    host.extend(merged(components.map(|component| (component.variables.host)(node))));
    host
}

fn path(path: &Path) -> Value {
    Value::String(path.display().to_string())
}

/// Arguments of ssh, in the form that Ansible splits like a shell.
fn ssh_arguments(config: &Path) -> String {
    format!("-F {}", literal::shell_word(&config.display().to_string()))
}

fn vars<const N: usize>(pairs: [(&str, Value); N]) -> Vars {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), literal::no_templates(value))).collect()
}

/// The variables of the components, without templates.
fn merged(vars: impl Iterator<Item = RoleVars>) -> Vars {
    vars.flatten().map(|(name, value)| (name, literal::no_templates(value))).collect()
}
