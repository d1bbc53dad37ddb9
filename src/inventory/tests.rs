//! Rendered forms, byte for byte, and what may not be in them.

use std::{net::Ipv4Addr, os::unix::fs::PermissionsExt, path::Path};

use serde_json::json as value;

use super::*;
use crate::{
    fleet::{Fleet, Machine, Outputs},
    model::Secret,
    plan::{self, Plan},
    spec,
};

/// The plan of a cluster file, the machines that it would get, and material with made-up secrets.
fn example(text: &str) -> (Plan, Fleet, Material) {
    let spec = spec::load("example", text.as_bytes(), "example")
        .unwrap_or_else(|problems| panic!("{}", crate::error::Error::from(problems)));
    let plan = plan::decide(&spec, &Default::default()).unwrap();
    let outputs: Outputs = plan
        .nodes
        .values()
        .map(|node| {
            let machine = Machine {
                id: format!("{}-{}", plan.cluster, node.key),
                name: node.hostname.to_string(),
                ipv4: Some(Ipv4Addr::new(10, 89, 7, node.slot)),
                ssh_host: Some("127.0.0.1".into()),
                ssh_port: Some(22_000 + u16::from(node.slot)),
                host_key: None,
            };
            (node.key.clone(), machine)
        })
        .collect();
    let fleet = Fleet::new(&plan, &outputs).unwrap();
    let material = material(&plan);
    (plan, fleet, material)
}

fn material(plan: &Plan) -> Material {
    let pair = |name: &str| KeyPair {
        certificate: format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"),
        key: Secret::new(format!("-----BEGIN PRIVATE KEY-----\nSECRET {name}\n-----END PRIVATE KEY-----\n")),
    };
    let node = |key: &InstanceKey| NodeMaterial {
        etcd_peer: pair(&format!("{key} peer")),
        etcd_server: pair(&format!("{key} server")),
        patroni: pair(&format!("{key} patroni")),
        postgresql: pair(&format!("{key} postgresql")),
    };
    let secret = |name: &str| Secret::new(format!("SECRET {name}"));
    let dir = Path::new(".hactl").join(plan.cluster.as_str());
    Material {
        passwords: Passwords {
            superuser: secret("superuser"),
            replication: secret("replication"),
            rewind: secret("rewind"),
            restapi: secret("restapi"),
            owners: plan.postgres.databases.values().map(|owner| (owner.clone(), secret(owner.as_str()))).collect(),
        },
        etcd_peer_ca: "CA peer\n".into(),
        control_ca: "CA control\n".into(),
        postgresql_ca: "CA postgresql\n".into(),
        nodes: plan.nodes.keys().map(|key| (key.clone(), node(key))).collect(),
        ssh_private_key: dir.join("client/ssh_key"),
        ssh_known_hosts: dir.join("client/known_hosts"),
        etcd_binaries_dir: format!("downloads/etcd-{}", plan.etcd).into(),
        patroni_wheels_dir: format!("downloads/patroni-{}", plan.patroni.version).into(),
    }
}

fn blueprint(name: &str) -> &'static str {
    spec::blueprints().find(|(known, _)| *known == name).unwrap().1
}

fn built(text: &str) -> Inventory {
    let (plan, fleet, material) = example(text);
    build(&plan, &fleet, &material).unwrap()
}

