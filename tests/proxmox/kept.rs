//! Machines that hold data keep living: other addresses in Terraform, other tools that made them,
//! other machines beside them. Which changes would replace them, the recorded provider has from
//! bpg's source: it was not run against bpg.

use serde_json::{Value, json};

use super::{Kind, VM, both, tree::Tree};
use crate::common::recorded::{self, Nowhere};

/// The one machine of an old configuration: its resource with or without `count`.
fn old(kind: Kind, count: &str) -> String {
    let own = if kind.name == VM.name {
        "name = \"pg-prod-3f1a\"\n  clone {\n    vm_id = 9001\n  }\n"
    } else {
        "initialization {\n    hostname = \"pg-prod-3f1a\"\n  }\n  disk {\n    datastore_id = \"local-lvm\"\n    size = 8\n  }\n"
    };
    format!(
        "terraform {{\n  required_providers {{\n    proxmox = {{ source = \"registry.terraform.io/bpg/proxmox\" }}\n  }}\n}}\n\n\
         resource \"{}\" \"this\" {{\n  {count}\n  node_name = \"pve1\"\n  {own}}}\n",
        kind.type_name
    )
}

#[test]
fn address_without_key_becomes_the_machine_default() {
    both(|kind| {
        let (tree, stack) = (Tree::new(Nowhere), kind.stack());
        tree.init(&stack);
        tree.set(&stack, &json!({"app": "pg", "vm_target_ip": "dhcp", "hostname_suffix": "3f1a"}));
        for count in ["", "count = 1"] {
            for module in [false, true] {
                let dir = format!("old-{}-{module}", count.len());
                if module {
                    tree.write(&format!("{dir}/m/main.tf"), &old(kind, count));
                    tree.write(&format!("{dir}/main.tf"), "module \"machines\" {\n  source = \"./m\"\n}\n");
                } else {
                    tree.write(&format!("{dir}/main.tf"), &old(kind, count));
                }
                tree.init(&dir);
                tree.apply(&dir).good();
                let state = tree.path(&stack).join("terraform.tfstate");
                std::fs::copy(tree.path(&dir).join("terraform.tfstate"), &state).unwrap();
                let changes = tree.plan(&stack);
                let update = (kind.address("default"), "update".to_owned());
                let origin = ("module.machines.terraform_data.origin[\"default\"]".to_owned(), "create".to_owned());
                assert_eq!(changes, [update, origin], "{dir}");
            }
        }
    });
}

/// The file that hactl writes beside the stack for an instance with `renamed_from`.
fn renamed(kind: Kind, from: &str, to: &str) -> Value {
    let moved =
        |resource: &str| json!({"from": format!("{resource}[\"{from}\"]"), "to": format!("{resource}[\"{to}\"]")});
    json!({"moved": [
        moved(&format!("module.machines.{}.this", kind.type_name)),
        moved("module.machines.terraform_data.origin"),
        moved("module.dns[0].hactl_dns_record_set.this"),
    ]})
}

#[test]
fn single_machine_is_kept_when_more_are_added() {
    both(|kind| {
        let (tree, stack) = (Tree::new(Nowhere), kind.stack());
        tree.init(&stack);
        tree.set(&stack, &json!({"app": "pg", "vm_target_ip": "192.168.1.21/24", "gateway": "192.168.1.1"}));
        tree.apply(&stack).good();
        let id = tree.output(&stack, "vm_ids")["default"].clone();

        let first = json!({"address": "192.168.1.21/24", "renamed_from": "default"});
        tree.set(
            &stack,
            &json!({"app": "pg", "gateway": "192.168.1.1", "instances": {"node1": first, "node2": {}, "node3": {}}}),
        );
        tree.write(&format!("{stack}/renamed.tf.json"), &renamed(kind, "default", "node1").to_string());
        let changes = tree.plan(&stack);
        let destroyed = changes.iter().filter(|(_, action)| action.contains("delete")).count();
        assert!(destroyed == 0 && changes.contains(&(kind.address("node1"), "update".to_owned())), "{changes:#?}");
        tree.apply(&stack).good();
        assert_eq!(tree.output(&stack, "vm_ids")["node1"], id);

        // The move may stay, and may go.
        assert_eq!(tree.plan(&stack), []);
        std::fs::remove_file(tree.path(&stack).join("renamed.tf.json")).unwrap();
        let first = json!({"address": "192.168.1.21/24"});
        tree.set(
            &stack,
            &json!({"app": "pg", "gateway": "192.168.1.1", "instances": {"node1": first, "node2": {}, "node3": {}}}),
        );
        assert_eq!(tree.plan(&stack), []);
    });
}

