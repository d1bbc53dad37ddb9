//! What the machines are to be made from and where, and the privileges that it takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use uuid::Uuid;

use crate::model::InstanceKey;

/// What Terraform is about to use of a Proxmox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxmoxRequest {
    pub machines: BTreeMap<InstanceKey, GuestRequest>,
    /// The pool that is made for the cluster.
    pub pool: Option<Pool>,
    /// The cluster's, where an earlier run has begun to make it: its machines carry it in a tag.
    pub cluster: Option<Uuid>,
    /// The cluster's name, for the commands in messages.
    pub name: String,
    /// The numbers of all machines that Terraform or the record of the last run knows.
    pub known: BTreeSet<u32>,
    /// Where an SSH server listens on machines.
    pub ssh_port: u16,
}

/// The pool that is made for the cluster, and for machines that have none of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    pub id: String,
    /// Whether it was made by an earlier run.
    pub made: bool,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestRequest {
    /// Whether it was made by an earlier run: what it was made from may then be gone.
    pub made: bool,
    /// Its number, where the state or the record of the last run has it.
    pub vmid: Option<u32>,
    /// Its key in the state.
    pub held_as: Option<InstanceKey>,
    /// The hypervisor on which Terraform looks for it.
    pub recorded_on: Option<String>,
    /// Its host name after the last apply.
    pub recorded_name: Option<String>,
    /// Whether an import block names it: its name and tags are then those that others gave it.
    pub imported: bool,
    /// Where it accepted SSH connections after the last run.
    pub was_at: Option<(String, u16)>,
    /// The fixed address that it is to have, where the machine that runs hactl reaches it directly.
    pub address: Option<Ipv4Addr>,
    /// Whether the next apply sets or lifts its protection against removal.
    pub protects: bool,
    /// Whether it has an order in which its hypervisor starts it.
    pub startup: bool,
    /// The tags of its own.
    pub tags: BTreeSet<String>,
    /// Its host name, by which Proxmox shows it.
    pub name: String,
    pub hypervisor: String,
    pub source: Source,
    /// The storage of its disk.
    pub datastore: String,
    /// The storage of the disk for PostgreSQL's data, where the machine has one.
    pub data_datastore: Option<String>,
    /// The disks that get a size from the cluster file for the first time.
    pub sized: SizedDisks,
    pub bridge: String,
    pub vlan: Option<u16>,
    /// Bridge and VLAN of its second network device.
    pub extra_nic: Option<(String, Option<u16>)>,
    /// A pool of its own, over the cluster's.
    pub pool: Option<String>,
}

/// The disks of a machine that get a size from the cluster file for the first time. Terraform's provider then sets their
/// flags, too: those that its configuration leaves out get the provider's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizedDisks {
    None,
    /// Disks that are made now, and get the flags of the template's.
    New,
    /// The disk of a machine that exists, and keeps its flags.
    Kept,
}

/// What a machine is made from, which says what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A virtual machine, cloned from one that is a template. `hypervisor`: the one that has it, where that is not the
    /// machine's.
    Template { id: u32, hypervisor: Option<String> },
    /// A container, made from a template file in a storage: `local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst`.
    File(String),
}

impl GuestRequest {
    /// The pool that it is put into.
    pub(super) fn pool<'a>(&'a self, wanted: &'a ProxmoxRequest) -> Option<&'a str> {
        self.pool.as_deref().or_else(|| wanted.pool.as_ref().map(|pool| pool.id.as_str()))
    }

    /// The template and the hypervisor that is to have it, for a virtual machine.
    pub(super) fn template(&self) -> Option<(u32, &str)> {
        match &self.source {
            Source::Template { id, hypervisor } => Some((*id, hypervisor.as_deref().unwrap_or(&self.hypervisor))),
            Source::File(_) => None,
        }
    }

    /// The template file and its storage, for a container.
    pub(super) fn file(&self) -> Option<(&str, &str)> {
        match &self.source {
            Source::File(file) => Some((file, file.split(':').next().unwrap_or(file))),
            Source::Template { .. } => None,
        }
    }

    /// What a storage must be allowed to hold for the machine's disk, in Proxmox's word and in ours.
    pub(super) const fn disk(&self) -> (&'static str, &'static str) {
        match self.source {
            Source::Template { .. } => ("images", "disks of virtual machines"),
            Source::File(_) => ("rootdir", "disks of containers"),
        }
    }

    /// The storages of its disks, and the field of the cluster file that names each.
    pub(super) fn datastores(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let data = self.data_datastore.as_deref().map(|name| (name, "data_datastore"));
        [(self.datastore.as_str(), "datastore")].into_iter().chain(data)
    }

    /// The bridges of its network devices, each with the path by which it, and a VLAN on it, is granted.
    pub(super) fn bridges(&self) -> impl Iterator<Item = (&str, String)> {
        let extra = self.extra_nic.iter().map(|(bridge, vlan)| (bridge.as_str(), *vlan));
        [(self.bridge.as_str(), self.vlan)].into_iter().chain(extra).map(|(bridge, vlan)| {
            let path = format!("/sdn/zones/localnetwork/{bridge}");
            (bridge, vlan.map_or_else(|| path.clone(), |tag| format!("{path}/{tag}")))
        })
    }
}

