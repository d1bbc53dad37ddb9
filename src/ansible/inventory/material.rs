//! What secrets and downloads give the inventory.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    assets::Assets,
    model::{Account, InstanceKey, Secret},
};

/// Everything that is neither intended nor found: made, fetched, or part of hactl.
#[derive(Clone, Debug)]
pub struct Material {
    /// The roles that the inventory is for, and its templates.
    pub assets: Assets,
    pub passwords: BTreeMap<Account, Secret>,
    /// The certificates of authorities by their names, PEM.
    pub authorities: BTreeMap<String, String>,
    /// The certificates and keys of each node, by their names.
    pub nodes: BTreeMap<InstanceKey, BTreeMap<String, KeyPair>>,
    /// The private key that nodes let in; none leaves the agent's.
    pub ssh_private_key: Option<PathBuf>,
    /// OpenSSH's configuration: bastions, and who is known.
    pub ssh_config: PathBuf,
    /// Directory with etcd, etcdctl and etcdutl for the nodes.
    pub etcd_binaries_dir: PathBuf,
    /// Directory with Patroni's wheels for the nodes' Python.
    pub patroni_wheels_dir: PathBuf,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: Secret,
}
