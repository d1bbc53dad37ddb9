//! The connection to the container engine, what the engine can do, and whose an object is.
//!
//! The environment comes in, an [`Engine`] goes out that speaks the Docker Engine API in a version
//! that both sides know. Everything else of the local platform goes through it.

use std::{collections::BTreeMap, collections::HashMap, fmt, path::Path, sync::Arc, time::Duration};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    errors::Error as DockerError,
    models::SystemInfoCgroupVersionEnum,
    query_parameters::{ListContainersOptions, ListNetworksOptions, ListVolumesOptions},
};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    docker_context::engine_address,
    refusal::{Refusal, fault},
};
use crate::{
    error::{Error, Result, codes},
    model::ClusterName,
};

/// The label with the cluster's name, on everything that is made for it.
pub(super) const LABEL_CLUSTER: &str = "hactl.cluster";
/// The label with the instance's key.
pub(super) const LABEL_NODE: &str = "hactl.node";
/// The label with the cluster's UUID: an object with the cluster's UUID belongs to the cluster.
pub(super) const LABEL_UUID: &str = "hactl.uuid";

/// The oldest engine that is known to work, 20.10: private cgroup namespaces came with it.
const OLDEST_API: (usize, usize) = (1, 41);
/// The longest silence before an answer begins; committing or importing an image takes its time.
const TIMEOUT_SECONDS: u64 = 300;
/// The engine answers a ping at once, or it hangs.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to the container engine on this machine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(super) docker: Docker,
    pub(super) limits: Arc<EngineInfo>,
    /// Held from choosing a port until the container that publishes it exists.
    pub(super) choosing_port: Arc<Mutex<()>>,
}

/// What the engine is and what it can do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EngineInfo {
    /// The engine's own version, for example `20.10.24`.
    pub version: String,
    /// The API version that was agreed on.
    pub api_version: String,
    pub cgroup: CgroupVersion,
    /// The storage driver, for example `overlay2`.
    pub storage: String,
    /// Where images and volumes lie.
    pub root_dir: String,
    /// Memory of the machine in bytes.
    pub memory_bytes: u64,
    /// Processors of the machine.
    pub cores: u32,
    /// Whether memory limits take effect.
    pub memory_limit: bool,
    /// Whether limits of swap take effect; many kernels have that accounting off.
    pub swap_limit: bool,
    /// Whether limits of processor time take effect.
    pub cpu_limit: bool,
}

/// The version of the control groups that the engine uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CgroupVersion {
    V1,
    V2,
}

impl fmt::Display for CgroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V1 => "1",
            Self::V2 => "2",
        })
    }
}

impl Engine {
    /// Connects to the engine that `DOCKER_HOST` or the Docker context names, or to the default socket.
    ///
    /// # Errors
    /// Of kind `Missing` when there is no engine, when it does not answer, when this user may not
    /// talk to it or when it is too old; of kind `Usage` when its address is on another machine,
    /// since nodes publish SSH on this machine's loopback.
    pub async fn connect(env: &BTreeMap<String, String>) -> Result<Self> {
        let address = engine_address(env)?;
        let docker = open(&address)?;
        match tokio::time::timeout(PING_TIMEOUT, docker.ping()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(not_reached(&address, &error)),
            Err(_) => {
                return Err(Error::missing("engine-silent", "reach the container engine at", &address)
                    .cause(format!("no answer within {} s", PING_TIMEOUT.as_secs()))
                    .hint("Restart the engine, for example with `sudo systemctl restart docker`"));
            }
        }
        let docker = docker.negotiate_version().await.map_err(|error| not_reached(&address, &error))?;
        let version = docker.client_version();
        if (version.major_version, version.minor_version) < OLDEST_API {
            return Err(Error::missing("engine-too-old", "use the container engine at", &address)
                .cause(format!(
                    "its API version is {version}; the oldest supported version is {}.{}",
                    OLDEST_API.0, OLDEST_API.1
                ))
                .hint("Install Docker 20.10 or newer: `sudo apt-get install docker.io`"));
        }
        let limits = Arc::new(read_info(&docker).await?);
        Ok(Self { docker, limits, choosing_port: Arc::default() })
    }