/// A machine as another tool made it.
fn made_by_others(kind: Kind) -> Value {
    let both =
        json!({"node_name": "pve1", "vm_id": 120, "memory": [{"dedicated": 4096}], "cpu": [{"cores": 4}], "tags": []});
    let own = if kind.name == VM.name {
        json!({"name": "db01", "disk": [{"interface": "scsi0", "datastore_id": "local-lvm", "size": 40}],
            "network_device": [{"bridge": "vmbr0", "mac_address": "BC:24:11:00:00:07"}], "ipv4_addresses": [["192.168.1.21"]]})
    } else {
        json!({"unprivileged": false, "operating_system": [{"template_file_id": "local:vztmpl/debian-11.tar.zst", "type": "debian"}],
            "initialization": [{"hostname": "db01", "user_account": [{"keys": ["ssh-ed25519 AAAA old"]}]}],
            "disk": [{"datastore_id": "local-lvm", "size": 40}], "pool_id": "old", "ipv4": {"eth0": "192.168.1.21"}})
    };
    let mut all = both;
    all.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    all
}

#[test]
fn machine_imported_is_replaced_only_with_another_template() {
    both(|kind| {
        let (tree, stack) = (Tree::new(Nowhere), kind.stack());
        tree.init(&stack);
        tree.recorded.put(kind.type_name, made_by_others(kind));
        let import = format!("import {{\n  to = {}\n  id = \"pve1/120\"\n}}\n", kind.address("db01"));
        tree.write(&format!("{stack}/import.tf"), &import);
        let with = |more: Value| {
            let mut db01 = json!({"vm_name": "db01", "memory": 4096, "cores": 4, "disk_gb": 40});
            db01.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEn0fCwVs1bIg9G0cSYDrWvOQ4bMZvSIt0r0nE8w5cZt new";
            tree.set(&stack, &json!({"instances": {"db01": db01}, "pool_id": "p", "authorized_keys": [key]}));
        };
        with(json!({}));
        let of_machine = |changes: Vec<(String, String)>| {
            changes.into_iter().find(|(address, _)| *address == kind.address("db01")).map(|(_, action)| action)
        };
        assert_eq!(of_machine(tree.plan(&stack)).as_deref(), Some("update"));

        // The same without what the module ignores: that the rules of replacement are at work.
        let main = format!("{}/main.tf", kind.module());
        let text = std::fs::read_to_string(tree.path(&main)).unwrap();
        let (before, rest) = text.split_once("ignore_changes = [").unwrap();
        let (_, after) = rest.split_once("\n    ]").unwrap();
        tree.write(&main, &format!("{before}{after}"));
        assert_eq!(of_machine(tree.plan(&stack)).as_deref(), Some("delete,create"));
        tree.write(&main, &text);

        tree.apply(&stack).good();
        assert_eq!(tree.plan(&stack), []);
        assert_eq!(tree.output(&stack, "vms")["db01"]["ipv4"], "192.168.1.21");
        let (name, template) = (kind.template)();
        with(json!({name: template}));
        assert_eq!(of_machine(tree.plan(&stack)).as_deref(), Some("delete,create"));
        assert!(!tree.recorded.done().iter().any(|step| step.starts_with(&format!("create {}", kind.type_name))));
    });
}

#[test]
fn machine_changed_among_many_is_the_only_change() {
    both(|kind| {
        let (tree, stack) = (Tree::new(Nowhere), kind.stack());
        tree.init(&stack);
        let set = |instances: Value| tree.set(&stack, &json!({"app": "pg", "pool_id": "p", "instances": instances}));
        set(json!({"a": {}, "b": {}, "c": {"memory": 4096}}));
        tree.apply(&stack).good();

        set(json!({"a": {}, "b": {"memory": 1024}, "c": {"memory": 4096}}));
        assert_eq!(tree.plan(&stack), [(kind.address("b"), "update".to_owned())]);
        let origin = |key: &str| format!("module.machines.terraform_data.origin[\"{key}\"]");
        set(json!({"a": {}, "b": {}, "c": {"memory": 4096}, "d": {}}));
        assert_eq!(tree.plan(&stack), [(kind.address("d"), "create".to_owned()), (origin("d"), "create".to_owned())]);
        set(json!({"b": {}, "c": {"memory": 4096}}));
        assert_eq!(tree.plan(&stack), [(kind.address("a"), "delete".to_owned()), (origin("a"), "delete".to_owned())]);
        set(json!({}));
        let all: Vec<_> = ["a", "b", "c"].iter().map(|key| (kind.address(key), "delete".to_owned())).collect();
        let changes: Vec<_> =
            tree.plan(&stack).into_iter().filter(|(address, _)| !address.contains("origin")).collect();
        assert_eq!(changes, all, "the pool stays");
        assert!(tree.recorded.done().iter().any(|step| step == &format!("create {} p", recorded::POOL)));
    });
}
