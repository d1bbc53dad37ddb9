//! Which machine on Proxmox is which of the cluster: one that exists is not made a second time. Pure.

use std::collections::BTreeMap;

use super::{
    facts::{AddressUser, Facts, Guest, Unlisted},
    judge::Judge,
    needs::{GuestRequest, ProxmoxRequest},
    orphans::{OrphanedGuest, tag},
};
use crate::{
    model::InstanceKey,
    platform::{MachinePlace, MovedMachine},
};

impl Judge<'_> {
    /// Names what keeps Terraform from finding a machine that exists, and what it would make a second time.
    pub(super) fn identity(&mut self, key: &InstanceKey, machine: &GuestRequest, wanted: &ProxmoxRequest, token: &str) {
        let facts = self.facts;
        let listed = machine.vmid.and_then(|vmid| Some((vmid, facts.guests.get(&vmid)?)));
        match (listed, facts.unlisted.get(key)) {
            (Some((vmid, guest)), _) if machine.made => match is_meant(machine, guest, wanted) {
                true => self.moved(key, machine, vmid, guest),
                false => self.other(key, machine, vmid, guest, wanted),
            },
            (None, Some(unlisted)) => self.unlisted(key, machine, unlisted, wanted, token),
            _ => {}
        }
        if !machine.made {
            self.orphaned(key, machine, &wanted.name);
        }
    }

    /// A container that Terraform looks for on a hypervisor that no longer has it: Terraform takes it for gone. A virtual
    /// machine is found wherever it is.
    fn moved(&mut self, key: &InstanceKey, machine: &GuestRequest, vmid: u32, guest: &Guest) {
        let recorded = machine.recorded_on.as_ref();
        let moved = recorded.is_some_and(|recorded| *recorded != guest.hypervisor);
        if !guest.container || machine.imported || !moved || guest.hypervisor == machine.hypervisor {
            return;
        }
        let (now, before) = (&guest.hypervisor, &machine.hypervisor);
        let message = format!(
            "container {vmid} ({}) is on hypervisor {now}, not on {before}: it was moved, and Terraform would create a second \
             one",
            guest.name
        );
        let hint = format!(
            "Set `node: {now}` for {key} in the cluster file, or move the container back: run `pct migrate {vmid} {before} \
             --restart` on {now}"
        );
        self.add("proxmox-machine-moved", Some(key), message, hint);
    }

    /// The number of a machine that is gone, which another machine has now: Terraform would change that one.
    fn other(&mut self, key: &InstanceKey, machine: &GuestRequest, vmid: u32, guest: &Guest, wanted: &ProxmoxRequest) {
        let kind = if guest.container { "container" } else { "virtual machine" };
        let message = format!(
            "{kind} {vmid} ({}) on {} has neither the name nor the tag of this machine: {key} is gone, and Terraform would \
             change another machine in its place",
            guest.name, guest.hypervisor
        );
        let (stack, kind) = match machine.template() {
            Some(_) => ("proxmox-vm", "vm"),
            None => ("proxmox-lxc", "container"),
        };
        let hint = format!(
            "If it is the machine of {key}, give it the name {} again; otherwise run `terraform state rm \
             'module.machines.proxmox_virtual_environment_{kind}.this[\"{key}\"]'` in \
             .hactl/{}/terraform/stacks/{stack}, then `hactl up {}` to create {key} with another number",
            machine.name, wanted.name, wanted.name
        );
        self.add("proxmox-machine-other", Some(key), message, hint);
    }

    /// A machine of the state or the record that Proxmox does not list: hidden, somewhere else, or gone.
    fn unlisted(
        &mut self,
        key: &InstanceKey,
        machine: &GuestRequest,
        unlisted: &Unlisted,
        wanted: &ProxmoxRequest,
        token: &str,
    ) {
        let Some(vmid) = machine.vmid else { return };
        if unlisted.exists {
            let pool = machine.pool(wanted).filter(|pool| self.sees(&format!("/pool/{pool}"), &["VM.Audit"]));
            let (message, hint) = match pool {
                Some(pool) => (
                    format!(
                        "machine {vmid} exists, but the token {token} does not see it: it has VM.Audit on the pool {pool}, \
                         and the machine is not in that pool any more; Terraform would create a second one"
                    ),
                    format!(
                        "Run `pvesh set /pools/{pool} --vms {vmid} --allow-move 1` on a hypervisor to put it back, or grant \
                         the token the role HactlMachine on /vms/{vmid}"
                    ),
                ),
                None => (
                    format!(
                        "machine {vmid} exists, but the token {token} does not see it: it lacks VM.Audit on /vms/{vmid}; \
                         Terraform would create a second one"
                    ),
                    format!("Grant the token the role HactlMachine on /vms, or on /vms/{vmid}"),
                ),
            };
            self.add("proxmox-machine-invisible", Some(key), message, hint);
        } else if unlisted.answers
            && let Some((host, port)) = &machine.was_at
        {
            let message = format!(
                "this Proxmox has no machine {vmid}, but the machine still accepts connections at {host}:{port}: the \
                 endpoint may be another Proxmox than the one that has it"
            );
            let hint = "Check `endpoint` under `platform.proxmox`, or PROXMOX_VE_ENDPOINT; if another machine has that \
                        address now, stop it or give it another address";
            self.add("proxmox-machine-invisible", Some(key), message, hint.to_owned());
        }
    }

    /// A machine that Terraform does not know and that may be this one: Terraform would create a second one beside it.
    fn orphaned(&mut self, key: &InstanceKey, machine: &GuestRequest, cluster: &str) {
        let maybe = |(orphan, any): &&(OrphanedGuest, bool)| {
            orphan.name == machine.name || machine.vmid == Some(orphan.id) && orphan.ours || *any
        };
        let found: Vec<OrphanedGuest> = self.alike.iter().filter(maybe).map(|(orphan, _)| orphan.clone()).collect();
        for orphan in found {
            let message = match orphan.ours {
                true if machine.vmid == Some(orphan.id) => {
                    format!("{orphan} is {key} by the record of the last run, but is not in Terraform's state")
                }
                true if orphan.name != machine.name => format!(
                    "{orphan} has this cluster's tag, but is not in Terraform's state: a run that was killed created it, or \
                     it is a copy of a machine of the cluster"
                ),
                true => format!(
                    "{orphan} has this cluster's tag, but is not in Terraform's state: the run that created it was \
                     killed"
                ),
                false => {
                    format!(
                        "{orphan} has the same name, but is not in Terraform's state: Terraform would create a second \
                         one"
                    )
                }
            };
            let other = match orphan.name == machine.name {
                true => format!("set another `vm_name` for {key} to keep both"),
                false => "remove the tag from it if it is not a machine of the cluster".to_owned(),
            };
            // If the state was lost, it may be a member with data: taking it over is safe.
            let hint = format!(
                "Run `hactl import {} {key}={}/{}` to take it over; if it has no data yet, remove it: {}; or {other}",
                cluster,
                orphan.hypervisor,
                orphan.id,
                orphan.removal()
            );
            self.add("proxmox-machine-there", Some(key), message, hint);
        }
    }

    /// Names what has the fixed address of a new machine.
    pub(super) fn address(&mut self, key: &InstanceKey, machine: &GuestRequest) {
        let Some(address) = machine.address else { return };
        let message = match self.facts.users.get(&address) {
            None => return,
            Some(AddressUser::Unknown) => format!("another machine has the address {address} and answers there"),
            Some(AddressUser::Guest(vmid)) => {
                let guest = self.facts.guests.get(vmid).cloned().unwrap_or_default();
                let kind = if guest.container { "container" } else { "virtual machine" };
                format!(
                    "{kind} {vmid} ({}) on {} is configured with the address {address}",
                    guest.name, guest.hypervisor
                )
            }
        };
        let hint = format!("Set another `address` for {key}, or give the other machine another one");
        self.add("proxmox-address-taken", Some(key), message, hint);
    }
}

