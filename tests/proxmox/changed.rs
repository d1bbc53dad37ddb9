//! What an update, a move between hypervisors or a lost privilege does to machines that run: as the provider behaves by
//! `tests/common/recorded/rules.rs`.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use super::{CONTAINER, Kind, VM, both, tree::Tree};
use crate::common::recorded::Nowhere;

/// A machine made for UEFI, with what a user sets in Proxmox.
fn with_uefi() -> Value {
    json!({"vm_id": 120, "node_name": "pve1", "name": "old-name", "description": "by hand", "bios": "ovmf", "machine": "q35",
        "scsi_hardware": "virtio-scsi-single", "tablet_device": false, "keyboard_layout": "de",
        "on_boot": true, "tags": [], "network_interface_names": ["lo", "eth0"],
        "ipv4_addresses": [["127.0.0.1"], ["192.168.1.21"]],
        "cpu": [{"cores": 4, "sockets": 2, "type": "host", "numa": true, "flags": ["+aes"], "units": 2048}],
        "memory": [{"dedicated": 4096, "floating": 1024}],
        "agent": [{"enabled": true, "timeout": "15m", "trim": true, "type": "virtio"}],
        "efi_disk": [{"datastore_id": "local-lvm", "type": "4m", "pre_enrolled_keys": true, "file_format": "raw"}],
        "tpm_state": [{"datastore_id": "local-lvm", "version": "v2.0"}],
        "operating_system": [{"type": "l26"}],
        "serial_device": [{"device": "socket"}],
        "vga": [{"type": "serial0"}],
        "startup": [{"order": 3, "up_delay": 10, "down_delay": 10}],
        "disk": [{"interface": "scsi0", "datastore_id": "local-lvm", "size": 40, "cache": "writeback", "discard": "on",
            "iothread": true, "ssd": true, "backup": false}],
        "network_device": [{"bridge": "vmbr0", "disconnected": false, "enabled": true, "firewall": true,
            "mac_address": "BC:24:11:00:00:07", "model": "e1000", "mtu": 9000, "queues": 4, "rate_limit": 0, "trunks": "",
            "vlan_id": 30}]})
}

/// The same of a container.
fn container() -> Value {
    json!({"vm_id": 120, "node_name": "pve1", "description": "by hand", "unprivileged": false, "tags": [],
        "ipv4": {"eth0": "192.168.1.21"}, "cpu": [{"cores": 4, "limit": 2, "units": 2048}],
        "memory": [{"dedicated": 4096, "swap": 512}],
        "disk": [{"datastore_id": "local-lvm", "size": 40, "acl": true, "mount_options": ["noatime"]}],
        "features": [{"nesting": true, "fuse": true, "keyctl": true}],
        "mount_point": [{"path": "/srv", "volume": "local-lvm:vm-120-disk-1", "size": "8G"}],
        "startup": [{"order": 3, "up_delay": 10, "down_delay": 10}],
        "operating_system": [{"template_file_id": "local:vztmpl/debian-11.tar.zst", "type": "debian"}],
        "initialization": [{"hostname": "old-name", "ip_config": [{"ipv4": [{"address": "dhcp"}]}]}],
        "network_interface": [{"name": "eth0", "bridge": "vmbr0", "firewall": true, "mtu": 9000, "vlan_id": 30,
            "enabled": true, "rate_limit": 0, "mac_address": "BC:24:11:00:00:07"}]})
}

fn standing(kind: Kind) -> Value {
    if kind.name == VM.name { with_uefi() } else { container() }
}

const DB01: &str = "db01";

/// A stack with one machine, which Terraform did not make.
fn imported(kind: Kind, db01: &Value) -> (Tree, String) {
    let (tree, stack) = (Tree::new(Nowhere), kind.stack());
    tree.init(&stack);
    tree.recorded.put(kind.type_name, standing(kind));
    let import = format!("import {{\n  to = {}\n  id = \"pve1/120\"\n}}\n", kind.address(DB01));
    tree.write(&format!("{stack}/import.tf"), &import);
    tree.set(&stack, &json!({"vlan": 30, "disk_gb": 40, "instances": {DB01: db01}}));
    (tree, stack)
}

