//! What a plan would do, as values: the JSON of `terraform show` in, [`Changes`] out.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    contract::ModuleOutput,
    shown::{Change, Plan, Resource},
    updates::{Disk, lost_disks, restarts},
};
use crate::{
    dns::ask::Names,
    error::{Error, Result},
    model::{DEFAULT_PORT, DEFAULT_TTL, Dns, DnsServer, DomainName, InstanceKey, KeyAlgorithm},
};

/// What happens to a resource.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The resource does not change.
    NoOp,
    /// Terraform creates the resource.
    Create,
    /// Terraform only reads the object.
    Read,
    /// Terraform changes the resource in place.
    Update,
    /// Terraform destroys the resource and creates it again.
    Replace,
    /// Terraform destroys the resource.
    Delete,
    /// Terraform removes the resource from the state and leaves the object as it is.
    Forget,
    /// Terraform adds an existing object to the state and does not change it.
    Import,
    /// An action that this version of hactl does not know.
    Unknown,
}

/// One resource of a plan.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, JsonSchema)]
pub struct ResourceChange {
    /// The resource's address in Terraform.
    pub address: String,
    /// The type, for example `hactl_node`.
    pub kind: String,
    /// The instance, for resources that exist once per instance.
    pub node: Option<InstanceKey>,
    /// What Terraform does with the resource.
    pub action: Action,
    /// Whether it is replaced because its creation failed: it was never in use.
    pub unfinished: bool,
    /// Whether the provider stops or restarts the machine for this change.
    pub restarts: bool,
    /// Whether Proxmox protects the machine and refuses to destroy it.
    pub protected: bool,
    /// Disks of a virtual machine that the change would remove or shrink.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost_disks: Vec<Disk>,
}

/// The resources that are machines.
pub(super) const MACHINES: [&str; 3] =
    ["hactl_node", "proxmox_virtual_environment_vm", "proxmox_virtual_environment_container"];

impl ResourceChange {
    /// Whether it is a machine, or the entry of a machine that exists.
    #[must_use]
    pub fn is_machine(&self) -> bool {
        MACHINES.contains(&self.kind.as_str()) || self.is_entry()
    }

    /// Whether it is the entry of a machine that exists, on platform hosts.
    pub(super) fn is_entry(&self) -> bool {
        self.address.starts_with("terraform_data.host[")
    }

    /// Whether it is created or replaced. The entry of an existing machine does not create the machine.
    pub(super) fn makes(&self) -> bool {
        match self.action {
            Action::Create => !self.is_entry(),
            Action::Replace => true,
            _ => false,
        }
    }
}

/// Actions in Terraform's words.
const WORDS: [(Action, &str); 7] = [
    (Action::Import, "to import"),
    (Action::Create, "to create"),
    (Action::Update, "to update in place"),
    (Action::Replace, "to replace"),
    (Action::Delete, "to destroy"),
    (Action::Forget, "to forget"),
    (Action::Unknown, "unknown"),
];

/// What a plan would do.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, JsonSchema)]
pub struct Changes {
    /// Every resource, including those that do not change.
    pub resources: Vec<ResourceChange>,
    /// Whether outputs change, even if no resource does.
    pub outputs: bool,
    /// Whether the output `record` changes. Only hactl reads it, so it does not count as a change of the cluster.
    #[serde(skip)]
    pub(super) record: bool,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        let text = if counts.is_empty() { "no changes".to_owned() } else { counts.join(", ") };
        f.pad(&text)
    }
}

impl Changes {
    /// The resources with `action`, in Terraform's order.
    pub fn with(&self, action: Action) -> impl Iterator<Item = &ResourceChange> {
        self.resources.iter().filter(move |change| change.action == action)
    }

    /// Whether applying would do nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.outputs && self.resources.iter().all(|change| matches!(change.action, Action::NoOp | Action::Read))
    }

    /// Whether applying would not even change the state.
    pub(super) fn leaves_the_state(&self) -> bool {
        self.is_empty() && !self.record
    }

    /// The resources that change, in Terraform's order: `aws_instance.node["a"]: to create`.
    pub fn listed(&self) -> impl Iterator<Item = String> {
        let acting = self.resources.iter().filter(|change| !matches!(change.action, Action::NoOp | Action::Read));
        acting.map(|change| {
            let verb = WORDS.iter().find(|(action, _)| *action == change.action).map_or("to read", |(_, words)| words);
            format!("{}: {}", change.address, verb)
        })
    }

    /// The instances whose machines are created or replaced.
    pub fn machines_made(&self) -> impl Iterator<Item = &InstanceKey> {
        let machines = self.resources.iter().filter(|change| change.is_machine() && change.makes());
        machines.filter_map(|change| change.node.as_ref())
    }

    /// Counts by action, in Terraform's words: `3 to create, 1 to update`.
    fn counts(&self) -> Vec<String> {
        let count = |action| self.with(action).count();
        WORDS
            .iter()
            .filter(|(action, _)| count(*action) > 0)
            .map(|(action, word)| format!("{} {word}", count(*action)))
            .collect()
    }

    /// Reads the JSON of `terraform show -json PLAN`.
    ///
    /// # Errors
    /// When it is not that.
    pub(super) fn parse(json: &str) -> Result<Self> {
        let plan: Plan = serde_json::from_str(json)
            .map_err(|error| Error::failed("terraform-show", "read", "Terraform's plan").source(&error))?;
        let resources = plan.resource_changes.into_iter().filter(|change| change.mode != "data");
        let differ = plan.output_changes.iter().filter(|(_, change)| action(&change.actions) != Action::NoOp);
        let (record, others): (Vec<_>, Vec<_>) = differ.partition(|(name, _)| *name == "record");
        Ok(Self {
            resources: resources.map(ResourceChange::from).collect(),
            outputs: !others.is_empty(),
            record: !record.is_empty(),
        })
    }
}

