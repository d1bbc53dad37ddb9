//! What the stacks hand on to their modules: every variable reaches the resource that it is for, and a stack that loses
//! one of them, or hands on another one, is found out.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use super::{CONTAINER, Kind, VM, at_once, both, tree::Tree};
use crate::common::recorded::Nowhere;

const UUID: &str = "4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEn0fCwVs1bIg9G0cSYDrWvOQ4bMZvSIt0r0nE8w5cZt ops";
const FILE: &str = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst";
const OWN_FILE: &str = "nfs:vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst";

/// Every variable of a stack, each with a value of its own, and two machines: one that says nothing, one that says all.
fn values(kind: Kind, watchdog: bool) -> Value {
    let mut own = json!({
        "vm_name": "db", "memory": 4096, "cores": 4, "disk_gb": 40, "node": "pve2", "datastore": "zfs", "vlan": 44,
        "address": "192.0.2.44/26", "gateway": "192.0.2.1", "pool_id": "other", "tags": ["own"], "vm_id": 440,
        "protection": false, "data_disk_gb": 400, "data_datastore": "ssd", "on_boot": true, "description": "own",
        "startup": {"order": 40, "up_delay": 41, "down_delay": 42}, "firewall": false, "mtu": 4400,
        "extra_nic": {"bridge": "vmbr4", "vlan": 45, "address": "198.51.100.44/24"}
    });
    let mut all = json!({
        "app": "pg", "env": "test", "cluster_uuid": UUID, "memory": 3072, "cores": 3, "disk_gb": 30, "node": "pve3",
        "datastore": "ceph", "bridge": "vmbr3", "vlan": 33, "gateway": "192.0.2.3", "pool_id": "team", "tags": ["all"],
        "protection": true, "data_disk_gb": 300, "data_datastore": "nvme", "on_boot": false, "description": "all",
        "startup": {"order": 30, "up_delay": 31, "down_delay": 32}, "firewall": true, "mtu": 3300,
        "extra_nic": {"bridge": "vmbr9", "vlan": 39, "address": "dhcp"}, "nameservers": ["192.0.2.53"],
        "search_domain": "home.sflab.io", "authorized_keys": [KEY], "record": "kept",
        "dns": {"zone": "home.sflab.io.", "server": "192.0.2.54", "port": 5353, "ttl": 77, "key_name": "ddnskey.",
            "key_algorithm": "hmac-sha512"}
    });
    let more = if kind.name == VM.name {
        extend(
            &mut own,
            json!({"template": 9004, "template_node": "pve4", "cpu_type": "x86-64-v4",
            "disk": {"discard": "ignore", "iothread": false, "ssd": true, "cache": "writeback"}}),
        );
        json!({"template": 9003, "template_node": "pve8", "cpu_type": "host", "ssh_user": "ops", "agent_timeout": "77s",
            "watchdog": watchdog, "disk": {"discard": "on", "iothread": true, "ssd": false, "cache": "directsync"}})
    } else {
        extend(&mut own, json!({"template_file_id": OWN_FILE}));
        json!({"template_file_id": FILE})
    };
    extend(&mut all, more);
    all["instances"] = json!({"bare": {"address": "192.0.2.33/25"}, "own": own});
    all
}

fn extend(object: &mut Value, more: Value) {
    let Value::Object(more) = more else { unreachable!() };
    object.as_object_mut().unwrap().extend(more);
}

