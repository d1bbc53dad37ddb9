//! A cluster of a test: made by the provision stage, and taken away whatever happens.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
};

use futures_util::FutureExt;
use hactl::{
    assets::Assets,
    context::{Context, Dirs},
    error::Result,
    event::{Event, Events},
    exec::Command,
    model::{ClusterName, InstanceKey},
    plan::Plan,
    platform::{
        Machines,
        local::{Container, Engine, NetworkRequest, NodeRequest, Progress, VolumeRequest},
    },
    terraform::{self, Action, Changes, Consent, Provisioned, provider::Server},
};
use serde_json::json;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEn0fCwVs1bIg9G0cSYDrWvOQ4bMZvSIt0r0nE8w5cZt test";

/// One cluster in a directory of its own.
pub(crate) struct Cluster {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) engine: Engine,
    pub(crate) name: ClusterName,
    pub(crate) uuid: Uuid,
    pub(crate) image: String,
    /// Key, slot, memory in MiB.
    pub(crate) nodes: Vec<(&'static str, u8, u32)>,
}

/// Runs `test` on a cluster of two nodes, `t-tf-NAME`, and takes away what it leaves.
pub(crate) async fn with_cluster(name: &str, test: impl AsyncFnOnce(&mut Cluster)) {
    let env: BTreeMap<String, String> = std::env::vars().collect();
    let image = std::env::var("HACTL_TEST_IMAGE").unwrap_or_else(|_| "hactl/base:debian-12".to_owned());
    let mut cluster = Cluster {
        dir: tempfile::tempdir().unwrap(),
        engine: Engine::connect(&env).await.unwrap(),
        name: format!("t-tf-{name}").parse().unwrap(),
        uuid: Uuid::new_v4(),
        image,
        nodes: vec![("node1", 10, 512), ("node2", 11, 512)],
    };
    cluster.sweep().await;
    let outcome = AssertUnwindSafe(test(&mut cluster)).catch_unwind().await;
    cluster.sweep().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Cluster {
    /// A run's context, and what is said in it.
    pub(crate) fn context(&self) -> (Context, Receiver<Event>) {
        let mut env: BTreeMap<String, String> = std::env::vars().collect();
        // Terraform would print a warning in front of all its JSON.
        env.insert("TF_CLI_CONFIG_FILE".to_owned(), "/nonexistent/terraformrc".to_owned());
        env.insert("TF_CLI_ARGS_apply".to_owned(), "-no-such-option".to_owned());
        let (events, receiver) = Events::channel();
        let dirs = Dirs::new(self.dir.path(), &env);
        (Context { dirs, env, events, stop: CancellationToken::new() }, receiver)
    }

    fn plan(&self) -> Plan {
        let nodes: serde_json::Map<_, _> = self
            .nodes
            .iter()
            .map(|(key, slot, memory)| {
                let node = json!({"key": key, "hostname": format!("t-{key}"), "roles": ["etcd", "patroni"],
                    "memory_mib": memory, "cores": 1, "slot": slot});
                ((*key).to_owned(), node)
            })
            .collect();
        serde_json::from_value(json!({
            "cluster": self.name, "app": "t", "env": "tf",
            "platform": {"local": {"base_image": "debian:12", "release": "debian:12", "subnet": null}},
            "nodes": nodes, "etcd": "3.6.5",
            "postgres": {"major": 15, "packages": [], "pgdg_suite": null, "parameters": {}, "databases": {}, "access": []},
            "patroni": {"version": "4.1.4", "durability": "async", "timers":
                {"ttl": 20, "loop_wait": 3, "retry_timeout": 7, "primary_start_timeout": 30, "primary_stop_timeout": 30},
                "failsafe": true},
            "dcs": {"etcd": {"leader_key": null, "outside": []}},
            "bounds": [], "fencing": "", "warnings": [], "disposable": true
        }))
        .unwrap()
    }

    fn server(&self, context: &Context) -> (Server, String) {
        let server = Server::start(Some(self.engine.clone()), context, &std::env::temp_dir()).unwrap();
        let reattach = server.reattach_env(None).unwrap();
        (server, reattach)
    }

    pub(crate) async fn apply(&self, context: &Context) -> Result<Provisioned> {
        let (_server, reattach) = self.server(context);
        let (plan, keys) = (self.plan(), [KEY.to_owned()]);
        let assets = Assets::embedded();
        let machines = Machines {
            plan: &plan,
            assets: &assets,
            image: Some(&self.image),
            uuid: self.uuid,
            authorized_keys: &keys,
            record: "",
            surveyed: None,
        };
        terraform::apply(
            context,
            &context.dirs.cluster(&self.name),
            &machines,
            &Consent::default(),
            Some(reattach),
            async |_| Ok(()),
        )
        .await
    }

    /// Applies in a run of its own.
    pub(crate) async fn up(&self) -> (Result<Provisioned>, Vec<Event>) {
        let (context, receiver) = self.context();
        let seen = tokio::spawn(collect(receiver));
        let provisioned = self.apply(&context).await;
        drop(context);
        (provisioned, seen.await.unwrap())
    }

    /// Applies in a run that is asked to stop as soon as a node boots.
    pub(crate) async fn up_interrupted(&self) -> Result<Provisioned> {
        let (context, mut receiver) = self.context();
        let stop = context.stop.clone();
        tokio::spawn(async move {
            while let Some(event) = receiver.recv().await {
                if is_booting(&event) {
                    stop.cancel();
                }
            }
        });
        self.apply(&context).await
    }

    /// Destroys everything; nothing may be left then.
    pub(crate) async fn down(&self) {
        self.destroy().await;
        assert_eq!(self.left().await, Vec::<String>::new());
    }

    pub(crate) async fn destroy(&self) {
        let (context, receiver) = self.context();
        tokio::spawn(collect(receiver));
        let (_server, reattach) = self.server(&context);
        let (plan, assets) = (self.plan(), Assets::embedded());
        let (image, keys) = (Some(self.image.as_str()), [KEY.to_owned()]);
        let machines = Machines {
            plan: &plan,
            assets: &assets,
            image,
            uuid: self.uuid,
            authorized_keys: &keys,
            record: "",
            surveyed: None,
        };
        let dir = context.dirs.cluster(&self.name);
        terraform::destroy(&context, &dir, &machines, Some(reattach)).await.unwrap();
    }

    pub(crate) async fn left(&self) -> Vec<String> {
        self.engine.cluster_leftovers(&self.name).await.unwrap()
    }

    pub(crate) async fn sweep(&self) {
        // Sorted by kind: containers go before the networks and volumes that they use.
        for left in self.left().await {
            let (kind, name) = left.split_once(' ').unwrap();
            match kind {
                "container" => self.engine.remove_node(name).await.unwrap(),
                "volume" => self.engine.remove_volume(name).await.unwrap(),
                _ => self.engine.remove_network(name).await.unwrap(),
            }
        }
    }

    pub(crate) fn container(&self, key: &str) -> String {
        format!("{}-{key}", self.name)
    }

    pub(crate) async fn node(&self, key: &str) -> Container {
        self.engine.find_node(&self.container(key)).await.unwrap().unwrap()
    }

    /// Makes the first node behind Terraform's back, as a run that was killed leaves it.
    pub(crate) async fn make_first_node(&self, uuid: Uuid) -> Container {
        let (key, slot, memory_mib) = self.nodes[0];
        let (cluster, key) = (self.name.clone(), InstanceKey::new(key).unwrap());
        let network = NetworkRequest { cluster: cluster.clone(), uuid, subnet: None };
        let network = self.engine.create_network(&network).await.unwrap();
        let volume = VolumeRequest { cluster: cluster.clone(), uuid, key: key.clone(), disk_gb: None };
        let volume = self.engine.create_volume(&volume).await.unwrap();
        let address: Ipv4Addr = network.subnet.hosts().nth(usize::from(slot) - 1).unwrap();
        let request = NodeRequest {
            cluster,
            uuid,
            hostname: format!("t-{key}").parse().unwrap(),
            key,
            image: self.image.clone(),
            network: network.name,
            address,
            volume: Some(volume.name),
            disk_gb: None,
            memory_mib,
            cores: 1,
            authorized_keys: vec![KEY.to_owned()],
        };
        self.engine.create_node(&request, &Progress::none(), &CancellationToken::new()).await.unwrap()
    }

    /// A command of Terraform by hand, in the stack's directory.
    pub(crate) async fn terraform(&self, args: &[&str]) -> String {
        let (context, _receiver) = self.context();
        let (_server, reattach) = self.server(&context);
        let command = Command::new("terraform").args(args.iter().copied()).dir(self.stack());
        let command = command.env("TF_REATTACH_PROVIDERS", reattach).env("TF_IN_AUTOMATION", "1");
        command.succeed(&context, |_| ()).await.unwrap().stdout
    }

    pub(crate) fn stack(&self) -> PathBuf {
        self.context().0.dirs.cluster(&self.name).terraform().join("stacks/local")
    }
}

async fn collect(mut receiver: Receiver<Event>) -> Vec<Event> {
    let mut seen = Vec::new();
    while let Some(event) = receiver.recv().await {
        seen.push(event);
    }
    seen
}

pub(crate) fn is_booting(event: &Event) -> bool {
    matches!(event, Event::Step { step, .. } if step == "booting")
}

/// The resources with `action`, as `TYPE KEY`.
pub(crate) fn actions(changes: &Changes, action: Action) -> Vec<String> {
    let key = |node: &Option<InstanceKey>| node.as_ref().map_or(String::new(), ToString::to_string);
    changes.with(action).map(|change| format!("{} {}", change.kind, key(&change.node))).collect()
}

/// Runs a program of this machine to a good end.
pub(crate) async fn run(program: impl AsRef<Path>, args: &[&str]) -> String {
    let env: BTreeMap<String, String> = std::env::vars().collect();
    let context = Context {
        dirs: Dirs::new(Path::new("/"), &env),
        env,
        events: Events::channel().0,
        stop: CancellationToken::new(),
    };
    Command::new(program).args(args.iter().copied()).succeed(&context, |_| ()).await.unwrap().stdout
}
