//! Machines of an old configuration of the Telmate provider, taken over by import blocks as
//! `hactl import` writes them: nothing that holds data is replaced.
//!
//! The recorded provider replaces for the changes for which bpg's does, by its source and issues,
//! and leaves out of an import what Proxmox's API does not tell. It has not been run against bpg.

use std::{collections::BTreeSet, fs};

use hactl::{
    model::{Dns, InstanceKey, ProxmoxKind},
    terraform::import::{self, ImportRequest, ImportTarget, Imports},
};
use serde_json::{Value, json};

use super::{program::Program, tree::Tree};
use crate::{
    common::recorded::{self, CONTAINER, VM},
    dns::servers::{self, Server},
    proxmox_api::simulator::{Guest, Simulator, World},
};

const KEYS: [&str; 2] = ["node1", "node2"];
const UUID: &str = "25c3a5d2-2b0a-4b9e-8f0e-2f0f7d7b8c11";

/// An old state, one machine counted and one keyed.
fn old_state(kind: ProxmoxKind) -> String {
    let (resource, word, name) = match kind {
        ProxmoxKind::Vm => ("proxmox_vm_qemu", "qemu", "name"),
        ProxmoxKind::Lxc => ("proxmox_lxc", "lxc", "hostname"),
    };
    let machine = |index: Value, id: u32, host: &str| json!({"index_key": index, "attributes": {"id": format!("pve1/{word}/{id}"), name: host, "target_node": "pve1"}});
    json!({"version": 4, "terraform_version": "1.5.7", "resources": [
        {"mode": "managed", "type": resource, "name": "generic", "instances": [machine(json!(0), 110, "pg-prod-node1")]},
        {"mode": "managed", "type": resource, "name": "many", "instances": [machine(json!("node2"), 111, "old-name")]},
        {"mode": "managed", "type": resource, "name": "others", "instances": [machine(json!("x"), 300, "mail")]}]})
    .to_string()
}

/// The machines as they stand there: not quite what the new configuration says.
fn standing(kind: ProxmoxKind, id: u32, host: &str) -> Value {
    match kind {
        ProxmoxKind::Vm => json!({"vm_id": id, "node_name": "pve1", "name": host, "on_boot": true,
            "cpu": [{"cores": 2, "type": "host"}], "memory": [{"dedicated": 4096}],
            "clone": [{"vm_id": 9000, "full": true}],
            "disk": [{"interface": "scsi0", "datastore_id": "local-lvm", "size": 20}],
            "network_interface_names": ["lo", "eth0"], "ipv4_addresses": [["127.0.0.1"], [format!("192.0.2.{}", id - 100)]],
            "network_device": [{"bridge": "vmbr0", "disconnected": false, "enabled": true, "firewall": true,
                "mac_address": "BC:24:11:00:00:01", "model": "e1000", "mtu": 0, "queues": 0, "rate_limit": 0, "trunks": "",
                "vlan_id": 0}],
            "initialization": [{"datastore_id": "local-lvm", "user_account": [{"username": "admin", "keys": ["ssh-rsa OLD"]}]}]}),
        ProxmoxKind::Lxc => json!({"vm_id": id, "node_name": "pve1", "unprivileged": false, "pool_id": "old",
            "cpu": [{"cores": 1}], "memory": [{"dedicated": 1024, "swap": 512}],
            "disk": [{"datastore_id": "local-lvm", "size": 8}],
            "network_interface": [{"name": "eth0", "bridge": "vmbr0"}],
            "operating_system": [{"template_file_id": "local:vztmpl/ubuntu-18.04.tar.gz", "type": "ubuntu"}],
            "initialization": [{"hostname": host, "ip_config": [{"ipv4": [{"address": "dhcp"}]}],
                "user_account": [{"keys": ["ssh-rsa OLD"]}]}]}),
    }
}

