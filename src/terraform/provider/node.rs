//! `hactl_node`: a machine of the local platform, a container that runs systemd and answers SSH.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    network::{check_owner, not_importable, with_import_hint},
    resource::{Call, Failed, Resource, ResourceProblem, check_text, check_whole, parse, state},
    schema::{Attribute, Kind, Mode, Schema},
    value::{Object, State, Value},
};
use crate::{
    error::Result,
    model::{ClusterName, HostName, InstanceKey},
    platform::local::{self, CreateFailed},
};

const RUNNING: &str = "running";
const STOPPED: &str = "stopped";

/// With less memory, systemd and sshd do not start reliably.
const LEAST_MEMORY_MIB: u32 = 128;

/// The end of the message about a wrong disk size.
pub(super) const DISK_GB: &str = ", at least 1, for example 20";

pub(super) struct Node;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Attributes {
    cluster: ClusterName,
    cluster_uuid: Uuid,
    key: InstanceKey,
    hostname: HostName,
    image: String,
    network: String,
    address: Ipv4Addr,
    volume: Option<String>,
    disk_gb: Option<u32>,
    memory: u32,
    cores: u32,
    /// `None` after an import: the engine does not know which keys a node has.
    authorized_keys: Option<Vec<String>>,
    status: Option<String>,
    id: Option<String>,
    name: Option<String>,
    ssh_host: Option<String>,
    ssh_port: Option<u16>,
    host_key: Option<String>,
}

impl Attributes {
    fn request(&self) -> local::NodeRequest {
        local::NodeRequest {
            cluster: self.cluster.clone(),
            uuid: self.cluster_uuid,
            key: self.key.clone(),
            hostname: self.hostname.clone(),
            image: self.image.clone(),
            network: self.network.clone(),
            address: self.address,
            volume: self.volume.clone(),
            disk_gb: self.disk_gb,
            memory_mib: self.memory,
            cores: self.cores,
            authorized_keys: self.authorized_keys.clone().unwrap_or_default(),
        }
    }

    fn of(node: local::Container, authorized_keys: Option<Vec<String>>) -> Self {
        Self {
            cluster: node.cluster,
            cluster_uuid: node.uuid,
            key: node.key,
            hostname: node.hostname,
            image: node.image,
            network: node.network,
            address: node.address,
            volume: node.volume,
            disk_gb: node.disk_gb,
            memory: node.memory_mib,
            cores: node.cores,
            authorized_keys,
            status: Some(if node.running { RUNNING } else { STOPPED }.to_owned()),
            id: Some(node.id),
            name: Some(node.name),
            ssh_host: Some(Ipv4Addr::LOCALHOST.to_string()),
            ssh_port: Some(node.ssh_port),
            host_key: Some(node.host_key),
        }
    }
}

