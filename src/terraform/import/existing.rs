//! Machines that the user says exist: arguments of the command line, and the JSON that Terraform writes about an old
//! configuration. In come texts, out go [`Candidate`]s; `decide` finds the instance of each.

use serde::Deserialize;
use serde_json::Value as Json;

use super::MachineId;
use crate::model::ProxmoxKind;

/// The numbers that Proxmox gives to machines.
const VMIDS: std::ops::RangeInclusive<u32> = 100..=999_999_999;

/// Resources that are machines: of the Telmate provider, and of bpg's.
const MACHINES: [(&str, ProxmoxKind); 4] = [
    ("proxmox_vm_qemu", ProxmoxKind::Vm),
    ("proxmox_lxc", ProxmoxKind::Lxc),
    ("proxmox_virtual_environment_vm", ProxmoxKind::Vm),
    ("proxmox_virtual_environment_container", ProxmoxKind::Lxc),
];

/// Outputs of old configurations that have IDs by key, and the outputs with the names.
const OUTPUTS: [(&str, &str, ProxmoxKind); 2] =
    [("vm_ids", "vm_hostnames", ProxmoxKind::Vm), ("lxc_ids", "lxc_hostnames", ProxmoxKind::Lxc)];

/// A machine that the user says exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is listed, for messages.
    pub(super) said_by: String,
    /// Whether it comes from the command line, where a wrong key is an error; a state may hold other machines as well.
    pub(super) by_hand: bool,
    /// Its key there, if any.
    pub(super) key: Option<String>,
    pub(super) hostname: Option<String>,
    /// `None` if only the number is known.
    pub(super) kind: Option<ProxmoxKind>,
    /// `None` if only the number is known.
    pub(super) hypervisor: Option<String>,
    pub(super) vmid: u32,
}

impl Candidate {
    /// Reads `KEY=ID` of the command line: the number, `NODE/NUMBER`, or Telmate's `NODE/qemu/NUMBER`.
    ///
    /// # Errors
    /// A message that says what is wrong.
    pub fn by_hand(text: &str) -> Result<Self, String> {
        let (key, id) = text.split_once('=').ok_or_else(|| {
            format!("`{text}` is not KEY=ID, the instance's key and the machine's ID, for example node1=pve1/100")
        })?;
        let (hypervisor, kind, vmid) = parse_id(id).map_err(|error| format!("{key}: {error}"))?;
        Ok(Self {
            said_by: format!("`{text}`"),
            by_hand: true,
            key: Some(key.to_owned()),
            hostname: None,
            kind,
            hypervisor,
            vmid,
        })
    }

    /// The machine's id, on `node` where the candidate itself does not say where it runs.
    pub(super) fn id(&self, node: &str) -> MachineId {
        MachineId { hypervisor: self.hypervisor.clone().unwrap_or_else(|| node.to_owned()), vmid: self.vmid }
    }
}

/// `100`, `pve1/100`, `pve1/qemu/100` or `pve1/lxc/100`.
fn parse_id(text: &str) -> Result<(Option<String>, Option<ProxmoxKind>, u32), String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (node, kind, number) = match parts[..] {
        [number] => (None, None, number),
        [node, number] => (Some(node), None, number),
        [node, "qemu", number] => (Some(node), Some(ProxmoxKind::Vm), number),
        [node, "lxc", number] => (Some(node), Some(ProxmoxKind::Lxc), number),
        _ => return Err(format!("`{text}` is not the ID of a machine: write 100 or pve1/100")),
    };
    if let Some(node) = node
        && !is_node(node)
    {
        return Err(format!("`{node}` is not the name of a hypervisor, such as pve1 in pve1/100"));
    }
    let vmid =
        number.parse().ok().filter(|vmid| VMIDS.contains(vmid) && !number.starts_with('+')).ok_or_else(|| {
            format!("`{number}` is not the number of a machine: write a whole number from 100 to 999999999")
        })?;
    Ok((node.map(str::to_owned), kind, vmid))
}

