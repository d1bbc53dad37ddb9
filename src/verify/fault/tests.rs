//! A planned cluster, and the targets that drills choose in its states.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use tokio_postgres::config::SslMode;

use super::{dispatch, power, target::FaultTarget, targets, targets::too_few};
use crate::{
    access::{self, Access, Keys},
    component::{etcd::Etcd, patroni::Member},
    context::{Context, Dirs},
    env,
    event::Events,
    fleet::{Fleet, FleetNode, FoundServices, SshTarget},
    health::Health,
    model::{Choices, Dcs, Endpoint, InstanceKey, Secret},
    plan::{self, Plan},
    spec,
    verify::catalogue::{self, Fault},
};

/// What a [`FaultTarget`] borrows from.
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
            let address = Ipv4Addr::new(10, 0, 0, node.address_index);
            let ssh = SshTarget {
                host: address.to_string(),
                port: 22,
                user: "root".to_owned(),
                sudo: false,
                host_key: None,
                bastion: None,
            };
            (
                node.key.clone(),
                FleetNode { node: node.clone(), address, machine_id: None, ssh, data_device: None, found: None },
            )
        });
        let fleet = Fleet { cluster: plan.cluster.clone(), nodes: nodes.collect() };
        let secret = || Secret::new(String::new());
        let tls = || access::client_config("", None).unwrap();
        let access = Access::new(Keys {
            ssh: secret().into(),
            patroni_tls: tls(),
            etcd_tls: tls(),
            postgres_tls: tls(),
            clients_tls: tls(),
            postgres_ssl: SslMode::Require,
            superuser: (String::new(), secret()),
            restapi: None,
        });
        let env = BTreeMap::new();
        let dirs = Dirs::new(Path::new("/nowhere"), &env);
        let context = Context { dirs, env, events: Events::channel().0, stop: Default::default() };
        Self { plan, fleet, access, context }
    }

    pub(super) const fn cluster(&self) -> FaultTarget<'_> {
        FaultTarget {
            plan: &self.plan,
            fleet: &self.fleet,
            access: &self.access,
            control: &self.access,
            context: &self.context,
            short_leaves: None,
            owner: None,
        }
    }
}

/// A node as hactl's roles make it.
pub(super) fn node() -> FleetNode {
    Scene::new("instances: {node1: {}}").fleet.nodes.into_values().next().unwrap()
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
        ..Health::default()
    }
}

/// The targets of a drill, or why it has none.
fn struck(title: &str, health: &Health, scene: &Scene) -> Result<String, String> {
    let drill = catalogue::choose(&[title.to_owned()]).unwrap()[0];
    let keys = targets(drill, health, &scene.cluster()).map_err(|error| error.causes.join(" "))?;
    Ok(keys.iter().map(InstanceKey::as_str).collect::<Vec<_>>().join(" "))
}

const THREE: &str = "instances: {node1: {}, node2: {}, node3: {}}";

