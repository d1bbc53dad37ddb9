//! The digest of everything that the configuration depends on: the roles and playbooks, the variables and the secrets.
//! Nodes keep it, and a node with an equal digest needs no change.
//!
//! A plain hash is enough: its input has the keys of the nodes, which cannot be guessed.

use sha2::{Digest, Sha256};

use super::{Inventory, Vars};
use crate::{assets, component};

pub(super) fn digest(inventory: &Inventory) -> String {
    let mut hash = Sha256::new();
    assets::hash(&mut hash, inventory.assets.software());
    part(&mut hash, inventory.cluster.as_bytes());
    for (group, hosts) in &inventory.groups {
        part(&mut hash, group.as_bytes());
        hosts.iter().for_each(|host| part(&mut hash, host.as_str().as_bytes()));
    }
    hash_vars(&mut hash, &inventory.vars);
    hash_vars(&mut hash, inventory.secrets());
    for (host, vars) in inventory.hosts.iter().chain(inventory.host_secrets()) {
        part(&mut hash, host.as_str().as_bytes());
        hash_vars(&mut hash, vars);
    }
    assets::hexadecimal(&hash.finalize())
}

fn hash_vars(hash: &mut Sha256, vars: &Vars) {
    for (name, value) in vars.iter().filter(|(name, _)| !is_about_the_controller(name)) {
        part(hash, name.as_bytes());
        part(hash, value.to_string().as_bytes());
    }
}

/// Variables that say how to reach a host or where this machine keeps files. They are not part of the configuration, so
/// another runner or a new port does not cause a new run.
fn is_about_the_controller(name: &str) -> bool {
    name.starts_with("ansible_") || component::downloads().any(|download| download.variable == name)
}

/// Hashes the length as well, so that different sequences of parts never give the same bytes.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}