/// The attributes that an update of a machine may write: what the modules manage.
fn managed(kind: Kind) -> BTreeSet<&'static str> {
    let both = ["agent.0.timeout", "cpu.0.cores", "memory.0.dedicated", "protection", "tags.0", "tags", "vm_id"];
    let own: &[&str] = if kind.name == VM.name {
        &[
            "name",
            "reboot_after_update",
            "stop_on_destroy",
            "delete_unreferenced_disks_on_destroy",
            "on_boot",
            "agent.0.wait_for_ip",
        ]
    } else {
        &["memory.0.swap", "initialization.0.hostname", "start_on_boot", "wait_for_ip"]
    };
    both.iter().chain(own).copied().collect()
}

#[test]
fn machine_imported_keeps_what_the_modules_do_not_manage() {
    both(|kind| {
        let (tree, stack) = imported(kind, &json!({"vm_name": "db01", "memory": 8192, "cores": 4}));
        tree.apply(&stack).good();
        let sent = tree.recorded.sent();
        let [update] = &sent[..] else { panic!("{sent:?}") };
        let paths: BTreeSet<&str> = update.split_once(": ").unwrap().1.split(' ').collect();
        let foreign: Vec<_> = paths.iter().filter(|path| !managed(kind).contains(*path)).collect();
        assert!(foreign.is_empty() && paths.contains("memory.0.dedicated"), "{}: {foreign:?} of {paths:?}", kind.name);
        let plugged: Vec<_> = tree.recorded.done().into_iter().filter(|line| line.contains("plug ")).collect();
        assert_eq!(plugged, Vec::<String>::new());
        assert_eq!(tree.plan(&stack), []);
    });
}

/// The control: without what the modules ignore, the provider would reset the firmware.
#[test]
fn machine_imported_without_ignored_attributes_would_lose_its_firmware() {
    let (tree, stack) = imported(VM, &json!({"vm_name": "db01", "memory": 8192}));
    careless(&tree, VM, |name| {
        matches!(name, "bios" | "machine" | "efi_disk" | "network_device[0].firewall" | "disk[0].ssd")
    });
    tree.apply(&stack).good();
    let sent = tree.recorded.sent().join(" ");
    for path in ["bios", "machine", "efi_disk", "network_device.0.firewall", "disk.0.ssd"] {
        assert!(sent.split(' ').any(|sent| sent == path), "no {path} in {sent}");
    }
}

/// Takes entries out of the module's `ignore_changes`.
fn careless(tree: &Tree, kind: Kind, drop: impl Fn(&str) -> bool) {
    let main = tree.path(&format!("{}/main.tf", kind.module()));
    let text = fs::read_to_string(&main).unwrap();
    let (before, rest) = text.split_once("ignore_changes = [").unwrap();
    let (list, after) = rest.split_once("\n    ]").unwrap();
    let code = list.lines().map(|line| line.split('#').next().unwrap()).collect::<Vec<_>>().join(" ");
    let entries: Vec<_> = code.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    let kept: Vec<_> = entries.iter().filter(|entry| !drop(entry)).copied().collect();
    assert!(kept.len() < entries.len());
    fs::write(&main, format!("{before}ignore_changes = [{}\n    ]{after}", kept.join(", "))).unwrap();
}

#[test]
fn machine_changed_in_proxmox_stays_as_it_is() {
    let (tree, stack) = (Tree::new(Nowhere), VM.stack());
    tree.init(&stack);
    tree.set(&stack, &json!({"instances": {"a": {}}}));
    tree.apply(&stack).good();
    let id = tree.output(&stack, "vm_ids")["a"].as_u64().unwrap();
    tree.recorded.change(
        id,
        &json!({"bios": "ovmf", "description": "by hand", "vga": [{"type": "qxl"}], "cpu": [{"cores": 2, "type": "host", "sockets": 1}],
            "startup": [{"order": 1, "up_delay": 5, "down_delay": 5}], "operating_system": [{"type": "l26"}]}),
    );
    assert_eq!(tree.plan(&stack), []);
    // What the module does manage is restored.
    tree.recorded.change(id, &json!({"memory": [{"dedicated": 512}]}));
    assert_eq!(tree.plan(&stack), [(VM.address("a"), "update".to_owned())]);
}