    /// What the engine is and what it can do, asked again.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn info(&self) -> Result<EngineInfo> {
        read_info(&self.docker).await
    }

    /// Containers, networks and volumes that carry the label of the cluster `name`, sorted and each
    /// with its kind: `container pg-node1`. Empty when nothing is left.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn cluster_leftovers(&self, name: &ClusterName) -> Result<Vec<String>> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{LABEL_CLUSTER}={name}")])]);
        let failed =
            |error: DockerError| fault("list", format!("the objects with the label of cluster {name}"), &error);
        let options = ListContainersOptions { all: true, filters: Some(filters.clone()), ..Default::default() };
        let containers = self.docker.list_containers(Some(options)).await.map_err(failed)?;
        let options = ListNetworksOptions { filters: Some(filters.clone()) };
        let networks = self.docker.list_networks(Some(options)).await.map_err(failed)?;
        let options = ListVolumesOptions { filters: Some(filters) };
        let volumes = self.docker.list_volumes(Some(options)).await.map_err(failed)?;

        let mut left = Vec::new();
        for container in containers {
            let names = container.names.unwrap_or_default();
            left.push(format!("container {}", names.first().map_or("", |name| name.trim_start_matches('/'))));
        }
        left.extend(networks.into_iter().map(|network| format!("network {}", network.name.unwrap_or_default())));
        left.extend(volumes.volumes.unwrap_or_default().into_iter().map(|volume| format!("volume {}", volume.name)));
        left.sort();
        Ok(left)
    }
}

