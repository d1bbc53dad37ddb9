//! The local platform against the real container engine of this machine.
//!
//! Every test has a cluster of its own, named `t-eng-...`, and takes it away again, also when it
//! fails. The base image is made on first use, which takes about a minute.

use std::{
    collections::BTreeMap,
    io::Read,
    net::{Ipv4Addr, TcpStream},
    panic::AssertUnwindSafe,
};

use futures_util::FutureExt;
use hactl::{
    local::{CgroupVersion, Engine, NetworkRequest, NodeRequest, VolumeRequest},
    model::{ClusterName, HostName, InstanceKey},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const IMAGE: &str = "hactl/base:debian-12";

/// A cluster of a test: its name, its UUID and the engine.
struct Bench {
    engine: Engine,
    cluster: ClusterName,
    uuid: Uuid,
}

impl Bench {
    fn network(&self) -> NetworkRequest {
        NetworkRequest { cluster: self.cluster.clone(), uuid: self.uuid, subnet: None }
    }

    fn volume(&self, key: &str) -> VolumeRequest {
        VolumeRequest { cluster: self.cluster.clone(), uuid: self.uuid, key: InstanceKey::new(key).unwrap() }
    }

    fn node(&self, key: &str, address: Ipv4Addr) -> NodeRequest {
        NodeRequest {
            cluster: self.cluster.clone(),
            uuid: self.uuid,
            key: InstanceKey::new(key).unwrap(),
            hostname: HostName::new(format!("{}-{key}", self.cluster)).unwrap(),
            image: IMAGE.to_owned(),
            network: self.network().name(),
            address,
            volume: None,
            memory_mib: 256,
            cores: 1,
            authorized_keys: vec!["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== test".to_owned()],
        }
    }

    async fn clean(&self) {
        for left in self.engine.cluster_leftovers(&self.cluster).await.unwrap() {
            let (kind, name) = left.split_once(' ').unwrap();
            // Sorted by kind: containers go before the networks and volumes that they use.
            match kind {
                "container" => self.engine.remove_node(name).await.unwrap(),
                "network" => self.engine.remove_network(name).await.unwrap(),
                _ => self.engine.remove_volume(name).await.unwrap(),
            }
        }
    }
}

/// Runs `test` on a cluster of its own and takes the cluster away, whatever happens.
async fn with_cluster(name: &str, test: impl AsyncFnOnce(&Bench)) {
    let env: BTreeMap<String, String> = std::env::vars().collect();
    let engine = Engine::connect(&env).await.unwrap();
    let bench = Bench { engine, cluster: ClusterName::new(format!("t-eng-{name}")).unwrap(), uuid: Uuid::new_v4() };
    bench.clean().await;
    let outcome = AssertUnwindSafe(test(&bench)).catch_unwind().await;
    bench.clean().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    assert_eq!(bench.engine.cluster_leftovers(&bench.cluster).await.unwrap(), Vec::<String>::new());
}

fn quiet(_: &str) {}

fn host(subnet: ipnet::Ipv4Net, slot: u8) -> Ipv4Addr {
    subnet.hosts().nth(usize::from(slot) - 1).unwrap()
}

fn greeting(port: u16) -> String {
    let mut bytes = [0; 4];
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap().read_exact(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_node_lives_through_stop_start_update_and_is_removed() {
    with_cluster("life", async |bench| {
        let engine = &bench.engine;
        let stop = CancellationToken::new();
        let network = engine.create_network(&bench.network()).await.unwrap();
        let volume = engine.create_volume(&bench.volume("node1")).await.unwrap();
        let mut request = bench.node("node1", host(network.subnet, 10));
        request.volume = Some(volume.name.clone());

        let steps = std::sync::Mutex::new(Vec::new());
        let progress = |step: &str| steps.lock().unwrap().push(step.to_owned());
        let node = engine.create_node(&request, &progress, &stop).await.unwrap();
        assert_eq!(*steps.lock().unwrap(), ["creating", "starting", "booting", "ssh up"]);
        assert_eq!((node.name.as_str(), node.running), ("t-eng-life-node1", true));
        assert_eq!((node.address, node.memory_mib, node.cores), (host(network.subnet, 10), 256, 1));
        assert_eq!(node.volume, Some(volume.name.clone()));
        assert!(node.host_key.starts_with("ssh-ed25519 "), "{}", node.host_key);
        assert_eq!(host_key(node.ssh_port), node.host_key);
        assert_eq!(engine.find_node(&node.name).await.unwrap(), Some(node.clone()));

        // What is asked for again is found, not made twice.
        assert_eq!(engine.create_node(&request, &quiet, &stop).await.unwrap(), node);

        engine.stop_node(&node.name).await.unwrap();
        let stopped = engine.find_node(&node.name).await.unwrap().unwrap();
        assert!(!stopped.running);
        assert_eq!((stopped.address, stopped.ssh_port), (node.address, node.ssh_port));

        let started = engine.start_node(&node.name, &quiet, &stop).await.unwrap();
        assert_eq!(started, node);
        assert_eq!(greeting(node.ssh_port), "SSH-");
        assert_eq!(host_key(node.ssh_port), node.host_key);

        engine.update_node(&node.name, 384, 2).await.unwrap();
        let updated = engine.find_node(&node.name).await.unwrap().unwrap();
        assert_eq!((updated.memory_mib, updated.cores, updated.running), (384, 2, true));

        let left = ["container t-eng-life-node1", "network hactl-t-eng-life", "volume t-eng-life-node1-pgdata"];
        assert_eq!(engine.cluster_leftovers(&bench.cluster).await.unwrap(), left);
        let refused = engine.remove_network(&network.name).await.unwrap_err();
        assert!(refused.to_string().contains("t-eng-life-node1"), "{refused}");
        let refused = engine.remove_volume(&volume.name).await.unwrap_err();
        assert!(refused.hint.unwrap().contains("docker ps"));

        for _ in 0..2 {
            engine.remove_node(&node.name).await.unwrap();
        }
        assert_eq!(engine.find_node(&node.name).await.unwrap(), None);
        assert_eq!(engine.find_volume(&volume.name).await.unwrap(), Some(volume.clone()));
        for _ in 0..2 {
            engine.remove_volume(&volume.name).await.unwrap();
            engine.remove_network(&network.name).await.unwrap();
        }
    })
    .await;
}

/// Runs a command in a node, as root.
fn run(node: &str, command: &[&str]) -> String {
    let output = std::process::Command::new("docker").arg("exec").arg(node).args(command).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The key that the SSH server on this port shows, in OpenSSH's form.
fn host_key(port: u16) -> String {
    use base64::Engine as _;
    let mut session = ssh2::Session::new().unwrap();
    session.set_tcp_stream(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
    session.handshake().unwrap();
    let (key, kind) = session.host_key().unwrap();
    assert!(matches!(kind, ssh2::HostKeyType::Ed25519));
    format!("ssh-ed25519 {}", base64::engine::general_purpose::STANDARD.encode(key))
}

#[tokio::test]
async fn nodes_made_in_parallel_have_ports_and_services_of_their_own() {
    with_cluster("many", async |bench| {
        let engine = &bench.engine;
        let stop = CancellationToken::new();
        let network = engine.create_network(&bench.network()).await.unwrap();
        let requests: Vec<_> = (10..13).map(|n| bench.node(&format!("n{n}"), host(network.subnet, n))).collect();
        let nodes = futures_util::future::join_all(requests.iter().map(|r| engine.create_node(r, &quiet, &stop))).await;
        let nodes: Vec<_> = nodes.into_iter().map(|node| node.unwrap()).collect();
        let ports: std::collections::BTreeSet<u16> = nodes.iter().map(|node| node.ssh_port).collect();
        assert_eq!(ports.len(), 3);
        // Services of the same name on several nodes must not share a control group: stopping one
        // would then wait for, or kill, the processes of the others.
        run(&nodes[0].name, &["systemctl", "stop", "ssh.service"]);
        assert_eq!(greeting(nodes[1].ssh_port), "SSH-");
        let root = match engine.info().await.unwrap().cgroup {
            CgroupVersion::V1 => "/sys/fs/cgroup/systemd",
            CgroupVersion::V2 => "/sys/fs/cgroup",
        };
        let group = format!("{root}/system.slice/ssh.service/cgroup.procs");
        assert_eq!(run(&nodes[1].name, &["cat", &group]).lines().count(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_carries_our_uuid_is_adopted_and_what_does_not_is_refused() {
    with_cluster("own", async |bench| {
        let engine = &bench.engine;
        let stop = CancellationToken::new();
        let network = engine.create_network(&bench.network()).await.unwrap();
        assert_eq!(engine.create_network(&bench.network()).await.unwrap(), network);
        let volume = engine.create_volume(&bench.volume("a")).await.unwrap();
        assert_eq!(engine.create_volume(&bench.volume("a")).await.unwrap(), volume);
        let request = bench.node("a", host(network.subnet, 10));
        engine.create_node(&request, &quiet, &stop).await.unwrap();

        let other = Bench { engine: engine.clone(), cluster: bench.cluster.clone(), uuid: Uuid::new_v4() };
        let error = engine.create_network(&other.network()).await.unwrap_err();
        assert_eq!(error.code, "name-taken");
        assert!(error.to_string().contains(&bench.uuid.to_string()), "{error}");
        assert_eq!(engine.create_volume(&other.volume("a")).await.unwrap_err().code, "name-taken");
        let failed = engine.create_node(&other.node("a", host(network.subnet, 10)), &quiet, &stop).await.unwrap_err();
        assert_eq!((failed.error.code, failed.partial.is_none()), ("name-taken", true));

        // A living node of ours is never silently replaced by another one.
        let mut moved = request.clone();
        moved.address = host(network.subnet, 11);
        let failed = engine.create_node(&moved, &quiet, &stop).await.unwrap_err();
        assert_eq!((failed.error.code, failed.partial.is_some()), ("node-differs", true));
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_node_is_reported_and_finished_by_the_next_attempt() {
    with_cluster("stop", async |bench| {
        let engine = &bench.engine;
        let network = engine.create_network(&bench.network()).await.unwrap();
        let request = bench.node("a", host(network.subnet, 10));
        let stop = CancellationToken::new();
        stop.cancel();
        let failed = engine.create_node(&request, &quiet, &stop).await.unwrap_err();
        assert_eq!(failed.error.kind.exit_code(), 130);
        let partial = failed.partial.unwrap();
        let node = engine.create_node(&request, &quiet, &CancellationToken::new()).await.unwrap();
        assert_eq!((node.id, node.host_key), (partial.id, partial.host_key));
    })
    .await;
}

#[tokio::test]
async fn two_networks_never_share_a_subnet() {
    with_cluster("net1", async |first| {
        with_cluster("net2", async |second| {
            let one = first.engine.create_network(&first.network()).await.unwrap();
            let two = second.engine.create_network(&second.network()).await.unwrap();
            assert_ne!(one.subnet, two.subnet);
            assert_eq!(one.gateway, host(one.subnet, 1));

            let mut same = second.network();
            same.subnet = Some(one.subnet);
            let error = second.engine.create_network(&same).await.unwrap_err();
            assert_eq!(error.code, "subnet-differs");
            second.engine.remove_network(&two.name).await.unwrap();
            let error = second.engine.create_network(&same).await.unwrap_err();
            assert_eq!(error.code, "subnet-taken");
            assert!(error.to_string().contains("network hactl-t-eng-net1"), "{error}");
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_node_without_its_image_says_how_to_make_it() {
    with_cluster("image", async |bench| {
        let network = bench.engine.create_network(&bench.network()).await.unwrap();
        let mut request = bench.node("a", host(network.subnet, 10));
        request.image = "hactl/none:none".to_owned();
        let failed = bench.engine.create_node(&request, &quiet, &CancellationToken::new()).await.unwrap_err();
        assert!(failed.partial.is_none());
        assert!(failed.error.hint.as_deref().unwrap_or_default().contains("hactl image build"), "{}", failed.error);
    })
    .await;
}
