//! The values of each stack, for clusters of a few lines.

use super::*;
use crate::{
    assets::Assets,
    context::Dirs,
    event::Events,
    model::{Choices, DiskFlags},
    plan::{self, Plan},
    spec,
};

/// The plan of the cluster file that says `text`.
fn plan_of(text: &str) -> Plan {
    let spec = spec::load("pg.yaml", format!("name: pg\n{text}").as_bytes(), "pg").unwrap();
    plan::decide(&spec, &Choices::default()).unwrap()
}

fn machines<'a>(plan: &'a Plan, assets: &'a Assets, keys: &'a [String]) -> Machines<'a> {
    let uuid = Uuid::from_u128(1);
    Machines { plan, assets, image: Some("hactl-node:2"), uuid, authorized_keys: keys, record: "{}", surveyed: None }
}

#[test]
fn local_stack_values_equal_the_plan() {
    let (mut plan, keys) =
        (plan_of("instances: {node1: {cores: 1}, node2: {cores: 1}}"), ["ssh-ed25519 AAAA".to_owned()]);
    plan.nodes.values_mut().next().unwrap().disk_gb = Some(20);
    let kept = BTreeMap::from([("node2".parse().unwrap(), "hactl-node:1".to_owned())]);
    let expected = json!({
        "cluster": "pg",
        "cluster_uuid": "00000000-0000-0000-0000-000000000001",
        "image": "hactl-node:2",
        "subnet": null,
        "nodes": {
            "node1": {"hostname": "pg-prod-node1", "slot": 10, "memory": 1024, "cores": 1, "disk_gb": 20},
            "node2": {"hostname": "pg-prod-node2", "slot": 11, "memory": 1024, "cores": 1, "image": "hactl-node:1"},
        },
        "authorized_keys": ["ssh-ed25519 AAAA"],
        "dns": null,
        "record": "{}",
    });
    assert_eq!(variables(&machines(&plan, &Assets::embedded(), &keys), &kept), expected);
    // Before the first `up` there is no key; the modules want one all the same.
    let planned = variables(&machines(&plan, &Assets::embedded(), &[]), &kept);
    assert_eq!(planned["authorized_keys"], json!(["ssh-ed25519 AAAA the-first-up-makes-it"]));
}

#[test]
fn proxmox_stack_values_are_resolved_without_endpoint_and_token() {
    let plan = plan_of(
        "platform: {proxmox: {endpoint: 'https://pve1:8006/', pool: p, node: pve9, vlan: 30, watchdog: true,\n  \
         search_domain: home.sflab.io, nameservers: [192.168.1.13]}}\ndefaults: {gateway: 10.0.0.1}\n\
         instances:\n  a: {address: 10.0.0.4/24, disk_gb: 20, tags: [x], pool_id: own, template_node: pve1}\n  \
         b: {vm_name: bee, roles: [], renamed_from: default, memory: 512}\n",
    );
    let keys = ["ssh-ed25519 AAAA".to_owned()];
    let values = variables(&Machines { image: None, ..machines(&plan, &Assets::embedded(), &keys) }, &BTreeMap::new());
    let expected = json!({
        "app": "pg",
        "env": "prod",
        "cluster_uuid": "00000000-0000-0000-0000-000000000001",
        "instances": {
            "a": {"vm_name": "pg-prod-a", "memory": 2048, "cores": 2, "disk_gb": 20, "node": "pve9", "template": 9002,
                "template_node": "pve1", "datastore": "local-lvm", "vlan": 30, "address": "10.0.0.4/24",
                "gateway": "10.0.0.1", "pool_id": "own", "tags": ["x"], "protection": true},
            "b": {"vm_name": "bee", "memory": 512, "cores": 2, "node": "pve9", "template": 9002,
                "datastore": "local-lvm", "vlan": 30, "address": "dhcp", "tags": [], "renamed_from": "default"},
        },
        "bridge": "vmbr0",
        "pool_id": "p",
        "nameservers": ["192.168.1.13"],
        "search_domain": "home.sflab.io",
        "ssh_user": "debian",
        "authorized_keys": ["ssh-ed25519 AAAA"],
        "protection": false,
        "dns": null,
        "record": "{}",
        "agent_timeout": "180s",
        "watchdog": true,
    });
    assert_eq!(values, expected);
}

#[test]
fn hardware_of_a_proxmox_machine_reaches_the_stack_values() {
    let plan = plan_of(
        "platform: {proxmox: {endpoint: 'https://pve1:8006/'}}\n\
         defaults:\n  data_disk_gb: 100\n  hardware: {cpu_type: host, mtu: 9000, disk: {discard: 'on', ssd: true}}\n\
         instances:\n  a: {}\n  b:\n    data_disk_gb: 200\n    data_datastore: nvme\n    hardware:\n      mtu: 1500\n      \
         on_boot: false\n      description: Orders\n      firewall: true\n      startup: {order: 1, up_delay: 30}\n      \
         extra_nic: {bridge: vmbr1, vlan: 40, address: 10.0.0.21/24}\n",
    );
    let values = variables(&machines(&plan, &Assets::embedded(), &[]), &BTreeMap::new());
    let further = |key: &str| {
        let mut values = values["instances"][key].as_object().unwrap().clone();
        for name in ["vm_name", "memory", "cores", "node", "template", "datastore", "address", "tags", "protection"] {
            assert!(values.remove(name).is_some(), "{name}");
        }
        Json::Object(values)
    };
    let disk = json!({"discard": "on", "ssd": true});
    assert_eq!(further("a"), json!({"data_disk_gb": 100, "cpu_type": "host", "mtu": 9000, "disk": disk}));
    assert_eq!(
        further("b"),
        json!({"data_disk_gb": 200, "data_datastore": "nvme", "cpu_type": "host", "mtu": 1500, "disk": disk, "on_boot": false,
            "description": "Orders", "firewall": true, "startup": {"order": 1, "up_delay": 30},
            "extra_nic": {"bridge": "vmbr1", "vlan": 40, "address": "10.0.0.21/24"}})
    );
}