fn values(kind: ProxmoxKind) -> Value {
    let template = match kind {
        ProxmoxKind::Vm => ("template", json!(9002)),
        ProxmoxKind::Lxc => ("template_file_id", json!("local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst")),
    };
    let disk = if kind == ProxmoxKind::Lxc { json!(8) } else { json!(20) };
    json!({"app": "pg", "env": "prod", "cluster_uuid": UUID, "pool_id": "pg", "disk_gb": disk, template.0: template.1,
        "authorized_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIII hactl"],
        "instances": {"node1": {"memory": 4096}, "node2": {"memory": 8192, "cores": 4, "address": "192.0.2.22/24"}}})
}

struct Place {
    tree: Tree,
    kind: ProxmoxKind,
    stack: String,
}

impl Place {
    fn new(kind: ProxmoxKind) -> Self {
        let tree = Tree::new(recorded::Nowhere);
        let resource = if kind == ProxmoxKind::Vm { VM } else { CONTAINER };
        tree.recorded.put(resource, standing(kind, 110, "pg-prod-node1"));
        tree.recorded.put(resource, standing(kind, 111, "old-name"));
        let stack = format!("stacks/{}", kind.stack());
        tree.set(&stack, &values(kind));
        tree.init(&stack);
        Self { tree, kind, stack }
    }

    fn imports(&self, dns: Option<&Dns>) -> Imports {
        let keys = KEYS.map(|key| key.parse::<InstanceKey>().unwrap());
        let names = KEYS.map(|key| format!("pg-prod-{key}"));
        let targets = keys
            .iter()
            .zip(&names)
            .map(|(key, hostname)| (key, ImportTarget { hypervisor: "pve1", hostname, disk_gb: Some(20) }))
            .collect();
        let wanted = ImportRequest { kind: self.kind, targets, single: false, pool: None, dns, held: &[] };
        let candidates = import::read("old.tfstate", &old_state(self.kind)).unwrap();
        import::decide(&wanted, &candidates).unwrap()
    }

    fn run(&self, args: &[&str]) -> String {
        self.tree.run(&self.stack, args).good().text
    }

