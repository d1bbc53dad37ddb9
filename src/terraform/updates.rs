//! What the provider of Proxmox does to a machine when it changes the machine in place. Pure.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;

use super::{
    diff::{AttributeChange, Cost, differences},
    shown::Change,
};

/// A disk of a virtual machine.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, JsonSchema)]
pub struct Disk {
    /// The interface to which it is attached: `scsi0`.
    pub interface: String,
    /// Its size in GB.
    pub size_gb: u64,
}

/// What the update of an attribute does to a machine that runs, and whether the user has to allow it by name.
#[derive(Clone, Copy)]
struct Effect {
    cost: Cost,
    asks: bool,
}

const fn free(cost: Cost) -> Effect {
    Effect { cost, asks: false }
}

const fn asks(cost: Cost) -> Effect {
    Effect { cost, asks: true }
}

/// What no machine of Proxmox notices: the provider alone reads it, or Proxmox does.
const UNNOTICED: [&str; 17] = [
    "delete_unreferenced_disks_on_destroy",
    "id",
    "ipv4",
    "ipv4_addresses",
    "ipv6",
    "ipv6_addresses",
    "mac_addresses",
    "migrate",
    "network_interface_names",
    "pool_id",
    "protection",
    "purge_on_destroy",
    "reboot_after_update",
    "stop_on_destroy",
    "tags",
    "vm_id",
    "wait_for_ip",
];

/// What the provider does to a virtual machine that it was told not to restart, by attribute, with all below it. What is not
/// here waits for the next restart, and asks.
const VM: [(&str, Effect); 11] = [
    ("agent.timeout", free(Cost::Nothing)),
    ("agent.wait_for_ip", free(Cost::Nothing)),
    ("agent", free(Cost::NextRestart)),
    ("cpu.cores", free(Cost::NextRestart)),
    ("description", free(Cost::Nothing)),
    ("memory.dedicated", free(Cost::NextRestart)),
    ("name", free(Cost::Nothing)),
    ("network_device", asks(Cost::Interrupts)),
    ("on_boot", free(Cost::Nothing)),
    ("startup", free(Cost::Nothing)),
    ("watchdog", free(Cost::NextRestart)),
];

/// The same of a container (the provider's source, `containerUpdate`).
const CONTAINER: [(&str, Effect); 10] = [
    ("cpu.cores", free(Cost::Nothing)),
    ("description", free(Cost::Nothing)),
    ("console", asks(Cost::Restarts)),
    ("initialization", free(Cost::Restarts)),
    ("memory", free(Cost::Restarts)),
    ("mount_point", asks(Cost::Restarts)),
    ("network_interface", asks(Cost::Restarts)),
    ("operating_system", asks(Cost::Restarts)),
    ("start_on_boot", free(Cost::Nothing)),
    ("startup", free(Cost::Nothing)),
];

/// Types of resources behind which is no machine of a provider that hactl does not know: those of hactl's own provider,
/// those that exist only in the state, values, files, and pools of Proxmox.
const WITHOUT_A_MACHINE: [&str; 8] = [
    "hactl_",
    "local_",
    "null_resource",
    "proxmox_virtual_environment_pool",
    "random_",
    "terraform_data",
    "time_",
    "tls_",
];

/// Attributes that no provider stops a machine for.
const LABELS: [&str; 5] = ["description", "labels", "tags", "tags_all", "timeouts"];

/// What the update of `attribute` does. `reboots` says whether the provider restarts a virtual machine after a change that
/// needs it.
fn effect(kind: &str, attribute: &AttributeChange, reboots: bool) -> Effect {
    let name = attribute.name();
    let within = |rule: &str| name.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let is_a = |prefixes: &[&str]| prefixes.iter().any(|prefix| kind.starts_with(prefix));
    let rules: &[(&str, Effect)] = match kind {
        "proxmox_virtual_environment_vm" => &VM,
        "proxmox_virtual_environment_container" => &CONTAINER,
        _ if is_a(&WITHOUT_A_MACHINE) || LABELS.iter().any(|label| within(label)) => return free(Cost::Nothing),
        _ => return asks(Cost::Unknown),
    };
    if UNNOTICED.iter().any(|known| within(known)) || name.starts_with("timeout_") {
        return free(Cost::Nothing);
    }
    // A disk that grows is resized while the machine runs; that one is added is checked against Proxmox's own list.
    if name == "disk.size" && attribute.grows() || name == "disk" && attribute.before.is_null() {
        return free(Cost::Nothing);
    }
    if name == "started" || name == "template" {
        let stops = attribute.after == (name == "template");
        return free(if stops { Cost::Stops } else { Cost::Nothing });
    }
    let found = rules.iter().find(|(rule, _)| within(rule)).map(|(_, effect)| *effect);
    let Effect { cost, asks } = found.unwrap_or(asks(Cost::NextRestart));
    let restarts = reboots && kind == "proxmox_virtual_environment_vm" && cost != Cost::Nothing;
    Effect { cost: if restarts { Cost::Restarts } else { cost }, asks }
}