#[test]
fn flags_of_a_disk_reach_the_stack_by_file_then_template_and_stay_on_a_machine_that_exists() {
    let plan = plan_of(
        "platform: {proxmox: {endpoint: 'https://pve1:8006/'}}\n\
         defaults: {disk_gb: 40, hardware: {disk: {cache: none}}}\ninstances: {a: {}, b: {}, c: {}}\n",
    );
    let flags = || DiskFlags {
        discard: Some("on".to_owned()),
        iothread: Some(true),
        ssd: None,
        cache: Some("writeback".to_owned()),
    };
    let found = |kept| FoundFlags { flags: flags(), kept };
    let surveyed = Surveyed {
        disk_flags: [("a", found(false)), ("b", found(true))].map(|(key, found)| (key.parse().unwrap(), found)).into(),
        ..Surveyed::default()
    };
    let assets = Assets::embedded();
    let machines = Machines { surveyed: Some(&surveyed), ..machines(&plan, &assets, &[]) };
    let values = variables(&machines, &BTreeMap::new());
    let disk = |key: &str| &values["instances"][key]["disk"];
    assert_eq!(disk("a"), &json!({"discard": "on", "iothread": true, "cache": "none"}));
    assert_eq!(disk("b"), &json!({"discard": "on", "iothread": true, "cache": "writeback"}));
    assert_eq!(disk("c"), &json!({"cache": "none"}));
}

#[test]
fn hosts_stack_values_equal_the_cluster_file() {
    let plan = plan_of(
        "platform: {hosts: {ssh: {user: admin}}}\ndns: {zone: a.b, server: 10.0.0.9, key_name: k}\n\
         instances: {a: {address: 10.0.0.4}, b: {address: 10.0.0.5, ssh_host: nat, ssh_port: 2202, vm_name: bee}}\n",
    );
    let values = variables(&machines(&plan, &Assets::embedded(), &[]), &BTreeMap::new());
    let expected = json!({
        "a": {"hostname": "pg-prod-a", "address": "10.0.0.4"},
        "b": {"hostname": "bee", "address": "10.0.0.5", "ssh_host": "nat", "ssh_port": 2202},
    });
    assert_eq!((&values["instances"], &values["dns"]["zone"]), (&expected, &json!("a.b.")));
}

#[test]
fn every_stack_value_is_a_declared_variable() {
    let assets = Assets::embedded();
    let plans = [
        plan_of("platform: proxmox\ntarget_ip: dhcp\n"),
        plan_of("platform: {proxmox: {kind: lxc}}\ninstances: {a: {}}\n"),
        plan_of("instances: {node1: {}}"),
        plan_of("platform: hosts\ninstances: {a: {address: 10.0.0.4}}\n"),
    ];
    for plan in &plans {
        let values = variables(&machines(plan, &assets, &[]), &BTreeMap::new());
        let file = format!("terraform/stacks/{}/variables.tf", plan.platform.stack().unwrap_or("none"));
        let text = assets.text(&file).unwrap();
        for name in values.as_object().unwrap().keys() {
            assert!(text.contains(&format!("\nvariable \"{name}\" {{")), "{name} is not in {file}");
        }
    }
}

#[tokio::test]
async fn machines_that_hactl_cannot_power_on_again_tell_the_reason() {
    let fleet = |plan: &Plan| Fleet { cluster: plan.cluster.clone(), nodes: BTreeMap::new() };
    let context = Context {
        dirs: Dirs::new(std::path::Path::new("/"), &BTreeMap::new()),
        env: BTreeMap::new(),
        events: Events::channel().0,
        stop: Default::default(),
    };
    for (file, reason) in [
        ("platform: hosts\ninstances: {a: {address: 10.0.0.1}}", "by SSH; `platform.hosts.power`"),
        ("platform: {terraform: {dir: infra}}\ninstances: {a: {}}", "because it reaches them only by SSH"),
        ("platform: proxmox\ninstances: {a: {}}", "PROXMOX_VE_API_TOKEN is not set; `primary-isolated`"),
    ] {
        let plan = plan_of(file);
        let found = power::PowerOrder::find(&context, &plan, &fleet(&plan), []).await.unwrap();
        assert!(found.unwrap_err().contains(reason), "{file}");
    }
    let power = "{off: [off, '{{ host }}'], on: [on, '{{ host }}'], state: [state, '{{ instance }}']}";
    let plan = plan_of(&format!("platform: {{hosts: {{power: {power}}}}}\ninstances: {{a: {{address: 10.0.0.1}}}}"));
    let found = power::PowerOrder::find(&context, &plan, &fleet(&plan), []).await.unwrap();
    assert!(found.unwrap().has_commands());
}
