//! What Terraform knows of the machines, handed in where a platform is asked about them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::model::{DiskFlags, InstanceKey};

/// What Terraform's state holds, or is about to take in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    pub machines: BTreeMap<InstanceKey, RecordedMachine>,
    pub pool: bool,
    /// The UUID of the cluster whose machines an earlier run has begun to make here.
    pub begun: Option<Uuid>,
}

/// A machine in the state, or in an import block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedMachine {
    /// Its number on Proxmox.
    pub vmid: Option<u32>,
    /// Its host name after the last apply.
    pub name: Option<String>,
    /// The hypervisor on which Terraform looks for it.
    pub hypervisor: Option<String>,
    /// Whether Proxmox protected it against removal after the last apply.
    pub protection: bool,
    /// How many of its disks Terraform manages.
    pub disks: usize,
    /// Whether an import block names it: until it is applied, the machine has the name and tags that others gave it.
    pub imported: bool,
}

/// A machine that moved to the hypervisor that the cluster file names, and that Terraform looks for on the former one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedMachine {
    pub key: InstanceKey,
    /// Its key in the state: the former one, where it is renamed.
    pub held_as: InstanceKey,
    pub vmid: u32,
    /// Where it is now.
    pub hypervisor: String,
}

/// Where a machine is, by what the platform says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MachinePlace {
    /// The instance's key.
    pub machine: InstanceKey,
    /// Its number on Proxmox.
    pub vmid: u32,
    /// The hypervisor that it is on.
    pub hypervisor: String,
    /// The hypervisor of the cluster file, where that is another one.
    pub file: Option<String>,
}

/// What a platform said of the machines before Terraform runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surveyed {
    /// Where the machines are that exist.
    pub places: Vec<MachinePlace>,
    /// Those that Terraform looks for in the wrong place.
    pub moved: Vec<MovedMachine>,
    /// The numbers that the machines have, or had: with them Proxmox itself refuses to make one of them twice.
    pub vm_ids: BTreeMap<InstanceKey, u32>,
    /// The flags that the first disks have, for virtual machines whose disks get a size from the cluster file for the
    /// first time.
    pub disk_flags: BTreeMap<InstanceKey, FoundFlags>,
}

/// The flags of a disk before its size is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFlags {
    pub flags: DiskFlags,
    /// Whether the disk is that of a machine that exists, and not of its template.
    pub kept: bool,
}
