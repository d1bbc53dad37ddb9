//! Plan + Fleet + Material -> Inventory. The names of the variables are the contract with the roles.

use std::{collections::BTreeMap, path::Path};

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Value, json};

use super::{Inventory, Material, NodeMaterial, Vars, digest, literal};
use crate::{
    error::{Error, Result},
    fleet::{Fleet, FleetNode},
    model::{InstanceKey, Platform, Role, Secret},
    plan::Plan,
};

/// Puts everything together that Ansible is told.
///
/// # Errors
/// When `material` lacks a node's certificates or an owner's password.
pub fn build(plan: &Plan, fleet: &Fleet, material: &Material) -> Result<Inventory> {
    let mut missing = Vec::new();
    let mut hosts = BTreeMap::new();
    let mut host_secrets = BTreeMap::new();
    for (key, node) in &fleet.nodes {
        hosts.insert(key.clone(), host(node));
        if node.node.roles.is_empty() {
            continue;
        }
        match material.nodes.get(key) {
            Some(material) => {
                host_secrets.insert(key.clone(), host_secret(node, material));
            }
            None => missing.push(format!("no certificates for {key}")),
        }
    }
    let owners: BTreeMap<&str, Option<&Secret>> =
        plan.postgres.databases.values().map(|owner| (owner.as_str(), material.passwords.owners.get(owner))).collect();
    missing.extend(
        owners.iter().filter(|(_, given)| given.is_none()).map(|(owner, _)| format!("no password for {owner}")),
    );
    if !missing.is_empty() {
        let error = Error::failed("inventory-material", "build the inventory of", &plan.cluster);
        return Err(missing.iter().fold(error, |error, text| error.cause(text)));
    }

    let passwords = &material.passwords;
    let owners: BTreeMap<&str, &str> =
        owners.into_iter().filter_map(|(owner, secret)| Some((owner, secret?.expose().as_str()))).collect();
    let secrets = vars([
        ("etcd_peer_ca", json!(material.etcd_peer_ca)),
        ("etcd_control_ca", json!(material.control_ca)),
        ("patroni_control_ca", json!(material.control_ca)),
        ("patroni_postgresql_ca", json!(material.postgresql_ca)),
        ("patroni_superuser_password", json!(passwords.superuser.expose())),
        ("patroni_replication_password", json!(passwords.replication.expose())),
        ("patroni_rewind_password", json!(passwords.rewind.expose())),
        ("patroni_restapi_password", json!(passwords.restapi.expose())),
        ("patroni_database_passwords", json!(owners)),
    ]);
    let groups = Role::ALL
        .iter()
        .map(|role| (role.as_str().to_owned(), fleet.with_role(*role).map(|node| node.key().clone()).collect()))
        .collect();
    let mut inventory = Inventory {
        cluster: plan.cluster.to_string(),
        groups,
        vars: cluster(plan, fleet, material),
        hosts,
        assets: material.assets.clone(),
        secrets,
        host_secrets,
    };
    // Beside the secrets, since it is made of them.
    let digest = digest::digest(&inventory);
    inventory.secrets.insert("hactl_digest".to_owned(), Value::String(digest));
    Ok(inventory)
}

fn cluster(plan: &Plan, fleet: &Fleet, material: &Material) -> Vars {
    let timers = plan.patroni.timers;
    let synchronous = plan.patroni.durability.synchronous();
    let databases: BTreeMap<&str, Value> =
        plan.postgres.databases.iter().map(|(name, owner)| (name.as_str(), json!({"owner": owner}))).collect();
    let mut cluster = vars([
        ("ansible_python_interpreter", json!("/usr/bin/python3")),
        ("ansible_ssh_common_args", json!(ssh_arguments(&material.ssh_config))),
        ("etcd_version", json!(plan.etcd)),
        ("etcd_binaries_dir", path(&material.etcd_binaries_dir)),
        ("etcd_cluster_token", json!(plan.cluster)),
        ("patroni_version", json!(plan.patroni.version)),
        ("patroni_wheels_dir", path(&material.patroni_wheels_dir)),
        ("patroni_postgresql_version", json!(plan.postgres.major)),
        ("patroni_postgresql_packages", json!(plan.postgres.packages)),
        ("patroni_postgresql_repository", json!(plan.postgres.pgdg_suite.is_some())),
        ("patroni_postgresql_repository_suite", json!(plan.postgres.pgdg_suite.as_deref().unwrap_or_default())),
        ("patroni_scope", json!(plan.cluster)),
        ("patroni_ttl", json!(timers.ttl)),
        ("patroni_loop_wait", json!(timers.loop_wait)),
        ("patroni_retry_timeout", json!(timers.retry_timeout)),
        ("patroni_primary_start_timeout", json!(timers.primary_start_timeout)),
        ("patroni_primary_stop_timeout", json!(timers.primary_stop_timeout)),
        ("patroni_synchronous_mode", json!(synchronous.mode)),
        ("patroni_synchronous_mode_strict", json!(synchronous.strict)),
        ("patroni_synchronous_node_count", json!(synchronous.node_count)),
        ("patroni_failsafe_mode", json!(true)),
        ("patroni_check_timeline", json!(true)),
        ("patroni_postgresql_parameters", json!(plan.postgres.parameters)),
        ("patroni_access", json!(access(plan, fleet))),
        ("patroni_databases", json!(databases)),
    ]);
    if let Some(file) = &material.ssh_private_key {
        cluster.extend(vars([("ansible_ssh_private_key_file", path(file))]));
    }
    cluster
}