/// What must be planned for the resources, by their addresses.
fn expected(kind: Kind, watchdog: bool) -> BTreeMap<String, Value> {
    let all = values(kind, watchdog);
    let own = all["instances"]["own"].clone();
    let mut bare = all.clone();
    extend(&mut bare, json!({"vm_name": "pg-test-bare", "vm_id": null, "address": "192.0.2.33/25", "pool_id": "team"}));
    let tag = format!("hactl-{UUID}");
    let mut found = BTreeMap::new();
    for (key, machine, tags) in [("bare", &bare, json!(["all", tag])), ("own", &own, json!(["all", tag, "own"]))] {
        let nic = |nic: &Value| json!({"bridge": nic["bridge"], "vlan_id": nic["vlan"], "firewall": machine["firewall"], "mtu": machine["mtu"]});
        let first = json!({"bridge": "vmbr3", "vlan": machine["vlan"]});
        let addresses = json!([
            {"ipv4": [{"address": machine["address"], "gateway": machine["gateway"]}]},
            {"ipv4": [{"address": machine["extra_nic"]["address"]}]}
        ]);
        let dns = json!([{"domain": "home.sflab.io", "servers": ["192.0.2.53"]}]);
        let mut values = json!({
            "node_name": machine["node"], "pool_id": machine["pool_id"], "protection": machine["protection"],
            "description": machine["description"], "startup": [machine["startup"]], "tags": tags,
            "memory": [{"dedicated": machine["memory"]}]
        });
        if machine["vm_id"].is_number() {
            values["vm_id"] = machine["vm_id"].clone();
        }
        let mut disk = json!({"datastore_id": machine["datastore"], "size": machine["disk_gb"]});
        if kind.name == VM.name {
            let mut data = json!({"interface": "scsi1", "datastore_id": machine["data_datastore"], "size": machine["data_disk_gb"]});
            extend(&mut disk, machine["disk"].clone());
            extend(&mut data, machine["disk"].clone());
            disk["interface"] = json!("scsi0");
            extend(
                &mut values,
                json!({
                    "name": machine["vm_name"], "on_boot": machine["on_boot"],
                    "agent": [{"timeout": "77s"}], "disk": [disk, data], "watchdog": if watchdog { json!([{"enabled": true}]) } else { json!([]) },
                    "clone": [{"vm_id": machine["template"], "node_name": machine["template_node"], "datastore_id": machine["datastore"]}],
                    "cpu": [{"cores": machine["cores"], "type": machine["cpu_type"]}],
                    "network_device": [nic(&first), nic(&machine["extra_nic"])],
                    "initialization": [{"datastore_id": machine["datastore"], "dns": dns, "ip_config": addresses,
                        "user_account": [{"username": "ops", "keys": [KEY]}]}],
                }),
            );
        } else {
            let size = format!("{}G", machine["data_disk_gb"]);
            extend(
                &mut values,
                json!({
                    "start_on_boot": machine["on_boot"], "disk": [disk],
                    "operating_system": [{"template_file_id": machine["template_file_id"]}],
                    "cpu": [{"cores": machine["cores"]}],
                    "mount_point": [{"volume": machine["data_datastore"], "size": size, "path": "/var/lib/postgresql"}],
                    "network_interface": [nic(&first), nic(&machine["extra_nic"])],
                    "initialization": [{"hostname": machine["vm_name"], "dns": dns, "ip_config": addresses,
                        "user_account": [{"keys": [KEY]}]}],
                }),
            );
        }
        found.insert(kind.address(key), values);
        let kind_of_machine = if kind.name == VM.name { "vm" } else { "container" };
        found.insert(
            format!("module.dns[0].hactl_dns_record_set.this[\"{key}\"]"),
            json!({"server": "192.0.2.54", "port": 5353, "zone": "home.sflab.io.", "ttl": 77, "key_name": "ddnskey.",
                "key_algorithm": "hmac-sha512", "cluster_uuid": UUID, "name": machine["vm_name"], "machine": key,
                "machine_kind": kind_of_machine}),
        );
    }
    found.insert(
        "module.pool[0].proxmox_virtual_environment_pool.this".to_owned(),
        json!({"pool_id": "team", "comment": "Machines of pg-test"}),
    );
    found
}

/// The places where `found` lacks what `expected` has, which may be less.
fn differences(expected: &Value, found: &Value, path: &str, into: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, value) in expected {
                differences(value, found.get(name).unwrap_or(&Value::Null), &format!("{path}.{name}"), into);
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                differences(expected, found, &format!("{path}.{index}"), into);
            }
        }
        (expected, found)
            if expected == found || expected.as_f64().is_some() && expected.as_f64() == found.as_f64() => {}
        (expected, found) => into.push(format!("{path}: {found} instead of {expected}")),
    }
}

/// What is wrong with the plans of a stack with all its variables. Two of them are switches that are on: the second plan
/// tells them apart.
pub(super) fn wrong(tree: &Tree, kind: Kind) -> Vec<String> {
    let switches: &[bool] = if kind.name == VM.name { &[true, false] } else { &[true] };
    let found = switches.iter().map(|watchdog| wrong_with(tree, kind, *watchdog)).find(|found| !found.is_empty());
    found.unwrap_or_default()
}