fn open(address: &str) -> Result<Docker> {
    let local_tcp = ["tcp://127.", "tcp://localhost", "http://127.", "http://localhost"];
    if let Some(path) = address.strip_prefix("unix://") {
        if !Path::new(path).exists() {
            return Err(not_started(address).cause(format!("{path} does not exist")));
        }
        Docker::connect_with_unix(address, TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            .map_err(|error| not_reached(address, &error))
    } else if local_tcp.iter().any(|start| address.starts_with(start)) {
        Docker::connect_with_http(address, TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            .map_err(|error| not_reached(address, &error))
    } else {
        Err(Error::usage("engine-elsewhere", "use the container engine at", address)
            .cause(
                "the local platform needs an engine on this machine: local nodes publish SSH on its loopback address",
            )
            .hint("Unset DOCKER_HOST and set DOCKER_CONTEXT to `default`, or run hactl on the machine where that engine is"))
    }
}

fn not_started(address: &str) -> Error {
    Error::missing("engine-missing", "reach the container engine at", address).hint(
        "Install and start Docker: `sudo apt-get install docker.io`, `sudo systemctl start docker`; without an init \
         system, start it by hand: `sudo dockerd >/tmp/dockerd.log 2>&1 &`",
    )
}

fn not_reached(address: &str, error: &DockerError) -> Error {
    if Refusal::of(error) == Refusal::PermissionDenied {
        return Error::missing("engine-permission", "talk to the container engine at", address)
            .source(error)
            .hint("Join its group with `sudo usermod -aG docker $USER` and log in again, or run hactl as root");
    }
    not_started(address).source(error)
}

async fn read_info(docker: &Docker) -> Result<EngineInfo> {
    let info = docker.info().await.map_err(|error| fault("ask", "the container engine what it can do", &error))?;
    let cgroup = match info.cgroup_version {
        Some(SystemInfoCgroupVersionEnum::_2) => CgroupVersion::V2,
        // Engines before 20.10 know version 1 only and say nothing.
        Some(SystemInfoCgroupVersionEnum::_1 | SystemInfoCgroupVersionEnum::EMPTY) | None => CgroupVersion::V1,
    };
    Ok(EngineInfo {
        version: info.server_version.unwrap_or_default(),
        api_version: docker.client_version().to_string(),
        cgroup,
        storage: info.driver.unwrap_or_default(),
        root_dir: info.docker_root_dir.unwrap_or_default(),
        memory_bytes: info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
        cores: info.ncpu.and_then(|cores| u32::try_from(cores).ok()).unwrap_or(1),
        memory_limit: info.memory_limit.unwrap_or_default(),
        swap_limit: info.swap_limit.unwrap_or_default(),
        cpu_limit: info.cpu_cfs_quota.unwrap_or_default() && info.cpu_cfs_period.unwrap_or_default(),
    })
}

/// The labels of everything made for a cluster.
pub(super) fn labels(cluster: &ClusterName, uuid: Uuid) -> HashMap<String, String> {
    HashMap::from([(LABEL_CLUSTER.to_owned(), cluster.to_string()), (LABEL_UUID.to_owned(), uuid.to_string())])
}

/// The UUID that an object carries.
pub(super) fn uuid_of(labels: &HashMap<String, String>) -> Option<Uuid> {
    labels.get(LABEL_UUID).and_then(|text| text.parse().ok())
}

/// Refuses an object that was made for another cluster.
///
/// `kind` and `name` name it, `remove` is the command with which its owner would remove it.
pub(super) fn require_ours(
    labels: &HashMap<String, String>,
    ours: Uuid,
    kind: &str,
    name: &str,
    remove: &str,
) -> Result<()> {
    let found = uuid_of(labels);
    if found == Some(ours) {
        return Ok(());
    }
    let (cause, start) = match (found, labels.get(LABEL_CLUSTER)) {
        (Some(uuid), Some(cluster)) => (
            format!(
                "it exists and belongs to another cluster named {cluster}, with UUID {uuid}; this cluster has UUID \
                 {ours}"
            ),
            // A user who has lost the file must not be told to remove the data.
            format!(
                "If it is yours, restore the {cluster}.secrets.age that it was created with, and its key; otherwise choose"
            ),
        ),
        _ => ("it exists, and hactl did not create it: it has no label `hactl.uuid`".to_owned(), "Choose".to_owned()),
    };
    Err(Error::failed(codes::NAME_TAKEN, format!("create {kind}"), name)
        .cause(cause)
        .hint(format!("{start} another cluster name, or remove it with `{remove}` if you do not need it")))
}

/// Refuses to remove what hactl did not make.
pub(super) fn require_made_by_hactl(labels: Option<&HashMap<String, String>>, kind: &str, name: &str) -> Result<()> {
    if labels.is_some_and(|labels| uuid_of(labels).is_some()) {
        return Ok(());
    }
    Err(Error::failed("foreign", format!("remove {kind}"), name)
        .cause("hactl did not create it: it has no label `hactl.uuid`")
        .hint(format!("Remove it yourself with `docker {kind} rm {name}` if you do not need it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn absent_engine_socket_is_reported_with_an_installation_hint() {
        let env = BTreeMap::from([("DOCKER_HOST".to_owned(), "unix:///nonexistent/docker.sock".to_owned())]);
        let error = Engine::connect(&env).await.unwrap_err();
        assert_eq!((error.kind.exit_code(), error.code), (3, "engine-missing"));
        assert!(error.hint.unwrap().contains("apt-get install docker.io"));
    }

    #[tokio::test]
    async fn engine_on_another_machine_is_refused() {
        let env = BTreeMap::from([("DOCKER_HOST".to_owned(), "ssh://elsewhere".to_owned())]);
        assert_eq!(Engine::connect(&env).await.unwrap_err().code, "engine-elsewhere");
    }

    #[tokio::test]
    async fn engine_socket_without_a_listener_is_reported_as_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let env = BTreeMap::from([("DOCKER_HOST".to_owned(), format!("unix://{}", path.display()))]);
        let error = Engine::connect(&env).await.unwrap_err();
        assert_eq!(error.code, "engine-missing", "{error}");
        assert!(error.to_string().to_lowercase().contains("refused"), "{error}");
    }

    #[test]
    fn objects_of_another_cluster_are_refused_with_its_uuid() {
        let (ours, theirs) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let cluster = ClusterName::new("pg").unwrap();
        assert!(require_ours(&labels(&cluster, ours), ours, "network", "hactl-pg", "x").is_ok());
        let error = require_ours(&labels(&cluster, theirs), ours, "network", "hactl-pg", "x").unwrap_err();
        assert!(error.to_string().contains(&theirs.to_string()), "{error}");
        assert!(error.hint.unwrap().starts_with("If it is yours, restore the pg.secrets.age"));
        let error = require_ours(&HashMap::new(), ours, "network", "hactl-pg", "x").unwrap_err();
        assert!(error.to_string().contains("did not create it"), "{error}");
        assert!(require_made_by_hactl(Some(&HashMap::new()), "volume", "v").is_err());
    }
}
