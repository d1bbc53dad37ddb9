//! Rendered forms, byte for byte, and what may not be in them.

use std::{os::unix::fs::PermissionsExt, path::Path};

use serde_json::json as value;

use super::*;
use crate::{
    fleet::Fleet,
    model::{Account, Role, Secret},
    plan::Plan,
    spec,
};

#[path = "../../../tests/fixture/inventory.rs"]
mod fixture;

use fixture::example;

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
fn rendered_inventory_equals_the_example_files() {
    let inventory = built(include_str!("../../../examples/inventory/patroni-cluster.yaml"));
    same_as_file("examples/inventory/patroni-cluster.ini", &ini(&inventory).unwrap());
    same_as_file("examples/inventory/patroni-cluster.yml", &yaml(&inventory).unwrap());
}

#[test]
fn readable_inventories_contain_no_secret() {
    let inventory = built(blueprint("patroni-5node"));
    for text in [ini(&inventory).unwrap(), yaml(&inventory).unwrap(), json(&inventory, Reader::Anyone).to_string()] {
        assert!(!text.contains("SECRET") && !text.contains("BEGIN"), "{text}");
    }
    let text = json(&inventory, Reader::Ansible).to_string();
    assert!(text.contains("SECRET superuser") && text.contains("SECRET node1 patroni"));
}