fn wrong_with(tree: &Tree, kind: Kind, watchdog: bool) -> Vec<String> {
    let stack = kind.stack();
    tree.set(&stack, &values(kind, watchdog));
    let planned = tree.run(&stack, &["plan", "-no-color", "-input=false", "-out=p"]);
    if planned.code != 0 {
        return vec![planned.text];
    }
    let plan = tree.shown(&stack, "p");
    let mut found = BTreeMap::new();
    for change in plan["resource_changes"].as_array().unwrap() {
        found.insert(change["address"].as_str().unwrap().to_owned(), change["change"]["after"].clone());
    }
    let mut wrong = Vec::new();
    for (address, values) in expected(kind, watchdog) {
        differences(&values, found.get(&address).unwrap_or(&Value::Null), &address, &mut wrong);
    }
    if plan["planned_values"]["outputs"]["record"]["value"] != "kept" {
        wrong.push("the output record".to_owned());
    }
    wrong
}

#[test]
fn stacks_hand_every_variable_on_to_the_resources() {
    both(|kind| {
        let tree = Tree::new(Nowhere);
        tree.init(&kind.stack());
        assert_eq!(wrong(&tree, kind), Vec::<String>::new());
        // The test itself has them all, so that a new variable is not forgotten.
        let text = fs::read_to_string(tree.path(&format!("{}/variables.tf", kind.stack()))).unwrap();
        // Of the single mode, of old files, and of what only a check reads.
        let not_for_many = ["hostname_suffix", "vm_target_ip", "instance_count", "max_instances"];
        let values = values(kind, true);
        let declared = text.lines().filter_map(|line| line.strip_prefix("variable \"")?.split('"').next());
        let missing: Vec<_> =
            declared.filter(|name| values.get(name).is_none() && !not_for_many.contains(name)).collect();
        assert_eq!(missing, Vec::<&str>::new());
    });
}

/// The stack's text without one line that hands a value on, or with the value of the next line.
fn mutants(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let value = |line: &str| -> Option<(String, String)> {
        let (name, value) = line.trim().split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let is_name = name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
        (is_name && !value.ends_with('{') && !["source", "count"].contains(&name))
            .then(|| (name.to_owned(), value.to_owned()))
    };
    let mut found = Vec::new();
    // The values of each machine, and the arguments of the modules.
    let mut within = false;
    for (index, line) in lines.iter().enumerate() {
        within = match *line {
            "  machines = {" => true,
            line if line.starts_with("module \"") => true,
            "  }" | "}" => false,
            _ => within,
        };
        let Some((name, old)) = value(line).filter(|_| within) else { continue };
        let without: Vec<&str> =
            lines.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, line)| *line).collect();
        found.push((format!("line {}: {name} left out", index + 1), without.join("\n")));
        let next = lines.get(index + 1).and_then(|line| value(line)).filter(|(_, value)| *value != old);
        if let Some((_, other)) = next {
            let other = format!("{name} = {other}");
            let mut with = lines.clone();
            with[index] = &other;
            found.push((format!("line {}: {other}", index + 1), with.join("\n")));
        }
    }
    found
}

#[test]
fn line_that_hands_a_value_on_gives_two_mutants() {
    let text = "locals {\n  machines = {\n    for k, v in x : k => {\n      a = 1\n      b = 2\n    }\n  }\n  c = 3\n}\nmodule \"m\" {\n  source = \"m\"\n  d = 4\n}\n";
    let names: Vec<_> = mutants(text).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["line 4: a left out", "line 4: a = 2", "line 5: b left out", "line 12: d left out"]);
}

#[test]
#[ignore = "some two hundred plans: part of `make test-long`"]
fn stack_without_a_line_that_hands_a_value_on_is_found_out() {
    at_once([VM, CONTAINER], |kind| {
        let tree = Tree::new(Nowhere);
        tree.init(&kind.stack());
        assert_eq!(wrong(&tree, kind), Vec::<String>::new());
        let main = tree.path(&format!("{}/main.tf", kind.stack()));
        let text = fs::read_to_string(&main).unwrap();
        let mutants = mutants(&text);
        assert!(mutants.len() > 60, "{}", mutants.len());
        let survived: Vec<_> = mutants
            .into_iter()
            .filter(|(_, mutant)| {
                fs::write(&main, mutant).unwrap();
                wrong(&tree, kind).is_empty()
            })
            .map(|(name, _)| name)
            .collect();
        assert_eq!(survived, Vec::<String>::new(), "{}", kind.name);
    });
}
