//! Version 1 of the encrypted file, as it is read: a field for each account and each authority.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use uuid::Uuid;

use super::{
    authority::Leaf,
    contents::{Contents, HostKeys, SshKey, VERSION},
};
use crate::model::{Account, Authority, Certificate, ClusterName, DatabaseName, InstanceKey, Secret};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contents1 {
    #[serde(rename = "version")]
    _version: u32,
    cluster: ClusterName,
    uuid: Uuid,
    recipients: BTreeSet<String>,
    ssh: SshKey,
    authorities: Authorities,
    passwords: Passwords,
    client: Leaf,
    nodes: BTreeMap<InstanceKey, BTreeMap<String, Leaf>>,
    #[serde(default)]
    host_keys: HostKeys,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Authorities {
    etcd_peer: Leaf,
    control: Leaf,
    postgresql: Leaf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Passwords {
    superuser: Secret,
    replication: Secret,
    rewind: Secret,
    restapi: Secret,
    owners: BTreeMap<DatabaseName, Secret>,
}

impl From<Contents1> for Contents {
    fn from(old: Contents1) -> Self {
        let Authorities { etcd_peer, control, postgresql } = old.authorities;
        let authorities =
            [(Authority::ETCD_PEER, etcd_peer), (Authority::CONTROL, control), (Authority::POSTGRESQL, postgresql)];
        let Passwords { superuser, replication, rewind, restapi, owners } = old.passwords;
        let passwords = [
            (Account::SUPERUSER, superuser),
            (Account::REPLICATION, replication),
            (Account::REWIND, rewind),
            (Account::RESTAPI, restapi),
        ];
        let owners = owners.into_iter().map(|(owner, password)| (Account::Owner(owner), password));
        Self {
            version: VERSION,
            cluster: old.cluster,
            uuid: old.uuid,
            recipients: old.recipients,
            ssh: old.ssh,
            authorities: authorities.into_iter().map(|(kind, leaf)| (kind.name.to_owned(), leaf)).collect(),
            passwords: passwords.into_iter().chain(owners).collect(),
            clients: BTreeMap::from([(Certificate::CONTROLLER.name.to_owned(), old.client)]),
            nodes: old.nodes,
            host_keys: old.host_keys,
        }
    }
}
