//! The disks that virtual machines and templates have in Proxmox: Terraform's state has those that it was told of.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::{Api, facts::Guest, trouble::Trouble};
use crate::model::DiskFlags;

/// Machines asked at once.
const AT_ONCE: usize = 8;

/// The controllers on which a disk can be.
const CONTROLLERS: [&str; 4] = ["ide", "sata", "scsi", "virtio"];

/// What Proxmox has of a virtual machine's disks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestDisks {
    /// Whether the machine runs.
    pub running: bool,
    /// The disks by interface, such as `scsi0`.
    pub disks: BTreeMap<String, GuestDisk>,
}

/// A disk of a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestDisk {
    /// The storage that has it.
    pub datastore: String,
    /// Its size in MiB, where Proxmox says it.
    pub size_mib: Option<u64>,
    /// The flags that differ from Proxmox's defaults.
    pub flags: DiskFlags,
}

impl GuestDisk {
    /// Its size in whole GB, rounded up as the provider needs it.
    #[must_use]
    pub fn size_gb(&self) -> Option<u64> {
        self.size_mib.map(|size| size.div_ceil(1024))
    }
}

/// The disks of those of these virtual machines that are among `guests`.
pub(super) async fn disks_of(
    api: &Api,
    guests: &BTreeMap<u32, Guest>,
    ids: &BTreeSet<u32>,
) -> Result<BTreeMap<u32, GuestDisks>, Trouble> {
    let there = ids.iter().filter_map(|id| Some((*id, guests.get(id).filter(|guest| !guest.container)?)));
    let answers = stream::iter(there)
        .map(async |(id, guest)| {
            let guest_id = id.to_string();
            let path = |what| ["nodes", guest.hypervisor.as_str(), "qemu", guest_id.as_str(), what];
            let config = match api.get(&path("config"), &[]).await {
                Err(Trouble::Forbidden(_)) => return Ok(None),
                answer => answer?,
            };
            Ok::<_, Trouble>(Some((id, GuestDisks { running: guest.running, disks: read(&config) })))
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    answers.into_iter().filter_map(Result::transpose).collect()
}

/// The disks in a configuration. Drives for CDs, with that of cloud-init, are none.
fn read(config: &Value) -> BTreeMap<String, GuestDisk> {
    let disk = |(interface, value): (&String, &Value)| {
        let on = CONTROLLERS.iter().find_map(|controller| interface.strip_prefix(controller))?;
        on.parse::<u8>().ok()?;
        let value = value.as_str()?;
        let mut parts = value.split(',');
        let volume = parts.next()?;
        let options: Vec<&str> = parts.collect();
        if options.contains(&"media=cdrom") {
            return None;
        }
        let size_mib = options.iter().find_map(|option| option.strip_prefix("size=")).and_then(size_mib);
        let datastore = volume.split_once(':').map_or(volume, |(datastore, _)| datastore).to_owned();
        Some((interface.clone(), GuestDisk { datastore, size_mib, flags: flags(&options) }))
    };
    config.as_object().into_iter().flatten().filter_map(disk).collect()
}

/// The flags among a disk's options. Proxmox writes a flag that is not its default.
fn flags(options: &[&str]) -> DiskFlags {
    let option = |name: &str| {
        let named = |option: &&str| option.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        options.iter().find_map(named)
    };
    let is_on = |value: String| ["1", "on", "yes", "true"].contains(&value.as_str());
    DiskFlags {
        discard: option("discard"),
        iothread: option("iothread").map(is_on),
        ssd: option("ssd").map(is_on),
        cache: option("cache"),
    }
}

/// A size as Proxmox writes it: `40G`.
fn size_mib(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "K" => Some(number.div_ceil(1024)),
        "M" => Some(number),
        "G" => number.checked_mul(1024),
        "T" => number.checked_mul(1024 * 1024),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flags_of_a_disk_are_read_where_they_are_set() {
        let found = read(&json!({
            "scsi0": "local-lvm:base-9002-disk-0,cache=writeback,discard=on,iothread=1,size=10G,ssd=1",
            "scsi1": "local-lvm:base-9002-disk-1,discard=ignore,iothread=0,size=10G",
            "scsi2": "local-lvm:base-9002-disk-2,size=10G",
        }));
        let flags = |discard: Option<&str>, iothread, ssd, cache: Option<&str>| DiskFlags {
            discard: discard.map(str::to_owned),
            iothread,
            ssd,
            cache: cache.map(str::to_owned),
        };
        assert_eq!(found["scsi0"].flags, flags(Some("on"), Some(true), Some(true), Some("writeback")));
        assert_eq!(found["scsi1"].flags, flags(Some("ignore"), Some(false), None, None));
        assert_eq!(found["scsi2"].flags, DiskFlags::default());
    }

    #[test]
    fn disks_are_read_from_a_configuration_without_its_cd_drives() {
        let found = read(&json!({
            "scsi0": "local-lvm:vm-100-disk-0,discard=on,iothread=1,size=2252M",
            "scsi1": "ceph:vm-100-disk-1,size=1T",
            "virtio12": "/dev/sdb,size=512K",
            "ide2": "local-lvm:vm-100-cloudinit,media=cdrom,size=4M",
            "scsihw": "virtio-scsi-single",
            "unused0": "local-lvm:vm-100-disk-2",
            "efidisk0": "local-lvm:vm-100-disk-3,size=4M",
            "sata0": "local-lvm:vm-100-disk-4",
            "memory": 2048,
        }));
        let found: Vec<_> =
            found.iter().map(|(name, disk)| (name.as_str(), disk.datastore.as_str(), disk.size_gb())).collect();
        assert_eq!(
            found,
            [
                ("sata0", "local-lvm", None),
                ("scsi0", "local-lvm", Some(3)),
                ("scsi1", "ceph", Some(1024)),
                ("virtio12", "/dev/sdb", Some(1)),
            ]
        );
    }
}
