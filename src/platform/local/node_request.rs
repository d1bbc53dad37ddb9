//! What a node shall be, as the engine's request and as the files put into it before it boots.
//!
//! Pure: the same request gives the same body, so a wrong option shows in a unit test.

use std::{collections::HashMap, net::Ipv4Addr};

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, EndpointIpamConfig, EndpointSettings, HostConfig,
    HostConfigCgroupnsModeEnum, HostConfigLogConfig, NetworkingConfig, PortBinding,
};
use ssh_key::{Algorithm, LineEnding, PrivateKey, private::Ed25519Keypair};
use uuid::Uuid;

use super::{
    container::{
        CAPABILITIES, DATA_DIR, LABEL_CORES, LABEL_DISK, LABEL_HOST_KEY, LABEL_MEMORY, LABEL_SSH_PORT, PROFILES,
        SSH_PORT, STORE, strings,
    },
    disk,
    engine::{CgroupVersion, EngineInfo, LABEL_NODE, labels},
};
use crate::{
    error::{Error, Result},
    model::{ClusterName, HostName, InstanceKey},
};

/// The span of time in which processor time is counted, in microseconds.
const CPU_PERIOD: i64 = 100_000;

/// A node that is to be.
#[derive(Clone, Debug)]
pub struct NodeRequest {
    pub cluster: ClusterName,
    pub uuid: Uuid,
    pub key: InstanceKey,
    pub hostname: HostName,
    /// An image of this machine that has systemd and sshd.
    pub image: String,
    /// The name of an existing network.
    pub network: String,
    /// The node's fixed address within that network.
    pub address: Ipv4Addr,
    /// The name of the volume for `/var/lib/postgresql`.
    pub volume: Option<String>,
    /// The size in GiB of a disk of its own on that volume.
    pub disk_gb: Option<u32>,
    pub memory_mib: u32,
    pub cores: u32,
    /// Public keys that may log in as root, in OpenSSH's form.
    pub authorized_keys: Vec<String>,
}

impl NodeRequest {
    /// The container's name, `CLUSTER-KEY`.
    #[must_use]
    pub fn name(&self) -> String {
        node_name(&self.cluster, &self.key)
    }
}

/// The name of a node's container, `CLUSTER-KEY`.
#[must_use]
pub fn node_name(cluster: &ClusterName, key: &InstanceKey) -> String {
    format!("{cluster}-{key}")
}

/// What is chosen when a node is made: its SSH port on loopback, and its host key.
pub(super) struct Chosen<'a> {
    pub(super) ssh_port: u16,
    pub(super) host_key: &'a HostKey,
}

/// A fresh SSH host key. The private half goes into the node and nowhere else.
pub(super) struct HostKey {
    /// In OpenSSH's form, without a comment.
    pub(super) public: String,
    private: zeroize::Zeroizing<String>,
}

impl HostKey {
    pub(super) fn generate(name: &str) -> Result<Self> {
        let failed =
            |error: ssh_key::Error| Error::failed("host-key", "create an SSH host key for", name).source(&error);
        let seed = zeroize::Zeroizing::new(rand::random::<[u8; Ed25519Keypair::BYTE_SIZE / 2]>());
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        debug_assert_eq!(key.algorithm(), Algorithm::Ed25519);
        Ok(Self {
            public: key.public_key().to_openssh().map_err(failed)?.trim().to_owned(),
            private: key.to_openssh(LineEnding::LF).map_err(failed)?,
        })
    }
}

/// How systemd starts in a container that has the capabilities it needs, but not all privileges.
///
/// The engine mounts the container's own control groups read-only; systemd needs its own to be
/// writable. Only this mount is changed, inside the container. Mounting the machine's tree instead,
/// as is often advised, would make all nodes share one tree with each other and with the machine's
/// own systemd, whose services have the same names.
const fn init(cgroup: CgroupVersion) -> &'static str {
    match cgroup {
        CgroupVersion::V1 => "mount -o remount,bind,rw /sys/fs/cgroup/systemd && exec /sbin/init",
        CgroupVersion::V2 => "mount -o remount,bind,rw /sys/fs/cgroup && exec /sbin/init",
    }
}

