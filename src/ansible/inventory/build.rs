//! Plan + Fleet + Material -> Inventory. The names of the variables are the contract with the roles.

use std::{collections::BTreeMap, path::Path};

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Value, json};

use super::{Inventory, KeyPair, Material, Vars, digest, literal};
use crate::{
    error::{Error, Result},
    fleet::{Fleet, FleetNode},
    model::{Account, Authority, Certificate, InstanceKey, Role, Secret},
    plan::Plan,
};

/// Puts everything together that Ansible is told.
///
/// # Errors
/// When `material` lacks a certificate or a password.
pub fn build(plan: &Plan, fleet: &Fleet, material: &Material) -> Result<Inventory> {
    let mut missing = Vec::new();
    let mut hosts = BTreeMap::new();
    let mut host_secrets = BTreeMap::new();
    for (key, node) in &fleet.nodes {
        hosts.insert(key.clone(), host(node));
        if node.node.roles.is_empty() {
            continue;
        }
        match material.nodes.get(key).and_then(|pairs| host_secret(node, pairs)) {
            Some(secret) => _ = host_secrets.insert(key.clone(), secret),
            None => missing.push(format!("no certificates for {key}")),
        }
    }
    let password = |account: &Account| material.passwords.get(account).map(Secret::expose);
    let authority = |kind: Authority| material.authorities.get(kind.name);
    let mut owners = BTreeMap::new();
    for owner in plan.postgres.databases.values() {
        match password(&Account::Owner(owner.clone())) {
            Some(password) => _ = owners.insert(owner.as_str(), password),
            None => missing.push(format!("no password for {owner}")),
        }
    }
    let mut secrets = vars([("patroni_database_passwords", json!(owners))]);
    for (name, value) in [
        ("etcd_peer_ca", authority(Authority::ETCD_PEER)),
        ("etcd_control_ca", authority(Authority::CONTROL)),
        ("patroni_control_ca", authority(Authority::CONTROL)),
        ("patroni_postgresql_ca", authority(Authority::POSTGRESQL)),
        ("patroni_superuser_password", password(&Account::SUPERUSER)),
        ("patroni_replication_password", password(&Account::REPLICATION)),
        ("patroni_rewind_password", password(&Account::REWIND)),
        ("patroni_restapi_password", password(&Account::RESTAPI)),
    ] {
        match value {
            Some(value) => secrets.extend(vars([(name, json!(value))])),
            None => missing.push(format!("no value for {name}")),
        }
    }
    if !missing.is_empty() {
        let error = Error::failed("inventory-material", "build the inventory of", &plan.cluster);
        return Err(missing.iter().fold(error, |error, text| error.cause(text)));
    }

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

/// The certificates and keys of the node's roles; none where one is missing.
fn host_secret(node: &FleetNode, pairs: &BTreeMap<String, KeyPair>) -> Option<Vars> {
    let roles = &node.node.roles;
    let mut wanted = Vec::new();
    if roles.contains(&Role::Etcd) {
        wanted.extend([("etcd_peer", Certificate::ETCD_PEER), ("etcd_server", Certificate::ETCD_SERVER)]);
    }
    if roles.contains(&Role::Patroni) {
        wanted.extend([("patroni", Certificate::PATRONI), ("patroni_postgresql", Certificate::POSTGRESQL)]);
    }
    let mut secret = Vars::new();
    for (name, kind) in wanted {
        let pair = pairs.get(kind.name)?;
        for (part, value) in [("certificate", &pair.certificate), ("key", pair.key.expose())] {
            secret.insert(format!("{name}_{part}"), literal::no_templates(json!(value)));
        }
    }
    Some(secret)
}

/// The networks that may connect: the cluster's own, then those of the file.
fn access(plan: &Plan, fleet: &Fleet) -> Vec<IpNet> {
    let own = |node: &FleetNode| -> Option<Ipv4Net> {
        let known = plan.platform.network(node.key());
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
