//! What secrets and downloads give the inventory.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    assets::Assets,
    model::{DatabaseName, InstanceKey, Secret},
};

/// Everything that is neither intended nor found: made, fetched, or part of hactl.
#[derive(Clone, Debug)]
pub struct Material {
    /// The roles that the inventory is for, and its templates.
    pub assets: Assets,
    pub passwords: Passwords,
    /// The CA of etcd's peers, PEM.
    pub etcd_peer_ca: String,
    /// The CA of etcd's clients and Patroni's REST API, PEM.
    pub control_ca: String,
    /// The CA of PostgreSQL's servers, PEM.
    pub postgresql_ca: String,
    pub nodes: BTreeMap<InstanceKey, NodeMaterial>,
    /// The private key that nodes let in; none leaves the agent's.
    pub ssh_private_key: Option<PathBuf>,
    /// OpenSSH's configuration: bastions, and who is known.
    pub ssh_config: PathBuf,
    /// Directory with etcd, etcdctl and etcdutl for the nodes.
    pub etcd_binaries_dir: PathBuf,
    /// Directory with Patroni's wheels for the nodes' Python.
    pub patroni_wheels_dir: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Passwords {
    pub superuser: Secret,
    pub replication: Secret,
    pub rewind: Secret,
    pub restapi: Secret,
    /// By the role that owns a database.
    pub owners: BTreeMap<DatabaseName, Secret>,
}

/// One node's certificates and keys.
#[derive(Clone, Debug)]
pub struct NodeMaterial {
    pub etcd_peer: KeyPair,
    pub etcd_server: KeyPair,
    /// Patroni's REST API, and its own requests to peers and etcd.
    pub patroni: KeyPair,
    pub postgresql: KeyPair,
}

#[derive(Clone, Debug)]
pub struct KeyPair {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: Secret,
}
