//! Plan -> the values of the stack's variables. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use crate::{
    assets::Assets,
    model::{Guest, Hosts, Hypervisor, InstanceKey, Local, Proxmox, ProxmoxKind},
    plan::{Plan, Platform},
};

/// What Terraform needs to create the machines of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Machines<'a> {
    pub plan: &'a Plan,
    pub assets: &'a Assets,
    /// The image of new local nodes; an existing node keeps the image that it was created from.
    pub image: Option<&'a str>,
    pub uuid: Uuid,
    /// Public keys that may log in, in OpenSSH's form.
    pub authorized_keys: &'a [String],
    /// What hactl keeps in the state for its runs on other machines.
    pub record: &'a str,
}

/// The values of the stack's variables. `kept` are the images of local nodes that exist.
#[must_use]
pub fn variables(machines: &Machines<'_>, kept: &BTreeMap<InstanceKey, String>) -> Json {
    match &machines.plan.platform {
        Platform::Local(local) => local_variables(machines, local, kept),
        Platform::Proxmox(proxmox) => proxmox_variables(machines, proxmox),
        Platform::Hosts(hosts) => hosts_variables(machines, hosts),
        Platform::Adopted(_) | Platform::Terraform(_) => json!({}),
    }
}

/// Stands in for hactl's own key in a plan before the first `up`, which creates the key.
const NO_KEY_YET: &str = "ssh-ed25519 AAAA the-first-up-makes-it";

fn hosts_variables(machines: &Machines<'_>, hosts: &Hosts) -> Json {
    let plan = machines.plan;
    let known = plan.nodes.values().filter_map(|node| Some((node, hosts.machines.get(&node.key)?)));
    let instances: Map<String, Json> = known
        .map(|(node, machine)| {
            let mut values = json!({"hostname": node.hostname, "address": machine.address});
            let optional = [("ssh_host", json!(machine.ssh_host)), ("ssh_port", json!(machine.ssh_port))];
            for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_null()) {
                values[name] = value;
            }
            (node.key.to_string(), values)
        })
        .collect();
    json!({"cluster_uuid": machines.uuid, "instances": instances, "dns": plan.dns, "record": machines.record})
}

fn local_variables(machines: &Machines<'_>, local: &Local, kept: &BTreeMap<InstanceKey, String>) -> Json {
    let plan = machines.plan;
    let nodes: Map<String, Json> = plan
        .nodes
        .values()
        .map(|node| {
            let mut values = json!({
                "hostname": node.hostname,
                "slot": node.address_index,
                "memory": node.memory_mib,
                "cores": node.cores,
            });
            if let Some(gb) = node.disk_gb {
                values["disk_gb"] = json!(gb);
            }
            if let Some(image) = kept.get(&node.key).filter(|image| machines.image != Some(image.as_str())) {
                values["image"] = json!(image);
            }
            (node.key.to_string(), values)
        })
        .collect();
    let no_key = [NO_KEY_YET.to_owned()];
    let keys = if machines.authorized_keys.is_empty() { &no_key } else { machines.authorized_keys };
    json!({
        "cluster": plan.cluster,
        "cluster_uuid": machines.uuid,
        "image": machines.image,
        "subnet": local.subnet,
        "nodes": nodes,
        "authorized_keys": keys,
        "dns": plan.dns,
        "record": machines.record,
    })
}

/// Resolved values: an instance without a setting has that of the platform's section. The values have neither endpoint
/// nor token.
fn proxmox_variables(machines: &Machines<'_>, proxmox: &Proxmox) -> Json {
    let plan = machines.plan;
    let mut instances = Map::new();
    for (node, guest) in plan.nodes.values().filter_map(|node| Some((node, proxmox.machines.get(&node.key)?))) {
        let template = match proxmox.kind {
            ProxmoxKind::Vm => "template",
            ProxmoxKind::Lxc => "template_file_id",
        };
        let mut values = json!({
            "vm_name": node.hostname,
            "memory": node.memory_mib,
            "cores": node.cores,
            "node": guest.hypervisor,
            template: guest.template,
            "datastore": guest.datastore,
            "address": guest.address,
            "tags": guest.tags,
        });
        let optional = [
            ("template_node", json!(template_hypervisor(guest))),
            ("disk_gb", json!(node.disk_gb)),
            ("pool_id", json!(guest.pool_id)),
            ("vlan", json!(guest.vlan)),
            ("gateway", json!(guest.gateway)),
            ("renamed_from", json!(guest.renamed_from)),
        ];
        for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_null()) {
            values[name] = value;
        }
        instances.insert(node.key.to_string(), values);
    }
    let mut values = json!({
        "app": plan.app,
        "env": plan.env,
        "cluster_uuid": machines.uuid,
        "instances": instances,
        "bridge": proxmox.bridge,
        "pool_id": proxmox.pool.as_ref().map_or("", |pool| pool.as_str()),
        "nameservers": proxmox.nameservers,
        "search_domain": proxmox.search_domain.as_ref().map(|domain| domain.as_str().trim_end_matches('.')),
        "authorized_keys": machines.authorized_keys,
        "protection": proxmox.protection,
        "dns": plan.dns,
        "record": machines.record,
    });
    if proxmox.kind == ProxmoxKind::Vm {
        values["ssh_user"] = json!(proxmox.ssh.user);
        values["agent_timeout"] = json!(format!("{}s", proxmox.agent_timeout_s));
        values["watchdog"] = json!(proxmox.watchdog);
    }
    values
}