/// Whether a guest is the machine whose number it has: by its name or by the cluster's tag.
fn is_meant(machine: &GuestRequest, guest: &Guest, wanted: &ProxmoxRequest) -> bool {
    let tagged = wanted.cluster.map(tag).is_some_and(|tag| guest.tags.contains(&tag));
    machine.imported || tagged || guest.name == machine.name || machine.recorded_name.as_ref() == Some(&guest.name)
}

/// Where each machine is that Proxmox lists.
pub(super) fn places(wanted: &ProxmoxRequest, facts: &Facts) -> Vec<MachinePlace> {
    let made = wanted.machines.iter().filter(|(_, machine)| machine.made);
    let listed = made.filter_map(|(key, machine)| Some((key, machine, machine.vmid?)));
    let place = |(key, machine, vmid): (&InstanceKey, &GuestRequest, u32)| {
        let hypervisor = facts.guests.get(&vmid)?.hypervisor.clone();
        let differs = hypervisor != machine.hypervisor;
        let file = differs.then(|| machine.hypervisor.clone());
        Some(MachinePlace { machine: key.clone(), vmid, hypervisor, file })
    };
    listed.filter_map(place).collect()
}

/// The numbers that the machines keep. One that only the record of the last run knows keeps its number if that is free.
pub(super) fn numbers(wanted: &ProxmoxRequest, facts: &Facts) -> BTreeMap<InstanceKey, u32> {
    let keeps = |key: &InstanceKey, machine: &GuestRequest| {
        machine.made || facts.unlisted.get(key).is_some_and(|unlisted| !unlisted.exists)
    };
    let machines = wanted.machines.iter().filter(|(key, machine)| !machine.imported && keeps(key, machine));
    machines.filter_map(|(key, machine)| Some((key.clone(), machine.vmid?))).collect()
}

/// The containers that are where the cluster file says, and that Terraform looks for somewhere else.
pub(super) fn relocated(wanted: &ProxmoxRequest, facts: &Facts) -> Vec<MovedMachine> {
    let made = wanted.machines.iter().filter(|(_, machine)| machine.made && !machine.imported);
    let moved = made.filter_map(|(key, machine)| {
        let vmid = machine.vmid?;
        let guest = facts.guests.get(&vmid).filter(|guest| guest.container)?;
        let before = machine.recorded_on.as_ref()?;
        let held_as = machine.held_as.clone()?;
        (guest.hypervisor == machine.hypervisor && *before != guest.hypervisor).then(|| MovedMachine {
            key: key.clone(),
            held_as,
            vmid,
            hypervisor: guest.hypervisor.clone(),
        })
    });
    moved.collect()
}
