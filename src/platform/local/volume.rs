//! A node's data volume: PGDATA outlives the container that uses it.

use std::collections::HashMap;

use bollard::{
    models::{Volume as EngineVolume, VolumeCreateRequest},
    query_parameters::RemoveVolumeOptions,
};
use uuid::Uuid;

use super::{
    container::LABEL_DISK,
    disk,
    engine::{Engine, LABEL_NODE, labels, require_made_by_hactl, require_ours, uuid_of},
    refusal::{Refusal, fault, is_absent, optional},
};
use crate::{
    error::{Error, Result},
    model::{ClusterName, InstanceKey},
};

/// The volume of a node that is to be.
#[derive(Clone, Debug)]
pub struct VolumeRequest {
    pub cluster: ClusterName,
    pub uuid: Uuid,
    pub key: InstanceKey,
    /// The size in GiB of the disk that its node shall have on it.
    pub disk_gb: Option<u32>,
}

impl VolumeRequest {
    /// The volume's name, `CLUSTER-KEY-pgdata`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}-pgdata", self.cluster, self.key)
    }
}

/// A volume of the engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Volume {
    pub name: String,
    /// None when hactl did not make it.
    pub uuid: Option<Uuid>,
    /// The size in GiB of the disk that lies on it; none when PGDATA lies there directly.
    pub disk_gb: Option<u32>,
}

impl Engine {
    /// Makes the node's volume, or returns the one that carries the cluster's UUID with its data.
    ///
    /// # Errors
    /// When another owner has the name, or when its data lies there in another way than asked for:
    /// beside a disk, or on one of another size.
    pub async fn create_volume(&self, request: &VolumeRequest) -> Result<Volume> {
        let name = request.name();
        let mut labels = labels(&request.cluster, request.uuid);
        labels.insert(LABEL_NODE.to_owned(), request.key.to_string());
        labels.extend(request.disk_gb.map(|gb| (LABEL_DISK.to_owned(), gb.to_string())));
        let body = VolumeCreateRequest { name: Some(name.clone()), labels: Some(labels), ..Default::default() };
        // The engine answers a second creation with the volume that is there, so its labels decide.
        let made = self.docker.create_volume(body).await;
        let made = made.map_err(|error| fault("create volume", &name, &error))?;
        require_ours(&made.labels, request.uuid, "volume", &name, &format!("docker volume rm {name}"))?;
        let made = to_volume(&made);
        if made.disk_gb != request.disk_gb {
            let (is, wanted) = (disk::words(made.disk_gb), disk::words(request.disk_gb));
            return Err(Error::failed("volume-differs", "take over volume", &name)
                .cause(format!("it holds data with {is}, but the cluster file asks for {wanted}"))
                .hint(format!(
                    "Restore the old `disk_gb`; or, if you do not need its data, remove it with `docker volume rm \
                     {name}`"
                )));
        }
        Ok(made)
    }

    /// The volume called `name`, made by hactl or not.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn find_volume(&self, name: &str) -> Result<Option<Volume>> {
        Ok(self.inspect_volume(name).await?.as_ref().map(to_volume))
    }

    /// Removes the volume called `name` with its data; one that is not there is fine.
    ///
    /// # Errors
    /// When hactl did not make it, or when a container uses it.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        let Some(found) = self.inspect_volume(name).await? else { return Ok(()) };
        require_made_by_hactl(Some(&found.labels), "volume", name)?;
        match self.docker.remove_volume(name, None::<RemoveVolumeOptions>).await {
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => {
                let in_use = Refusal::of(&error) == Refusal::Conflict;
                let failed = fault("remove volume", name, &error);
                Err(if in_use {
                    failed.hint(format!("Run `docker ps -a --filter volume={name}` to find the container that uses it"))
                } else {
                    failed
                })
            }
            Ok(()) => Ok(()),
        }
    }

    async fn inspect_volume(&self, name: &str) -> Result<Option<EngineVolume>> {
        let found = self.docker.inspect_volume(name).await;
        optional(found).map_err(|error| fault("inspect volume", name, &error))
    }
}

fn to_volume(found: &EngineVolume) -> Volume {
    let labels: &HashMap<String, String> = &found.labels;
    Volume {
        name: found.name.clone(),
        uuid: uuid_of(labels),
        disk_gb: labels.get(LABEL_DISK).and_then(|text| text.parse().ok()),
    }
}