/// The lines of a script that are not comments.
pub(super) fn code(script: &str) -> String {
    script.lines().filter(|line| !line.trim_start().starts_with('#')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn each_drill_chooses_the_expected_target() {
    let scene = Scene::new(THREE);
    for (title, expected) in [
        ("node-loss", "node1"),
        ("replica-loss", "node2"),
        ("sync-replica-isolated", "node3"),
        ("etcd-leader-loss", "node2"),
        ("etcd-quorum-loss", "node2 node3"),
        ("cluster-power-off", "node1 node2 node3"),
        // The first host of the printed connection string, whatever its role.
        ("pooler-crash", "node1"),
    ] {
        assert_eq!(struck(title, &health(), &scene).as_deref(), Ok(expected), "{title}");
    }
}

#[test]
fn voter_on_the_primary_is_chosen_last() {
    let scene = Scene::new(THREE);
    let led_by = |name| Health { leader: InstanceKey::new(name).ok(), ..health() };
    assert_eq!(struck("etcd-quorum-loss", &led_by("node2"), &scene).as_deref(), Ok("node1 node3"));
    let single = Scene::new("instances: {node1: {}}");
    assert_eq!(struck("etcd-quorum-loss", &health(), &single).as_deref(), Ok("node1"));
}

#[test]
fn missing_target_is_refused_with_the_reason() {
    let scene = Scene::new(THREE);
    let empty = Health::default();
    for (title, expected) in [
        ("node-loss", "the cluster has no primary now"),
        ("replica-loss", "the cluster has no replica now"),
        ("sync-replica-isolated", "the cluster has no synchronous replica now"),
        ("etcd-leader-loss", "the cluster has no etcd leader now"),
    ] {
        assert_eq!(struck(title, &empty, &scene), Err(expected.to_owned()), "{title}");
    }
}

#[test]
fn cluster_that_is_too_small_is_refused_with_the_reason() {
    let reason =
        |title: &str, file: &str| too_few(catalogue::choose(&[title.to_owned()]).unwrap()[0], &Scene::new(file).plan);
    assert_eq!(reason("node-loss", THREE), None);
    assert_eq!(
        reason("node-loss", "instances: {node1: {}}").as_deref(),
        Some("the drill needs 2 machines with PostgreSQL, but the cluster has 1")
    );
    assert_eq!(
        reason("node-loss", "instances: {node1: {}, node2: {}}").as_deref(),
        Some("the drill needs 3 etcd voters, but the cluster has 1")
    );
    assert_eq!(
        reason("sync-replica-isolated", &format!("{THREE}\npatroni: {{durability: async}}")).as_deref(),
        Some("the primary waits for no replica under durability async")
    );
    let five = "instances: {node1: {}, node2: {}, node3: {}, node4: {}, node5: {}}";
    assert_eq!(reason("double-loss", five), None);
    assert_eq!(
        reason("double-loss", THREE).as_deref(),
        Some("the drill needs 5 machines with PostgreSQL, but the cluster has 3")
    );
    assert_eq!(
        reason("double-loss", &format!("{five}\npatroni: {{synchronous_nodes: 1}}")).as_deref(),
        Some("the drill needs commits on two replicas, but they wait for one: set `patroni.synchronous_nodes: 2`")
    );
    assert_eq!(
        reason("double-loss", &format!("{five}\netcd: {{voters: 3}}")).as_deref(),
        Some("the drill needs 5 etcd voters, but the cluster has 3")
    );
    assert_eq!(
        reason("node-loss-in-copy", &format!("{THREE}\npatroni: {{durability: async}}")).as_deref(),
        Some("under durability async no replica takes over that is more than 1 MiB behind")
    );
}

#[test]
fn drill_of_the_entry_point_is_refused_without_one() {
    let with = format!("{THREE}\nendpoint: {{}}");
    for title in ["pooler-crash", "proxy-crash", "pool-exhausted"] {
        let reason = |file: &str| too_few(catalogue::choose(&[title.to_owned()]).unwrap()[0], &Scene::new(file).plan);
        assert_eq!(
            reason(THREE).as_deref(),
            Some("the drill needs poolers and proxies, but the cluster has none: set `endpoint` in the cluster file")
        );
        assert_eq!(reason(&with), None, "{title}");
    }
}

#[test]
fn cluster_with_another_dcs_is_refused_with_the_reason() {
    let reason = |title: &str, dcs: Dcs, failsafe: bool| {
        let mut plan = Scene::new(THREE).plan;
        (plan.dcs, plan.patroni.failsafe) = (dcs, failsafe);
        too_few(catalogue::choose(&[title.to_owned()]).unwrap()[0], &plan)
    };
    let consul = || Dcs::Other("consul".to_owned());
    let etcd = |outside: &[&str]| Dcs::Etcd {
        leader_key: None,
        outside: outside.iter().map(|voter| voter.parse().unwrap()).collect(),
    };
    assert_eq!(reason("switchover", consul(), false), None);
    assert_eq!(
        reason("etcd-leader-loss", consul(), true).as_deref(),
        Some("the drill needs etcd, but the cluster's DCS is consul")
    );
    assert_eq!(
        reason("primary-isolated", consul(), true).as_deref(),
        Some("the drill must also cut off the cluster's DCS, but hactl does not know where consul runs")
    );
    assert_eq!(
        reason("etcd-leader-loss", etcd(&["10.9.9.9:2379"]), true).as_deref(),
        Some("some etcd voters are not instances of the cluster file: 10.9.9.9:2379")
    );
    assert_eq!(reason("primary-isolated", etcd(&["10.9.9.9:2379"]), true), None);
    assert_eq!(reason("primary-cut-from-etcd", etcd(&[]), true), None);
    assert!(reason("primary-cut-from-etcd", etcd(&[]), false).unwrap().starts_with("failsafe_mode is off"));
}

#[test]
fn faults_use_the_discovered_units_ports_and_users() {
    let mut scene = Scene::new(THREE);
    let endpoint = |port| Endpoint { host: "10.0.0.10".to_owned(), port, tls: false };
    let first = scene.fleet.nodes.values_mut().next().unwrap();
    first.found = Some(FoundServices {
        member: "pg_1".to_owned(),
        patroni: endpoint(8010),
        postgres: endpoint(5433),
        etcd: endpoint(23790),
        patroni_unit: "patroni@main".to_owned(),
        etcd_unit: "dcs".to_owned(),
        user: "dba".to_owned(),
        data_dir: "/srv/it's here".to_owned(),
        addresses: ["10.0.0.10", "10.7.0.10"].map(|text| text.parse().unwrap()).to_vec(),
    });
    scene.plan.dcs = Dcs::Etcd { leader_key: None, outside: vec!["10.9.9.9:2379".parse().unwrap()] };
    let cluster = scene.cluster();
    let nodes: Vec<&FleetNode> = cluster.members().collect();
    let inject = |fault, node| dispatch::on_node(fault, node, &cluster).unwrap().inject;
    assert!(inject(Fault::KillPostgres, nodes[0]).starts_with(r"data='/srv/it'\''s here'"));
    assert!(inject(Fault::KillEtcd, nodes[0]).contains("unit='dcs'\n"));
    assert!(inject(Fault::KillPatroni, nodes[0]).contains("systemctl kill --kill-who=main -s KILL patroni@main\n"));
    // The others cut off every address of it, and etcd's voters elsewhere, too.
    let cut = inject(Fault::Isolate, nodes[1]);
    assert!(cut.contains("ip saddr { 10.0.0.10, 10.0.0.12, 10.7.0.10, 10.9.9.9 } counter drop"), "{cut}");
    let cut = inject(Fault::CutFromEtcd, nodes[0]);
    assert!(cut.contains("meta skuid \"dba\" tcp dport { 2379, 23790 } counter drop"), "{cut}");
}

/// Arms the loss of power of node1, a machine whose power is a word in a file, with a program in the place of the watcher.
/// That gets its deadline in milliseconds as `$3`; the causes if that fails.
async fn armed_with(dir: &Path, script: &str) -> Result<power::Switch, Vec<String>> {
    let (program, machine) = (dir.join("watcher"), dir.join("machine"));
    fs::write(&machine, "on\n").unwrap();
    fs::write(&program, format!("#!/bin/sh\nread order\ncd ${{0%/*}}\n{script}\n")).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let machine = machine.display();
    let mut scene = Scene::new(&format!(
        "platform:\n  hosts:\n    power:\n      off: [sh, -c, 'echo off >{machine}', '{{{{ instance }}}}']\n      \
         on: [sh, -c, 'echo on >{machine}', '{{{{ instance }}}}']\n      state: [sh, -c, 'cat {machine}', '{{{{ instance }}}}']\n\
         instances: {{node1: {{address: 192.0.2.1}}, node2: {{address: 192.0.2.2}}, node3: {{address: 192.0.2.3}}}}",
    ));
    // The commands start in the directory of work.
    scene.context.dirs = Dirs::new(dir, &BTreeMap::new());
    scene.context.env.insert(env::HACTL_PROGRAM.to_owned(), program.display().to_string());
    scene.context.env.insert("PATH".to_owned(), std::env::var("PATH").unwrap());
    let target = InstanceKey::new("node1").unwrap();
    power::arm(&[target], Duration::from_secs(60), &scene.cluster()).await.map_err(|error| {
        assert_eq!((error.code, &*error.object), ("power-watch", "node1"));
        error.causes
    })
}

#[tokio::test]
async fn power_of_a_machine_is_armed_only_after_a_watcher_has_acted_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let by_itself = "echo $3 >>log; echo ready; [ $3 != 300 ] || { echo restored; exit; }; cat >/dev/null";
    armed_with(dir.path(), by_itself).await.unwrap();
    // The watcher of the drill comes after the canary.
    assert_eq!(fs::read_to_string(dir.path().join("log")).unwrap(), "300\n60000\n");
    for (script, cause) in [
        ("echo ready; [ $3 = 300 ] || cat >/dev/null", "the watcher exited before it reported `restored`"),
        ("echo ready; echo no power", "no power"),
        ("", "the watcher exited before it reported `ready`"),
    ] {
        assert_eq!(armed_with(dir.path(), script).await.err(), Some(vec![cause.to_owned()]), "{script}");
    }
}

#[tokio::test]
async fn watcher_that_ended_without_power_has_not_restored_it() {
    let dir = tempfile::tempdir().unwrap();
    let canary = "echo ready; [ $3 != 300 ] || { echo restored; exit; }; until grep -q off machine; do sleep 0.1; done";
    for (act, restored) in [("echo on >machine; echo restored", true), ("exit 1", false)] {
        let switch = armed_with(dir.path(), &format!("{canary}; {act}")).await.unwrap();
        assert!(!switch.is_restored().await.unwrap(), "the machine has power, and the watcher has done nothing");
        switch.off().await.unwrap();
        let last = std::time::Instant::now() + Duration::from_secs(20);
        while !switch.watcher_ended() && std::time::Instant::now() < last {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(switch.is_restored().await.unwrap(), restored, "{act}");
    }
}
