//! The provider and the provision stage against the real Terraform and the real container engine.
//!
//! Needs `terraform`, an engine, and `HACTL_TEST_IMAGE`: an image of this machine that has systemd
//! and sshd. Each test has a cluster of its own, which it takes down again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use hactl::{
    context::{Context, Dirs},
    event::{Event, Events, ResourceState},
    exec::Command,
    local::Engine,
    model::{ClusterName, InstanceKey},
    plan::Plan,
    provider::Server,
    provision::{self, Action, Changes, Machines, Provisioned},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// One cluster in a directory of its own.
struct Cluster {
    dir: tempfile::TempDir,
    engine: Engine,
    name: ClusterName,
    uuid: Uuid,
    image: String,
    /// Key, slot, memory in MiB.
    nodes: Vec<(&'static str, u8, u32)>,
}

impl Cluster {
    async fn new(name: &str) -> Option<Self> {
        let Ok(image) = std::env::var("HACTL_TEST_IMAGE") else {
            // Said by the runner of the tests as well: `make test` sets it.
            eprintln!("skipped: HACTL_TEST_IMAGE is not set");
            return None;
        };
        let env: BTreeMap<String, String> = std::env::vars().collect();
        let cluster = Self {
            dir: tempfile::tempdir().unwrap(),
            engine: Engine::connect(&env).await.unwrap(),
            name: name.parse().unwrap(),
            uuid: Uuid::new_v4(),
            image,
            nodes: vec![("node1", 10, 512), ("node2", 11, 512)],
        };
        cluster.sweep().await;
        Some(cluster)
    }

    /// A run's context, and everything that was said in it.
    fn context(&self) -> (Context, tokio::task::JoinHandle<Vec<Event>>) {
        let env: BTreeMap<String, String> = std::env::vars().collect();
        let (events, mut receiver) = Events::channel();
        let seen = tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Some(event) = receiver.recv().await {
                seen.push(event);
            }
            seen
        });
        let dirs = Dirs::new(self.dir.path(), &env);
        (Context { dirs, env, events, stop: CancellationToken::new() }, seen)
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
            "platform": {"local": {"base_image": "debian:12", "subnet": null}},
            "nodes": nodes, "etcd": "3.6.5",
            "postgres": {"major": 15, "parameters": {}, "databases": {}, "access": []},
            "patroni": {"version": "4.1.4", "durability": "async", "timers":
                {"ttl": 20, "loop_wait": 3, "retry_timeout": 7, "primary_start_timeout": 30, "primary_stop_timeout": 30}},
            "bounds": [], "fencing": "", "warnings": [], "disposable": true
        }))
        .unwrap()
    }

    fn server(&self, context: &Context) -> (Server, String) {
        let server =
            Server::start(self.engine.clone(), context.events.clone(), context.stop.clone(), &std::env::temp_dir())
                .unwrap();
        let reattach = server.reattach_env(None).unwrap();
        (server, reattach)
    }

    async fn apply(&self, context: &Context) -> hactl::error::Result<Provisioned> {
        let (_server, reattach) = self.server(context);
        let (plan, keys) = (self.plan(), [KEY.to_owned()]);
        let machines = Machines { plan: &plan, image: &self.image, uuid: self.uuid, authorized_keys: &keys };
        provision::apply(context, &context.dirs.cluster(&self.name), &machines, Some(reattach)).await
    }

    /// Applies in a run of its own.
    async fn up(&self) -> (hactl::error::Result<Provisioned>, Vec<Event>) {
        let (context, seen) = self.context();
        let provisioned = self.apply(&context).await;
        drop(context);
        (provisioned, seen.await.unwrap())
    }

    async fn down(&self) {
        let (context, _seen) = self.context();
        let (_server, reattach) = self.server(&context);
        provision::destroy(&context, &context.dirs.cluster(&self.name), Some(reattach)).await.unwrap();
        assert_eq!(self.engine.cluster_leftovers(&self.name).await.unwrap(), Vec::<String>::new());
    }

    /// What an earlier test that failed may have left.
    async fn sweep(&self) {
        for left in self.engine.cluster_leftovers(&self.name).await.unwrap() {
            let (kind, name) = left.split_once(' ').unwrap();
            match kind {
                "container" => self.engine.remove_node(name).await.unwrap(),
                "volume" => self.engine.remove_volume(name).await.unwrap(),
                _ => self.engine.remove_network(name).await.unwrap(),
            }
        }
    }

    fn container(&self, key: &str) -> String {
        format!("{}-{key}", self.name)
    }

    /// Terraform by hand, in the stack's directory.
    async fn terraform(&self, context: &Context, dir: &Path, args: &[&str]) -> hactl::error::Result<String> {
        let (_server, reattach) = self.server(context);
        let command = Command::new("terraform").args(args.iter().copied()).dir(dir).pass_prefix("TF_VAR_");
        let command = command.env("TF_REATTACH_PROVIDERS", reattach).env("TF_IN_AUTOMATION", "1");
        command.succeed(context, |_| ()).await.map(|finished| finished.stdout)
    }

    fn stack(&self, context: &Context) -> PathBuf {
        context.dirs.cluster(&self.name).terraform().join("stacks/local")
    }
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEn0fCwVs1bIg9G0cSYDrWvOQ4bMZvSIt0r0nE8w5cZt test";

