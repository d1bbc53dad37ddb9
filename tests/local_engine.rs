//! The local platform against the real container engine of this machine.
//!
//! Every test has a cluster of its own, named `t-eng-...`, and takes it away again, also when it
//! fails. The base image is made on first use, which takes about a minute.
//!
//! Long because its tests share one engine and the cleanup of what they make there.

use std::{
    collections::BTreeMap,
    io::Read,
    net::{Ipv4Addr, TcpStream},
    panic::AssertUnwindSafe,
};

use futures_util::FutureExt;
use hactl::{
    context::{Context, Dirs},
    error::Error,
    event::{Event, Events},
    model::{ClusterName, HostName, InstanceKey},
    platform::local::{
        CgroupVersion, Engine, ImageKind, NetworkRequest, NodeRequest, Progress, VolumeRequest, bake, base_image,
    },
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const REFERENCE: &str = "debian:12";
const IMAGE: &str = "hactl/base:debian-12";

/// A context whose caches go with it, and the events that it collects.
fn context() -> (tempfile::TempDir, Context, tokio::sync::mpsc::Receiver<Event>) {
    let dir = tempfile::tempdir().unwrap();
    let mut env: BTreeMap<String, String> = std::env::vars().collect();
    env.insert("HACTL_CACHE_DIR".to_owned(), dir.path().join("cache").display().to_string());
    let (events, receiver) = Events::channel();
    let context = Context { dirs: Dirs::new(dir.path(), &env), env, events, stop: CancellationToken::new() };
    (dir, context, receiver)
}

/// Reads events, so that nobody waits for a full channel; the last ones are returned at the end.
fn drain(mut receiver: tokio::sync::mpsc::Receiver<Event>) -> tokio::task::JoinHandle<Vec<Event>> {
    tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(event) = receiver.recv().await {
            events.push(event);
        }
        events
    })
}

/// One test makes the base image, the others wait for it.
static BASE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn ensure_base(engine: &Engine) {
    let _making = BASE.lock().await;
    let (_dir, context, receiver) = context();
    let events = drain(receiver);
    let made = base_image(engine, &context, REFERENCE).await;
    drop(context);
    assert_eq!(made.unwrap_or_else(|error| panic!("{error}")), IMAGE);
    events.await.unwrap();
}

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
        let key = InstanceKey::new(key).unwrap();
        VolumeRequest { cluster: self.cluster.clone(), uuid: self.uuid, key, disk_gb: None }
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
            disk_gb: None,
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
    ensure_base(&bench.engine).await;
    let outcome = AssertUnwindSafe(test(&bench)).catch_unwind().await;
    bench.clean().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    assert_eq!(bench.engine.cluster_leftovers(&bench.cluster).await.unwrap(), Vec::<String>::new());
}

fn host(subnet: ipnet::Ipv4Net, slot: u8) -> Ipv4Addr {
    subnet.hosts().nth(usize::from(slot) - 1).unwrap()
}