#[test]
fn virtual_machine_moved_to_another_hypervisor_is_not_replaced() {
    let (tree, stack) = (Tree::new(Nowhere), VM.stack());
    tree.init(&stack);
    tree.set(&stack, &json!({"instances": {"a": {}, "b": {}}}));
    tree.apply(&stack).good();
    let id = tree.output(&stack, "vm_ids")["a"].as_u64().unwrap();
    tree.recorded.migrate(id, "pve2");
    assert_eq!(tree.plan(&stack), []);
    // Whether the configuration follows it or not.
    tree.set(&stack, &json!({"instances": {"a": {"node": "pve2"}, "b": {"node": "pve3"}}}));
    assert_eq!(tree.plan(&stack), []);

    careless(&tree, VM, |name| name == "node_name");
    tree.set(&stack, &json!({"instances": {"a": {}, "b": {}}}));
    assert_eq!(tree.plan(&stack), [(VM.address("a"), "delete,create".to_owned())]);
}

#[test]
fn machine_with_its_id_is_not_made_twice() {
    let unseen = |kind: Kind, lose: fn(&Tree, u64)| {
        let (tree, stack) = (Tree::new(Nowhere), kind.stack());
        tree.init(&stack);
        tree.set(&stack, &json!({"instances": {"a": {}, "b": {}}}));
        tree.apply(&stack).good();
        let ids = tree.output(&stack, "vm_ids");
        // The ids of the state change nothing.
        let own = |key: &str| json!({"vm_id": ids[key]});
        tree.set(&stack, &json!({"instances": {"a": own("a"), "b": own("b")}}));
        assert_eq!(tree.plan(&stack), [], "{}", kind.name);

        lose(&tree, ids["a"].as_u64().unwrap());
        assert_eq!(tree.plan(&stack), [(kind.address("a"), "create".to_owned())]);
        let refused = tree.apply(&stack);
        assert!(refused.code == 1 && refused.text.contains("already exists"), "{}", refused.text);
        let made =
            tree.recorded.done().iter().filter(|line| line.starts_with(&format!("create {}", kind.type_name))).count();
        assert_eq!(made, 2, "{:?}", tree.recorded.done());
    };
    unseen(CONTAINER, |tree, id| tree.recorded.migrate(id, "pve2"));
    both(|kind| {
        let (tree, stack) = (Tree::new(Nowhere), kind.stack());
        tree.init(&stack);
        // The control: without an id, what the token no longer sees is made once more.
        tree.set(&stack, &json!({"instances": {"a": {}}}));
        tree.apply(&stack).good();
        tree.recorded.hide(tree.output(&stack, "vm_ids")["a"].as_u64().unwrap());
        tree.apply(&stack).good();
        let done = tree.recorded.done();
        assert_eq!(done.iter().filter(|line| line.starts_with("create")).count(), 2, "{done:?}");
    });
    for kind in [VM, CONTAINER] {
        unseen(kind, |tree, id| tree.recorded.hide(id));
    }
}

#[test]
fn origin_of_a_machine_keeps_its_shape() {
    both(|kind| {
        let (tree, stack) = (Tree::new(Nowhere), kind.stack());
        tree.init(&stack);
        tree.set(&stack, &json!({"instances": {"a": {}}}));
        tree.apply(&stack).good();
        // An attribute more replaces every machine that exists: why the object must stay as it is.
        let main = tree.path(&format!("{}/main.tf", kind.module()));
        let text = fs::read_to_string(&main).unwrap();
        fs::write(&main, text.replacen("  input = {\n", "  input = {\n    more     = 1\n", 1)).unwrap();
        let replaced = tree.plan(&stack);
        assert!(replaced.contains(&(kind.address("a"), "delete,create".to_owned())), "{replaced:?}");
    });
}