fn actions(changes: &Changes, action: Action) -> Vec<String> {
    changes
        .with(action)
        .map(|change| format!("{} {}", change.kind, change.node.as_ref().map_or("", InstanceKey::as_str)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_made_repaired_changed_imported_and_destroyed() {
    let Some(mut cluster) = Cluster::new("t-tf-life").await else { return };

    let (first, events) = cluster.up().await;
    let first = first.unwrap();
    assert_eq!(first.outputs.len(), 2);
    let node1 = first.outputs[&"node1".parse().unwrap()].clone();
    assert_eq!(node1.name, "t-tf-life-node1");
    assert!(node1.host_key.as_ref().unwrap().starts_with("ssh-ed25519 "), "{node1:?}");
    let steps = events.iter().filter(|event| matches!(event, Event::Step { node: Some(_), .. })).count();
    assert!(steps >= 4, "boot steps are events: {events:?}");
    let done = |event: &&Event| matches!(event, Event::Resource { state: ResourceState::Done, .. });
    assert_eq!(events.iter().filter(done).count(), 5, "two volumes, two nodes, a network");

    // Nothing to do.
    let (again, _) = cluster.up().await;
    let again = again.unwrap();
    assert!(again.changes.is_empty(), "{:?}", again.changes);
    assert_eq!(again.outputs, first.outputs);

    // A stopped node is started in place, a deleted one made again with its address; data stays.
    cluster.engine.stop_node(&cluster.container("node1")).await.unwrap();
    let (repaired, _) = cluster.up().await;
    let repaired = repaired.unwrap();
    assert_eq!(actions(&repaired.changes, Action::Update), ["hactl_node node1"]);
    assert!(cluster.engine.find_node("t-tf-life-node1").await.unwrap().unwrap().running);
    assert_eq!(repaired.outputs, first.outputs);

    cluster.engine.remove_node(&cluster.container("node1")).await.unwrap();
    let refused = cluster.up().await.0.unwrap_err();
    assert_eq!(refused.code, "voters-gone", "one of two voters gone is no majority: {refused}");
    cluster.nodes.push(("node3", 12, 512));
    let refused = cluster.up().await.0.unwrap_err();
    assert_eq!(refused.code, "voters-gone", "a new voter does not count: {refused}");
    cluster.sweep().await;
    let (anew, _) = cluster.up().await;
    assert_eq!(anew.unwrap().outputs.len(), 3, "all gone, data too: a new start");
    cluster.engine.remove_node(&cluster.container("node2")).await.unwrap();
    let (repaired, _) = cluster.up().await;
    let repaired = repaired.unwrap();
    assert_eq!(actions(&repaired.changes, Action::Create), ["hactl_node node2"]);
    let address = repaired.outputs[&"node2".parse().unwrap()].ipv4.unwrap();
    assert_eq!(address.octets()[3], 11);

    // Memory changes in place; another image keeps what is there; a new address is refused by name.
    cluster.nodes[0].2 = 640;
    let (changed, _) = cluster.up().await;
    assert_eq!(actions(&changed.unwrap().changes, Action::Update), ["hactl_node node1"]);
    assert_eq!(cluster.engine.find_node("t-tf-life-node1").await.unwrap().unwrap().memory_mib, 640);
    let image = std::mem::replace(&mut cluster.image, "other:1".to_owned());
    assert!(cluster.up().await.0.unwrap().changes.is_empty());
    cluster.image = image;
    cluster.nodes[0].1 = 20;
    let refused = cluster.up().await.0.unwrap_err();
    assert!(refused.to_string().contains("replace the node node1"), "{refused}");
    cluster.nodes[0].1 = 10;

    // Forgotten by Terraform, imported by name: nothing to replace.
    let (context, _seen) = cluster.context();
    let stack = cluster.stack(&context);
    let address = "module.nodes.hactl_node.this[\"node1\"]";
    cluster.terraform(&context, &stack, &["state", "rm", address]).await.unwrap();
    cluster.terraform(&context, &stack, &["import", address, "t-tf-life-node1"]).await.unwrap();
    let (imported, _) = cluster.up().await;
    let imported = imported.unwrap();
    assert_eq!(actions(&imported.changes, Action::Replace), Vec::<String>::new());
    assert!(cluster.up().await.0.unwrap().changes.is_empty());

    cluster.down().await;
}