fn greeting(port: u16) -> String {
    let mut bytes = [0; 4];
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap().read_exact(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn node_is_stopped_started_updated_and_removed() {
    with_cluster("life", async |bench| {
        let engine = &bench.engine;
        let stop = CancellationToken::new();
        let network = engine.create_network(&bench.network()).await.unwrap();
        let volume = engine.create_volume(&bench.volume("node1")).await.unwrap();
        let mut request = bench.node("node1", host(network.subnet, 10));
        request.volume = Some(volume.name.clone());

        let (progress, mut steps) = Progress::channel();
        let node = engine.create_node(&request, &progress, &stop).await.unwrap();
        drop(progress);
        for step in ["creating", "starting", "booting", "ssh up"] {
            assert_eq!(steps.recv().await, Some(step));
        }
        assert_eq!(steps.recv().await, None);
        assert_eq!((node.name.as_str(), node.running), ("t-eng-life-node1", true));
        assert_eq!((node.address, node.memory_mib, node.cores), (host(network.subnet, 10), 256, 1));
        assert_eq!(node.volume, Some(volume.name.clone()));
        assert!(node.host_key.starts_with("ssh-ed25519 "), "{}", node.host_key);
        assert_eq!(host_key(node.ssh_port), node.host_key);
        assert_eq!(engine.find_node(&node.name).await.unwrap(), Some(node.clone()));

        // What is asked for again is found, not made twice.
        assert_eq!(engine.create_node(&request, &Progress::none(), &stop).await.unwrap(), node);

        engine.stop_node(&node.name).await.unwrap();
        let stopped = engine.find_node(&node.name).await.unwrap().unwrap();
        assert!(!stopped.running);
        assert_eq!((stopped.address, stopped.ssh_port), (node.address, node.ssh_port));

        let started = engine.start_node(&node.name, &Progress::none(), &stop).await.unwrap();
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

#[tokio::test]
async fn node_with_a_disk_has_it_at_every_boot_and_leaves_no_device() {
    with_cluster("disk", async |bench| {
        let engine = &bench.engine;
        let stop = CancellationToken::new();
        engine.try_disk(IMAGE).await.unwrap();
        let network = engine.create_network(&bench.network()).await.unwrap();
        let ask = |key: &str| VolumeRequest { disk_gb: Some(1), ..bench.volume(key) };
        let mut requests = Vec::new();
        for (slot, key) in (10..).zip(["node1", "node2"]) {
            let volume = engine.create_volume(&ask(key)).await.unwrap();
            requests.push(NodeRequest {
                volume: Some(volume.name),
                disk_gb: Some(1),
                ..bench.node(key, host(network.subnet, slot))
            });
        }
        let quiet = Progress::none();
        let made = futures_util::future::join_all(requests.iter().map(|r| engine.create_node(r, &quiet, &stop))).await;
        let nodes: Vec<_> = made.into_iter().map(|node| node.unwrap()).collect();
        let name = nodes[0].name.as_str();
        assert_eq!((nodes[0].disk_gb, nodes[0].volume.as_deref()), (Some(1), Some("t-eng-disk-node1-pgdata")));
        let mib = |name| run(name, &["df", "--output=size", "-BM", DATA]).lines().nth(1).unwrap().trim().to_owned();
        assert_eq!((mib(name), mib(&nodes[1].name)), ("974M".to_owned(), "974M".to_owned()));
        assert_eq!(loop_devices(bench.uuid).len(), 2);

        // The node's power goes while somebody writes, and comes back at once.
        let file = format!("{DATA}/kept");
        run(name, &["sh", "-c", &format!("echo 1 >{file}; sync; (while :; do date >>{file}; done) >/dev/null 2>&1 &")]);
        for _ in 0..3 {
            engine.kill_node(name).await.unwrap();
            engine.start_node(name, &Progress::none(), &stop).await.unwrap();
            assert_eq!(run(name, &["head", "-n", "1", &file]), "1\n");
        }
        assert_eq!(loop_devices(bench.uuid).len(), 2);

        // Without its container the volume keeps it.
        engine.remove_node(name).await.unwrap();
        assert_eq!(loop_devices(bench.uuid).len(), 1);
        engine.create_node(&requests[0], &Progress::none(), &stop).await.unwrap();
        assert_eq!(run(name, &["head", "-n", "1", &file]), "1\n");

        // Nobody is given another disk, or none, in its place.
        for disk_gb in [None, Some(2)] {
            let error = engine.create_volume(&VolumeRequest { disk_gb, ..ask("node1") }).await.unwrap_err();
            assert!(error.code == "volume-differs" && error.to_string().contains("a disk of 1 GiB"), "{error}");
        }
        let error =
            engine.create_node(&NodeRequest { disk_gb: None, ..requests[0].clone() }, &Progress::none(), &stop).await;
        assert_eq!(error.unwrap_err().error.code, "node-differs");

        engine.stop_node(&nodes[1].name).await.unwrap();
        engine.remove_node(name).await.unwrap();
        assert_eq!(loop_devices(bench.uuid), Vec::<String>::new());
    })
    .await;
}

const DATA: &str = "/var/lib/postgresql";

/// The files of a cluster's disks that a loop device of this machine holds.
fn loop_devices(uuid: Uuid) -> Vec<String> {
    let devices = std::fs::read_dir("/sys/block").unwrap();
    let files =
        devices.filter_map(|device| std::fs::read_to_string(device.unwrap().path().join("loop/backing_file")).ok());
    files.filter(|file| file.contains(&uuid.to_string())).collect()
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
async fn nodes_made_in_parallel_have_separate_ports_and_services() {
    with_cluster("many", async |bench| {
        let engine = &bench.engine;
        let stop = CancellationToken::new();
        let network = engine.create_network(&bench.network()).await.unwrap();
        let requests: Vec<_> = (10..13).map(|n| bench.node(&format!("n{n}"), host(network.subnet, n))).collect();
        let quiet = Progress::none();
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
async fn objects_with_our_uuid_are_adopted_and_others_are_refused() {
    with_cluster("own", async |bench| {
        let engine = &bench.engine;
        let stop = CancellationToken::new();
        let network = engine.create_network(&bench.network()).await.unwrap();
        assert_eq!(engine.create_network(&bench.network()).await.unwrap(), network);
        let volume = engine.create_volume(&bench.volume("a")).await.unwrap();
        assert_eq!(engine.create_volume(&bench.volume("a")).await.unwrap(), volume);
        let request = bench.node("a", host(network.subnet, 10));
        engine.create_node(&request, &Progress::none(), &stop).await.unwrap();

        let other = Bench { engine: engine.clone(), cluster: bench.cluster.clone(), uuid: Uuid::new_v4() };
        let error = engine.create_network(&other.network()).await.unwrap_err();
        assert_eq!(error.code, "name-taken");
        assert!(error.to_string().contains(&bench.uuid.to_string()), "{error}");
        assert_eq!(engine.create_volume(&other.volume("a")).await.unwrap_err().code, "name-taken");
        let failed =
            engine.create_node(&other.node("a", host(network.subnet, 10)), &Progress::none(), &stop).await.unwrap_err();
        assert_eq!((failed.error.code, failed.partial.is_none()), ("name-taken", true));

        // A living node of ours is never silently replaced by another one.
        let mut moved = request.clone();
        moved.address = host(network.subnet, 11);
        let failed = engine.create_node(&moved, &Progress::none(), &stop).await.unwrap_err();
        assert_eq!((failed.error.code, failed.partial.is_some()), ("node-differs", true));
    })
    .await;
}

#[tokio::test]
async fn node_interrupted_while_made_is_reported_and_finished_next_time() {
    with_cluster("stop", async |bench| {
        let engine = &bench.engine;
        let network = engine.create_network(&bench.network()).await.unwrap();
        let request = bench.node("a", host(network.subnet, 10));
        let stop = CancellationToken::new();
        stop.cancel();
        let failed = engine.create_node(&request, &Progress::none(), &stop).await.unwrap_err();
        assert_eq!(failed.error.kind.exit_code(), 130);
        let partial = failed.partial.unwrap();
        let node = engine.create_node(&request, &Progress::none(), &CancellationToken::new()).await.unwrap();
        assert_eq!((node.id, node.host_key), (partial.id, partial.host_key));
    })
    .await;
}

#[tokio::test]
async fn networks_made_together_have_separate_subnets() {
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
async fn node_without_its_image_fails_with_the_command_that_makes_it() {
    with_cluster("image", async |bench| {
        let network = bench.engine.create_network(&bench.network()).await.unwrap();
        let mut request = bench.node("a", host(network.subnet, 10));
        request.image = "hactl/none:none".to_owned();
        let failed =
            bench.engine.create_node(&request, &Progress::none(), &CancellationToken::new()).await.unwrap_err();
        assert!(failed.partial.is_none());
        assert!(failed.error.hint.as_deref().unwrap_or_default().contains("hactl image build"), "{}", failed.error);
    })
    .await;
}

/// A key pair for one test: the public half, and a file with the private one.
fn key_pair(dir: &std::path::Path) -> (String, std::path::PathBuf) {
    let path = dir.join("id");
    let made =
        std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
    assert!(made.unwrap().success());
    (std::fs::read_to_string(dir.join("id.pub")).unwrap(), path)
}

fn ssh(port: u16, key: &std::path::Path, command: &str) -> String {
    let mut session = ssh2::Session::new().unwrap();
    session.set_tcp_stream(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
    session.handshake().unwrap();
    session.userauth_pubkey_file("root", None, key, None).unwrap();
    let mut channel = session.channel_session().unwrap();
    channel.exec(command).unwrap();
    let mut text = String::new();
    channel.read_to_string(&mut text).unwrap();
    channel.wait_close().unwrap();
    assert_eq!(channel.exit_status().unwrap(), 0, "{command}: {text}");
    text
}

#[tokio::test]
async fn image_after_baking_has_installed_files_and_no_identity() {
    with_cluster("bake", async |bench| {
        let engine = &bench.engine;
        let (dir, context, receiver) = context();
        let _events = drain(receiver);
        let (public, private) = key_pair(dir.path());
        // Not a name that a real image could have.
        let tag = "hactl/node:t-eng-bake";
        engine.remove_image(tag).await.unwrap();
        let key = private.clone();
        let install = async move |endpoint: hactl::platform::local::SshEndpoint| {
            assert_eq!(host_key(endpoint.port), endpoint.host_key);
            ssh(endpoint.port, &key, "echo 1 > /opt/installed");
            Ok(())
        };
        let image =
            bake(engine, &context, IMAGE, tag, &public, install).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((image.reference.as_str(), image.kind, image.digest.as_str()), (tag, ImageKind::Node, "t-eng-bake"));
        assert_eq!(image.used_by, Vec::<String>::new());
        nothing_left_of_bakes();

        // The second time it is there, and nothing is installed.
        let never = async |_| panic!("installed twice");
        assert_eq!(bake(engine, &context, IMAGE, tag, &public, never).await.unwrap(), image);

        let network = engine.create_network(&bench.network()).await.unwrap();
        let mut request = bench.node("a", host(network.subnet, 10));
        request.image = tag.to_owned();
        let node = engine.create_node(&request, &Progress::none(), &CancellationToken::new()).await.unwrap();
        assert_eq!(run(&node.name, &["cat", "/opt/installed"]), "1\n");
        let keys = run(&node.name, &["cat", "/root/.ssh/authorized_keys"]);
        assert!(!keys.contains(public.trim()), "{keys}");
        assert_eq!(run(&node.name, &["sh", "-c", "ls /etc/ssh/*_key"]), "/etc/ssh/ssh_host_ed25519_key\n");

        // An image that a container uses stays, whatever is pruned; other tests' images are kept.
        assert_eq!(prune_but_others(engine, tag).await, Vec::<String>::new());
        engine.remove_node(&node.name).await.unwrap();
        let pruned = prune_but_others(engine, tag).await;
        assert_eq!(pruned, [tag]);
    })
    .await;
}

async fn prune_but_others(engine: &Engine, tag: &str) -> Vec<String> {
    let images = engine.images().await.unwrap().into_iter().map(|image| image.reference);
    engine.prune_images_but(&images.filter(|reference| reference != tag).collect::<Vec<_>>()).await.unwrap()
}

#[tokio::test]
async fn image_bake_that_fails_leaves_nothing() {
    with_cluster("badbake", async |bench| {
        let (dir, context, receiver) = context();
        let _events = drain(receiver);
        let (public, _) = key_pair(dir.path());
        let tag = "hactl/node:t-eng-badbake";
        let install = async |_| Err(Error::failed("test", "install", "nothing"));
        let error = bake(&bench.engine, &context, IMAGE, tag, &public, install).await.unwrap_err();
        assert_eq!(error.code, "test");
        assert_eq!(bench.engine.find_image(tag).await.unwrap(), None);
        nothing_left_of_bakes();
    })
    .await;
}

/// Workshops of this process; other processes may be baking.
fn nothing_left_of_bakes() {
    // Tests of one process run in parallel: only names of ended ones must be gone, so wait a little.
    for _ in 0..600 {
        let name = format!("name=bake-{}-", std::process::id());
        let output = std::process::Command::new("docker").args(["ps", "-aq", "--filter", &name]).output().unwrap();
        if output.stdout.is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("a temporary container is left");
}

#[tokio::test]
async fn image_of_a_distribution_gets_the_packages_of_a_node() {
    with_cluster("plain", async |bench| {
        let (dir, context, receiver) = context();
        let events = drain(receiver);
        let tar = dir.path().join("plain.tar");
        let sources = std::fs::read_dir("/etc/apt/sources.list.d").unwrap().flatten().map(|entry| entry.path());
        let made = std::process::Command::new("mmdebstrap")
            .args(["-q", "--variant=minbase", "bookworm"])
            .arg(&tar)
            .args(sources.filter(|path| path.extension().is_some_and(|end| end == "sources")))
            .args([
                "--aptopt=Acquire::Check-Valid-Until \"false\"",
                "--customize-hook=echo exit 101 >\"$1/usr/sbin/policy-rc.d\"",
            ])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let imported = std::process::Command::new("docker").arg("import").arg(&tar).arg("t-eng-plain:12").output();
        assert!(imported.unwrap().status.success());

        let base = base_image(&bench.engine, &context, "t-eng-plain:12").await;
        let base = base.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(base, "hactl/base:t-eng-plain-12");
        let network = bench.engine.create_network(&bench.network()).await.unwrap();
        let mut request = bench.node("a", host(network.subnet, 10));
        request.image = base.clone();
        let node = bench.engine.create_node(&request, &Progress::none(), &CancellationToken::new()).await.unwrap();
        assert_eq!(run(&node.name, &["sh", "-c", "test ! -e /usr/sbin/policy-rc.d && python3 -c 'import apt'"]), "");
        bench.engine.remove_node(&node.name).await.unwrap();
        bench.engine.remove_image(&base).await.unwrap();
        bench.engine.remove_image("t-eng-plain:12").await.unwrap();
        drop(context);
        assert!(events.await.unwrap().iter().any(|event| matches!(event, Event::Output { tool, .. } if tool == "apt")));
    })
    .await;
}

#[tokio::test]
async fn image_unknown_is_an_error_with_the_supported_images() {
    let env: BTreeMap<String, String> = std::env::vars().collect();
    let engine = Engine::connect(&env).await.unwrap();
    let (_dir, context, receiver) = context();
    let _events = drain(receiver);
    let error = base_image(&engine, &context, "t-eng-nothing:1").await.unwrap_err();
    assert!(error.hint.as_deref().unwrap_or_default().contains("debian:12"), "{error}");
}