#[tonic::async_trait]
impl Resource for Node {
    fn type_name(&self) -> &'static str {
        "hactl_node"
    }

    fn schema(&self) -> Schema {
        use {Kind::*, Mode::*};
        Schema {
            description: "A machine of the local platform: a container that runs systemd and answers SSH.",
            attributes: vec![
                Attribute::new("cluster", Text, Required, "Name of the cluster, for example `pg-prod`.").replaces(),
                Attribute::new("cluster_uuid", Text, Required, "UUID of the cluster that owns the node.").replaces(),
                Attribute::new("key", Text, Required, "Key of the instance, for example `node1`.").replaces(),
                Attribute::new("hostname", Text, Required, "Host name: one DNS label.").replaces(),
                Attribute::new("image", Text, Required, "Image on this machine that has systemd and sshd.").replaces(),
                Attribute::new("network", Text, Required, "Name of a `hactl_network`.").replaces(),
                Attribute::new("address", Text, Required, "Fixed IPv4 address within the network.").replaces(),
                Attribute::new("volume", Text, Optional, "Name of a `hactl_volume` for `/var/lib/postgresql`.")
                    .replaces(),
                Attribute::new(
                    "disk_gb",
                    Number,
                    Optional,
                    "Size in GiB of the node's own disk, which is a file on that volume.",
                )
                .replaces(),
                Attribute::new("memory", Number, Required, "Memory in MiB. Changed in place."),
                Attribute::new("cores", Number, Required, "Processor cores. Changed in place."),
                Attribute::new("authorized_keys", Texts, Required, "SSH public keys that may log in as root.")
                    .replaces_if_recorded(),
                Attribute::new("status", Text, Computed, "`running`; the next apply starts a node that is `stopped`."),
                Attribute::new("id", Text, Computed, "The container's ID in the engine."),
                Attribute::new("name", Text, Computed, "Name of the container: CLUSTER-KEY."),
                Attribute::new("ssh_host", Text, Computed, "Address at which this machine publishes SSH."),
                Attribute::new("ssh_port", Number, Computed, "Port on which this machine publishes SSH."),
                Attribute::new("host_key", Text, Computed, "SSH host key in OpenSSH's format."),
            ],
        }
    }

    fn validate(&self, config: &Object) -> Vec<ResourceProblem> {
        let mut problems = check_owner(config);
        check_text(config, "key", &mut problems, |text| text.parse::<InstanceKey>().map(|_| ()));
        check_text(config, "hostname", &mut problems, |text| text.parse::<HostName>().map(|_| ()));
        check_text(config, "address", &mut problems, |text| match text.parse::<Ipv4Addr>() {
            Ok(address) if address.to_string() == text => Ok(()),
            _ => Err(format!("`{text}` is not an IPv4 address, for example 10.89.0.10.")),
        });
        let memory = format!(", at least {LEAST_MEMORY_MIB}, for example 2048");
        check_whole(config, "memory", LEAST_MEMORY_MIB..=u32::MAX, &memory, &mut problems);
        check_whole(config, "cores", 1..=u32::MAX, ", at least 1, for example 2", &mut problems);
        check_whole(config, "disk_gb", 1..=u32::MAX, DISK_GB, &mut problems);
        if matches!(config.get("disk_gb"), Some(Value::Number(_))) && config.get("volume") == Some(&Value::Null) {
            let detail = "The disk is a file on the node's volume: set `volume` as well.".to_owned();
            problems.push(ResourceProblem::at("disk_gb", "Disk without a volume".to_owned(), detail));
        }
        problems
    }

    fn plan(&self, prior: Option<&Object>, planned: &mut Object) {
        // A node should always run: for a stopped node, this difference starts it.
        planned.insert("status".to_owned(), Value::Text(RUNNING.to_owned()));
        if prior.is_none() {
            let text = |name: &str| planned.get(name).and_then(Value::text).map(str::to_owned);
            if let (Some(cluster), Some(key)) = (text("cluster"), text("key")) {
                planned.insert("name".to_owned(), Value::Text(format!("{cluster}-{key}")));
            }
            planned.insert("ssh_host".to_owned(), Value::Text(Ipv4Addr::LOCALHOST.to_string()));
        }
    }

    async fn create(&self, call: &Call<'_>, planned: State) -> Result<State, Failed> {
        let planned: Attributes = parse(planned)?;
        let request = planned.request();
        let engine = call.engine().await?;
        // A node of this cluster from a killed run: it may have been in use, with the data of its voter.
        let existed = matches!(engine.find_node(&request.name()).await, Ok(Some(node)) if node.uuid == request.uuid);
        let created = call
            .with_progress(&request.key, |progress| {
                let (request, stop) = (&request, &call.stop);
                async move { engine.create_node(request, &progress, stop).await }
            })
            .await;
        match created {
            Ok(node) => Ok(state(&Attributes::of(node, planned.authorized_keys))),
            Err(CreateFailed { error, partial }) => {
                let error = with_import_hint(error, &request.name());
                if existed {
                    // With a state, Terraform would taint and replace it; without one, the next run takes it over.
                    return Err(error.into());
                }
                if call.stop.is_cancelled() {
                    // An interrupted run leaves no incomplete node.
                    engine.remove_node(&request.name()).await?;
                    return Err(error.into());
                }
                let state = partial.map(|node| state(&Attributes::of(node, planned.authorized_keys)));
                Err(Failed { problem: error.into(), state })
            }
        }
    }

    async fn read(&self, call: &Call<'_>, known: State) -> Result<Option<State>> {
        let known: Attributes = parse(known)?;
        let found = call.engine().await?.find_node(&known.request().name()).await?;
        // A node of another cluster with that name is not the one that hactl created. A killed run left a node that
        // never booted incomplete: the next create replaces it.
        let ours = found.filter(|node| node.uuid == known.cluster_uuid && node.booted);
        Ok(ours.map(|node| state(&Attributes::of(node, known.authorized_keys))))
    }

    async fn update(&self, call: &Call<'_>, prior: State, planned: State) -> Result<State, Failed> {
        let (prior, planned): (Attributes, Attributes) = (parse(prior)?, parse(planned)?);
        let (engine, name) = (call.engine().await?, planned.request().name());
        let changed = async {
            if (prior.memory, prior.cores) != (planned.memory, planned.cores) {
                engine.update_node(&name, planned.memory, planned.cores).await?;
            }
            call.with_progress(&planned.key, |progress| {
                let (name, stop) = (&name, &call.stop);
                async move { engine.start_node(name, &progress, stop).await }
            })
            .await
        };
        match changed.await {
            Ok(node) => Ok(state(&Attributes::of(node, planned.authorized_keys))),
            Err(error) => {
                // The current state, if it can be read, else the former one.
                let found = engine.find_node(&name).await.ok().flatten();
                let state = found.map(|node| state(&Attributes::of(node, prior.authorized_keys)));
                Err(Failed { problem: error.into(), state })
            }
        }
    }

    async fn delete(&self, call: &Call<'_>, known: State) -> Result<()> {
        let known: Attributes = parse(known)?;
        let (engine, name) = (call.engine().await?, known.request().name());
        match engine.find_node(&name).await? {
            Some(node) if node.uuid == known.cluster_uuid => engine.remove_node(&name).await,
            _ => Ok(()),
        }
    }

    async fn import(&self, call: &Call<'_>, id: &str) -> Result<State> {
        match call.engine().await?.find_node(id).await? {
            Some(node) => Ok(state(&Attributes::of(node, None))),
            None => Err(not_importable("node", id)
                .cause(format!("the container {id} does not exist"))
                .hint("Import the node by its container's name, CLUSTER-KEY, for example pg-prod-node1")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::provider::value::fixture::{object, text};

    #[test]
    fn invalid_node_is_reported_at_its_attributes() {
        let bad = object(&[
            ("key", text("Node_1")),
            ("hostname", text("-a")),
            ("address", text("10.0.0")),
            ("memory", Value::Number(64.0)),
            ("cores", Value::Number(1.5)),
            ("disk_gb", Value::Number(0.0)),
        ]);
        let at: Vec<_> = Node.validate(&bad).into_iter().filter_map(|problem| problem.attribute).collect();
        assert_eq!(at, ["key", "hostname", "address", "memory", "cores", "disk_gb"]);
        assert!(Node.validate(&object(&[("memory", Value::Unknown), ("cores", Value::Null)])).is_empty());
        let disk = |volume| Node.validate(&object(&[("disk_gb", Value::Number(1.0)), ("volume", volume)])).len();
        assert_eq!((disk(Value::Null), disk(Value::Unknown), disk(text("v"))), (1, 0, 0));
    }

    #[test]
    fn stopped_node_is_planned_to_run_without_replacement() {
        let prior =
            object(&[("cluster", text("pg")), ("status", text(STOPPED)), ("ssh_port", Value::Number(22_201.0))]);
        let (mut planned, replacing) = Node.schema().plan(Some(&prior), prior.clone());
        Node.plan(Some(&prior), &mut planned);
        assert!(replacing.is_empty());
        assert_eq!(planned["status"], text(RUNNING));
        assert_eq!(planned["ssh_port"], prior["ssh_port"]);
    }

    #[test]
    fn node_is_replaced_for_image_and_address_but_not_memory_and_cores() {
        let names = ["image", "address", "memory", "cores", "hostname", "volume", "network", "disk_gb"];
        let replacing: Vec<_> = names
            .into_iter()
            .filter(|name| {
                let prior = object(&[(*name, text("a"))]);
                !Node.schema().plan(Some(&prior), object(&[(*name, text("b"))])).1.is_empty()
            })
            .collect();
        assert_eq!(replacing, ["image", "address", "hostname", "volume", "network", "disk_gb"]);
    }
}
