//! The contract with a root module that is not hactl's: what its output `vms` must be. Pure.
//!
//! In come the output as Terraform plans or has it and the instances of the cluster file; out goes everything that does
//! not fit. Values that Terraform knows only after the apply are not checked in a plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::Ipv4Addr,
};

use serde_json::{Map, Value as Json};

use crate::{
    error::{Error, Result},
    model::{Bastion, InstanceKey, Machine, Outputs, can_be_of_a_machine, nearest},
    plan::Plan,
};

/// The attributes of a machine, and whether hactl requires them.
const ATTRIBUTES: [(&str, bool); 10] = [
    ("id", true),
    ("name", true),
    ("ipv4", true),
    ("ssh_host", false),
    ("ssh_port", false),
    ("ssh_user", false),
    ("ssh_bastion", false),
    ("host_key", false),
    ("data_device", false),
    ("zone", false),
];

/// What a plan or a state says of the output `vms`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ModuleOutput {
    /// `None` if the module has no such output.
    pub(super) value: Option<Json>,
    /// Whether the module has the output `record`.
    pub(super) record: bool,
    /// In the shape of the value: true for each value that Terraform knows only after the apply.
    pub(super) unknown: Json,
}

/// Everything that does not fit; empty if the output fits.
pub(super) fn misfits(plan: &Plan, output: &ModuleOutput) -> Vec<String> {
    let Some(value) = &output.value else {
        return vec!["the module has no output `vms`".to_owned()];
    };
    if output.unknown == Json::Bool(true) {
        return Vec::new();
    }
    let none = Map::new();
    let machines = match (value, output.unknown.as_object()) {
        (Json::Object(machines), _) => machines,
        (Json::Null, Some(_)) => &none,
        (other, _) => return vec![format!("`vms` is {}, but must be a map of objects, one per instance", kind(other))],
    };
    let unknown = output.unknown.as_object().unwrap_or(&none);
    let keys: BTreeSet<&String> = machines.keys().chain(unknown.keys()).collect();
    let mut misfits = Vec::new();
    for key in &keys {
        if !plan.nodes.keys().any(|instance| instance.as_str() == **key) {
            let instances = plan.nodes.keys().map(InstanceKey::as_str);
            let meant = nearest(key, instances).filter(|meant| !keys.iter().any(|key| *key == meant));
            let meant = meant.map(|meant| format!(" (did you mean {meant}?)")).unwrap_or_default();
            misfits.push(format!("`vms[\"{key}\"]` is not an instance of the cluster file{meant}"));
        }
    }
    for key in plan.nodes.keys() {
        let known = machines.get(key.as_str());
        match unknown.get(key.as_str()).unwrap_or(&Json::Null) {
            Json::Bool(true) => {}
            _ if !keys.iter().any(|there| there.as_str() == key.as_str()) => {
                misfits.push(format!("instance {key} of the cluster file is not in `vms`"));
            }
            unknown => machine(key, known.unwrap_or(&Json::Null), unknown, &mut misfits),
        }
    }
    same_machines(plan, machines, &mut misfits);
    misfits
}

