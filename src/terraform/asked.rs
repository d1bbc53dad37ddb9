//! Attributes of machines in use that change only with the user's consent. Pure.

use super::{
    changes::{Action, ResourceChange},
    consent::Consent,
    diff::Cost,
    updates::asked,
};
use crate::model::InstanceKey;

/// A change that the user has not allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// What the plan would do.
    pub(super) cause: String,
    /// The option that allows it.
    pub(super) option: String,
}

/// The attributes of `change` that need consent and have none; `what` is the machine `key` in words.
pub(super) fn missing(change: &ResourceChange, key: &InstanceKey, what: &str, consent: &Consent) -> Vec<Missing> {
    if change.action != Action::Update {
        return Vec::new();
    }
    let attributes = asked(&change.kind, &change.attributes).into_iter();
    // A disk that would go is refused as such.
    let attributes =
        attributes.filter(|attribute| change.lost_disks.is_empty() || !attribute.path.starts_with("disk["));
    let not_allowed = attributes.filter(|attribute| !consent.allows(key, &attribute.name()));
    let missing = not_allowed.map(|attribute| {
        let cost = match attribute.cost {
            Cost::Nothing => String::new(),
            cost => format!(", which {cost}"),
        };
        let values = format!("{} -> {}", attribute.before, attribute.after);
        Missing {
            cause: format!("the plan would change {} of {what}{cost} ({values}): {}", attribute.path, change.address),
            option: format!("--allow-change {key}:{}", attribute.name()),
        }
    });
    missing.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terraform::changes::Changes;

    const VM: &str = "proxmox_virtual_environment_vm";
    const CONTAINER: &str = "proxmox_virtual_environment_container";

    fn options(kind: &str, before: serde_json::Value, after: serde_json::Value, allowed: &[&str]) -> Vec<String> {
        let change = json!({"actions": ["update"], "before": before, "after": after});
        let plan = json!({"resource_changes": [{"address": "a", "type": kind, "index": "node1", "change": change}]});
        let change = Changes::parse(&plan.to_string()).unwrap().resources.remove(0);
        let key: InstanceKey = "node1".parse().unwrap();
        let names = allowed.iter().map(|name| (*name).to_owned()).collect();
        let consent = Consent { change: [(key.clone(), names)].into(), ..Consent::default() };
        missing(&change, &key, "the machine node1", &consent).into_iter().map(|missing| missing.option).collect()
    }

    /// A virtual machine as its module has it.
    fn vm(more: serde_json::Value) -> serde_json::Value {
        let mut vm = json!({"name": "a", "reboot_after_update": false, "tags": ["a"], "cpu": [{"cores": 2, "type": "host"}],
            "memory": [{"dedicated": 2048}], "network_device": [{"bridge": "vmbr0", "vlan_id": 0}], "bios": "ovmf",
            "disk": [{"interface": "scsi0", "size": 20, "cache": "none"}], "protection": false, "startup": []});
        vm.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        vm
    }

    #[test]
    fn managed_attributes_of_a_virtual_machine_need_no_consent() {
        let after = vm(json!({"name": "b", "tags": ["a", "b"], "cpu": [{"cores": 4, "type": "host"}],
            "memory": [{"dedicated": 4096}], "protection": true, "description": "x", "startup": [{"order": 1}],
            "disk": [{"interface": "scsi0", "size": 40, "cache": "none"}], "ipv4_addresses": [["1.2.3.4"]]}));
        assert_eq!(options(VM, vm(json!({})), after, &[]), [""; 0]);
    }

    #[test]
    fn other_attributes_of_a_virtual_machine_need_consent_by_name() {
        let after = vm(json!({"bios": "seabios", "cpu": [{"cores": 2, "type": "qemu64"}],
            "network_device": [{"bridge": "vmbr1", "vlan_id": 30}], "scsi_hardware": "virtio-scsi-pci",
            "disk": [{"interface": "scsi0", "size": 20, "cache": "writeback"}]}));
        let all = options(VM, vm(json!({})), after.clone(), &[]);
        let expected =
            ["bios", "cpu.type", "disk.cache", "network_device.bridge", "network_device.vlan_id", "scsi_hardware"];
        assert_eq!(all, expected.map(|name| format!("--allow-change node1:{name}")));
        let left =
            options(VM, vm(json!({})), after.clone(), &["network_device", "bios", "scsi_hardware", "disk.cache"]);
        assert_eq!(left, ["--allow-change node1:cpu.type"]);
        assert_eq!(options(VM, vm(json!({})), after, &["cpu.typ", "cpu.type.x"]), all, "another attribute is allowed");
    }

    #[test]
    fn disk_that_moves_to_another_datastore_needs_consent_and_a_new_one_does_not() {
        let moved = vm(json!({"disk": [{"interface": "scsi0", "size": 20, "cache": "none", "datastore_id": "b"}]}));
        assert_eq!(options(VM, vm(json!({})), moved, &[]), ["--allow-change node1:disk.datastore_id"]);
        let without = vm(json!({"disk": []}));
        assert_eq!(options(VM, without, vm(json!({})), &[]), [""; 0]);
    }

    #[test]
    fn container_needs_consent_for_its_network_and_not_for_cores_or_a_larger_disk() {
        let of = |bridge: &str, cores: u64, size: u64, nesting: bool| {
            json!({"cpu": [{"cores": cores}], "disk": [{"size": size}], "features": [{"nesting": nesting}],
                "network_interface": [{"name": "eth0", "bridge": bridge}]})
        };
        assert_eq!(options(CONTAINER, of("vmbr0", 2, 8, true), of("vmbr0", 4, 16, true), &[]), [""; 0]);
        assert_eq!(
            options(CONTAINER, of("vmbr0", 2, 8, true), of("vmbr1", 2, 8, false), &[]),
            ["--allow-change node1:features.nesting", "--allow-change node1:network_interface.bridge"]
        );
    }

    #[test]
    fn resource_of_an_unknown_provider_needs_consent_for_all_but_its_labels() {
        let of = |size: &str, label: &str| json!({"server_type": size, "labels": {"a": label}, "tags": label});
        assert_eq!(
            options("hcloud_server", of("cx22", "1"), of("cx32", "2"), &[]),
            ["--allow-change node1:server_type"]
        );
        assert_eq!(options("terraform_data", of("cx22", "1"), of("cx32", "2"), &[]), [""; 0]);
    }

    #[test]
    fn value_that_the_apply_gives_needs_consent_only_where_no_known_value_changes() {
        let plan = |before: serde_json::Value, after: serde_json::Value| {
            let change =
                json!({"actions": ["update"], "before": before, "after": after, "after_unknown": {"ip": true}});
            let plan =
                json!({"resource_changes": [{"address": "a", "type": "x_server", "index": "n", "change": change}]});
            let change = Changes::parse(&plan.to_string()).unwrap().resources.remove(0);
            let missing = missing(&change, &"n".parse().unwrap(), "n", &Consent::default());
            missing.into_iter().map(|missing| missing.option).collect::<Vec<_>>()
        };
        let (old, new) = (json!({"size": 1, "ip": "1"}), json!({"size": 2}));
        assert_eq!(plan(old.clone(), new), ["--allow-change n:size"]);
        assert_eq!(plan(old, json!({"size": 1})), ["--allow-change n:ip"]);
    }
}
