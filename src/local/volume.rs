//! A node's data volume: PGDATA outlives the container that uses it.

use std::collections::HashMap;

use bollard::{
    models::{Volume as EngineVolume, VolumeCreateRequest},
    query_parameters::RemoveVolumeOptions,
};
use uuid::Uuid;

use super::engine::{
    Engine, LABEL_NODE, fault, is_absent, labels, optional, refusal, require_made_by_hactl, require_ours, uuid_of,
};
use crate::{
    error::Result,
    model::{ClusterName, InstanceKey},
};

/// The volume of a node that is to be.
#[derive(Clone, Debug)]
pub struct VolumeRequest {
    pub cluster: ClusterName,
    pub uuid: Uuid,
    pub key: InstanceKey,
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
}

impl Engine {
    /// Makes the node's volume, or returns the one that carries the cluster's UUID with its data.
    ///
    /// # Errors
    /// When the name is taken by somebody else.
    pub async fn create_volume(&self, request: &VolumeRequest) -> Result<Volume> {
        let name = request.name();
        let mut labels = labels(&request.cluster, request.uuid);
        labels.insert(LABEL_NODE.to_owned(), request.key.to_string());
        let body = VolumeCreateRequest { name: Some(name.clone()), labels: Some(labels), ..Default::default() };
        // The engine answers a second creation with the volume that is there, so its labels decide.
        let made = self.docker.create_volume(body).await;
        let made = made.map_err(|error| fault("create volume", &name, &error))?;
        require_ours(&made.labels, request.uuid, "volume", &name, &format!("docker volume rm {name}"))?;
        Ok(to_volume(&made))
    }

    /// The volume called `name`, whoever made it.
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
                let in_use = refusal(&error).is_some_and(|(status, _)| status == 409);
                let failed = fault("remove volume", name, &error);
                Err(if in_use {
                    failed.hint(format!("`docker ps -a --filter volume={name}` shows the container that uses it"))
                } else {
                    failed
                })
            }
            Ok(()) => Ok(()),
        }
    }

    async fn inspect_volume(&self, name: &str) -> Result<Option<EngineVolume>> {
        let found = self.docker.inspect_volume(name).await;
        optional(found).map_err(|error| fault("look at volume", name, &error))
    }
}

fn to_volume(found: &EngineVolume) -> Volume {
    let labels: &HashMap<String, String> = &found.labels;
    Volume { name: found.name.clone(), uuid: uuid_of(labels) }
}