/// The engine's request for a node.
///
/// The form for version 2 of the control groups was not run on this project's test machines.
pub(super) fn create_body(engine: &EngineInfo, request: &NodeRequest, chosen: &Chosen<'_>) -> ContainerCreateBody {
    let text = |text: &str| Some(text.to_owned());
    let mut labels = labels(&request.cluster, request.uuid);
    labels.extend([
        (LABEL_NODE.to_owned(), request.key.to_string()),
        (LABEL_HOST_KEY.to_owned(), chosen.host_key.public.clone()),
        (LABEL_SSH_PORT.to_owned(), chosen.ssh_port.to_string()),
        (LABEL_MEMORY.to_owned(), request.memory_mib.to_string()),
        (LABEL_CORES.to_owned(), request.cores.to_string()),
    ]);
    labels.extend(request.disk_gb.map(|gb| (LABEL_DISK.to_owned(), gb.to_string())));
    let limits = limits(engine, request.memory_mib, request.cores);
    let init = init(engine.cgroup);
    let (mounted, entrypoint) = match request.disk_gb {
        Some(gb) => (STORE, disk::entrypoint(&format!("{}-{}", request.uuid, request.key), gb, init)),
        None => (DATA_DIR, strings(["/bin/sh", "-c", init])),
    };
    let host_config = HostConfig {
        binds: request.volume.as_ref().map(|volume| vec![format!("{volume}:{mounted}")]),
        device_cgroup_rules: request.disk_gb.map(|_| disk::device_rules()),
        cap_add: Some(strings(CAPABILITIES)),
        security_opt: Some(strings(PROFILES)),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        // A machine's /tmp lets programs run; the engine's default does not.
        tmpfs: Some(HashMap::from([
            ("/run".to_owned(), "rw,nosuid,nodev,mode=755".to_owned()),
            ("/tmp".to_owned(), "rw,nosuid,nodev,exec,mode=1777".to_owned()),
        ])),
        // Half of the memory, as on a machine: PostgreSQL's parallel queries use it.
        shm_size: Some(i64::from(request.memory_mib) * 1024 * 1024 / 2),
        network_mode: Some(request.network.clone()),
        port_bindings: Some(HashMap::from([(SSH_PORT.to_owned(), Some(vec![loopback(chosen.ssh_port)]))])),
        log_config: Some(HostConfigLogConfig {
            typ: text("json-file"),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "1m".to_owned()),
                ("max-file".to_owned(), "1".to_owned()),
            ])),
        }),
        memory: limits.memory,
        memory_swap: limits.memory_swap,
        cpu_period: limits.cpu_period,
        cpu_quota: limits.cpu_quota,
        ..Default::default()
    };
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig { ipv4_address: Some(request.address.to_string()), ..Default::default() }),
        ..Default::default()
    };
    ContainerCreateBody {
        hostname: text(request.hostname.as_str()),
        image: text(&request.image),
        entrypoint: Some(entrypoint),
        cmd: Some(Vec::new()),
        env: Some(vec!["container=docker".to_owned()]),
        // Gives systemd a console: what it says while booting is then in the container's log.
        tty: Some(true),
        stop_signal: text("SIGRTMIN+3"),
        exposed_ports: Some(vec![SSH_PORT.to_owned()]),
        labels: Some(labels),
        host_config: Some(host_config),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(request.network.clone(), endpoint)])),
        }),
        ..Default::default()
    }
}

fn loopback(port: u16) -> PortBinding {
    PortBinding { host_ip: Some(Ipv4Addr::LOCALHOST.to_string()), host_port: Some(port.to_string()) }
}

/// Limits as far as the engine can hold them; the others it would only warn about.
pub(super) fn limits(engine: &EngineInfo, memory_mib: u32, cores: u32) -> ContainerUpdateBody {
    let memory = engine.memory_limit.then(|| i64::from(memory_mib) * 1024 * 1024);
    ContainerUpdateBody {
        memory,
        // The same figure as for memory means no swap at all.
        memory_swap: memory.filter(|_| engine.swap_limit),
        // A quota may exceed what the machine has, unlike the engine's number of processors.
        cpu_period: engine.cpu_limit.then_some(CPU_PERIOD),
        cpu_quota: engine.cpu_limit.then_some(CPU_PERIOD * i64::from(cores)),
        ..Default::default()
    }
}

/// The cores that a quota stands for, and the MiB that a memory limit stands for; none when unset.
pub(super) fn limits_of(host: &HostConfig) -> (Option<u32>, Option<u32>) {
    let positive = |number: Option<i64>| number.filter(|number| *number > 0);
    let memory = positive(host.memory).and_then(|bytes| u32::try_from(bytes / 1024 / 1024).ok());
    let period = positive(host.cpu_period).unwrap_or(CPU_PERIOD);
    let cores = positive(host.cpu_quota).and_then(|quota| u32::try_from(quota / period).ok());
    (memory, cores)
}

