//! A cluster as it is planned, and who is struck in which state of it.

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path, sync::Arc};

use super::{Ground, targets, targets::too_few};
use crate::{
    context::{Context, Dirs},
    event::Events,
    fleet::{Fleet, FleetNode, SshTarget},
    health::{self, Access, Etcd, Health, Member},
    model::{Choices, InstanceKey, Secret},
    plan::{self, Plan},
    spec,
    verify::catalogue,
};

/// What a [`Ground`] borrows from.
pub(super) struct Scene {
    plan: Plan,
    fleet: Fleet,
    access: Access,
    context: Context,
}

impl Scene {
    pub(super) fn new(file: &str) -> Self {
        let plan = plan::decide(&spec::load("t.yaml", file.as_bytes(), "t").unwrap(), &Choices::default()).unwrap();
        let nodes = plan.nodes.values().map(|node| {
            let address = Ipv4Addr::new(10, 0, 0, node.slot);
            let ssh = SshTarget { host: address.to_string(), port: 22, user: "root".to_owned(), host_key: None };
            (node.key.clone(), FleetNode { node: node.clone(), address, ssh })
        });
        let fleet = Fleet { cluster: plan.cluster.clone(), nodes: nodes.collect() };
        let secret = || Secret::new(String::new());
        let tls = || health::client_config("", None).unwrap();
        let login = || (String::new(), secret());
        let access = Access::new(Arc::new(secret()), tls(), tls(), login(), login());
        let env = BTreeMap::new();
        let dirs = Dirs::new(Path::new("/nowhere"), &env);
        let context = Context { dirs, env, events: Events::channel().0, stop: Default::default() };
        Self { plan, fleet, access, context }
    }

    pub(super) const fn ground(&self) -> Ground<'_> {
        Ground {
            plan: &self.plan,
            fleet: &self.fleet,
            access: &self.access,
            control: &self.access,
            context: &self.context,
        }
    }
}

fn member(name: &str, role: &str, state: &str) -> Member {
    Member { name: name.to_owned(), role: role.to_owned(), state: state.to_owned(), ..Member::default() }
}

fn health() -> Health {
    Health {
        leader: InstanceKey::new("node1").ok(),
        members: vec![
            member("node1", "leader", "running"),
            member("node2", "replica", "streaming"),
            member("node3", "quorum_standby", "streaming"),
        ],
        etcd: Etcd { healthy: true, leader: Some("node2".to_owned()), members: Vec::new() },
        problems: Vec::new(),
    }
}

/// Who is struck, or why nobody.
fn struck(title: &str, health: &Health, scene: &Scene) -> Result<String, String> {
    let drill = catalogue::choose(&[title.to_owned()]).unwrap()[0];
    let keys = targets(drill, health, &scene.ground()).map_err(|error| error.causes.join(" "))?;
    Ok(keys.iter().map(InstanceKey::as_str).collect::<Vec<_>>().join(" "))
}

const THREE: &str = "instances: {node1: {}, node2: {}, node3: {}}";

#[test]
fn each_target_is_who_it_says() {
    let scene = Scene::new(THREE);
    for (title, expected) in [
        ("node-loss", "node1"),
        ("replica-loss", "node2"),
        ("sync-replica-isolated", "node3"),
        ("etcd-leader-loss", "node2"),
        ("etcd-quorum-loss", "node2 node3"),
        ("cluster-power-off", "node1 node2 node3"),
    ] {
        assert_eq!(struck(title, &health(), &scene).as_deref(), Ok(expected), "{title}");
    }
}

#[test]
fn the_primary_s_own_voter_comes_last() {
    let scene = Scene::new(THREE);
    let led_by = |name| Health { leader: InstanceKey::new(name).ok(), ..health() };
    assert_eq!(struck("etcd-quorum-loss", &led_by("node2"), &scene).as_deref(), Ok("node1 node3"));
    let single = Scene::new("instances: {node1: {}}");
    assert_eq!(struck("etcd-quorum-loss", &health(), &single).as_deref(), Ok("node1"));
}

#[test]
fn whoever_is_not_there_is_named() {
    let scene = Scene::new(THREE);
    let empty = Health { leader: None, members: Vec::new(), etcd: Etcd::default(), problems: Vec::new() };
    for (title, expected) in [
        ("node-loss", "the cluster has no primary now"),
        ("replica-loss", "the cluster has no replica now"),
        ("sync-replica-isolated", "the cluster has no synchronous replica now"),
        ("etcd-leader-loss", "the cluster has no leader of etcd now"),
    ] {
        assert_eq!(struck(title, &empty, &scene), Err(expected.to_owned()), "{title}");
    }
}

#[test]
fn a_cluster_that_is_too_small_is_told_so() {
    let reason =
        |title: &str, file: &str| too_few(catalogue::choose(&[title.to_owned()]).unwrap()[0], &Scene::new(file).plan);
    assert_eq!(reason("node-loss", THREE), None);
    assert_eq!(
        reason("node-loss", "instances: {node1: {}}").as_deref(),
        Some("it needs 2 data nodes, and there are 1")
    );
    assert_eq!(
        reason("node-loss", "instances: {node1: {}, node2: {}}").as_deref(),
        Some("it needs 3 voters of etcd, and there are 1")
    );
    assert_eq!(
        reason("sync-replica-isolated", &format!("{THREE}\npatroni: {{durability: async}}")).as_deref(),
        Some("no replica is waited for under durability async")
    );
}