/// The attributes that a change sets to other values, with what each costs.
pub(super) fn changed(kind: &str, change: &Change) -> Vec<AttributeChange> {
    let reboots = change.after["reboot_after_update"] != false;
    let mut attributes = differences(change, |attribute| effect(kind, attribute, reboots).cost);
    // A value that the apply gives follows from one that is known, where there is one.
    if attributes.iter().any(|attribute| !attribute.is_unknown()) {
        let follows = |attribute: &&mut AttributeChange| attribute.is_unknown() && attribute.cost != Cost::Replaces;
        attributes.iter_mut().filter(follows).for_each(|attribute| attribute.cost = Cost::Nothing);
    }
    attributes
}

/// Which of the attributes that change the user has to allow by name, because the machine runs.
pub(super) fn asked<'a>(kind: &str, attributes: &'a [AttributeChange]) -> Vec<&'a AttributeChange> {
    let all_unknown = attributes.iter().all(AttributeChange::is_unknown);
    let must_ask =
        |attribute: &&AttributeChange| (all_unknown || !attribute.is_unknown()) && effect(kind, attribute, false).asks;
    attributes.iter().filter(must_ask).collect()
}

/// The disks of a virtual machine in a plan, to be compared with those that Proxmox has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct VmDisks {
    /// The machine's id, if it exists.
    pub machine: Option<u32>,
    /// The template that it is cloned from.
    pub template: Option<u32>,
    /// The disks that the state has.
    pub before: Vec<PlannedDisk>,
    /// The disks that it would have.
    pub after: Vec<PlannedDisk>,
    /// Whether the provider was told not to restart the machine.
    pub stays_up: bool,
}

/// A disk of a virtual machine, as Terraform has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlannedDisk {
    /// The interface to which it is attached: `scsi0`.
    pub interface: String,
    /// Its size in GB.
    pub size_gb: u64,
    /// The storage that has it.
    pub datastore: Option<String>,
    /// All that Terraform has of it.
    all: Json,
}

impl VmDisks {
    /// Reads them from a change; none for another kind of resource.
    pub(super) fn of(kind: &str, change: &Change) -> Option<Self> {
        if kind != "proxmox_virtual_environment_vm" {
            return None;
        }
        let id = |value: &Json| value.as_u64().and_then(|id| u32::try_from(id).ok());
        Some(Self {
            machine: id(&change.before["vm_id"]),
            template: id(&change.after["clone"][0]["vm_id"]),
            before: disks(&change.before),
            after: disks(&change.after),
            stays_up: change.after["reboot_after_update"] == false,
        })
    }

    /// Whether the provider changes disks.
    #[must_use]
    pub fn differ(&self) -> bool {
        self.before != self.after
    }
}

fn disks(of: &Json) -> Vec<PlannedDisk> {
    let disk = |disk: &Json| {
        Some(PlannedDisk {
            interface: disk["interface"].as_str()?.to_owned(),
            size_gb: disk["size"].as_u64()?,
            datastore: disk["datastore_id"].as_str().map(str::to_owned),
            all: disk.clone(),
        })
    };
    of["disk"].as_array().into_iter().flatten().filter_map(disk).collect()
}

/// The disks that the change would remove or shrink: the provider detaches a disk whose block is gone, or reports that
/// it has.
pub(super) fn lost_disks(change: &Change) -> Vec<Disk> {
    let after = disks(&change.after);
    let whole =
        |lost: &PlannedDisk| after.iter().any(|disk| disk.interface == lost.interface && disk.size_gb >= lost.size_gb);
    let lost = disks(&change.before).into_iter().filter(|disk| !whole(disk));
    lost.map(|disk| Disk { interface: disk.interface, size_gb: disk.size_gb }).collect()
}
