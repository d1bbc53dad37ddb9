//! What the provider of Proxmox does to a machine when it changes the machine in place. Pure.

use schemars::JsonSchema;
use serde::Serialize;

use super::shown::Change;

/// A disk of a virtual machine.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, JsonSchema)]
pub struct Disk {
    /// The interface to which it is attached: `scsi0`.
    pub interface: String,
    /// Its size in GB.
    pub size_gb: u64,
}

/// What the provider changes on a running virtual machine without a restart.
const LIVE_VM: [&str; 9] = [
    "description",
    "name",
    "on_boot",
    "pool_id",
    "protection",
    "reboot_after_update",
    "startup",
    "stop_on_destroy",
    "tags",
];

/// The attributes for which the provider always restarts a container (its source, `containerUpdate`).
const RESTARTS_CONTAINER: [&str; 8] =
    ["console", "cpu", "features", "initialization", "memory", "mount_point", "network_interface", "operating_system"];

/// Whether the provider stops or restarts the machine to change it in place.
pub(super) fn restarts(kind: &str, change: &Change) -> bool {
    let Change { before, after, .. } = change;
    let stops = before["started"] != false && after["started"] == false;
    let changed = || {
        let names = after.as_object().into_iter().flat_map(|after| after.keys());
        names.filter(|name| before[name.as_str()] != after[name.as_str()])
    };
    let computed = |name: &str| name.starts_with("ipv") || name.contains("timeout") || name.ends_with("_addresses");
    match kind {
        "proxmox_virtual_environment_vm" => {
            let told_not_to = after["reboot_after_update"] == false;
            stops || !told_not_to && changed().any(|name| !LIVE_VM.contains(&name.as_str()) && !computed(name))
        }
        "proxmox_virtual_environment_container" => {
            stops || changed().any(|name| RESTARTS_CONTAINER.contains(&name.as_str()))
        }
        _ => false,
    }
}

/// The disks that the change would remove or shrink: the provider detaches a disk whose block is gone, or reports that
/// it has.
pub(super) fn lost_disks(change: &Change) -> Vec<Disk> {
    let disks = |of: &serde_json::Value| -> Vec<Disk> {
        let disk = |disk: &serde_json::Value| {
            Some(Disk { interface: disk["interface"].as_str()?.to_owned(), size_gb: disk["size"].as_u64()? })
        };
        of["disk"].as_array().into_iter().flatten().filter_map(disk).collect()
    };
    let after = disks(&change.after);
    let whole = |lost: &Disk| after.iter().any(|disk| disk.interface == lost.interface && disk.size_gb >= lost.size_gb);
    disks(&change.before).into_iter().filter(|disk| !whole(disk)).collect()
}