/// A hypervisor's name is a DNS label; Proxmox allows capitals.
fn is_node(text: &str) -> bool {
    let label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !text.is_empty() && text.len() <= 63 && text.chars().all(label) && !text.starts_with('-') && !text.ends_with('-')
}

/// The machines in what Terraform writes: a state file, or the JSON of `terraform show` or `terraform output`.
/// `source` is the file's name, for messages.
///
/// # Errors
/// Messages that say what is wrong: not JSON, none of these forms, machines whose ID cannot be read, or no machine.
pub fn read(source: &str, text: &str) -> Result<Vec<Candidate>, Vec<String>> {
    let found = machines(source, text)?;
    if found.is_empty() {
        return Err(vec![format!(
            "{source} lists no machine: it has no resource of the types {}, and no output {} or resource_ids",
            MACHINES.map(|(name, _)| name).join(", "),
            OUTPUTS.map(|(name, ..)| name).join(", "),
        )]);
    }
    Ok(found)
}

/// The same for a state that may have no machines yet.
///
/// # Errors
/// Those of [`read`] except the last.
pub fn machines(source: &str, text: &str) -> Result<Vec<Candidate>, Vec<String>> {
    let json: Json = serde_json::from_str(text).map_err(|error| {
        vec![format!(
            "{source} is not JSON: {error}; create it with `terraform show -json` or `terraform output -json`"
        )]
    })?;
    let found = if json.get("resources").is_some() || json.get("version").is_some() {
        serde_json::from_value::<State>(json).map(|state| state.machines(source))
    } else if json.get("format_version").is_some() {
        serde_json::from_value::<Shown>(json).map(|shown| shown.machines(source))
    } else {
        Ok(outputs(source, &json))
    };
    let found = found.map_err(|error| vec![format!("{source} is not in a format that Terraform writes: {error}")])?;
    let (good, bad): (Vec<_>, Vec<_>) = found.into_iter().partition(Result::is_ok);
    if bad.is_empty() {
        Ok(good.into_iter().filter_map(Result::ok).collect())
    } else {
        Err(bad.into_iter().filter_map(Result::err).collect())
    }
}

/// The state file, version 4.
#[derive(Deserialize)]
struct State {
    #[serde(default)]
    resources: Vec<StateResource>,
}

#[derive(Deserialize)]
struct StateResource {
    #[serde(default)]
    module: Option<String>,
    mode: String,
    r#type: String,
    name: String,
    #[serde(default)]
    instances: Vec<StateInstance>,
}

#[derive(Deserialize)]
struct StateInstance {
    #[serde(default)]
    index_key: Json,
    #[serde(default)]
    attributes: Json,
}