/// Instances that are one machine. What Terraform does not know yet is null, and never the same.
fn same_machines(plan: &Plan, machines: &Map<String, Json>, misfits: &mut Vec<String>) {
    let text = |machine: &Json, name: &str| machine[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let endpoint = |machine: &Json| {
        let host = text(machine, "ssh_host")?;
        Some(machine["ssh_port"].as_u64().map_or_else(|| host.clone(), |port| format!("{host}, port {port}")))
    };
    let mut seen: BTreeMap<(&str, String), &InstanceKey> = BTreeMap::new();
    for key in plan.nodes.keys() {
        let Some(machine) = machines.get(key.as_str()) else { continue };
        let values = [
            ("id", "ID", text(machine, "id")),
            ("ipv4", "address", text(machine, "ipv4")),
            ("ssh_host", "SSH endpoint", endpoint(machine)),
        ];
        for (name, what, value) in values {
            let Some(value) = value else { continue };
            if let Some(other) = seen.get(&(name, value.clone())) {
                misfits.push(format!("`vms[\"{key}\"].{name}` is {value}, which is also the {what} of {other}"));
            } else {
                seen.insert((name, value), key);
            }
        }
    }
}

fn machine(key: &InstanceKey, value: &Json, unknown: &Json, misfits: &mut Vec<String>) {
    let none = Map::new();
    let attributes = match (value, unknown.as_object()) {
        (Json::Object(attributes), _) => attributes,
        (Json::Null, Some(_)) => &none,
        (other, _) => {
            return misfits.push(format!("`vms[\"{key}\"]` is {}, but must be an object", kind(other)));
        }
    };
    for (name, required) in ATTRIBUTES {
        if unknown[name] == Json::Bool(true) {
            continue;
        }
        let at = format!("`vms[\"{key}\"].{name}`");
        match attributes.get(name) {
            None if required => {
                let others = attributes.keys().map(String::as_str);
                let meant = nearest(name, others.filter(|other| !ATTRIBUTES.iter().any(|(known, _)| known == other)));
                let meant = meant.map(|meant| format!(" (should `{meant}` be `{name}`?)")).unwrap_or_default();
                misfits.push(format!("{at} is missing{meant}"));
            }
            None => {}
            Some(value) => misfits.extend(attribute(name, value).map(|wrong| format!("{at} {wrong}"))),
        }
    }
    let known = |name: &str| ATTRIBUTES.iter().any(|(known, _)| *known == name);
    for name in attributes.keys().filter(|name| !known(name)) {
        // The module may have attributes for other uses; only a name close to an optional one is reported as misspelt.
        let optional = ATTRIBUTES.iter().filter(|(known, required)| !required && !attributes.contains_key(*known));
        if let Some(meant) = nearest(name, optional.map(|(known, _)| *known)) {
            misfits.push(format!("`vms[\"{key}\"].{name}` is not an attribute of a machine (did you mean `{meant}`?)"));
        }
    }
}

/// What is wrong with an attribute that is there.
fn attribute(name: &str, value: &Json) -> Option<String> {
    let optional = ATTRIBUTES.iter().any(|(known, required)| *known == name && !required);
    match (name, value) {
        (_, Json::Null) if optional => None,
        ("ipv4", Json::Null) => Some(
            "is null: the machine has no address. Check that it runs and that the provider waits for its address, which \
             the guest agent of a virtual machine reports"
                .to_owned(),
        ),
        ("ipv4", Json::String(text)) => match text.parse::<Ipv4Addr>() {
            Ok(address) if can_be_of_a_machine(address) => None,
            Ok(_) => Some(format!(
                "is \"{text}\", which cannot be the address of a machine, because other machines cannot reach it"
            )),
            Err(_) => {
                let bare = text.split('/').next().unwrap_or_default();
                let meant = match bare.parse::<Ipv4Addr>() {
                    Ok(address) => format!(" (did you mean \"{address}\", without the prefix?)"),
                    Err(_) => String::new(),
                };
                Some(format!("is \"{text}\", which is not an IPv4 address{meant}"))
            }
        },
        ("ssh_port", Json::Number(number)) => match number.as_u64() {
            Some(1..=65_535) => None,
            _ => Some(format!("is {number}, which is not a port (1 to 65535)")),
        },
        ("ssh_port", Json::String(text)) => {
            Some(format!("is the string \"{text}\", but must be a number: convert it with `tonumber(...)`"))
        }
        ("ssh_port", other) => Some(format!("is {}, but must be a number", kind(other))),
        (_, Json::String(text)) if text.is_empty() => Some("is empty".to_owned()),
        ("ssh_bastion", Json::String(text)) => text.parse::<Bastion>().err().map(|wrong| format!("is wrong: {wrong}")),
        ("ssh_user", Json::String(text)) => (!is_user(text)).then(|| format!("is \"{text}\", which is not a user's name")),
        (_, Json::String(_)) => None,
        (_, Json::Number(number)) => {
            Some(format!("is the number {number}, but must be a string: convert it with `tostring(...)`"))
        }
        (_, other) => Some(format!("is {}, but must be a string", kind(other))),
    }
}

/// Whether a text can be a user's name in SSH's arguments.
fn is_user(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    starts && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

const fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

/// The machines that `output` names; every value is known.
///
/// # Errors
/// With everything that does not fit.
pub(super) fn machines(plan: &Plan, output: &ModuleOutput, dir: &std::path::Path) -> Result<Outputs> {
    let misfits = misfits(plan, output);
    if !misfits.is_empty() {
        return Err(error(plan, dir, misfits));
    }
    let value = output.value.clone().unwrap_or_default();
    serde_json::from_value::<BTreeMap<InstanceKey, Machine>>(value)
        .map_err(|wrong| error(plan, dir, vec![wrong.to_string()]))
}

/// The error with all misfits, and the output as it must be.
pub(super) fn error(plan: &Plan, dir: &std::path::Path, misfits: Vec<String>) -> Error {
    let error = Error::failed("terraform-contract", "use the output `vms` of the module in", dir.display());
    misfits.into_iter().fold(error, Error::cause).hint(format!(
        "Use the keys of `instances` in the cluster file, and values as in this example:\n{}",
        example(plan)
    ))
}

/// An output that fits, for the instances of the plan.
fn example(plan: &Plan) -> String {
    let mut text = String::from("output \"vms\" {\n  value = {\n");
    for (number, (key, node)) in (21..).zip(&plan.nodes) {
        let _ = writeln!(
            text,
            "    {key} = {{ id = \"{number}\", name = \"{}\", ipv4 = \"192.168.1.{number}\" }}",
            node.hostname
        );
        if number == 23 && plan.nodes.len() > 3 {
            text.push_str("    # and so on\n");
            break;
        }
    }
    text.push_str("  }\n}\nadd ssh_host, ssh_port (a number), ssh_user and ssh_bastion where SSH uses another address, port, user ");
    text.push_str(
        "or bastion than the cluster file says, host_key where it is known, and zone for what fails as a whole",
    );
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terraform::fixture::plan_of;

    fn told(value: Json) -> ModuleOutput {
        ModuleOutput { value: Some(value), ..ModuleOutput::default() }
    }

    #[test]
    fn valid_vms_output_is_read() {
        let plan = plan_of(&["a", "b"]);
        let value = json!({
            "a": {"id": "i-1", "name": "a", "ipv4": "10.0.0.1", "ssh_host": null, "tags": ["x"]},
            "b": {"id": "i-2", "name": "b", "ipv4": "10.0.0.2", "ssh_host": "nat", "ssh_port": 2202, "host_key": "ssh-ed25519 A",
                "ssh_user": "admin", "ssh_bastion": "me@bastion:2022", "zone": "eu-1a"},
        });
        let read = machines(&plan, &told(value), std::path::Path::new("infra")).unwrap();
        let b = &read[&"b".parse::<InstanceKey>().unwrap()];
        assert_eq!((b.ssh_port, b.ssh_user.as_deref(), b.zone.as_deref()), (Some(2202), Some("admin"), Some("eu-1a")));
        assert_eq!(b.ssh_bastion.as_ref().unwrap().port, 2022);
        assert_eq!(misfits(&plan_of(&[]), &told(json!({}))), Vec::<String>::new());
    }

    #[test]
    fn invalid_vms_output_is_reported_completely_with_an_example() {
        let plan = plan_of(&["node1", "node2", "node3", "node4", "node5"]);
        let value = json!({
            "node1": {"id": 100, "name": "", "ipv4": "10.0.0.1/24", "ssh_port": "22"},
            "node2": {"id": "2", "name": "b", "ipv4": null, "ssh_prot": 22},
            "node3": "10.0.0.3",
            "nod4": {"id": "4", "name": "d", "ipv4": "10.0.0.4"},
            "node5": {"id": "5", "name": "e", "ip": "10.0.0.5", "ssh_port": 70_000, "host_key": ["k"]},
        });
        let error = machines(&plan, &told(value), std::path::Path::new("infra")).unwrap_err();
        assert_eq!(error.code, "terraform-contract");
        assert_eq!(
            error.causes,
            [
                "`vms[\"nod4\"]` is not an instance of the cluster file (did you mean node4?)",
                "`vms[\"node1\"].id` is the number 100, but must be a string: convert it with `tostring(...)`",
                "`vms[\"node1\"].name` is empty",
                "`vms[\"node1\"].ipv4` is \"10.0.0.1/24\", which is not an IPv4 address (did you mean \"10.0.0.1\", without the prefix?)",
                "`vms[\"node1\"].ssh_port` is the string \"22\", but must be a number: convert it with `tonumber(...)`",
                "`vms[\"node2\"].ipv4` is null: the machine has no address. Check that it runs and that the provider \
                 waits for its address, which the guest agent of a virtual machine reports",
                "`vms[\"node2\"].ssh_prot` is not an attribute of a machine (did you mean `ssh_port`?)",
                "`vms[\"node3\"]` is a string, but must be an object",
                "instance node4 of the cluster file is not in `vms`",
                "`vms[\"node5\"].ipv4` is missing (should `ip` be `ipv4`?)",
                "`vms[\"node5\"].ssh_port` is 70000, which is not a port (1 to 65535)",
                "`vms[\"node5\"].host_key` is a list, but must be a string",
            ]
        );
        let hint = error.hint.unwrap();
        assert!(
            hint.contains("    node1 = { id = \"21\", name = \"pg-prod-node1\", ipv4 = \"192.168.1.21\" }\n"),
            "{hint}"
        );
        assert!(hint.contains("# and so on"), "{hint}");
    }

    #[test]
    fn instances_that_are_one_machine_or_have_an_impossible_address_are_named() {
        let plan = plan_of(&["a", "b", "c", "d", "e"]);
        let value = json!({
            "a": {"id": "i", "name": "a", "ipv4": "10.0.0.1", "ssh_host": "nat", "ssh_port": 1},
            "b": {"id": "i", "name": "b", "ipv4": "10.0.0.1", "ssh_host": "nat", "ssh_port": 2},
            "c": {"id": "3", "name": "c", "ipv4": "127.0.0.1", "ssh_host": "nat", "ssh_port": 2},
            "d": {"id": "4", "name": "d", "ipv4": "0.0.0.0"},
            "e": {"id": "5", "name": "e", "ipv4": "169.254.1.1"},
        });
        let impossible = |key: &str, address: &str| {
            format!(
                "`vms[\"{key}\"].ipv4` is \"{address}\", which cannot be the address of a machine, because other \
                 machines cannot reach it"
            )
        };
        assert_eq!(
            misfits(&plan, &told(value)),
            [
                impossible("c", "127.0.0.1"),
                impossible("d", "0.0.0.0"),
                impossible("e", "169.254.1.1"),
                "`vms[\"b\"].id` is i, which is also the ID of a".to_owned(),
                "`vms[\"b\"].ipv4` is 10.0.0.1, which is also the address of a".to_owned(),
                "`vms[\"c\"].ssh_host` is nat, port 2, which is also the SSH endpoint of b".to_owned(),
            ]
        );
        // Addresses that only the apply will know are not the same address.
        let output = ModuleOutput {
            value: Some(json!({"a": {"name": "a", "ipv4": null}, "b": {"name": "b", "ipv4": null}})),
            unknown: json!({"a": {"id": true, "ipv4": true}, "b": {"id": true, "ipv4": true}}),
            ..ModuleOutput::default()
        };
        assert_eq!(misfits(&plan_of(&["a", "b"]), &output), [""; 0]);
    }

    #[test]
    fn invalid_user_or_bastion_of_a_machine_is_reported() {
        let value = json!({"a": {"id": "1", "name": "a", "ipv4": "10.0.0.1", "ssh_user": "-x", "ssh_bastion": "bastion",
            "zone": 1}});
        assert_eq!(
            misfits(&plan_of(&["a"]), &told(value)),
            [
                "`vms[\"a\"].ssh_user` is \"-x\", which is not a user's name",
                "`vms[\"a\"].ssh_bastion` is wrong: `bastion` is not a bastion: expected USER@HOST or USER@HOST:PORT, such \
                 as me@bastion:22",
                "`vms[\"a\"].zone` is the number 1, but must be a string: convert it with `tostring(...)`",
            ]
        );
    }

    #[test]
    fn missing_vms_output_or_wrong_type_is_reported() {
        let plan = plan_of(&["a"]);
        assert_eq!(misfits(&plan, &ModuleOutput::default()), ["the module has no output `vms`"]);
        assert_eq!(
            misfits(&plan, &told(json!([1]))),
            ["`vms` is a list, but must be a map of objects, one per instance"]
        );
        assert_eq!(
            misfits(&plan, &told(Json::Null)),
            ["`vms` is null, but must be a map of objects, one per instance"]
        );
    }

    #[test]
    fn values_unknown_until_apply_are_not_required_in_a_plan() {
        let plan = plan_of(&["a", "b"]);
        let unknown = |value: Json, unknown: Json| {
            misfits(&plan, &ModuleOutput { value: Some(value), unknown, ..ModuleOutput::default() })
        };
        assert_eq!(unknown(Json::Null, json!(true)), Vec::<String>::new());
        let all = json!({"a": {"id": true, "ipv4": true}, "b": true});
        assert_eq!(unknown(json!({"a": {"name": "a"}}), all.clone()), Vec::<String>::new());
        // The keys are known, and so is what is missing.
        assert_eq!(
            unknown(json!({"a": {}}), json!({"a": {"id": true, "ipv4": true}, "c": true})),
            [
                "`vms[\"c\"]` is not an instance of the cluster file",
                "`vms[\"a\"].name` is missing",
                "instance b of the cluster file is not in `vms`"
            ]
        );
        assert_eq!(unknown(Json::Null, all).len(), 1, "of a there is no name");
    }
}