#[test]
fn host_gets_only_the_variables_of_its_roles() {
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
fn digest_changes_only_with_the_configuration() {
    let (plan, fleet, material) = example(blueprint("patroni-3node"));
    let digest =
        |plan: &Plan, fleet: &Fleet, material: &Material| build(plan, fleet, material).unwrap().digest().to_owned();
    let first = digest(&plan, &fleet, &material);
    assert_eq!(first.len(), 64);
    assert_eq!(digest(&plan, &fleet, &material), first);

    let mut moved = fleet.clone();
    moved.nodes.values_mut().for_each(|node| node.ssh.port += 1);
    let mut elsewhere = material.clone();
    elsewhere.downloads[0].dir = "/other".into();
    assert_eq!(digest(&plan, &moved, &elsewhere), first);

    let mut slower = plan.clone();
    slower.patroni.timers.ttl = 30;
    assert_ne!(digest(&slower, &fleet, &material), first);
    let dir = tempfile::tempdir().unwrap();
    for tree in crate::assets::TREES {
        Assets::embedded().write(tree, &dir.path().join(tree)).unwrap();
    }
    let mut changed = material.clone();
    changed.assets = Assets::open(Some(dir.path())).unwrap();
    assert_eq!(digest(&plan, &fleet, &changed), first, "the same files elsewhere");
    std::fs::write(dir.path().join("roles/etcd/vars/main.yml"), "---\n").unwrap();
    changed.assets = Assets::open(Some(dir.path())).unwrap();
    assert_ne!(digest(&plan, &fleet, &changed), first);
    let mut rotated = material.clone();
    rotated.secrets.passwords.insert(Account::REWIND, Secret::new("other".into()));
    assert_ne!(digest(&plan, &fleet, &rotated), first);
}

#[test]
fn template_in_the_assets_directory_replaces_the_embedded_template() {
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("inventory-templates/patroni-cluster.ini.tera");
    std::fs::create_dir_all(template.parent().unwrap()).unwrap();
    std::fs::create_dir_all(dir.path().join("roles")).unwrap();
    let rendered = |text: &str| {
        std::fs::write(&template, text).unwrap();
        let (plan, fleet, mut material) = example(blueprint("patroni-1node"));
        for tree in ["playbooks", "terraform"] {
            std::fs::create_dir_all(dir.path().join(tree)).unwrap();
        }
        material.assets = Assets::open(Some(dir.path())).unwrap();
        ini(&build(&plan, &fleet, &material).unwrap())
    };
    assert_eq!(rendered("of {{ cluster }}").unwrap(), "of patroni-1node");
    let error = rendered("{{ nothing }}").unwrap_err();
    assert_eq!(*error.object, *template.display().to_string());
}

#[test]
fn missing_certificates_and_passwords_are_all_named_together() {
    let (plan, fleet, mut material) = example(blueprint("patroni-3node"));
    material.secrets.nodes.clear();
    material.secrets.passwords.retain(|account, _| !matches!(account, Account::Owner(_)));
    let Err(error) = build(&plan, &fleet, &material) else { panic!("nothing is missing") };
    assert_eq!(
        error.causes,
        ["no certificates for node1", "no certificates for node2", "no certificates for node3", "no password for app"]
    );
}

#[test]
fn inventory_files_are_private_and_rewriting_changes_nothing() {
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
fn ssh_config_path_with_spaces_is_quoted() {
    let (plan, fleet, mut material) = example(blueprint("patroni-1node"));
    material.ssh_config = "/a b/100%".into();
    let inventory = build(&plan, &fleet, &material).unwrap();
    assert_eq!(inventory.vars["ansible_ssh_common_args"], "-F '/a b/100%'");
}

#[test]
fn sudo_user_becomes_root_and_agent_keys_need_no_key_file() {
    let (plan, mut fleet, mut material) = example(blueprint("patroni-1node"));
    let node = fleet.nodes.values_mut().next().unwrap();
    (node.ssh.user, node.ssh.sudo) = ("debian".to_owned(), true);
    material.ssh_private_key = None;
    let inventory = build(&plan, &fleet, &material).unwrap();
    let host = inventory.hosts.values().next().unwrap();
    assert_eq!((&host["ansible_user"], &host["ansible_become"]), (&value!("debian"), &value!(true)));
    assert!(!inventory.vars.contains_key("ansible_ssh_private_key_file"));
}

/// The options of a role's argument specs, and whether each is required. Their files keep one indentation.
fn options(role: &str) -> BTreeMap<String, bool> {
    let path = format!("roles/{role}/meta/argument_specs.yml");
    let assets = Assets::embedded();
    let text = assets.text(&path).unwrap();
    let mut options = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        let name = line.strip_prefix("      ").and_then(|rest| rest.strip_suffix(':'));
        if let Some(name) = name.filter(|name| !name.starts_with(' ')) {
            last = name.to_owned();
            options.insert(last.clone(), false);
        } else if line.trim() == "required: true" {
            options.insert(last.clone(), true);
        }
    }
    assert!(options.len() > 5, "{path} is read wrongly");
    options
}

#[test]
fn inventory_variables_match_the_role_options() {
    let inventory = built(&format!("{}\nendpoint: {{}}\n", blueprint("patroni-3node")));
    let list = json(&inventory, Reader::Ansible);
    let mut given: BTreeSet<String> = list["all"]["vars"].as_object().unwrap().keys().cloned().collect();
    given.extend(list["_meta"]["hostvars"]["node1"].as_object().unwrap().keys().cloned());
    for role in Role::ALL.iter().map(|role| role.as_str()).chain(["haproxy", "pgbouncer"]) {
        let options = options(role);
        let prefix = format!("{role}_");
        let unknown: Vec<_> =
            given.iter().filter(|name| name.starts_with(&prefix) && !options.contains_key(*name)).collect();
        let missing: Vec<_> = options.iter().filter(|(name, required)| **required && !given.contains(*name)).collect();
        assert!(unknown.is_empty() && missing.is_empty(), "role {role}: unknown {unknown:?}, missing {missing:?}");
    }
}

#[test]
fn entry_point_has_groups_of_data_nodes_and_a_cluster_without_it_has_none() {
    let file = "instances: {a: {}, b: {}, c: {roles: [etcd]}}\n";
    let without = json(&built(file), Reader::Ansible).to_string();
    assert!(!without.contains("pgbouncer") && !without.contains("haproxy"), "{without}");
    let inventory = built(&format!("{file}endpoint: {{pooler: {{port: 7000}}, replicas: true}}\n"));
    let list = json(&inventory, Reader::Ansible);
    for group in ["haproxy", "pgbouncer"] {
        assert_eq!(list[group], value!({"hosts": ["a", "b"]}));
    }
    let vars = &list["all"]["vars"];
    assert_eq!(vars["pgbouncer_port"], 7000);
    let databases = value!([
        {"name": "app", "database": "app", "port": 5000},
        {"name": "app_replicas", "database": "app", "port": 5001},
    ]);
    assert_eq!(vars["pgbouncer_databases"], databases);
    assert_eq!(vars["pgbouncer_users"], value!(["app"]));
    assert_eq!(vars["haproxy_servers"].as_array().unwrap().len(), 2);
    // A certificate of the control CA could write etcd.
    let names = |host: &str| list["_meta"]["hostvars"][host].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert!(
        names("a").iter().any(|name| name == "pgbouncer_key")
            && !names("a").iter().any(|name| name.starts_with("haproxy_"))
    );
    assert!(!names("c").iter().any(|name| name.starts_with("pgbouncer_")));
}

#[test]
fn disks_of_machines_are_variables_of_the_role_common() {
    let file = "name: pg\nplatform: {proxmox: {kind: KIND}}\ndefaults: {gateway: 10.0.0.1}\n\
                instances: {a: {address: 10.0.0.4/24}}\n";
    let known = options("common");
    for (kind, grows) in [("vm", true), ("lxc", false)] {
        let (plan, mut fleet, material) = example(&file.replace("KIND", kind));
        fleet.nodes.values_mut().next().unwrap().data_device = Some("/dev/disk/by-id/data".to_owned());
        let inventory = build(&plan, &fleet, &material).unwrap();
        assert_eq!(inventory.vars.get("common_grow_disks"), grows.then_some(&value!(true)), "{kind}");
        assert_eq!(inventory.hosts.values().next().unwrap()["common_data_device"], "/dev/disk/by-id/data");
        assert!(["common_grow_disks", "common_data_device"].iter().all(|name| known.contains_key(*name)));
    }
}