impl State {
    fn machines(&self, source: &str) -> Vec<Result<Candidate, String>> {
        let managed = self.resources.iter().filter(|resource| resource.mode == "managed");
        managed
            .flat_map(|resource| resource.instances.iter().map(move |instance| (resource, instance)))
            .filter_map(|(resource, instance)| {
                let module = resource.module.as_ref().map(|module| format!("{module}.")).unwrap_or_default();
                let index = match &instance.index_key {
                    Json::Null => String::new(),
                    index => format!("[{index}]"),
                };
                let address = format!("{module}{}.{}{index}", resource.r#type, resource.name);
                machine(source, &address, &resource.r#type, &instance.index_key, &instance.attributes)
            })
            .collect()
    }
}

/// The JSON of `terraform show -json`.
#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    values: ShownValues,
}

#[derive(Default, Deserialize)]
struct ShownValues {
    #[serde(default)]
    root_module: ShownModule,
}

#[derive(Default, Deserialize)]
struct ShownModule {
    #[serde(default)]
    resources: Vec<ShownResource>,
    #[serde(default)]
    child_modules: Vec<Self>,
}

#[derive(Deserialize)]
struct ShownResource {
    address: String,
    mode: String,
    r#type: String,
    #[serde(default)]
    index: Json,
    #[serde(default)]
    values: Json,
}

impl Shown {
    fn machines(&self, source: &str) -> Vec<Result<Candidate, String>> {
        let (mut modules, mut found) = (vec![&self.values.root_module], Vec::new());
        while let Some(module) = modules.pop() {
            modules.extend(&module.child_modules);
            let managed = module.resources.iter().filter(|resource| resource.mode == "managed");
            found.extend(managed.filter_map(|resource| {
                machine(source, &resource.address, &resource.r#type, &resource.index, &resource.values)
            }));
        }
        found
    }
}

/// The machine of a resource in a state, if the resource is one.
fn machine(
    source: &str,
    address: &str,
    resource: &str,
    index: &Json,
    attributes: &Json,
) -> Option<Result<Candidate, String>> {
    let (_, kind) = MACHINES.iter().find(|(name, _)| *name == resource)?;
    let said_by = format!("{address} in {source}");
    // Telmate's ID says where the machine runs, also after a migration; bpg's is only the number.
    let id = match attributes.get("id") {
        Some(Json::String(id)) => parse_id(id),
        _ => Err("the attribute `id` is missing".to_owned()),
    };
    let text = |name: &str| attributes.get(name).and_then(Json::as_str).map(str::to_owned);
    let first = |path: &str| attributes.pointer(path).and_then(Json::as_str).map(str::to_owned);
    Some(match id {
        Ok((hypervisor, _, vmid)) => Ok(Candidate {
            said_by,
            by_hand: false,
            key: index.as_str().map(str::to_owned),
            hostname: text("name").or_else(|| text("hostname")).or_else(|| first("/initialization/0/hostname")),
            kind: Some(*kind),
            hypervisor: hypervisor.or_else(|| text("node_name")).or_else(|| text("target_node")),
            vmid,
        }),
        Err(error) => Err(format!("{said_by}: {error}")),
    })
}

/// The outputs of an old configuration, as `terraform output -json` has them: `vm_ids` or `lxc_ids`, by key or by
/// number, and `resource_ids`, which say where each runs.
fn outputs(source: &str, json: &Json) -> Vec<Result<Candidate, String>> {
    let value = |name: &str| json.get(name).and_then(|output| output.get("value")).unwrap_or(&Json::Null);
    let places = value("resource_ids");
    let mut found = Vec::new();
    let mut told = Vec::new();
    for (name, hostnames, kind) in OUTPUTS {
        for (index, id) in entries(value(name)) {
            let said_by = format!("{name}{} in {source}", index.bracketed());
            let place = index.of(places).and_then(Json::as_str).map(parse_id);
            let number = match id {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            };
            told.push(index.clone());
            found.push(match (parse_id(&number), place) {
                (Ok((_, _, vmid)), Some(Ok((_, _, there)))) if there != vmid => {
                    Err(format!("{said_by} is {vmid}, but resource_ids has {there}"))
                }
                (Ok((hypervisor, _, vmid)), place) => Ok(Candidate {
                    said_by,
                    by_hand: false,
                    key: index.key(),
                    hostname: index.of(value(hostnames)).and_then(Json::as_str).map(str::to_owned),
                    kind: Some(kind),
                    hypervisor: hypervisor.or_else(|| place.and_then(Result::ok).and_then(|(on, ..)| on)),
                    vmid,
                }),
                (Err(error), _) => Err(format!("{said_by}: {error}")),
            });
        }
    }
    for (index, id) in entries(places).into_iter().filter(|(index, _)| !told.contains(index)) {
        let said_by = format!("resource_ids{} in {source}", index.bracketed());
        found.push(match id.as_str().map(parse_id) {
            Some(Ok((hypervisor, kind, vmid))) => {
                Ok(Candidate { said_by, by_hand: false, key: index.key(), hostname: None, kind, hypervisor, vmid })
            }
            Some(Err(error)) => Err(format!("{said_by}: {error}")),
            None => Err(format!("{said_by}: {id} is not the ID of a machine")),
        });
    }
    found
}

/// A place in an output: the key of a map, or the position in a list.
#[derive(Clone, Debug, PartialEq)]
enum Index {
    Key(String),
    Position(usize),
}

impl Index {
    fn key(&self) -> Option<String> {
        match self {
            Self::Key(key) => Some(key.clone()),
            Self::Position(_) => None,
        }
    }