/// Compares with the file in the repository, or writes it where `HACTL_BLESS` is set.
fn same_as_file(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("HACTL_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "HACTL_BLESS=1 cargo test writes {}", path.display());
}

#[test]
fn the_examples_are_what_is_rendered() {
    let inventory = built(include_str!("../../examples/inventory/patroni-cluster.yaml"));
    same_as_file("examples/inventory/patroni-cluster.ini", &ini(&inventory).unwrap());
    same_as_file("examples/inventory/patroni-cluster.yml", &yaml(&inventory).unwrap());
}

#[test]
fn nothing_readable_holds_a_secret() {
    let inventory = built(blueprint("patroni-5node"));
    for text in [ini(&inventory).unwrap(), yaml(&inventory).unwrap(), json(&inventory, Reader::Anyone).to_string()] {
        assert!(!text.contains("SECRET") && !text.contains("BEGIN"), "{text}");
    }
    let text = json(&inventory, Reader::Ansible).to_string();
    assert!(text.contains("SECRET superuser") && text.contains("SECRET node1 patroni"));
}

#[test]
fn a_host_gets_the_variables_of_its_roles_only() {
    let inventory = built("instances: {a: {}, b: {}, c: {roles: [etcd]}, d: {roles: []}}");
    let list = json(&inventory, Reader::Ansible);
    assert_eq!(list["etcd"], value!({"hosts": ["c"]}));
    assert_eq!(list["patroni"], value!({"hosts": ["a", "b"]}));
    assert_eq!(list["all"]["hosts"], value!(["a", "b", "c", "d"]));
    let names = |host: &str| {
        let vars = list["_meta"]["hostvars"][host].as_object().unwrap();
        vars.keys().filter(|name| !name.starts_with("ansible_")).cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        names("c"),
        "etcd_address etcd_name etcd_peer_certificate etcd_peer_key etcd_server_certificate etcd_server_key"
    );
    assert_eq!(
        names("a"),
        "patroni_address patroni_certificate patroni_hostname patroni_key patroni_name \
         patroni_postgresql_certificate patroni_postgresql_key"
    );
    assert_eq!(names("d"), "");
}

#[test]
fn the_digest_follows_what_is_configured_and_nothing_else() {
    let (plan, fleet, material) = example(blueprint("patroni-3node"));
    let digest =
        |plan: &Plan, fleet: &Fleet, material: &Material| build(plan, fleet, material).unwrap().digest().to_owned();
    let first = digest(&plan, &fleet, &material);
    assert_eq!(first.len(), 64);
    assert_eq!(digest(&plan, &fleet, &material), first);

    let mut moved = fleet.clone();
    moved.nodes.values_mut().for_each(|node| node.ssh.port += 1);
    let mut elsewhere = material.clone();
    elsewhere.etcd_binaries_dir = "/other".into();
    assert_eq!(digest(&plan, &moved, &elsewhere), first);

    let mut slower = plan.clone();
    slower.patroni.timers.ttl = 30;
    assert_ne!(digest(&slower, &fleet, &material), first);
    let mut rotated = material.clone();
    rotated.passwords.rewind = Secret::new("other".into());
    assert_ne!(digest(&plan, &fleet, &rotated), first);
}

#[test]
fn what_is_missing_is_named_all_at_once() {
    let (plan, fleet, mut material) = example(blueprint("patroni-3node"));
    material.nodes.clear();
    material.passwords.owners.clear();
    let Err(error) = build(&plan, &fleet, &material) else { panic!("nothing is missing") };
    assert_eq!(
        error.causes,
        ["no certificates for node1", "no certificates for node2", "no certificates for node3", "no password for app"]
    );
}

#[test]
fn files_are_private_and_writing_again_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("inventory");
    let inventory = built(blueprint("patroni-3node"));
    let all = |dir: &Path| {
        let mut found = BTreeMap::new();
        let mut open = vec![dir.to_owned()];
        while let Some(dir) = open.pop() {
            assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700, "{}", dir.display());
            for entry in std::fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
                    found.insert(path.clone(), std::fs::read(&path).unwrap());
                }
            }
        }
        found
    };
    write(&dir, &inventory).unwrap();
    let first = all(&dir);
    assert_eq!(first.len(), 6);
    write(&dir, &inventory).unwrap();
    assert_eq!(all(&dir), first);

    // A machine that is gone leaves no key behind.
    write(&dir, &built(blueprint("patroni-1node"))).unwrap();
    assert_eq!(all(&dir).len(), 4);
}

#[test]
fn a_file_name_with_spaces_reaches_ssh() {
    let (plan, fleet, mut material) = example(blueprint("patroni-1node"));
    material.ssh_known_hosts = "/a b/100%".into();
    let inventory = build(&plan, &fleet, &material).unwrap();
    assert_eq!(
        inventory.vars["ansible_ssh_common_args"],
        "-o 'UserKnownHostsFile=\"/a b/100%%\"' -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
    );
}
