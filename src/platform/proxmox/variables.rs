//! The values of the variables of the stacks `proxmox-vm` and `proxmox-lxc`.

use serde_json::{Map, Value as Json, json};

use crate::{
    model::{Guest, Hypervisor, InstanceKey, Proxmox, ProxmoxKind},
    plan::Plan,
    platform::machines::Machines,
};

/// Everything resolved: what an instance does not say is what the platform's section says. Endpoint and token are
/// not among the values.
pub(in crate::platform) fn variables(machines: &Machines<'_>, proxmox: &Proxmox) -> Json {
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
            ("vm_id", json!(machines.surveyed.and_then(|surveyed| surveyed.vm_ids.get(&node.key)))),
            // What holds data cannot be removed in the web interface by mistake, unless the file says otherwise.
            (
                "protection",
                json!((proxmox.protection.is_none() && protected(proxmox, plan, &node.key)).then_some(true)),
            ),
            ("data_disk_gb", json!(guest.data_disk_gb)),
            ("data_datastore", json!(guest.data_datastore)),
        ];
        for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_null()) {
            values[name] = value;
        }
        // As the file spells them, so do the stacks.
        if let Json::Object(further) = json!(guest.hardware) {
            further.into_iter().for_each(|(name, value)| values[name] = value);
        }
        // The provider would reset what it is not told. The file's flags are those of new disks.
        if let Some(found) = machines.surveyed.and_then(|surveyed| surveyed.disk_flags.get(&node.key)) {
            let own = guest.hardware.disk.clone().filter(|_| !found.kept).unwrap_or_default();
            values["disk"] = json!(own.or(&found.flags));
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
        "protection": proxmox.protection.unwrap_or_default(),
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

/// Whether a machine is protected against its removal in the web interface.
pub(super) fn protected(proxmox: &Proxmox, plan: &Plan, key: &InstanceKey) -> bool {
    let holds_data = || plan.nodes.get(key).is_some_and(|node| !node.roles.is_empty());
    proxmox.protection.unwrap_or_else(holds_data)
}

/// The hypervisor that has a machine's template, where that is not the machine's own.
fn template_hypervisor(guest: &Guest) -> Option<&Hypervisor> {
    guest.template_hypervisor.as_ref().filter(|on| **on != guest.hypervisor)
}