/// A virtual machine that there is not yet has the privileges that every other one has, too: none has this id, the
/// highest that Proxmox takes.
pub(super) const ANY_GUEST: &str = "/vms/999999999";

/// Up to here bridges were free for all.
const WITHOUT_SDN: u64 = 7;
/// Up to here there was one privilege for the guest agent and for QEMU's monitor.
const WITH_MONITOR: u64 = 8;

/// What a new machine of any kind takes.
const GUEST: [&str; 8] = [
    "VM.Allocate",
    "VM.Audit",
    "VM.Config.CPU",
    "VM.Config.Disk",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.PowerMgmt",
];

/// What a virtual machine takes beside it.
const VIRTUAL_MACHINE: [&str; 3] = ["VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Config.HWType"];

/// Privileges that the token must have, by the paths that may grant them: where there are two, either will do. A
/// privilege with a `|` is any of these.
pub(super) type Needs = BTreeMap<Vec<String>, Need>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) privileges: BTreeSet<&'static str>,
    pub(super) machines: BTreeSet<InstanceKey>,
}

/// The privileges that `wanted` takes from a Proxmox of this major version.
pub(super) fn needs(wanted: &ProxmoxRequest, major: u64) -> Needs {
    let mut found = Needs::new();
    let mut add = |paths: &[String], privileges: &[&'static str], key: Option<&InstanceKey>| {
        let need = found.entry(paths.to_vec()).or_default();
        need.privileges.extend(privileges);
        need.machines.extend(key.cloned());
    };
    if let Some(pool) = &wanted.pool {
        add(&[format!("/pool/{}", pool.id)], &["Pool.Allocate", "Pool.Audit"], None);
    }
    for (key, machine) in wanted.machines.iter().filter(|(_, machine)| machine.made && machine.protects) {
        let Some(vmid) = machine.vmid else { continue };
        add(&[format!("/vms/{vmid}")], &["VM.Config.Options"], Some(key));
    }
    for (key, machine) in wanted.machines.iter().filter(|(_, machine)| !machine.made) {
        let key = Some(key);
        // What is in a pool has the pool's privileges as well as its own.
        let mut guest = vec![ANY_GUEST.to_owned()];
        guest.extend(machine.pool(wanted).map(|pool| format!("/pool/{pool}")));
        add(&guest, &GUEST, key);
        if machine.startup && machine.template().is_some() {
            add(&["/".to_owned()], &["Sys.Modify"], key);
        }
        if let Some((id, on)) = machine.template() {
            add(&guest, &VIRTUAL_MACHINE, key);
            let agent =
                if major <= WITH_MONITOR { "VM.Monitor" } else { "VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted" };
            add(&guest, &[agent], key);
            add(&[format!("/vms/{id}")], &["VM.Audit", "VM.Clone"], key);
            // The provider reads the size of a disk from its storage.
            for (datastore, _) in machine.datastores() {
                add(&[format!("/storage/{datastore}")], &["Datastore.Audit"], key);
            }
            // It is cloned where the template is, and then moved.
            if on != machine.hypervisor {
                add(&guest, &["VM.Migrate"], key);
            }
        }
        if let Some((_, storage)) = machine.file() {
            // A container gets its tags before it is in its pool.
            add(&[ANY_GUEST.to_owned()], &["VM.Config.Options"], key);
            add(&[format!("/storage/{storage}")], &["Datastore.AllocateSpace|Datastore.Audit"], key);
        }
        for (datastore, _) in machine.datastores() {
            add(&[format!("/storage/{datastore}")], &["Datastore.AllocateSpace"], key);
        }
        if let Some(pool) = &machine.pool {
            add(&[format!("/pool/{pool}")], &["Pool.Audit"], key);
        }
        if major > WITHOUT_SDN {
            for (_, path) in machine.bridges() {
                add(&[path], &["SDN.Use"], key);
            }
        }
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::platform::proxmox) fn machine(hypervisor: &str) -> GuestRequest {
        GuestRequest {
            made: false,
            vmid: None,
            held_as: None,
            recorded_on: None,
            recorded_name: None,
            imported: false,
            was_at: None,
            address: None,
            protects: false,
            startup: false,
            tags: BTreeSet::new(),
            name: "pg-prod-new".to_owned(),
            hypervisor: hypervisor.to_owned(),
            source: Source::Template { id: 9002, hypervisor: None },
            datastore: "local-lvm".to_owned(),
            data_datastore: None,
            sized: SizedDisks::None,
            bridge: "vmbr0".to_owned(),
            vlan: None,
            extra_nic: None,
            pool: None,
        }
    }

    pub(in crate::platform::proxmox) fn wanted(machines: &[(&str, GuestRequest)]) -> ProxmoxRequest {
        let machines = machines.iter().map(|(key, machine)| (key.parse().unwrap(), machine.clone())).collect();
        ProxmoxRequest { machines, ..ProxmoxRequest::default() }
    }

    fn privileges(needs: &Needs, paths: &[&str]) -> Vec<&'static str> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        needs.get(&paths).unwrap_or_else(|| panic!("{paths:?}: {needs:#?}")).privileges.iter().copied().collect()
    }

    #[test]
    fn virtual_machine_needs_template_storage_and_bridge_privileges() {
        let needs = needs(&wanted(&[("node1", machine("pve1")), ("node2", machine("pve2"))]), 8);
        assert_eq!(privileges(&needs, &["/vms/9002"]), ["VM.Audit", "VM.Clone"]);
        assert_eq!(privileges(&needs, &["/storage/local-lvm"]), ["Datastore.AllocateSpace", "Datastore.Audit"]);
        assert_eq!(privileges(&needs, &["/sdn/zones/localnetwork/vmbr0"]), ["SDN.Use"]);
        let guest = privileges(&needs, &[ANY_GUEST]);
        assert!(guest.contains(&"VM.Monitor") && guest.contains(&"VM.Config.Cloudinit"), "{guest:?}");
        assert_eq!(needs.len(), 4);
        assert!(needs.values().all(|need| need.machines.len() == 2));
    }

    #[test]
    fn needed_privileges_depend_on_the_proxmox_version() {
        let wanted = wanted(&[("node1", GuestRequest { vlan: Some(30), ..machine("pve1") })]);
        let guest = privileges(&needs(&wanted, 9), &[ANY_GUEST]).join(" ");
        assert!(guest.contains("VM.GuestAgent.Audit") && !guest.contains("VM.Monitor"), "{guest}");
        assert!(needs(&wanted, 9).contains_key(&vec!["/sdn/zones/localnetwork/vmbr0/30".to_owned()]));
        assert!(needs(&wanted, 7).keys().flatten().all(|path| !path.starts_with("/sdn")));
    }

    #[test]
    fn container_needs_no_clone_or_agent_privileges() {
        let file = Source::File("local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst".to_owned());
        let needs = needs(&wanted(&[("node1", GuestRequest { source: file, ..machine("pve1") })]), 8);
        let all: BTreeSet<_> = needs.values().flat_map(|need| need.privileges.iter().copied()).collect();
        assert!(all.contains("VM.Allocate") && !all.contains("VM.Clone") && !all.contains("VM.Monitor"), "{all:?}");
        assert_eq!(privileges(&needs, &["/storage/local"]), ["Datastore.AllocateSpace|Datastore.Audit"]);
    }

    #[test]
    fn pool_can_grant_the_privileges_of_its_machines() {
        let mut wanted = wanted(&[
            ("node1", machine("pve1")),
            ("node2", GuestRequest { pool: Some("own".to_owned()), ..machine("pve1") }),
            ("node3", GuestRequest { made: true, pool: Some("old".to_owned()), ..machine("pve3") }),
        ]);
        wanted.pool = Some(Pool { id: "all".to_owned(), made: false });
        let needs = needs(&wanted, 8);
        assert!(privileges(&needs, &[ANY_GUEST, "/pool/all"]).contains(&"VM.Allocate"));
        assert!(privileges(&needs, &[ANY_GUEST, "/pool/own"]).contains(&"VM.Allocate"));
        assert_eq!(privileges(&needs, &["/pool/all"]), ["Pool.Allocate", "Pool.Audit"]);
        assert_eq!(privileges(&needs, &["/pool/own"]), ["Pool.Audit"]);
        assert!(needs.keys().flatten().all(|path| !path.contains("old")), "a machine that is there takes nothing");
    }

    #[test]
    fn data_disk_and_second_network_device_need_privileges_of_their_own() {
        let machine = GuestRequest {
            data_datastore: Some("nvme".to_owned()),
            extra_nic: Some(("vmbr1".to_owned(), Some(40))),
            ..machine("pve1")
        };
        let needs = needs(&wanted(&[("node1", machine)]), 8);
        assert_eq!(privileges(&needs, &["/storage/nvme"]), ["Datastore.AllocateSpace", "Datastore.Audit"]);
        assert_eq!(privileges(&needs, &["/sdn/zones/localnetwork/vmbr1/40"]), ["SDN.Use"]);
    }

    #[test]
    fn protection_of_a_machine_that_exists_needs_a_privilege_on_it() {
        let made = |protects| GuestRequest { made: true, vmid: Some(104), protects, ..machine("pve1") };
        assert!(needs(&wanted(&[("node1", made(false))]), 8).is_empty());
        assert_eq!(privileges(&needs(&wanted(&[("node1", made(true))]), 8), &["/vms/104"]), ["VM.Config.Options"]);
    }

    #[test]
    fn clone_to_another_hypervisor_needs_the_migrate_privilege() {
        let guest = |node: &str| {
            let source = Source::Template { id: 9002, hypervisor: Some("pve1".to_owned()) };
            let needs = needs(&wanted(&[("node1", GuestRequest { source, ..machine(node) })]), 8);
            privileges(&needs, &[ANY_GUEST])
        };
        assert!(guest("pve2").contains(&"VM.Migrate") && !guest("pve1").contains(&"VM.Migrate"));
    }
}
