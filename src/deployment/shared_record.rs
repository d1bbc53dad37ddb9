//! What one run leaves in the state for the next one elsewhere, and what a run takes from there.
//!
//! With a `backend`, or a module of the user's own that takes the record, Terraform's state is what all runners have in
//! common. It has the machines (output `vms`), and in the output `record` what hactl alone knows about them: which roles
//! they have, who votes in etcd, which place in the network is whose, and the host keys. That is no secret; it is sealed with
//! a key from the secrets file, so that write access to the state is not enough to make hactl trust another machine.
//! [`pull`] turns it into the files that the last run would have left here, and everything after it works as if that
//! run had been here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Cluster, state_location::StateLocation};
use crate::{
    error::{Error, Result},
    fleet::{Fleet, FleetNode},
    model::{Account, ClusterName, DatabaseName, InstanceKey, ProvedRestore, Settled},
    plan::PlannedInstance,
    secrets::{HostKeys, Vault},
};

/// The form of [`SharedRecord`] that this hactl writes, and the newest that it reads.
const VERSION: u32 = 1;

/// What hactl keeps in the state beside the machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SharedRecord {
    version: u32,
    pub(super) cluster: ClusterName,
    uuid: Uuid,
    /// What made the machines.
    pub(super) platform: String,
    /// The machines as they were meant when they were made: roles, voters, address indexes.
    pub(super) nodes: BTreeMap<InstanceKey, PlannedInstance>,
    /// Owners of databases whose passwords the secrets file has.
    pub(super) owners: BTreeSet<DatabaseName>,
    host_keys: HostKeys,
    /// Keys that the platform tells: they are in the state as well, but not sealed.
    told_keys: BTreeMap<InstanceKey, String>,
    /// What the platform calls the machines that have these keys: another one of the same name has another key.
    pub(super) machine_ids: BTreeMap<InstanceKey, String>,
    /// What runs on them; none before the first `up` has ended well, and in the records of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) settled: Option<Settled>,
    /// When the backups were last proved to restore; none where they never were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) restored: Option<ProvedRestore>,
}

/// A [`SharedRecord`] as its writer wrote it, whatever else a reader's version knows, and its seal.
#[derive(Serialize, Deserialize)]
pub(super) struct Sealed {
    pub(super) record: String,
    pub(super) seal: String,
}

impl SharedRecord {
    pub(super) fn of(cluster: &Cluster, vault: &Vault, fleet: Option<&Fleet>) -> Self {
        let host_keys = vault.host_keys().known();
        let machines = || fleet.iter().flat_map(|fleet| fleet.nodes.values());
        let met = |node: &&FleetNode| node.ssh.host_key.is_some();
        let told = |node: &FleetNode| Some((node.key().clone(), node.ssh.host_key.clone()?));
        let told_keys = machines().filter_map(told).filter(|(key, _)| !host_keys.machines.contains_key(key)).collect();
        let machine_ids = machines().filter(met).filter_map(id).collect();
        Self {
            version: VERSION,
            cluster: cluster.name().clone(),
            uuid: vault.uuid(),
            platform: cluster.plan.platform.label(),
            nodes: cluster.plan.nodes.clone(),
            owners: cluster.owners().into_iter().collect(),
            host_keys,
            told_keys,
            machine_ids,
            settled: cluster.settled().cloned(),
            restored: cluster.record.restored,
        }
    }

    /// Gives the machines their host keys: those that are sealed here or in the secrets file, and not what else the state
    /// says. One that is another machine than then has none yet.
    pub(super) fn tell(&self, vault: &Vault, fleet: &mut Fleet) {
        for node in fleet.nodes.values_mut() {
            node.ssh.host_key = None;
        }
        self.host_keys(vault).tell(fleet);
        for (key, node) in &mut fleet.nodes {
            if node.ssh.host_key.is_none() {
                node.ssh.host_key = self.told_keys.get(key).cloned();
            }
            let was = self.machine_ids.get(key);
            if was.is_some() && was != node.machine_id.as_ref() {
                node.ssh.host_key = None;
            }
        }
    }

    /// The host keys, with those before them that the secrets file here has.
    pub(super) fn host_keys(&self, vault: &Vault) -> HostKeys {
        let mut known = self.host_keys.clone();
        known.prefer(vault.host_keys());
        known
    }