const SSHD_CONFIG: &str = "\
# Written by hactl when the node was made.
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
";

/// The files that a node has before it boots for the first time, as a tar archive for `/`.
pub(super) fn first_files(request: &NodeRequest, host_key: &HostKey) -> Result<Vec<u8>> {
    // An identity of its own: nodes of one image must not share the image's.
    let machine_id = format!("{}\n", Uuid::new_v4().simple());
    archive(&[
        ("etc/machine-id", 0o444, &machine_id),
        ("etc/ssh/ssh_host_ed25519_key", 0o600, &host_key.private),
        ("etc/ssh/ssh_host_ed25519_key.pub", 0o644, &format!("{}\n", host_key.public)),
        ("etc/ssh/sshd_config.d/10-hactl.conf", 0o644, SSHD_CONFIG),
        ("root/.ssh/authorized_keys", 0o600, &authorized_keys(request)),
    ])
    .map_err(|error| Error::failed("archive", "pack the first files of node", request.name()).source(&error))
}

/// Only the keys that may log in, for a node that was made before.
pub(super) fn key_files(request: &NodeRequest) -> Result<Vec<u8>> {
    archive(&[("root/.ssh/authorized_keys", 0o600, &authorized_keys(request))])
        .map_err(|error| Error::failed("archive", "pack the keys of node", request.name()).source(&error))
}

fn authorized_keys(request: &NodeRequest) -> String {
    request.authorized_keys.iter().map(|key| format!("{}\n", key.trim())).collect()
}