    fn bracketed(&self) -> String {
        match self {
            Self::Key(key) => format!("[\"{key}\"]"),
            Self::Position(position) => format!("[{position}]"),
        }
    }

    fn of<'a>(&self, json: &'a Json) -> Option<&'a Json> {
        match self {
            Self::Key(key) => json.get(key),
            Self::Position(position) => json.get(position),
        }
    }
}

fn entries(json: &Json) -> Vec<(Index, &Json)> {
    match json {
        Json::Object(map) => map.iter().map(|(key, value)| (Index::Key(key.clone()), value)).collect(),
        Json::Array(list) => list.iter().enumerate().map(|(at, value)| (Index::Position(at), value)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn brief(found: Vec<Candidate>) -> Vec<String> {
        let word = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        found
            .into_iter()
            .map(|c| {
                let kind = c.kind.map_or("-", |kind| if kind == ProxmoxKind::Vm { "vm" } else { "lxc" });
                format!("{} {} {kind} {} {}", word(c.key), word(c.hostname), word(c.hypervisor), c.vmid)
            })
            .collect()
    }

    #[test]
    fn ids_on_the_command_line_are_numbers_with_an_optional_hypervisor() {
        for (text, expected) in [
            ("node1=100", "node1 - - - 100"),
            ("node1=pve1/100", "node1 - - pve1 100"),
            ("node1=pve1/qemu/100", "node1 - vm pve1 100"),
            ("ct1=PVE-2/lxc/999999999", "ct1 - lxc PVE-2 999999999"),
        ] {
            assert_eq!(brief(vec![Candidate::by_hand(text).unwrap()]), [expected], "{text}");
        }
        for text in [
            "node1",
            "node1=",
            "node1=abc",
            "node1=99",
            "node1=+100",
            "node1=1e3",
            "node1=1000000000",
            "node1=-100",
            "node1=pve1/",
            "node1=/100",
            "node1=pve1/vm/100",
            "node1=pve 1/100",
            "node1=a/b/c/100",
            "node1=pve1\"/100",
        ] {
            let error = Candidate::by_hand(text).unwrap_err();
            assert!(error.contains("100"), "{text}: {error}");
        }
    }

    /// An old state of the Telmate provider 2.9: counted, keyed and single, and what is no machine.
    #[test]
    fn state_file_of_the_telmate_provider_is_read() {
        let state = json!({"version": 4, "terraform_version": "1.5.7", "resources": [
            {"mode": "data", "type": "proxmox_vm_qemu", "name": "look", "instances": [{"attributes": {"id": "pve1/qemu/99"}}]},
            {"mode": "managed", "type": "proxmox_vm_qemu", "name": "generic_vm", "instances": [
                {"index_key": 0, "attributes": {"id": "pve1/qemu/100", "vmid": 100, "name": "pg-prod-1a2b", "target_node": "pve9"}}]},
            {"mode": "managed", "module": "module.many", "type": "proxmox_vm_qemu", "name": "vm", "instances": [
                {"index_key": "node1", "attributes": {"id": "pve2/qemu/101", "name": "pg-prod-node1"}}]},
            {"mode": "managed", "type": "proxmox_lxc", "name": "ct", "instances": [
                {"attributes": {"id": "pve1/lxc/102", "hostname": "ct"}}]},
            {"mode": "managed", "type": "dns_a_record_set", "name": "x", "instances": [{"attributes": {"id": "x."}}]}]});
        let found = read("old.tfstate", &state.to_string()).unwrap();
        assert_eq!(found[0].said_by, "proxmox_vm_qemu.generic_vm[0] in old.tfstate");
        assert_eq!(found[1].said_by, "module.many.proxmox_vm_qemu.vm[\"node1\"] in old.tfstate");
        let expected = ["- pg-prod-1a2b vm pve1 100", "node1 pg-prod-node1 vm pve2 101", "- ct lxc pve1 102"];
        assert_eq!(brief(found), expected);
    }

    #[test]
    fn terraform_show_output_is_read_for_all_modules_and_both_providers() {
        let shown = json!({"format_version": "1.0", "values": {"root_module": {
            "resources": [{"address": "proxmox_vm_qemu.vm[\"node1\"]", "mode": "managed", "type": "proxmox_vm_qemu",
                "index": "node1", "values": {"id": "pve1/qemu/100", "name": "pg-prod-node1"}}],
            "child_modules": [{"child_modules": [{"resources": [
                {"address": "module.a.module.b.proxmox_virtual_environment_vm.this[\"n2\"]", "mode": "managed",
                    "type": "proxmox_virtual_environment_vm", "index": "n2",
                    "values": {"id": "101", "vm_id": 101, "node_name": "pve2", "name": "two"}},
                {"address": "module.a.module.b.proxmox_virtual_environment_container.ct", "mode": "managed",
                    "type": "proxmox_virtual_environment_container",
                    "values": {"id": "102", "node_name": "pve2", "initialization": [{"hostname": "three"}]}}]}]}]}}});
        let found = read("show.json", &shown.to_string()).unwrap();
        let expected = ["node1 pg-prod-node1 vm pve1 100", "n2 two vm pve2 101", "- three lxc pve2 102"];
        assert_eq!(brief(found), expected);
    }

    #[test]
    fn outputs_are_read_by_key_and_by_position() {
        let keyed = json!({
            "vm_ids": {"sensitive": false, "type": ["map", "number"], "value": {"node1": 100, "node2": 101}},
            "resource_ids": {"value": {"node1": "pve1/qemu/100"}},
            "vm_hostnames": {"value": {"node1": "pg-prod-node1"}},
            "lxc_ids": {"value": {"ct1": 200}},
        });
        let found = read("outputs.json", &keyed.to_string()).unwrap();
        let expected = ["node1 pg-prod-node1 vm pve1 100", "node2 - vm - 101", "ct1 - lxc - 200"];
        assert_eq!(brief(found), expected);
        let counted = json!({"vm_ids": {"value": [100]}, "vm_hostnames": {"value": ["old"]}});
        assert_eq!(brief(read("o", &counted.to_string()).unwrap()), ["- old vm - 100"]);
        let alone = json!({"resource_ids": {"value": {"node1": "pve1/lxc/100"}}});
        assert_eq!(brief(read("o", &alone.to_string()).unwrap()), ["node1 - lxc pve1 100"]);
    }

    #[test]
    fn unreadable_import_file_is_reported_with_every_place() {
        let wrong = |json: Json| read("f", &json.to_string()).unwrap_err();
        assert!(read("f", "# HCL").unwrap_err()[0].starts_with("f is not JSON"));
        assert!(wrong(json!({}))[0].contains("lists no machine"));
        assert!(wrong(json!([1]))[0].contains("lists no machine"));
        assert!(wrong(json!({"version": 4, "resources": []}))[0].contains("lists no machine"));
        assert!(wrong(json!({"version": 4, "resources": 1}))[0].contains("not in a format that Terraform writes"));
        let both = wrong(json!({"vm_ids": {"value": {"a": "x", "b": 99, "c": 100, "d": null}},
            "resource_ids": {"value": {"c": "pve1/qemu/101"}}}));
        assert_eq!(both.len(), 4, "{both:?}");
        assert_eq!(both[2], "vm_ids[\"c\"] in f is 100, but resource_ids has 101");
        let no_id = wrong(json!({"version": 4, "resources": [{"mode": "managed", "type": "proxmox_lxc", "name": "c",
            "instances": [{"attributes": {"vmid": 100}}]}]}));
        assert_eq!(no_id, ["proxmox_lxc.c in f: the attribute `id` is missing"]);
    }
}
