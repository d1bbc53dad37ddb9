//! Nodes: a request comes in, a container that runs systemd and answers SSH goes out.
//!
//! What a node is lies in its labels and its configuration at the engine, so every process finds the
//! same node, and one that was left half-made is told from one that has lived.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use bollard::{
    body_full,
    models::{ContainerInspectResponse, ContainerStateStatusEnum},
    query_parameters::{
        CreateContainerOptions, InspectContainerOptions, KillContainerOptions, ListContainersOptions,
        RemoveContainerOptions, StartContainerOptions, UploadToContainerOptions,
    },
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    container::{DATA_DIR, LABEL_CORES, LABEL_DISK, LABEL_HOST_KEY, LABEL_MEMORY, LABEL_SSH_PORT, STORE},
    disk,
    engine::{Engine, LABEL_CLUSTER, LABEL_NODE, LABEL_UUID, require_made_by_hactl, require_ours, uuid_of},
    node_request::{Chosen, HostKey, NodeRequest, create_body, first_files, key_files, limits, limits_of},
    progress::Progress,
    refusal::{Refusal, fault, is_absent, optional},
};
use crate::{
    error::{Error, Result, codes},
    model::{ClusterName, HostName, InstanceKey},
};

/// The time between two looks at a container that is being removed.
const REMOVE_PAUSE: Duration = Duration::from_millis(100);
/// How long the engine may take to make a container go away.
const REMOVE_DEADLINE: Duration = Duration::from_secs(30);
/// Ports that are tried when other programs take them while a node is being made.
const PORT_ATTEMPTS: usize = 8;
/// SSH is published below the ports that the kernel gives to outgoing connections (from 32768), so
/// that a stopped node finds its port free when it starts again.
const PORTS: std::ops::Range<u16> = 22_200..32_000;

/// A machine of the local platform, running or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Container {
    pub id: String,
    /// The container's name, `CLUSTER-KEY`.
    pub name: String,
    pub cluster: ClusterName,
    pub key: InstanceKey,
    pub hostname: HostName,
    pub image: String,
    pub network: String,
    pub address: Ipv4Addr,
    pub volume: Option<String>,
    /// The size in GiB of the disk on that volume; none when PGDATA lies on the volume itself.
    pub disk_gb: Option<u32>,
    pub memory_mib: u32,
    pub cores: u32,
    pub running: bool,
    /// It has run at least once. One that has not may lack its keys: it is made again, not started.
    pub booted: bool,
    /// Where SSH answers on 127.0.0.1; the same for the node's whole life.
    pub ssh_port: u16,
    /// The SSH host key in OpenSSH's form.
    pub host_key: String,
    pub uuid: Uuid,
}

/// A node that was not made, or not to the end.
#[derive(Clone, Debug)]
pub struct CreateFailed {
    pub error: Error,
    /// What there is of it; it carries the cluster's labels, and a second attempt finishes it.
    pub partial: Option<Container>,
}

impl From<Error> for CreateFailed {
    fn from(error: Error) -> Self {
        Self { error, partial: None }
    }
}