    /// What a plan would do to machines and records: `node1: update, imported`.
    fn plan(&self, args: &[&str]) -> Vec<String> {
        self.run(&[&["plan", "-input=false", "-no-color", "-out=p"], args].concat());
        let plan: Value = serde_json::from_str(&self.run(&["show", "-json", "p"])).unwrap();
        let changes = plan["resource_changes"].as_array().unwrap().iter();
        changes
            .filter_map(|change| {
                let what = match change["type"].as_str().unwrap() {
                    "hactl_dns_record_set" => "the record of ",
                    kind if [VM, CONTAINER].contains(&kind) => "",
                    _ => return None,
                };
                let actions: Vec<_> =
                    change["change"]["actions"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                let imported = if change["change"]["importing"].is_object() { ", imported" } else { "" };
                Some(format!("{what}{}: {}{imported}", change["index"].as_str().unwrap(), actions.join(" then ")))
            })
            .collect()
    }

    fn apply(&self) {
        self.run(&["apply", "-input=false", "-no-color", "p"]);
    }

    /// What was done to machines.
    fn done(&self) -> Vec<String> {
        self.tree
            .recorded
            .done()
            .into_iter()
            .filter(|line| line.contains("_vm ") || line.contains("_container "))
            .collect()
    }
}

fn taken_over(kind: ProxmoxKind) {
    let place = Place::new(kind);
    let file = place.tree.path(&place.stack).join(import::IMPORT_FILE);
    let imports = place.imports(None);
    assert_eq!(imports.missing, []);
    assert_eq!(imports.notes.len(), 2, "{:?}", imports.notes);
    import::write(&file, &imports).unwrap();

    // Names, sizes and tags are changed in place; nothing is made or made anew.
    assert_eq!(place.plan(&[]), ["node1: update, imported", "node2: update, imported"]);
    place.apply();
    assert!(place.done().iter().all(|line| line.starts_with("update ")), "{:?}", place.done());
    let ids = place.run(&["output", "-json", "vm_ids"]);
    assert_eq!(serde_json::from_str::<Value>(&ids).unwrap(), json!({"node1": 110, "node2": 111}));

    // The file has done its work; what comes of another template later, `kept` shows.
    fs::remove_file(&file).unwrap();
    assert_eq!(place.plan(&[]), ["node1: no-op", "node2: no-op"]);
}

#[test]
fn virtual_machines_imported_are_kept() {
    taken_over(ProxmoxKind::Vm);
}

#[test]
fn containers_imported_are_kept() {
    taken_over(ProxmoxKind::Lxc);
}

/// The control: the same import with a module that compares what an import does not bring.
#[test]
fn machines_imported_without_ignored_attributes_would_be_replaced() {
    for (kind, module) in [(ProxmoxKind::Vm, "proxmox-vm"), (ProxmoxKind::Lxc, "proxmox-lxc")] {
        let place = Place::new(kind);
        import::write(&place.tree.path(&place.stack).join(import::IMPORT_FILE), &place.imports(None)).unwrap();
        let main = place.tree.path("modules").join(module).join("main.tf");
        let text = fs::read_to_string(&main).unwrap();
        let (before, rest) = text.split_once("ignore_changes = [").unwrap();
        let (_, after) = rest.split_once("\n    ]").unwrap();
        fs::write(&main, format!("{before}{after}")).unwrap();
        let replaced = ["node1: delete then create, imported", "node2: delete then create, imported"];
        assert_eq!(place.plan(&[]), replaced);
    }
}

/// Records that the old configuration made are hactl's from then on: its TTL, its mark, gone with the machine.
#[test]
fn records_of_imported_machines_are_imported() {
    let server = Server::start(servers::Kind::Bind);
    server.nsupdate(&[
        "update add pg-prod-node1.home.sflab.io. 3600 A 192.0.2.10",
        "update add pg-prod-node2.home.sflab.io. 3600 A 192.0.2.11",
    ]);
    let place = Place::new(ProxmoxKind::Vm);
    let mut values = values(ProxmoxKind::Vm);
    let dns = server.dns();
    values["dns"] = json!({"zone": dns.zone, "server": dns.server, "port": dns.port, "key_name": dns.key_name});
    place.tree.set(&place.stack, &values);
    import::write(&place.tree.path(&place.stack).join(import::IMPORT_FILE), &place.imports(Some(&dns))).unwrap();
    let expected = [
        "the record of node1: update, imported",
        "the record of node2: update, imported",
        "node1: update, imported",
        "node2: update, imported",
    ];
    assert_eq!(place.plan(&[]), expected);
    place.apply();
    for (name, address) in [("pg-prod-node1", "192.0.2.10"), ("pg-prod-node2", "192.0.2.11")] {
        assert_eq!(server.dig(name, "A"), [format!("300 IN A {address}")]);
        assert_eq!(server.dig(name, "TXT"), [format!("300 IN TXT \"hactl={UUID}/{address}\"")]);
    }
    values["instances"].as_object_mut().unwrap().remove("node2");
    place.tree.set(&place.stack, &values);
    fs::remove_file(place.tree.path(&place.stack).join(import::IMPORT_FILE)).unwrap();
    place.plan(&[]);
    place.apply();
    assert_eq!(server.status("pg-prod-node2"), "NXDOMAIN");
    assert_eq!(server.dig("pg-prod-node1", "A").len(), 1);
}

/// hactl between two machines that are there, and the old state that knows them.
fn taker() -> Program {
    let program = Program::new(recorded::Nowhere, Simulator::start(World::default()));
    for (id, host) in [(110, "pg-prod-node1"), (111, "old-name")] {
        program.recorded.put(VM, standing(ProxmoxKind::Vm, id, host));
        program.simulator.world().guests.insert(id, Guest::new("qemu", "pve1", host));
    }
    fs::write(program.path("old.tfstate"), old_state(ProxmoxKind::Vm)).unwrap();
    program
}

/// Writes the cluster file of the two: what holds for both, and for the second alone.
fn instances(program: &Program, both: &str, node2: &str) {
    let text = format!(
        "defaults: {{roles: [], memory: 4096{both}}}\ninstances:\n  node1: {{}}\n  node2: {{vm_name: old-name{node2}}}\n"
    );
    program.file("", &text);
}

const DISK: &str = ", disk_gb: 20";

/// The whole of it: `import`, `plan` and `up`, and the machines are hactl's.
#[test]
fn machines_made_by_others_are_imported_by_hactl() {
    let taker = taker();
    instances(&taker, DISK, "");
    let import_file = taker.path(".hactl/pg/terraform/stacks/proxmox-vm").join(import::IMPORT_FILE);
    // Before they are imported, machines of these names would be made a second time.
    let (code, refused) = taker.run(&["up", "pg", "--no-verify"]);
    assert_eq!(code, 1);
    let said = refused["message"].as_str().unwrap();
    assert!(said.contains("node1: virtual machine 110 (pg-prod-node1) on pve1 has the same name"), "{said}");
    assert!(taker.recorded.done().is_empty());
    assert_eq!(taker.run(&["import", "pg", "--from", "old.tfstate"]).0, 0);
    let (code, planned) = taker.run(&["plan", "pg", "--detailed-exitcode"]);
    assert_eq!(code, 2, "{planned:#}");
    assert!(import_file.exists() && taker.recorded.done().is_empty());

    let (code, summary) = taker.run(&["up", "pg", "--no-verify"]);
    assert_eq!((code, &summary["ok"]), (0, &true.into()), "{summary:#}");
    let done: BTreeSet<String> = taker.recorded.done().into_iter().collect();
    assert_eq!(done, BTreeSet::from([format!("update {VM} old-name"), format!("update {VM} pg-prod-node1")]));
    assert!(!import_file.exists());

    let (code, summary) = taker.run(&["up", "pg", "--no-verify"]);
    assert_eq!((code, &summary["changed"]), (0, &false.into()), "{summary:#}");

    // Who imports them again is told so.
    let (code, event) = taker.run(&["import", "pg", "node1=110"]);
    assert_eq!(code, 2);
    assert!(event["message"].as_str().unwrap().contains("node1 is already in the cluster's state"), "{event:#}");

    // Without its size in the file the disk that came with the machine would be taken away again.
    instances(&taker, "", "");
    let (code, event) = taker.run(&["up", "pg", "--no-verify"]);
    assert_eq!(code, 1);
    for node in ["node1", "node2"] {
        let words = format!("remove or shrink the disk scsi0 (20 GB) of the machine {node}");
        assert!(event["message"].as_str().unwrap().contains(&words), "{event:#}");
    }
    assert!(event["message"].as_str().unwrap().contains("set `disk_gb: 20` on that instance"), "{event:#}");

    // As of any other machine: another template would replace it, and that is refused.
    instances(&taker, DISK, ", template: 9003");
    let (code, event) = taker.run(&["up", "pg", "--no-verify"]);
    assert_eq!(code, 1);
    assert!(event["message"].as_str().unwrap().contains("the plan would replace the machine node2"), "{event:#}");
}

/// Import blocks that were not applied make nothing part of a destruction.
#[test]
fn machines_not_yet_imported_are_not_destroyed() {
    let place = Place::new(ProxmoxKind::Vm);
    let mut none = values(ProxmoxKind::Vm);
    none["instances"] = json!({});
    place.tree.set(&place.stack, &none);
    assert_eq!(place.plan(&[]), [""; 0]);
    place.apply();
    place.tree.set(&place.stack, &values(ProxmoxKind::Vm));
    import::write(&place.tree.path(&place.stack).join(import::IMPORT_FILE), &place.imports(None)).unwrap();
    assert_eq!(place.plan(&["-destroy"]), [""; 0]);
}

/// A container's disk is compared: a larger one grows in place, and a smaller one is another container.
#[test]
fn container_with_a_smaller_disk_would_be_replaced() {
    let place = Place::new(ProxmoxKind::Lxc);
    import::write(&place.tree.path(&place.stack).join(import::IMPORT_FILE), &place.imports(None)).unwrap();
    let mut values = values(ProxmoxKind::Lxc);
    for (disk_gb, node2) in [(16, "update"), (4, "delete then create")] {
        values["instances"]["node2"]["disk_gb"] = json!(disk_gb);
        place.tree.set(&place.stack, &values);
        assert_eq!(place.plan(&[]), ["node1: update, imported".to_owned(), format!("node2: {node2}, imported")]);
    }
}
