//! `hactl_volume`: the volume of a node's PGDATA, which survives the node.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    network::{check_owner, not_importable, with_import_hint},
    node::DISK_GB,
    resource::{Call, Failed, Resource, ResourceProblem, check_text, check_whole, parse, state},
    schema::{Attribute, Kind, Mode, Schema},
    value::{Object, State, Value},
};
use crate::{
    error::Result,
    model::{ClusterName, InstanceKey},
    platform::local,
};

pub(super) struct Volume;

#[derive(Debug, Serialize, Deserialize)]
struct Attributes {
    cluster: ClusterName,
    cluster_uuid: Uuid,
    key: InstanceKey,
    disk_gb: Option<u32>,
    name: Option<String>,
}

impl Attributes {
    fn request(&self) -> local::VolumeRequest {
        local::VolumeRequest {
            cluster: self.cluster.clone(),
            uuid: self.cluster_uuid,
            key: self.key.clone(),
            disk_gb: self.disk_gb,
        }
    }

    fn named(self) -> State {
        let name = Some(self.request().name());
        state(&Self { name, ..self })
    }
}

#[tonic::async_trait]
impl Resource for Volume {
    fn type_name(&self) -> &'static str {
        "hactl_volume"
    }

    fn schema(&self) -> Schema {
        use {Kind::*, Mode::*};
        Schema {
            description: "The data volume of a local node. It outlives the node, and is removed only when it is destroyed itself.",
            attributes: vec![
                Attribute::new("cluster", Text, Required, "Name of the cluster, for example `pg-prod`.").replaces(),
                Attribute::new("cluster_uuid", Text, Required, "UUID of the cluster that owns the volume.").replaces(),
                Attribute::new("key", Text, Required, "Key of the instance, for example `node1`.").replaces(),
                Attribute::new(
                    "disk_gb",
                    Number,
                    Optional,
                    "Size in GiB of the node's own disk, which is a file on this volume.",
                )
                .replaces(),
                Attribute::new("name", Text, Computed, "Name of the volume."),
            ],
        }
    }

    fn validate(&self, config: &Object) -> Vec<ResourceProblem> {
        let mut problems = check_owner(config);
        check_text(config, "key", &mut problems, |text| text.parse::<InstanceKey>().map(|_| ()));
        check_whole(config, "disk_gb", 1..=u32::MAX, DISK_GB, &mut problems);
        problems
    }

    fn plan(&self, prior: Option<&Object>, planned: &mut Object) {
        let text = |name: &str| planned.get(name).and_then(Value::text);
        if prior.is_none()
            && let Some(cluster) = text("cluster").and_then(|text| text.parse().ok())
            && let Some(key) = text("key").and_then(|text| text.parse().ok())
        {
            let request = local::VolumeRequest { cluster, uuid: Uuid::nil(), key, disk_gb: None };
            planned.insert("name".to_owned(), Value::Text(request.name()));
        }
    }

    async fn create(&self, call: &Call<'_>, planned: State) -> Result<State, Failed> {
        let planned: Attributes = parse(planned)?;
        let created = call.engine().await?.create_volume(&planned.request()).await;
        created.map_err(|error| with_import_hint(error, &format!("{}/{}", planned.cluster, planned.key)))?;
        Ok(planned.named())
    }

    async fn read(&self, call: &Call<'_>, known: State) -> Result<Option<State>> {
        let known: Attributes = parse(known)?;
        let found = call.engine().await?.find_volume(&known.request().name()).await?;
        let ours = found.filter(|volume| volume.uuid == Some(known.cluster_uuid));
        Ok(ours.map(|volume| Attributes { disk_gb: volume.disk_gb, ..known }.named()))
    }

    async fn update(&self, _: &Call<'_>, _: State, planned: State) -> Result<State, Failed> {
        // A change of any attribute that the user sets replaces the volume.
        Ok(planned)
    }

    async fn delete(&self, call: &Call<'_>, known: State) -> Result<()> {
        let known: Attributes = parse(known)?;
        let (engine, name) = (call.engine().await?, known.request().name());
        match engine.find_volume(&name).await? {
            Some(volume) if volume.uuid == Some(known.cluster_uuid) => engine.remove_volume(&name).await,
            _ => Ok(()),
        }
    }

    async fn import(&self, call: &Call<'_>, id: &str) -> Result<State> {
        let refused =
            || not_importable("volume", id).hint("Import the volume as CLUSTER/KEY, for example pg-prod/node1");
        // Separated by a slash, because both names may contain hyphens.
        let (cluster, key) = id.split_once('/').ok_or_else(refused)?;
        let cluster: ClusterName = cluster.parse().map_err(|error| refused().source(&error))?;
        let key: InstanceKey = key.parse().map_err(|error| refused().source(&error))?;
        let request = local::VolumeRequest { cluster, uuid: Uuid::nil(), key, disk_gb: None };
        let name = request.name();
        let found = call.engine().await?.find_volume(&name).await?;
        match found.and_then(|volume| Some((volume.uuid?, volume.disk_gb))) {
            Some((cluster_uuid, disk_gb)) => {
                let local::VolumeRequest { cluster, key, .. } = request;
                Ok(Attributes { cluster, cluster_uuid, key, disk_gb, name: None }.named())
            }
            None => Err(refused().cause(format!("hactl has not created a volume {name}"))),
        }
    }
}
