//! What a plan would do, as values: the JSON of `terraform show` in, [`Changes`] out.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    contract::ModuleOutput,
    diff::{AttributeChange, Cost},
    shown::{Change, Plan, Resource},
    updates::{Disk, VmDisks, changed, lost_disks},
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
    /// Whether it is replaced because Terraform's state marks it as tainted: its creation failed, or the user marked it.
    pub unfinished: bool,
    /// Whether the provider stops or restarts the machine for this change.
    pub restarts: bool,
    /// Whether Proxmox protects the machine and refuses to destroy it.
    pub protected: bool,
    /// Disks of a virtual machine that the change would remove or shrink.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost_disks: Vec<Disk>,
    /// The attributes that an update or a replacement sets to other values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<AttributeChange>,
    /// The address that the resource had before, if a `moved` block changes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<String>,
    /// The key of an old object at this address that a replacement left behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deposed: Option<String>,
    /// What the platform calls the object before the plan.
    #[serde(skip)]
    pub(super) machine_id: Option<String>,
    /// The pool of Proxmox that it is, or that it is in, before the plan.
    #[serde(skip)]
    pub(super) pool: Option<String>,
    /// The disks of a virtual machine on Proxmox.
    #[serde(skip)]
    pub disks: Option<VmDisks>,
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

    /// Whether it is an old object that a replacement left behind, and not what is in use.
    pub(super) const fn is_deposed(&self) -> bool {
        self.deposed.is_some()
    }

    /// Whether the machine may stop, or lose its network, while it is changed in place.
    #[must_use]
    pub fn disrupts(&self) -> bool {
        let hurts = |cost| matches!(cost, Cost::Interrupts | Cost::Restarts | Cost::Stops | Cost::Unknown);
        self.restarts || self.action == Action::Update && self.attributes.iter().any(|attribute| hurts(attribute.cost))
    }

    /// Whether applying leaves the resource and its place in the state as they are.
    fn is_still(&self) -> bool {
        matches!(self.action, Action::NoOp | Action::Read) && self.moved_from.is_none()
    }

    /// Its address, with the key of a deposed object behind `#`: the name by which it may be destroyed.
    pub(super) fn by_address(&self) -> String {
        match &self.deposed {
            Some(key) => format!("{}#{key}", self.address),
            None => self.address.clone(),
        }
    }

    /// What happens to it, in a line, and the attributes that change, each in a line of its own.
    fn lines(&self) -> Vec<String> {
        let verb = WORDS.iter().find(|(action, _)| *action == self.action).map(|(_, words)| *words);
        let moved = self.moved_from.as_ref().map(|from| format!("moved from {from}"));
        let what: Vec<String> = verb.map(str::to_owned).into_iter().chain(moved).collect();
        let what = if what.is_empty() { "to read".to_owned() } else { what.join(", ") };
        let mut lines = vec![format!("{}: {what}", self.by_address())];
        lines.extend(self.attributes.iter().map(|attribute| format!("  {attribute}")));
        lines
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
        let headline = self.headline();
        f.pad(headline.split_once(": ").map_or(&headline, |(_, counts)| counts))
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
        !self.outputs && self.resources.iter().all(ResourceChange::is_still)
    }

    /// Whether applying would not even change the state.
    pub(super) fn leaves_the_state(&self) -> bool {
        self.is_empty() && !self.record
    }

    /// The resources that change, in Terraform's order: `aws_instance.node["a"]: to create`, each followed by its
    /// attributes.
    pub fn listed(&self) -> impl Iterator<Item = String> {
        self.resources.iter().filter(|change| !change.is_still()).flat_map(ResourceChange::lines)
    }

    /// The same without what is only created: of that there is nothing to compare.
    pub fn listed_without_new(&self) -> impl Iterator<Item = String> {
        let changed = |change: &&ResourceChange| !change.is_still() && change.action != Action::Create;
        self.resources.iter().filter(changed).flat_map(ResourceChange::lines)
    }

    /// The instances whose machines are created or replaced.
    pub fn machines_made(&self) -> impl Iterator<Item = &InstanceKey> {
        let machines = self.resources.iter().filter(|change| change.is_machine() && change.makes());
        machines.filter_map(|change| change.node.as_ref())
    }

    /// Counts by action, in Terraform's words: `3 to create, 1 to update in place`.
    fn counts(&self, of: impl Fn(&ResourceChange) -> bool) -> String {
        let count = |action| self.with(action).filter(|change| of(change)).count();
        let counts = WORDS.iter().map(|(action, word)| (count(*action), *word));
        let moved = |change: &&ResourceChange| change.action == Action::NoOp && change.moved_from.is_some();
        let moved = self.resources.iter().filter(moved).filter(|change| of(change)).count();
        let counts = counts.chain([(moved, "moved")]).filter(|(count, _)| *count > 0);
        counts.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
    }

    /// Whether hactl knows which of the resources are machines.
    fn has_machines(&self) -> bool {
        self.resources.iter().any(ResourceChange::is_machine)
    }

    /// What changes, counted by machines where hactl knows them: `Machines: 3 to create`.
    #[must_use]
    pub fn headline(&self) -> String {
        let is_live = |change: &ResourceChange| change.is_machine() && !change.is_deposed();
        let (machines, others) = (self.counts(is_live), self.counts(|change| !is_live(change)));
        let machines = if machines.is_empty() { "no changes".to_owned() } else { machines };
        match (self.has_machines(), others.is_empty()) {
            (true, true) => format!("Machines: {machines}"),
            (true, false) => format!("Machines: {machines}; other resources: {others}"),
            (false, true) => "Machines: no changes".to_owned(),
            (false, false) => format!("Resources: {others}"),
        }
    }

    /// Reads the JSON of `terraform show -json PLAN`.
    ///
    /// # Errors
    /// When it is not that.
    pub fn parse(json: &str) -> Result<Self> {
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
        let attributes = match action {
            Action::Update | Action::Replace => changed(&resource.r#type, &resource.change),
            _ => Vec::new(),
        };
        let stops = |attribute: &AttributeChange| matches!(attribute.cost, Cost::Restarts | Cost::Stops);
        let before = &resource.change.before;
        let id = before["vm_id"].as_u64().map(|id| id.to_string());
        Self {
            node: resource.index.as_str().and_then(|key| key.parse().ok()),
            unfinished: resource.action_reason == "replace_because_tainted",
            restarts: action == Action::Update && attributes.iter().any(stops),
            protected: before["protection"] == true,
            machine_id: id.or_else(|| before["id"].as_str().map(str::to_owned)),
            pool: before["pool_id"].as_str().filter(|pool| !pool.is_empty()).map(str::to_owned),
            disks: VmDisks::of(&resource.r#type, &resource.change),
            attributes,
            moved_from: resource.previous_address,
            deposed: resource.deposed,
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
