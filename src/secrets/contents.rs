//! What the encrypted file holds, in the form in which it is written: JSON, and in short
//!
//! ```json
//! {
//!   "version": 2, "cluster": "pg", "uuid": "...", "recipients": ["age1..."],
//!   "ssh": {"private": "...", "public": "ssh-ed25519 ..."},
//!   "authorities": {"control": {"certificate": "...", "key": "..."}},
//!   "passwords": {"superuser": "...", "owners.app": "..."},
//!   "clients": {"controller": {"certificate": "...", "key": "..."}},
//!   "nodes": {"node1": {"patroni": {"certificate": "...", "key": "..."}}},
//!   "host_keys": {"machines": {"node1": "ssh-ed25519 ..."}, "bastions": {"HOST:PORT": "ssh-ed25519 ..."}}
//! }
//! ```
//!
//! `authorities`, `passwords`, `clients` and `nodes` are maps by name. A reader of version 2 keeps the entries that it does
//! not know, and the file may lack any that it knows: what is missing is made when a command needs it. So a new account or
//! certificate keeps the version. Everything else that changes raises it.

use std::collections::{BTreeMap, BTreeSet};

use rand::{
    SeedableRng, TryRng,
    distr::{Alphanumeric, SampleString},
    rngs::{StdRng, SysRng},
};
use serde::{Deserialize, Serialize};
use ssh_key::{
    LineEnding, PrivateKey,
    private::{Ed25519Keypair, KeypairData},
};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::authority::Leaf;
use crate::{
    error::{Error, Result},
    fleet::Fleet,
    model::{Account, ClusterName, InstanceKey, Secret},
};

/// The version of [`Contents`] that this hactl writes, and the newest that it reads.
pub(super) const VERSION: u32 = 2;

/// Letters and digits only: such a password needs no quoting in YAML, SQL, passfiles or URLs.
/// 32 of 62 characters hold 190 bits.
const PASSWORD_LENGTH: usize = 32;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contents {
    pub(super) version: u32,
    pub(super) cluster: ClusterName,
    pub(super) uuid: Uuid,
    /// Who the file is encrypted for. age keeps no such list in a file, so without it a save would
    /// lock the rest of the team out.
    pub(super) recipients: BTreeSet<String>,
    pub(super) ssh: SshKey,
    pub(super) authorities: BTreeMap<String, Leaf>,
    pub(super) passwords: BTreeMap<Account, Secret>,
    /// The controller's own certificates.
    pub(super) clients: BTreeMap<String, Leaf>,
    /// The certificates of each instance.
    pub(super) nodes: BTreeMap<InstanceKey, BTreeMap<String, Leaf>>,
    #[serde(default, skip_serializing_if = "HostKeys::is_empty")]
    pub(super) host_keys: HostKeys,
}

/// SSH host keys that are pinned (`ssh-ed25519 AAAA...`): no secrets, but here every runner has them, and only a
/// runner with the secrets can change them.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostKeys {
    pub machines: BTreeMap<InstanceKey, String>,
    /// By `HOST:PORT`.
    pub bastions: BTreeMap<String, String>,
    /// Removed keys, by their names: hactl does not take them again from the records of other runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forgotten: BTreeMap<String, String>,
}

impl HostKeys {
    fn is_empty(&self) -> bool {
        self.machines.is_empty() && self.bastions.is_empty() && self.forgotten.is_empty()
    }

    /// The keys alone, for the records that other runs read.
    #[must_use]
    pub fn known(&self) -> Self {
        Self { forgotten: BTreeMap::new(), ..self.clone() }
    }

    /// Prefers the keys of `own`, and drops the keys that `own` has removed.
    pub fn prefer(&mut self, own: &Self) {
        let forgotten = |name: &str, key: &String| own.forgotten.get(name) == Some(key);
        self.machines.retain(|name, key| !forgotten(name.as_str(), key));
        self.bastions.retain(|name, key| !forgotten(name, key));
        self.machines.extend(own.machines.clone());
        self.bastions.extend(own.bastions.clone());
        self.forgotten = own.forgotten.clone();
    }

    /// Gives the machines of `fleet` the keys that must answer, where the platform does not know them itself.
    pub fn tell(&self, fleet: &mut Fleet) {
        for (key, node) in &mut fleet.nodes {
            if node.ssh.host_key.is_none() {
                node.ssh.host_key = self.machines.get(key).cloned();
            }
            if let Some(hop) = &mut node.ssh.bastion {
                hop.host_key = self.bastions.get(&format!("{}:{}", hop.host, hop.port)).cloned();
            }
        }
    }

    /// Each with its owner: an instance, or `HOST:PORT` of a bastion.
    pub fn iter(&self) -> impl Iterator<Item = (String, &String)> {
        let machines = self.machines.iter().map(|(key, host_key)| (key.to_string(), host_key));
        machines.chain(self.bastions.iter().map(|(place, host_key)| (place.clone(), host_key)))
    }

    /// Removes the key of an instance, or of the bastion at `HOST:PORT`; false when it has none.
    pub fn forget(&mut self, name: &str) -> bool {
        let machine = self.machines.iter().find(|(key, _)| key.as_str() == name).map(|(key, _)| key.clone());
        let gone = machine.and_then(|key| self.machines.remove(&key)).or_else(|| self.bastions.remove(name));
        let known = gone.is_some();
        self.forgotten.extend(gone.map(|key| (name.to_owned(), key)));
        known
    }
}

/// The key pair that opens the nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshKey {
    /// OpenSSH's private key format, unencrypted.
    pub private: Secret,
    /// `ssh-ed25519 AAAA... hactl-NAME`, without a line end.
    pub public: String,
}

impl SshKey {
    pub(super) fn generate(cluster: &ClusterName) -> Result<Self> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Error::failed("secrets-generate", "generate the SSH key of", cluster).source(error)
        };
        let mut seed = Zeroizing::new([0; 32]);
        SysRng.try_fill_bytes(&mut *seed).map_err(|error| failed(&error))?;
        let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
        let key = PrivateKey::new(pair, format!("hactl-{cluster}")).map_err(|error| failed(&error))?;
        let private = key.to_openssh(LineEnding::LF).map_err(|error| failed(&error))?;
        let public = key.public_key().to_openssh().map_err(|error| failed(&error))?;
        Ok(Self { private: Secret::new(private.to_string()), public })
    }
}

/// A new password, of a generator that the operating system's randomness seeds.
pub(super) fn password() -> Result<Secret> {
    let mut random = StdRng::try_from_rng(&mut SysRng).map_err(|error| {
        Error::failed("secrets-generate", "read randomness from", "the operating system").source(&error)
    })?;
    Ok(Secret::new(Alphanumeric.sample_string(&mut random, PASSWORD_LENGTH)))
}