    /// Sees that `vault` has every password that the cluster uses.
    ///
    /// # Errors
    /// With the owners whose passwords it lacks.
    pub(super) fn fits(&self, vault: &Vault) -> Result<()> {
        let have = vault.passwords();
        let lacks = |owner: &&DatabaseName| !have.contains_key(&Account::Owner((*owner).clone()));
        let missing: Vec<&str> = self.owners.iter().filter(lacks).map(DatabaseName::as_str).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::failed("secrets-behind", "use the secrets file of", vault.cluster())
            .cause(format!("the secrets file is older than the cluster: it has no password for {}", missing.join(", ")))
            .hint(
                "Get the file from the run that created the database, which should have committed it; without it, \
                   hactl would set another password",
            ))
    }
}

/// What is kept in the state about the machines that `vault` opens, as far as they are known.
pub(crate) fn record(cluster: &Cluster, vault: &Vault, fleet: Option<&Fleet>) -> String {
    sealed(vault, &SharedRecord::of(cluster, vault, fleet))
}

/// The same once the plan has been carried out: its versions run.
pub(crate) fn settled_record(cluster: &Cluster, vault: &Vault, fleet: &Fleet) -> String {
    let settled = Some(cluster.plan.settled());
    sealed(vault, &SharedRecord { settled, ..SharedRecord::of(cluster, vault, Some(fleet)) })
}

fn sealed(vault: &Vault, record: &SharedRecord) -> String {
    let record = text(record);
    let seal = vault.seal(&record);
    text(&Sealed { record, seal })
}

/// Names and numbers: that always goes.
pub(super) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn id(node: &FleetNode) -> Option<(InstanceKey, String)> {
    Some((node.key().clone(), node.machine_id.clone()?))
}

pub(super) fn read(text: &str, location: &StateLocation) -> Result<(SharedRecord, Sealed)> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let failed = || Error::failed("shared-record", "read hactl's record in the state", location);
    let sealed: Sealed = serde_json::from_str(text).map_err(|error| failed().source(&error))?;
    let parsed: Version = serde_json::from_str(&sealed.record).map_err(|error| failed().source(&error))?;
    if parsed.version > VERSION {
        return Err(failed().cause("a newer hactl wrote it").hint("Install the newer hactl"));
    }
    let record = serde_json::from_str(&sealed.record).map_err(|error| failed().source(&error))?;
    Ok((record, sealed))
}

/// Refuses a record that was not written with the cluster's secrets.
pub(super) fn is_sealed(sealed: &Sealed, vault: &Vault, location: &StateLocation) -> Result<()> {
    if vault.seal(&sealed.record) == sealed.seal {
        return Ok(());
    }
    Err(Error::failed("shared-record", "verify hactl's record in the state", location)
        .cause("signature check failed: the record was not written with this cluster's secrets")
        .hint(
            "Restore an earlier version of the state, then run the same command again; someone with write access to \
             the state changed the record",
        ))
}

/// Sees that the state is that of this cluster.
pub(super) fn belongs(
    record: &SharedRecord,
    cluster: &Cluster,
    vault: Option<&Vault>,
    location: &StateLocation,
) -> Result<()> {
    let name = cluster.name();
    let foreign = |cause: String| {
        Error::failed("state-of-another", "use the state", location).cause(cause).hint(format!(
            "Check {} of {name}: each cluster needs a state of its own. Change the other cluster from its own \
             directory",
            location.setting()
        ))
    };
    if record.cluster != *name {
        return Err(foreign(format!("the state belongs to cluster {}, not to {name}", record.cluster)));
    }
    let meant = cluster.plan.platform.label();
    if record.platform != meant {
        return Err(Error::usage("platform-changed", "change the platform of", name)
            .cause(format!("the cluster was made on platform {}, but its file now says {meant}", record.platform))
            .hint(format!(
                "Restore the former platform in the cluster file; `hactl down {name}` then removes the machines and \
                 their data"
            )));
    }
    let Some(vault) = vault else { return Ok(()) };
    if record.uuid != vault.uuid() {
        let (theirs, ours) = (record.uuid, vault.uuid());
        return Err(foreign(format!(
            "its machines have the UUID {theirs}, but the secrets file here has the UUID {ours}"
        )));
    }
    Ok(())
}
