//! What bpg/proxmox 0.111.1 does that its schema does not say: defaults, what replaces a machine, what an update does
//! to a running machine and what it refuses. Measured with the provider's own binary: `tests/recorded/README.md`.

use hactl::terraform::provider::protocol::{Object, Value};
use serde_json::Value as Json;

use super::{CONTAINER, POOL, VM, at};

/// The size in GB of the disk `scsi0` of every template.
pub(crate) const TEMPLATE_GB: f64 = 2.0;

/// What replaces a machine when it changes, whatever the change.
const REPLACING: &[(&str, &[&[&str]])] = &[
    (VM, &[&["clone"], &["initialization", "user_account"], &["vm_id"]]),
    (
        CONTAINER,
        &[
            &["clone"],
            &["initialization", "user_account"],
            &["mount_point"],
            &["node_name"],
            &["operating_system"],
            &["pool_id"],
            &["unprivileged"],
            &["vm_id"],
        ],
    ),
    (POOL, &[&["pool_id"]]),
];

/// What a running container takes over only by a reboot, which the provider does.
const REBOOTING: &[&[&str]] = &[
    &["memory"],
    &["initialization", "hostname"],
    &["initialization", "dns"],
    &["initialization", "ip_config"],
    &["network_interface"],
];

/// Blocks that the provider has also where the configuration has none.
const ALWAYS: &[(&str, &[&str])] = &[(VM, &["operating_system"])];

/// Gives what is null the provider's defaults, in blocks too.
pub(super) fn fill(type_name: &str, object: &mut Object) {
    let all: Json = serde_json::from_str(include_str!("../../recorded/defaults.json")).unwrap();
    let always = ALWAYS.iter().filter(|(name, _)| *name == type_name).flat_map(|(_, blocks)| *blocks);
    for block in always {
        if let Some(Value::List(items)) = object.get_mut(*block)
            && items.is_empty()
        {
            items.push(Value::Map(Object::new()));
        }
    }
    fill_from(&all[type_name], object);
}

fn fill_from(defaults: &Json, object: &mut Object) {
    for (name, default) in defaults.as_object().unwrap() {
        match (default, object.get_mut(name)) {
            (Json::Object(_), Some(Value::List(items))) => {
                for item in items {
                    if let Value::Map(item) = item {
                        fill_from(default, item);
                    }
                }
            }
            (Json::Object(_), _) => {}
            (default, Some(value)) if *value == Value::Null => *value = Value::from_json(default.clone()),
            (default, None) => {
                object.insert(name.clone(), Value::from_json(default.clone()));
            }
            _ => {}
        }
    }
}

/// The attributes for whose change Terraform replaces the machine.
pub(super) fn replacing(type_name: &str, prior: &Object, planned: &Object) -> Vec<&'static str> {
    let differs = |path: &[&str]| at(prior, path) != at(planned, path);
    let rules =
        super::paths(REPLACING, type_name).iter().filter(|path| differs(path) && at(planned, path) != Value::Unknown);
    let mut found: Vec<_> = rules.map(|path| path[0]).collect();
    if type_name == VM && differs(&["node_name"]) && planned.get("migrate") != Some(&Value::Bool(true)) {
        found.push("node_name");
    }
    // A root disk grows in place; it neither shrinks nor moves.
    if type_name == CONTAINER {
        let size = |object: &Object| number(&at(object, &["disk", "size"]));
        if size(planned) < size(prior) || differs(&["disk", "datastore_id"]) {
            found.push("disk");
        }
    }
    found
}

/// What an update does to the machine, beside writing values: `replug net0`.
pub(super) fn effects(type_name: &str, prior: &Object, planned: &Object, foreign: &[String]) -> Vec<String> {
    let differs = |path: &[&str]| at(prior, path) != at(planned, path);
    if type_name == CONTAINER {
        return REBOOTING.iter().any(|path| differs(path)).then(|| "reboot".to_owned()).into_iter().collect();
    }
    let mut found = Vec::new();
    if differs(&["disk"]) {
        // What Proxmox has and the plan lacks: those that the state knows, and those that it does not.
        let wanted = interfaces(planned);
        let there = interfaces(prior).into_iter().chain(foreign.iter().cloned());
        found.extend(there.filter(|name| !wanted.contains(name)).map(|name| format!("unplug {name}")));
    }
    let (before, after) = (items(prior, "network_device"), items(planned, "network_device"));
    for (index, old) in before.iter().enumerate() {
        match after.get(index) {
            None => found.push(format!("unplug net{index}")),
            Some(new) if new != old => found.push(format!("replug net{index}")),
            Some(_) => {}
        }
    }
    found
}

/// Why an update of a running virtual machine fails in its middle, and the values that it has not written by then.
pub(super) fn refused(type_name: &str, prior: &Object, planned: &Object) -> Option<(&'static str, &'static str)> {
    let differs = |path: &[&str]| at(prior, path) != at(planned, path);
    let running = planned.get("started") == Some(&Value::Bool(true));
    let no_reboot = planned.get("reboot_after_update") == Some(&Value::Bool(false));
    if type_name != VM || !running || !no_reboot || !differs(&["disk"]) {
        return None;
    }
    if at(prior, &["disk"]) != Value::List(Vec::new()) && differs(&["disk", "datastore_id"]) {
        return Some((
            "cannot move disks between datastores while the VM is running because `reboot_after_update` is false",
            "disk",
        ));
    }
    let added = at(prior, &["disk"]) == Value::List(Vec::new());
    let resized = differs(&["disk", "size"]) && (differs(&["cpu"]) || differs(&["memory"]));
    (added || resized)
        .then_some(("cannot resize disks while the VM is running because `reboot_after_update` is false", "disk"))
}

/// Why a clone fails after it was made.
pub(super) fn too_small(type_name: &str, planned: &Object) -> Option<String> {
    let disks = if type_name == VM { items(planned, "disk") } else { Vec::new() };
    let root = disks.into_iter().find(|disk| disk.get("interface") == Some(&Value::Text("scsi0".to_owned())))?;
    let size = root.get("size").map_or(f64::NAN, number);
    (size < TEMPLATE_GB)
        .then(|| format!("disk resize failure: requested size ({size}G) is lower than current size ({TEMPLATE_GB}G)"))
}

/// The paths of the values that differ, such as `cpu.0.cores`.
pub(super) fn changed(before: &Value, after: &Value, path: &str, found: &mut Vec<String>) {
    let below =
        |name: &dyn std::fmt::Display| if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
    match (before, after) {
        (Value::Map(before), Value::Map(after)) => {
            for (name, value) in after {
                changed(before.get(name).unwrap_or(&Value::Null), value, &below(name), found);
            }
        }
        (Value::List(before), Value::List(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                changed(before, after, &below(&index), found);
            }
        }
        (before, after) if before != after => found.push(path.to_owned()),
        _ => {}
    }
}

fn number(value: &Value) -> f64 {
    if let Value::Number(number) = value { *number } else { f64::NAN }
}

fn items(object: &Object, name: &str) -> Vec<Object> {
    let Some(Value::List(items)) = object.get(name) else { return Vec::new() };
    let maps = items.iter().filter_map(|item| if let Value::Map(item) = item { Some(item.clone()) } else { None });
    maps.collect()
}

fn interfaces(object: &Object) -> Vec<String> {
    let disks = items(object, "disk");
    disks
        .iter()
        .filter_map(|disk| if let Some(Value::Text(name)) = disk.get("interface") { Some(name.clone()) } else { None })
        .collect()
}