impl Engine {
    /// Makes a node and waits until it answers SSH.
    ///
    /// Its host key and the keys that may log in are put into it before it boots. A node with the
    /// same name and UUID is finished when it has booted before, and made again when it never has.
    /// `progress` is told each step.
    ///
    /// # Errors
    /// When another owner has the name, when a living node of ours differs from the request,
    /// when the engine refuses, when it does not answer SSH in time, or when `stop` is cancelled.
    pub async fn create_node(
        &self,
        request: &NodeRequest,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> Result<Container, CreateFailed> {
        let name = request.name();
        if let Some(found) = self.inspect_container(&name).await? {
            require_ours(&container_labels(&found), request.uuid, "node", &name, &format!("docker rm -f {name}"))?;
            if has_booted(&found) {
                progress.report("found, completing it").await;
                return self.finish(request, &found, progress, stop).await;
            }
            progress.report("creating it again").await;
            self.remove_node(&name).await?;
        }
        progress.report("creating").await;
        for attempt in 1.. {
            if let Err(error) = self.create_container(request).await {
                return Err(self.partial(&name, error).await);
            }
            progress.report("starting").await;
            match self.start_container(&name).await {
                Ok(()) => break,
                Err(error) if error.code == codes::PORT_TAKEN && attempt < PORT_ATTEMPTS => {
                    self.remove_node(&name).await?;
                }
                Err(error) => return Err(self.partial(&name, error).await),
            }
        }
        match self.wait_for_ssh(&name, progress, stop).await {
            Ok(node) => Ok(node),
            Err(error) => Err(self.partial(&name, error).await),
        }
    }

    /// The node called `name`, running or not.
    ///
    /// # Errors
    /// When the container is not one of hactl's, or its labels were damaged.
    pub async fn find_node(&self, name: &str) -> Result<Option<Container>> {
        self.inspect_container(name).await?.as_ref().map(to_node).transpose()
    }

    /// Starts a node and waits until it answers SSH; one that runs already only has to answer.
    ///
    /// # Errors
    /// When there is no such node, when its port was taken by another program, when it does not
    /// answer SSH in time, or when `stop` is cancelled.
    pub async fn start_node(&self, name: &str, progress: &Progress, stop: &CancellationToken) -> Result<Container> {
        progress.report("starting").await;
        self.start_container(name).await?;
        self.wait_for_ssh(name, progress, stop).await
    }

    /// Stops a node as a shutdown does, or by force after 20 s. One that is not running is fine.
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn stop_node(&self, name: &str) -> Result<()> {
        let options = bollard::query_parameters::StopContainerOptions { t: Some(20), ..Default::default() };
        self.docker.stop_container(name, Some(options)).await.map_err(|error| fault("stop node", name, &error))
    }

    /// Takes a node's power away: its init is killed, and with it everything that runs. One that does
    /// not run is fine.
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn kill_node(&self, name: &str) -> Result<()> {
        let options = KillContainerOptions { signal: "SIGKILL".to_owned() };
        match self.docker.kill_container(name, Some(options)).await {
            // The engine's word for a container that does not run.
            Err(error) if Refusal::of(&error) == Refusal::Conflict => Ok(()),
            killed => killed.map_err(|error| fault("kill node", name, &error)),
        }
    }

    /// Gives a node its power, and waits for nothing. One that runs is fine.
    ///
    /// # Errors
    /// When there is no such node, or its port was taken by another program.
    pub async fn power_on_node(&self, name: &str) -> Result<()> {
        self.start_container(name).await
    }

    /// Changes a node's limits while it runs.
    ///
    /// # Errors
    /// When the engine refuses them, for example because the node uses more memory than that.
    pub async fn update_node(&self, name: &str, memory_mib: u32, cores: u32) -> Result<()> {
        let body = limits(&self.limits, memory_mib, cores);
        self.docker.update_container(name, body).await.map_err(|error| fault("change the limits of node", name, &error))
    }

    /// Kills a node and removes it; its volume stays. One that is not there is fine.
    ///
    /// # Errors
    /// When the container is not one of hactl's, or the engine does not get rid of it in time.
    pub async fn remove_node(&self, name: &str) -> Result<()> {
        let Some(found) = self.inspect_container(name).await? else { return Ok(()) };
        require_made_by_hactl(Some(&container_labels(&found)), "container", name)?;
        let id = found.id.unwrap_or_default();
        self.remove_container(&id, name).await
    }

    pub(super) async fn remove_container(&self, id: &str, name: &str) -> Result<()> {
        // `v` removes nameless volumes only, which an image may declare.
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        let deadline = Instant::now() + REMOVE_DEADLINE;
        loop {
            match self.docker.remove_container(id, Some(options.clone())).await {
                Ok(()) => return Ok(()),
                Err(error) if is_absent(&error) => return Ok(()),
                // Another request is removing it already: it is waited for.
                Err(error) if Refusal::of(&error) == Refusal::Conflict && Instant::now() < deadline => {
                    tokio::time::sleep(REMOVE_PAUSE).await;
                }
                Err(error) => return Err(fault("remove node", name, &error)),
            }
        }
    }

    async fn finish(
        &self,
        request: &NodeRequest,
        found: &ContainerInspectResponse,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> Result<Container, CreateFailed> {
        let node = to_node(found)?;
        let name = &node.name;
        let different = differences(request, &node);
        if !different.is_empty() {
            let error = Error::failed("node-differs", "take over node", name)
                .cause(format!(
                    "it belongs to this cluster and has booted before, but differs from the plan: {}",
                    different.join(", ")
                ))
                .hint(format!(
                    "Remove it with `docker rm -f {name}`; the next `hactl up` creates it again and keeps its volume"
                ));
            return Err(CreateFailed { error, partial: Some(node) });
        }
        let finished = async {
            self.upload(name, key_files(request)?).await?;
            if (node.memory_mib, node.cores) != (request.memory_mib, request.cores) {
                self.update_node(name, request.memory_mib, request.cores).await?;
            }
            self.start_node(name, progress, stop).await
        };
        finished.await.map_err(|error| CreateFailed { error, partial: Some(node.clone()) })
    }

    /// Creates the container with a free port, and puts its first files into it.
    async fn create_container(&self, request: &NodeRequest) -> Result<()> {
        let name = request.name();
        let host_key = HostKey::generate(&name)?;
        {
            // Nodes are made in parallel: a port counts as taken once its container exists.
            let _choosing = self.choosing_port.lock().await;
            let ssh_port = self.free_port(&name).await?;
            let body = create_body(&self.limits, request, &Chosen { ssh_port, host_key: &host_key });
            let options = CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
            self.docker.create_container(Some(options), body).await.map_err(|error| {
                let no_image = Refusal::of(&error) == Refusal::NoImage;
                let failed = fault("create node", &name, &error);
                if no_image { failed.hint("Run `hactl image build` to create the image") } else { failed }
            })?;
        }
        self.upload(&name, first_files(request, &host_key)?).await
    }

    async fn upload(&self, name: &str, archive: Vec<u8>) -> Result<()> {
        let options = UploadToContainerOptions { path: "/".to_owned(), ..Default::default() };
        let uploaded = self.docker.upload_to_container(name, Some(options), body_full(archive.into())).await;
        uploaded.map_err(|error| fault("put files into node", name, &error))
    }

    /// A port on loopback that no program listens on and no container has, stopped ones included.
    async fn free_port(&self, name: &str) -> Result<u16> {
        let filters = HashMap::from([("label".to_owned(), vec![LABEL_SSH_PORT.to_owned()])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let containers = self.docker.list_containers(Some(options)).await;
        let containers = containers.map_err(|error| fault("list", "the engine's containers", &error))?;
        let given: HashSet<u16> = containers
            .into_iter()
            .filter_map(|container| container.labels?.get(LABEL_SSH_PORT)?.parse().ok())
            .collect();
        // A random start keeps two hactl processes from going through the same ports together.
        let start = rand::random_range(PORTS);
        let mut ports = (start..PORTS.end).chain(PORTS.start..start).filter(|port| !given.contains(port));
        ports.find(|port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).ok_or_else(|| {
            Error::failed("no-port", "find a free SSH port for node", name).cause(format!(
                "all ports from {} to {} are in use on 127.0.0.1",
                PORTS.start,
                PORTS.end - 1
            ))
        })
    }

    async fn start_container(&self, name: &str) -> Result<()> {
        let started = self.docker.start_container(name, None::<StartContainerOptions>).await;
        started.map_err(|error| {
            let failed = fault("start node", name, &error);
            if Refusal::of(&error) == Refusal::PortTaken {
                Error { code: codes::PORT_TAKEN, ..failed }.hint(format!(
                    "Run `docker port {name}` to see the port, and stop the program that uses it, or remove the node \
                     with `docker rm -f {name}`; then run `hactl up` again"
                ))
            } else {
                failed
            }
        })
    }

    async fn partial(&self, name: &str, error: Error) -> CreateFailed {
        // The first error is the one to report, also when the engine is gone by now.
        CreateFailed { error, partial: self.find_node(name).await.ok().flatten() }
    }

    pub(super) async fn inspect_container(&self, name: &str) -> Result<Option<ContainerInspectResponse>> {
        let found = self.docker.inspect_container(name, None::<InspectContainerOptions>).await;
        let found = optional(found).map_err(|error| fault("inspect node", name, &error))?;
        // The engine also answers to the beginning of an id.
        Ok(found.filter(|container| container.name.as_deref().map(|name| name.trim_start_matches('/')) == Some(name)))
    }
}

fn has_booted(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().and_then(|state| state.status) != Some(ContainerStateStatusEnum::CREATED)
}

fn container_labels(found: &ContainerInspectResponse) -> HashMap<String, String> {
    found.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default()
}

/// What cannot be changed on a node that has lived, and is not as requested.
fn differences(request: &NodeRequest, node: &Container) -> Vec<String> {
    let pairs = [
        ("host name", node.hostname.to_string(), request.hostname.to_string()),
        ("image", node.image.clone(), request.image.clone()),
        ("network", node.network.clone(), request.network.clone()),
        ("address", node.address.to_string(), request.address.to_string()),
        ("volume", node.volume.clone().unwrap_or_default(), request.volume.clone().unwrap_or_default()),
        ("disk", disk::words(node.disk_gb), disk::words(request.disk_gb)),
    ];
    let different = pairs.into_iter().filter(|(_, is, wanted)| is != wanted);
    different.map(|(what, is, wanted)| format!("{what} is {is}, expected {wanted}")).collect()
}

pub(super) fn to_node(found: &ContainerInspectResponse) -> Result<Container> {
    let name = found.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned();
    let labels = container_labels(found);
    let Some(uuid) = uuid_of(&labels) else {
        return Err(Error::failed("foreign", "use container", &name)
            .cause(format!("hactl did not create it: it has no label `{LABEL_UUID}`"))
            .hint(format!(
                "Choose another cluster name, or remove it with `docker rm -f {name}` if you do not need it"
            )));
    };
    let damaged = |what: &str| {
        Error::failed("node-damaged", "read node", &name).cause(format!("its {what} is missing or wrong")).hint(
            format!("Remove it with `docker rm -f {name}`; the next `hactl up` creates it again and keeps its volume"),
        )
    };
    let label = |name: &str| labels.get(name).cloned().ok_or_else(|| damaged(&format!("label `{name}`")));
    let config = found.config.as_ref().ok_or_else(|| damaged("configuration"))?;
    let host = found.host_config.as_ref().ok_or_else(|| damaged("configuration"))?;
    let network = host.network_mode.clone().unwrap_or_default();
    let endpoint = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref()?.get(&network));
    let address = endpoint.and_then(|endpoint| endpoint.ipam_config.as_ref()?.ipv4_address.as_ref()?.parse().ok());
    let binds = host.binds.iter().flatten();
    let volume = binds.filter_map(|bind| bind.split_once(':')).find(|(_, target)| [DATA_DIR, STORE].contains(target));
    let (memory_mib, cores) = limits_of(host);
    let number = |label: &str| labels.get(label).and_then(|text| text.parse().ok());
    Ok(Container {
        id: found.id.clone().unwrap_or_default(),
        cluster: label(LABEL_CLUSTER)?.parse().map_err(|_| damaged("cluster's name"))?,
        key: label(LABEL_NODE)?.parse().map_err(|_| damaged("instance key"))?,
        hostname: config.hostname.clone().unwrap_or_default().parse().map_err(|_| damaged("host name"))?,
        image: config.image.clone().unwrap_or_default(),
        address: address.ok_or_else(|| damaged("address"))?,
        volume: volume.map(|(volume, _)| volume.to_owned()),
        disk_gb: number(LABEL_DISK),
        // An engine that holds no limits does not know them: the label says what was asked for.
        memory_mib: memory_mib.or_else(|| number(LABEL_MEMORY)).unwrap_or_default(),
        cores: cores.or_else(|| number(LABEL_CORES)).unwrap_or_default(),
        running: found.state.as_ref().and_then(|state| state.running).unwrap_or_default(),
        booted: has_booted(found),
        ssh_port: label(LABEL_SSH_PORT)?.parse().map_err(|_| damaged("SSH port"))?,
        host_key: label(LABEL_HOST_KEY)?,
        network,
        uuid,
        name,
    })
}
