//! Tests of what is read from a plan.

use super::*;

fn one(actions: &str, more: &str) -> ResourceChange {
    let json = format!(
        r#"{{"format_version":"1.2","resource_changes":[{{"address":"module.nodes.hactl_node.this[\"node1\"]",
        "mode":"managed","type":"hactl_node","name":"this","index":"node1"{more},
        "change":{{"actions":{actions},"before":null,"after":{{}}}}}}]}}"#
    );
    Changes::parse(&json).unwrap().resources.remove(0)
}

#[test]
fn known_actions_are_read_and_new_actions_are_unknown() {
    let known = [
        (r#"["no-op"]"#, Action::NoOp),
        (r#"["create"]"#, Action::Create),
        (r#"["update"]"#, Action::Update),
        (r#"["delete","create"]"#, Action::Replace),
        (r#"["create","delete"]"#, Action::Replace),
        (r#"["delete"]"#, Action::Delete),
        (r#"["forget"]"#, Action::Forget),
        (r#"["create","forget"]"#, Action::Unknown),
        (r#"["reboot"]"#, Action::Unknown),
        (r"[]", Action::Unknown),
    ];
    for (words, action) in known {
        let change = one(words, "");
        assert_eq!(change.action, action, "{words}");
        assert_eq!(change.node.unwrap().as_str(), "node1");
    }
}

#[test]
fn tainted_resource_is_unfinished() {
    assert!(one(r#"["delete","create"]"#, r#","action_reason":"replace_because_tainted""#).unfinished);
    assert!(!one(r#"["delete","create"]"#, r#","action_reason":"replace_because_cannot_update""#).unfinished);
}

#[test]
fn updates_that_restart_a_machine_are_recognised() {
    let of = |kind: &str, before: &str, after: &str| {
        let json = format!(
            r#"{{"resource_changes":[{{"address":"a","mode":"managed","type":"{kind}","index":"node1",
            "change":{{"actions":["update"],"before":{before},"after":{after}}}}}]}}"#
        );
        Changes::parse(&json).unwrap().resources.remove(0).restarts
    };
    let vm = |before: &str, after: &str| of("proxmox_virtual_environment_vm", before, after);
    let (small, large) = (r#"{"memory":[{"dedicated":1}],"name":"a"}"#, r#"{"memory":[{"dedicated":2}],"name":"a"}"#);
    assert!(vm(small, large), "by default the provider reboots");
    let told_not_to = r#"{"memory":[{"dedicated":2}],"name":"a","reboot_after_update":false}"#;
    assert!(!vm(small, told_not_to));
    assert!(!vm(small, &small.replace(r#""a""#, r#""b""#)), "a new name needs no reboot");
    assert!(vm(r#"{"started":true}"#, r#"{"started":false,"reboot_after_update":false}"#));
    assert!(!vm(r#"{"started":false}"#, r#"{"started":true,"reboot_after_update":false}"#));
    let container = |before: &str, after: &str| of("proxmox_virtual_environment_container", before, after);
    assert!(container(small, large) && !container(r#"{"tags":["a"]}"#, r#"{"tags":["b"]}"#));
    assert!(container(r#"{"initialization":[{"hostname":"a"}]}"#, r#"{"initialization":[{"hostname":"b"}]}"#));
    let in_place = |size: u64| {
        format!(r#"{{"cpu":[{{"cores":{size}}}],"disk":[{{"size":{size}}}],"features":[{{"nesting":{}}}]}}"#, size > 2)
    };
    assert!(!container(&in_place(2), &in_place(4)), "cores, disk and features of a container restart nothing");
    assert!(!of("hactl_node", small, large));
}

#[test]
fn removed_or_shrunk_disks_are_recognised() {
    let lost = |before: &str, after: &str| {
        let json = format!(
            r#"{{"resource_changes":[{{"address":"a","mode":"managed","type":"proxmox_virtual_environment_vm",
            "index":"node1","change":{{"actions":["update"],"before":{before},"after":{after}}}}}]}}"#
        );
        let lost = Changes::parse(&json).unwrap().resources.remove(0).lost_disks;
        lost.into_iter().map(|disk| format!("{} {}", disk.interface, disk.size_gb)).collect::<Vec<_>>()
    };
    let two = r#"{"disk":[{"interface":"scsi0","size":20},{"interface":"virtio0","size":8}]}"#;
    assert_eq!(lost(two, two), [""; 0]);
    assert_eq!(lost(two, r#"{"disk":[]}"#), ["scsi0 20", "virtio0 8"]);
    assert_eq!(lost(two, r#"{"disk":[{"interface":"scsi0","size":20}]}"#), ["virtio0 8"]);
    assert_eq!(
        lost(r#"{"disk":[{"interface":"scsi0","size":20}]}"#, r#"{"disk":[{"interface":"scsi0","size":10}]}"#),
        ["scsi0 20"]
    );
    assert_eq!(lost(r#"{"disk":[]}"#, two), [""; 0], "a disk that is added takes nothing away");
    assert_eq!(lost("null", two), [""; 0]);
}

#[test]
fn deleted_dns_records_are_listed_with_zone_and_addresses() {
    let record = |name: &str, actions: &str| {
        format!(
            r#"{{"address":"module.dns[0].hactl_dns_record_set.this[\"{name}\"]","mode":"managed",
            "type":"hactl_dns_record_set","index":"{name}","change":{{"actions":{actions},"before":{{
            "server":"10.0.0.1","port":5353,"zone":"a.b.","key_name":"k.","key_algorithm":null,"name":"{name}",
            "fqdn":"{name}.a.b.","made":["10.0.0.9"],"addresses":["10.9.9.9"]}},"after":null}}}}"#
        )
    };
    let records = [record("n1", r#"["delete"]"#), record("n2", r#"["no-op"]"#), record("n3", r#"["delete","create"]"#)];
    let gone = gone_records(&format!(r#"{{"resource_changes":[{}]}}"#, records.join(","))).unwrap();
    let [(dns, names)] = gone.as_slice() else { panic!("{gone:?}") };
    assert_eq!(dns.endpoint(), "10.0.0.1:5353");
    assert_eq!(names.keys().collect::<Vec<_>>(), ["n1.a.b.", "n3.a.b."]);
    assert_eq!(names["n1.a.b."], BTreeSet::from(["10.0.0.9".parse().unwrap()]));
}

#[test]
fn changed_outputs_without_resources_are_a_change() {
    let json = r#"{"output_changes":{"vms":{"actions":["update"]}}}"#;
    assert!(!Changes::parse(json).unwrap().is_empty());
    assert!(Changes::parse(r#"{"output_changes":{"vms":{"actions":["no-op"]}}}"#).unwrap().is_empty());
    assert!(Changes::parse("x").is_err());
}

#[test]
fn changed_record_output_counts_as_a_change_of_the_state_only() {
    let record = |actions: &str| {
        let json = format!(r#"{{"output_changes":{{"record":{{"actions":{actions}}}}}}}"#);
        let changes = Changes::parse(&json).unwrap();
        (changes.is_empty(), changes.leaves_the_state())
    };
    assert_eq!(record(r#"["delete"]"#), (true, false));
    assert_eq!(record(r#"["no-op"]"#), (true, true));
    let vms = Changes::parse(r#"{"output_changes":{"vms":{"actions":["delete"]}}}"#).unwrap();
    assert!(!vms.is_empty() && !vms.leaves_the_state());
}

#[test]
fn machine_is_made_if_any_part_except_its_dns_record_is_made() {
    let change = |kind: &str, key: &str, actions: &str| {
        format!(r#"{{"address":"a","type":"{kind}","index":"{key}","change":{{"actions":{actions}}}}}"#)
    };
    let changes = [
        change("proxmox_virtual_environment_vm", "new", r#"["create"]"#),
        change("proxmox_virtual_environment_vm", "again", r#"["delete","create"]"#),
        change("proxmox_virtual_environment_vm", "bigger", r#"["update"]"#),
        change("proxmox_virtual_environment_vm", "gone", r#"["delete"]"#),
        change("hactl_dns_record_set", "record", r#"["create"]"#),
    ];
    let changes = Changes::parse(&format!(r#"{{"resource_changes":[{}]}}"#, changes.join(","))).unwrap();
    let made: Vec<&str> = changes.machines_made().map(InstanceKey::as_str).collect();
    assert_eq!(made, ["new", "again"]);
}

/// A plan with these resources: address, type, actions, and what is said beside them.
fn plan_of(resources: &[(&str, &str, &str, &str)]) -> Changes {
    let resources = resources.iter().map(|(address, kind, actions, more)| {
        format!(
            r#"{{"address":"{address}","mode":"managed","type":"{kind}","index":"node1"{more},
            "change":{{"actions":[{actions}],"before":{{"memory":[{{"dedicated":1}}]}},"after":{{"memory":[{{"dedicated":2}}],
            "reboot_after_update":false}}}}}}"#
        )
    });
    Changes::parse(&format!(r#"{{"resource_changes":[{}]}}"#, resources.collect::<Vec<_>>().join(","))).unwrap()
}

const VM: &str = "proxmox_virtual_environment_vm";

#[test]
fn headline_counts_machines_and_other_resources_apart() {
    let changes = plan_of(&[
        ("vm.a", VM, "\"create\"", ""),
        ("vm.b", VM, "\"update\"", ""),
        ("origin.a", "terraform_data", "\"create\"", ""),
        ("dns.a", "hactl_dns_record_set", "\"create\"", ""),
    ]);
    assert_eq!(changes.headline(), "Machines: 1 to create, 1 to update in place; other resources: 2 to create");
    assert_eq!(changes.to_string(), "1 to create, 1 to update in place; other resources: 2 to create");
    let still = plan_of(&[("vm.a", VM, "\"no-op\"", ""), ("dns.a", "hactl_dns_record_set", "\"create\"", "")]);
    assert_eq!(still.headline(), "Machines: no changes; other resources: 1 to create");
    assert_eq!(plan_of(&[("a.b", "aws_instance", "\"create\"", "")]).headline(), "Resources: 1 to create");
    assert_eq!(Changes::default().headline(), "Machines: no changes");
}

#[test]
fn changed_attributes_follow_their_resource_with_what_they_cost() {
    let changes = plan_of(&[("vm.a", VM, "\"update\"", ""), ("vm.b", VM, "\"create\"", "")]);
    let lines: Vec<String> = changes.listed_without_new().collect();
    assert_eq!(
        lines,
        [
            "vm.a: to update in place",
            "  memory[0].dedicated: 1 -> 2 (takes effect at the next restart)",
            "  reboot_after_update: null -> false",
        ]
    );
    let json = serde_json::to_value(&changes).unwrap();
    let attribute = serde_json::json!({"path": "memory[0].dedicated", "before": 1, "after": 2, "cost": "next-restart"});
    assert_eq!(json["resources"][0]["attributes"][0], attribute);
    assert_eq!(json["resources"][1].get("attributes"), None);
}

#[test]
fn plan_that_only_moves_a_resource_is_not_empty() {
    let moved = plan_of(&[("vm.b", VM, "\"no-op\"", r#","previous_address":"vm.a""#)]);
    assert!(!moved.is_empty());
    assert_eq!(moved.headline(), "Machines: 1 moved");
    assert_eq!(moved.listed().collect::<Vec<_>>(), ["vm.b: moved from vm.a"]);
    assert!(plan_of(&[("vm.b", VM, "\"no-op\"", "")]).is_empty());
}

#[test]
fn deposed_object_is_named_with_its_key_and_counts_as_no_machine() {
    let changes = plan_of(&[("vm.a", VM, "\"no-op\"", ""), ("vm.a", VM, "\"delete\"", r#","deposed":"1a2b3c4d""#)]);
    assert_eq!(changes.headline(), "Machines: no changes; other resources: 1 to destroy");
    assert_eq!(changes.listed().collect::<Vec<_>>(), ["vm.a#1a2b3c4d: to destroy"]);
}