#[test]
fn virtual_machine_resized_gets_what_the_provider_can_do_while_it_runs() {
    let (tree, stack) = (Tree::new(Nowhere), VM.stack());
    tree.init(&stack);
    let set = |a: Value| tree.set(&stack, &json!({"instances": {"a": a}}));
    set(json!({"disk_gb": 1}));
    // Smaller than the template's: the clone is there, and Terraform plans to replace it.
    let refused = tree.apply(&stack);
    assert!(refused.code == 1 && refused.text.contains("is lower than current size"), "{}", refused.text);
    set(json!({"disk_gb": 20}));
    assert!(tree.plan(&stack).contains(&(VM.address("a"), "delete,create".to_owned())));
    tree.apply(&stack).good();

    set(json!({"disk_gb": 30}));
    tree.apply(&stack).good();
    // Both at once end in the middle; the second apply does the rest.
    set(json!({"disk_gb": 40, "cores": 4}));
    let refused = tree.apply(&stack);
    assert!(refused.code == 1 && refused.text.contains("cannot resize disks"), "{}", refused.text);
    tree.apply(&stack).good();
    assert_eq!(tree.plan(&stack), []);
    set(json!({"disk_gb": 40, "cores": 4, "datastore": "ceph"}));
    let refused = tree.apply(&stack);
    assert!(refused.code == 1 && refused.text.contains("cannot move disks"), "{}", refused.text);

    // A disk that the state does not have goes with any change of the disks.
    set(json!({"disk_gb": 50, "cores": 4}));
    tree.recorded.attach(tree.output(&stack, "vm_ids")["a"].as_u64().unwrap(), "scsi1");
    tree.apply(&stack).good();
    let done = tree.recorded.done();
    assert_eq!(done.iter().filter(|line| *line == "unplug scsi1 of app-prod-a").count(), 1, "{done:?}");
    // A network device is plugged again where its bridge or VLAN changes.
    tree.set(&stack, &json!({"bridge": "vmbr1", "instances": {"a": {"disk_gb": 50, "cores": 4}}}));
    tree.apply(&stack).good();
    assert_eq!(tree.recorded.done().last().unwrap(), "replug net0 of app-prod-a");
}

#[test]
fn container_resized_restarts_only_for_memory() {
    let (tree, stack) = (Tree::new(Nowhere), CONTAINER.stack());
    tree.init(&stack);
    let set = |a: Value| tree.set(&stack, &json!({"instances": {"a": a}}));
    let reboots = || tree.recorded.done().iter().filter(|line| line.starts_with("reboot ")).count();
    set(json!({}));
    tree.apply(&stack).good();
    set(json!({"cores": 4, "disk_gb": 16}));
    assert_eq!(tree.plan(&stack), [(CONTAINER.address("a"), "update".to_owned())]);
    tree.apply(&stack).good();
    assert_eq!(reboots(), 0);
    set(json!({"cores": 4, "disk_gb": 16, "memory": 4096}));
    tree.apply(&stack).good();
    assert_eq!(reboots(), 1);
    set(json!({"cores": 4, "disk_gb": 8, "memory": 4096}));
    assert_eq!(tree.plan(&stack), [(CONTAINER.address("a"), "delete,create".to_owned())]);
}

#[test]
fn single_machines_by_dhcp_of_one_app_have_different_names() {
    both(|kind| {
        let (tree, stack) = (Tree::new(Nowhere), kind.stack());
        tree.init(&stack);
        tree.set(&stack, &json!({"app": "pg", "vm_target_ip": "dhcp"}));
        let name = |state: &str| {
            let state_flag = format!("-state={state}");
            tree.run(&stack, &["apply", "-auto-approve", "-input=false", "-no-color", &state_flag]).good();
            tree.run(&stack, &["output", "-json", &state_flag, "vm_hostnames"]).good().text
        };
        let (first, second) = (name("first.tfstate"), name("second.tfstate"));
        assert_ne!(first, second);
        // A name is kept.
        assert_eq!(first, name("first.tfstate"));
    });
}