/// The hypervisor that has a machine's template, where that is not the machine's own.
fn template_hypervisor(guest: &Guest) -> Option<&Hypervisor> {
    guest.template_hypervisor.as_ref().filter(|on| **on != guest.hypervisor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::{
        fixture::{on_proxmox, plan_of},
        orphans::Owner,
    };

    fn machines<'a>(plan: &'a Plan, assets: &'a Assets, keys: &'a [String]) -> Machines<'a> {
        let uuid = Uuid::from_u128(1);
        Machines { plan, assets, image: Some("hactl-node:2"), uuid, authorized_keys: keys, record: "{}" }
    }

    #[test]
    fn values_are_what_the_plan_says_and_nothing_else() {
        let (mut plan, keys) = (plan_of(&["node1", "node2"]), ["ssh-ed25519 AAAA".to_owned()]);
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
        // Before the first `up` there is no key, but the modules require one.
        let planned = variables(&machines(&plan, &Assets::embedded(), &[]), &kept);
        assert_eq!(planned["authorized_keys"], json!([NO_KEY_YET]));
    }

    #[test]
    fn values_for_proxmox_are_resolved_and_hold_neither_endpoint_nor_token() {
        let plan = on_proxmox(
            "platform: {proxmox: {endpoint: 'https://pve1:8006/', pool: p, node: pve9, vlan: 30, watchdog: true,\n  \
             search_domain: home.sflab.io, nameservers: [192.168.1.13]}}\ndefaults: {gateway: 10.0.0.1}\n\
             instances:\n  a: {address: 10.0.0.4/24, disk_gb: 20, tags: [x], pool_id: own, template_node: pve1}\n  \
             b: {vm_name: bee, roles: [], renamed_from: default, memory: 512}\n",
        );
        let keys = ["ssh-ed25519 AAAA".to_owned()];
        let values =
            variables(&Machines { image: None, ..machines(&plan, &Assets::embedded(), &keys) }, &BTreeMap::new());
        let expected = json!({
            "app": "pg",
            "env": "prod",
            "cluster_uuid": "00000000-0000-0000-0000-000000000001",
            "instances": {
                "a": {"vm_name": "pg-prod-a", "memory": 2048, "cores": 2, "disk_gb": 20, "node": "pve9", "template": 9002,
                    "template_node": "pve1", "datastore": "local-lvm", "vlan": 30, "address": "10.0.0.4/24",
                    "gateway": "10.0.0.1", "pool_id": "own", "tags": ["x"]},
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
        let owner: Owner = serde_json::from_value(values).unwrap();
        assert!(owner.cluster.is_none(), "nothing of it is on this machine");
    }

    #[test]
    fn values_of_hosts_are_what_the_file_says_of_each() {
        let plan = on_proxmox(
            "platform: {hosts: {ssh: {user: admin}}}\ndns: {zone: a.b, server: 10.0.0.9, key_name: k}\n\
             instances: {a: {address: 10.0.0.4}, b: {address: 10.0.0.5, ssh_host: nat, ssh_port: 2202, vm_name: bee}}\n",
        );
        let values = variables(&machines(&plan, &Assets::embedded(), &[]), &BTreeMap::new());
        let expected = json!({
            "a": {"hostname": "pg-prod-a", "address": "10.0.0.4"},
            "b": {"hostname": "bee", "address": "10.0.0.5", "ssh_host": "nat", "ssh_port": 2202},
        });
        assert_eq!((&values["instances"], &values["dns"]["zone"]), (&expected, &json!("a.b.")));
        let owner: Owner = serde_json::from_value(values).unwrap();
        assert!(owner.cluster.is_none(), "nothing of it is on this machine");
    }

    #[test]
    fn every_value_is_a_variable_of_its_stack() {
        let assets = Assets::embedded();
        let plans = [
            on_proxmox("platform: proxmox\ntarget_ip: dhcp\n"),
            on_proxmox("platform: {proxmox: {kind: lxc}}\ninstances: {a: {}}\n"),
            plan_of(&["node1"]),
            on_proxmox("platform: hosts\ninstances: {a: {address: 10.0.0.4}}\n"),
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
}