fn host(node: &FleetNode) -> Vars {
    let roles = &node.node.roles;
    let mut host = vars([
        ("ansible_host", json!(node.ssh.host)),
        ("ansible_port", json!(node.ssh.port)),
        ("ansible_user", json!(node.ssh.user)),
    ]);
    if node.ssh.sudo {
        host.extend(vars([("ansible_become", json!(true))]));
    }
    if roles.contains(&Role::Etcd) {
        host.extend(vars([("etcd_name", json!(node.key())), ("etcd_address", json!(node.address))]));
    }
    if roles.contains(&Role::Patroni) {
        host.extend(vars([
            ("patroni_name", json!(node.key())),
            ("patroni_address", json!(node.address)),
            ("patroni_hostname", json!(node.hostname())),
        ]));
    }
    host
}

fn host_secret(node: &FleetNode, material: &NodeMaterial) -> Vars {
    let roles = &node.node.roles;
    let mut pairs = Vec::new();
    if roles.contains(&Role::Etcd) {
        pairs.extend([("etcd_peer", &material.etcd_peer), ("etcd_server", &material.etcd_server)]);
    }
    if roles.contains(&Role::Patroni) {
        pairs.extend([("patroni", &material.patroni), ("patroni_postgresql", &material.postgresql)]);
    }
    pairs
        .into_iter()
        .flat_map(|(name, pair)| {
            [
                (format!("{name}_certificate"), json!(pair.certificate)),
                (format!("{name}_key"), json!(pair.key.expose())),
            ]
        })
        .map(|(name, value)| (name, literal::no_templates(value)))
        .collect()
}

/// The networks that may connect: the cluster's own, then those of the file.
fn access(plan: &Plan, fleet: &Fleet) -> Vec<IpNet> {
    let own = |node: &FleetNode| -> Option<Ipv4Net> {
        let known = match &plan.platform {
            Platform::Local(local) => local.subnet,
            Platform::Proxmox(proxmox) => proxmox.machines.get(node.key()).and_then(|guest| guest.address.network()),
            Platform::Hosts(_) | Platform::Adopted(_) | Platform::Terraform(_) => None,
        };
        // The local platform makes networks of this size where the file says nothing, and most networks are of it.
        known.or_else(|| Ipv4Net::new(node.address, 24).ok())
    };
    let mut own: Vec<IpNet> = fleet.nodes.values().filter_map(own).map(|net| IpNet::from(net.trunc())).collect();
    own.sort();
    own.dedup();
    let given: Vec<IpNet> = plan.postgres.access.iter().filter(|net| !own.contains(net)).copied().collect();
    own.extend(given);
    own
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

/// Variables that say how to reach a host or where this machine keeps things: no part of what is
/// configured, so that another runner or a new port means no new run.
pub(super) fn is_about_the_controller(name: &str) -> bool {
    name.starts_with("ansible_") || name == "etcd_binaries_dir" || name == "patroni_wheels_dir"
}

/// The secrets of all hosts, for the files and readers that may hold them.
impl Inventory {
    pub(super) const fn secrets(&self) -> &Vars {
        &self.secrets
    }

    pub(super) const fn host_secrets(&self) -> &BTreeMap<InstanceKey, Vars> {
        &self.host_secrets
    }

    /// SHA-256, in hexadecimal, of everything that is configured: roles, variables and secrets.
    #[must_use]
    pub fn digest(&self) -> &str {
        self.secrets.get("hactl_digest").and_then(Value::as_str).unwrap_or_default()
    }
}