/// Reads from the JSON of `terraform show -json PLAN` what the output `vms` will be.
///
/// # Errors
/// When it is not that.
pub(super) fn module_output(json: &str) -> Result<ModuleOutput> {
    #[derive(Deserialize)]
    struct Shown {
        #[serde(default)]
        output_changes: std::collections::BTreeMap<String, Change>,
        configuration: Configuration,
    }
    #[derive(Deserialize)]
    struct Configuration {
        #[serde(default)]
        root_module: RootModule,
    }
    #[derive(Default, Deserialize)]
    struct RootModule {
        #[serde(default)]
        outputs: std::collections::BTreeMap<String, serde_json::Value>,
    }
    let shown: Shown = serde_json::from_str(json)
        .map_err(|error| Error::failed("terraform-show", "read", "Terraform's plan").source(&error))?;
    let (mut outputs, configured) = (shown.output_changes, shown.configuration.root_module.outputs);
    let record = configured.contains_key("record");
    let change = configured.get("vms").and_then(|_| outputs.remove("vms"));
    Ok(match change {
        Some(change) => ModuleOutput { value: Some(change.after), unknown: change.after_unknown, record },
        None => ModuleOutput { record, ..ModuleOutput::default() },
    })
}

/// The records that a plan removes, each zone with the names and addresses that go from it.
pub type GoneRecords = Vec<(Dns, Names)>;

/// Reads from the JSON of `terraform show -json PLAN` which records go, or go from where they were.
///
/// # Errors
/// When it is not that.
pub(super) fn gone_records(json: &str) -> Result<GoneRecords> {
    #[derive(Deserialize)]
    struct Record {
        server: DnsServer,
        port: Option<u16>,
        zone: DomainName,
        key_name: DomainName,
        key_algorithm: Option<KeyAlgorithm>,
        fqdn: String,
        made: Option<BTreeSet<IpAddr>>,
    }
    let unreadable = |error| Error::failed("terraform-show", "read", "Terraform's plan").source(&error);
    let plan: Plan = serde_json::from_str(json).map_err(unreadable)?;
    let mut gone = GoneRecords::new();
    for resource in plan.resource_changes {
        let goes = matches!(action(&resource.change.actions), Action::Delete | Action::Replace);
        if resource.r#type != "hactl_dns_record_set" || !goes {
            continue;
        }
        let record: Record = serde_json::from_value(resource.change.before).map_err(unreadable)?;
        let dns = Dns {
            zone: record.zone,
            server: record.server,
            port: record.port.unwrap_or(DEFAULT_PORT),
            ttl: DEFAULT_TTL,
            key_name: record.key_name,
            key_algorithm: record.key_algorithm.unwrap_or_default(),
        };
        let at = gone.iter().position(|(other, _)| *other == dns).unwrap_or_else(|| {
            gone.push((dns, Names::new()));
            gone.len() - 1
        });
        gone[at].1.insert(record.fqdn, record.made.unwrap_or_default());
    }
    Ok(gone)
}

impl From<Resource> for ResourceChange {
    fn from(resource: Resource) -> Self {
        let action = match action(&resource.change.actions) {
            Action::NoOp if resource.change.importing.is_some() => Action::Import,
            action => action,
        };
        Self {
            node: resource.index.as_str().and_then(|key| key.parse().ok()),
            unfinished: resource.action_reason == "replace_because_tainted",
            restarts: action == Action::Update && restarts(&resource.r#type, &resource.change),
            protected: resource.change.before["protection"] == true,
            lost_disks: if action == Action::Update { lost_disks(&resource.change) } else { Vec::new() },
            address: resource.address,
            kind: resource.r#type,
            action,
        }
    }
}

fn action(words: &[String]) -> Action {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["no-op"] => Action::NoOp,
        ["create"] => Action::Create,
        ["read"] => Action::Read,
        ["update"] => Action::Update,
        ["delete", "create"] | ["create", "delete"] => Action::Replace,
        ["delete"] => Action::Delete,
        ["forget"] => Action::Forget,
        _ => Action::Unknown,
    }
}

#[cfg(test)]
mod tests {
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
        let (small, large) =
            (r#"{"memory":[{"dedicated":1}],"name":"a"}"#, r#"{"memory":[{"dedicated":2}],"name":"a"}"#);
        assert!(vm(small, large), "by default the provider reboots");
        let told_not_to = r#"{"memory":[{"dedicated":2}],"name":"a","reboot_after_update":false}"#;
        assert!(!vm(small, told_not_to));
        assert!(!vm(small, &small.replace(r#""a""#, r#""b""#)), "a new name needs no reboot");
        assert!(vm(r#"{"started":true}"#, r#"{"started":false,"reboot_after_update":false}"#));
        assert!(!vm(r#"{"started":false}"#, r#"{"started":true,"reboot_after_update":false}"#));
        let container = |before: &str, after: &str| of("proxmox_virtual_environment_container", before, after);
        assert!(container(small, large) && !container(r#"{"tags":["a"]}"#, r#"{"tags":["b"]}"#));
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
        let records =
            [record("n1", r#"["delete"]"#), record("n2", r#"["no-op"]"#), record("n3", r#"["delete","create"]"#)];
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
}