fn archive(files: &[(&str, u32, &str)]) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let header = |kind: tar::EntryType, mode: u32, size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(mode);
        header.set_size(size as u64);
        header
    };
    // sshd refuses keys in a directory that others may write to, or that belongs to others.
    builder.append_data(&mut header(tar::EntryType::Directory, 0o700, 0), "root/.ssh/", std::io::empty())?;
    for (path, mode, text) in files {
        builder.append_data(&mut header(tar::EntryType::Regular, *mode, text.len()), path, text.as_bytes())?;
    }
    builder.into_inner()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn engine(cgroup: CgroupVersion) -> EngineInfo {
        EngineInfo {
            version: "20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            cgroup,
            storage: "overlay2".to_owned(),
            root_dir: "/var/lib/docker".to_owned(),
            memory_bytes: 8 << 30,
            cores: 2,
            memory_limit: true,
            swap_limit: true,
            cpu_limit: true,
        }
    }

    fn request() -> NodeRequest {
        NodeRequest {
            cluster: ClusterName::new("pg").unwrap(),
            uuid: Uuid::from_u128(7),
            key: InstanceKey::new("node1").unwrap(),
            hostname: HostName::new("pg-prod-node1").unwrap(),
            image: "hactl/node:0123456789ab".to_owned(),
            network: "hactl-pg".to_owned(),
            address: Ipv4Addr::new(10, 89, 0, 10),
            volume: Some("pg-node1-pgdata".to_owned()),
            disk_gb: None,
            memory_mib: 1024,
            cores: 4,
            authorized_keys: vec!["ssh-ed25519 AAAA one".to_owned()],
        }
    }

    fn body(engine: &EngineInfo) -> serde_json::Value {
        let host_key = HostKey { public: "ssh-ed25519 AAAA".to_owned(), private: String::new().into() };
        let chosen = Chosen { ssh_port: 23022, host_key: &host_key };
        serde_json::to_value(create_body(engine, &request(), &chosen)).unwrap()
    }

    #[test]
    fn node_request_with_cgroup_v1_is_as_expected() {
        let expected = serde_json::json!({
            "Hostname": "pg-prod-node1",
            "ExposedPorts": {"22/tcp": {}},
            "Tty": true,
            "Env": ["container=docker"],
            "Cmd": [],
            "Image": "hactl/node:0123456789ab",
            "Entrypoint": ["/bin/sh", "-c", "mount -o remount,bind,rw /sys/fs/cgroup/systemd && exec /sbin/init"],
            "Labels": {
                "hactl.cluster": "pg",
                "hactl.cores": "4",
                "hactl.host-key": "ssh-ed25519 AAAA",
                "hactl.memory-mib": "1024",
                "hactl.node": "node1",
                "hactl.ssh-port": "23022",
                "hactl.uuid": "00000000-0000-0000-0000-000000000007",
            },
            "StopSignal": "SIGRTMIN+3",
            "HostConfig": {
                "Memory": 1_073_741_824_i64,
                "CpuPeriod": 100_000,
                "CpuQuota": 400_000,
                "MemorySwap": 1_073_741_824_i64,
                "Binds": ["pg-node1-pgdata:/var/lib/postgresql"],
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
                "NetworkMode": "hactl-pg",
                "PortBindings": {"22/tcp": [{"HostIp": "127.0.0.1", "HostPort": "23022"}]},
                "CapAdd": ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE"],
                "CgroupnsMode": "private",
                "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
                "Tmpfs": {"/run": "rw,nosuid,nodev,mode=755", "/tmp": "rw,nosuid,nodev,exec,mode=1777"},
                "ShmSize": 536_870_912_i64,
            },
            "NetworkingConfig": {
                "EndpointsConfig": {"hactl-pg": {"IPAMConfig": {"IPv4Address": "10.89.0.10"}}},
            },
        });
        assert_eq!(body(&engine(CgroupVersion::V1)), expected);
    }

    #[test]
    fn node_request_with_cgroup_v2_differs_only_in_the_mount() {
        let mut expected = body(&engine(CgroupVersion::V1));
        expected["Entrypoint"][2] = "mount -o remount,bind,rw /sys/fs/cgroup && exec /sbin/init".into();
        assert_eq!(body(&engine(CgroupVersion::V2)), expected);
    }

    #[test]
    fn separate_disk_is_mounted_before_systemd_starts() {
        let host_key = HostKey { public: "ssh-ed25519 AAAA".to_owned(), private: String::new().into() };
        let chosen = Chosen { ssh_port: 23022, host_key: &host_key };
        let request = NodeRequest { disk_gb: Some(3), ..request() };
        let with = serde_json::to_value(create_body(&engine(CgroupVersion::V1), &request, &chosen)).unwrap();
        let mut expected = body(&engine(CgroupVersion::V1));
        let init = expected["Entrypoint"][2].as_str().unwrap().to_owned();
        let script = with["Entrypoint"][2].as_str().unwrap().to_owned();
        assert!(script.starts_with("store=/var/lib/hactl-disk data=/var/lib/postgresql\nset -e\n"), "{script}");
        assert!(script.ends_with(&format!("\ndone\n{init}")), "{script}");
        let name = "00000000-0000-0000-0000-000000000007-node1";
        expected["Entrypoint"] = serde_json::json!(["/bin/sh", "-c", script, "hactl", name, "3G"]);
        expected["Labels"]["hactl.disk-gb"] = "3".into();
        expected["HostConfig"]["Binds"] = serde_json::json!(["pg-node1-pgdata:/var/lib/hactl-disk"]);
        expected["HostConfig"]["DeviceCgroupRules"] = serde_json::json!(["b 7:* rmw", "c 10:237 rmw"]);
        assert_eq!(with, expected);
    }

    #[test]
    fn limits_that_the_engine_does_not_support_are_not_requested() {
        let weak = EngineInfo { swap_limit: false, cpu_limit: false, ..engine(CgroupVersion::V1) };
        let host = &body(&weak)["HostConfig"];
        assert_eq!(host["Memory"], 1_073_741_824_i64);
        assert!(host.get("MemorySwap").is_none() && host.get("CpuQuota").is_none());
    }

    #[test]
    fn limits_read_back_from_the_engine_equal_the_request() {
        let host = HostConfig {
            memory: Some(1 << 30),
            cpu_period: Some(100_000),
            cpu_quota: Some(300_000),
            ..Default::default()
        };
        assert_eq!(limits_of(&host), (Some(1024), Some(3)));
        assert_eq!(limits_of(&HostConfig { memory: Some(0), ..Default::default() }), (None, None));
    }

    #[test]
    fn first_files_have_the_expected_owners_and_modes() {
        let host_key = HostKey::generate("pg-node1").unwrap();
        assert!(host_key.public.starts_with("ssh-ed25519 AAAA"), "{}", host_key.public);
        let bytes = first_files(&request(), &host_key).unwrap();
        let mut seen = Vec::new();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let entry = entry.unwrap();
            assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (0, 0));
            seen.push((entry.path().unwrap().display().to_string(), entry.header().mode().unwrap()));
        }
        let expected = [
            ("root/.ssh/", 0o700),
            ("etc/machine-id", 0o444),
            ("etc/ssh/ssh_host_ed25519_key", 0o600),
            ("etc/ssh/ssh_host_ed25519_key.pub", 0o644),
            ("etc/ssh/sshd_config.d/10-hactl.conf", 0o644),
            ("root/.ssh/authorized_keys", 0o600),
        ];
        assert_eq!(seen, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }
}
