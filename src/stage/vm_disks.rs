//! Disks of virtual machines on Proxmox, before an apply: what the provider would detach without saying so, and what it
//! refuses only after it has changed something.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    context::Context,
    deployment::Cluster,
    error::{Error, Result},
    platform::proxmox::{GuestDisk, GuestDisks, disks},
    terraform::{Action, Changes, ResourceChange, VmDisks},
};

/// Something that is wrong with a plan, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    cause: String,
    hint: String,
}

/// Checks that the plan detaches no disk, and that the provider carries out what it plans for disks.
///
/// # Errors
/// With every machine for which that is not so, and when Proxmox does not say.
pub(crate) async fn check(context: &Context, cluster: &Cluster, changes: &Changes) -> Result<()> {
    let Some(proxmox) = cluster.plan.platform.proxmox() else { return Ok(()) };
    let ids: BTreeSet<u32> = changes.resources.iter().filter_map(subject).map(|(_, _, id)| id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let found = disks(context, proxmox, &ids).await?;
    let wrong = judge(changes, &found);
    if wrong.is_empty() {
        return Ok(());
    }
    let (mut error, mut hints) = (Error::failed("proxmox-disk", "change disks of", cluster.name()), Vec::new());
    for Wrong { cause, hint } in wrong {
        error = error.cause(cause);
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    Err(error.hint(hints.join("\n")))
}

/// The virtual machine or template whose disks matter for a change, by its id.
fn subject(change: &ResourceChange) -> Option<(&ResourceChange, &VmDisks, u32)> {
    let disks = change.disks.as_ref()?;
    let id = match change.action {
        Action::Update if disks.differ() => disks.machine,
        Action::Create | Action::Replace if !disks.after.is_empty() => disks.template,
        _ => None,
    };
    Some((change, disks, id?))
}

fn judge(changes: &Changes, found: &BTreeMap<u32, GuestDisks>) -> Vec<Wrong> {
    let subjects = changes.resources.iter().filter_map(subject);
    subjects
        .flat_map(|(change, disks, id)| {
            let name = change.node.as_ref().map_or_else(|| change.address.clone(), ToString::to_string);
            match (change.action, found.get(&id)) {
                (Action::Update, Some(has)) => updated(&name, id, change, disks, has),
                (Action::Update, None) => vec![Wrong {
                    cause: format!("{name}: the token does not see virtual machine {id}, so its disks are not known"),
                    hint: "Give the token VM.Audit on that machine, as docs/proxmox.md says".to_owned(),
                }],
                (_, Some(has)) => cloned(&name, id, disks, has),
                // The check of the template has said what is wrong with it.
                (_, None) => Vec::new(),
            }
        })
        .collect()
}

fn updated(name: &str, id: u32, change: &ResourceChange, disks: &VmDisks, has: &GuestDisks) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let planned = |interface: &str| disks.after.iter().any(|disk| disk.interface == interface);
    let left: Vec<&str> = has.disks.keys().map(String::as_str).filter(|interface| !planned(interface)).collect();
    if !left.is_empty() {
        let left = left.join(", ");
        wrong.push(Wrong {
            cause: format!(
                "{name}: virtual machine {id} has the disk {left}, which is not in Terraform's state: the provider would \
                 detach it with this change"
            ),
            hint: match has.disks.get("scsi0").filter(|_| !planned("scsi0")).and_then(GuestDisk::size_gb) {
                Some(size) => {
                    format!("Set `disk_gb: {size}` for {name}, the present size of scsi0, so that Terraform knows the disk")
                }
                None => format!(
                    "Run `qm disk resize {id} scsi0 SIZE` on the hypervisor, and set `disk_gb` of {name} to that size: \
                     Terraform then has nothing to change"
                ),
            },
        });
    }
    // A machine that is off takes all of it.
    if !has.running || !disks.stays_up {
        return wrong;
    }
    let mut grows = false;
    for disk in &disks.after {
        let Some(now) = has.disks.get(&disk.interface) else { continue };
        if disk.datastore.as_ref().is_some_and(|datastore| *datastore != now.datastore) {
            wrong.push(Wrong {
                cause: format!(
                    "{name}: the disk {} is on {}, and the provider does not move a disk of a machine that runs",
                    disk.interface, now.datastore
                ),
                hint: format!(
                    "Run `qm disk move {id} {} {}` on the hypervisor first; `up` then has nothing to change",
                    disk.interface,
                    disk.datastore.as_deref().unwrap_or_default()
                ),
            });
        }
        let Some(size) = now.size_gb() else { continue };
        // The stack has these two.
        let field = if disk.interface == "scsi1" { "data_disk_gb" } else { "disk_gb" };
        let is_new = !disks.before.iter().any(|before| before.interface == disk.interface);
        if is_new && disk.size_gb != size {
            wrong.push(Wrong {
                cause: format!(
                    "{name}: the disk {} has {size} GB and was made without `{field}`: the provider does not resize it in \
                     the step that adds it",
                    disk.interface
                ),
                hint: format!("Set `{field}: {size}` for {name} and run `up`, then set the larger size and run `up` again"),
            });
        }
        grows |= !is_new && disk.size_gb > size;
    }
    let with: Vec<&str> = ["cpu", "memory"]
        .into_iter()
        .filter(|part| change.attributes.iter().any(|a| a.path.starts_with(part)))
        .collect();
    if grows && !with.is_empty() {
        let with = with.join(" and ");
        wrong.push(Wrong {
            cause: format!(
                "{name}: the provider resizes no disk of a running machine in the step that changes its {with}"
            ),
            hint: format!("Change the size of the disk of {name} in a run of its own"),
        });
    }
    wrong
}

/// A clone has the disk of its template at first, and no disk gets smaller.
fn cloned(name: &str, id: u32, disks: &VmDisks, has: &GuestDisks) -> Vec<Wrong> {
    let smaller = disks.after.iter().filter_map(|disk| {
        let size = has.disks.get(&disk.interface)?.size_gb()?;
        (disk.size_gb < size).then(|| Wrong {
            cause: format!(
                "{name}: disk_gb is {}, and the disk {} of template {id} has {size} GB",
                disk.size_gb, disk.interface
            ),
            hint: format!("Set `disk_gb` to {size} or more, or leave it out to keep the size of the template"),
        })
    });
    smaller.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::DiskFlags;

    /// What is wrong with a change of virtual machine 100, which has these disks in GB.
    fn wrong(change: Value, running: bool, disks: &[(&str, u64)]) -> Vec<String> {
        let plan = json!({"resource_changes": [{"address": "a", "type": "proxmox_virtual_environment_vm", "index": "node1",
            "change": change}]});
        let disk =
            |gb: u64| GuestDisk { datastore: "lvm".to_owned(), size_mib: Some(gb * 1024), flags: DiskFlags::default() };
        let disks = disks.iter().map(|(interface, gb)| ((*interface).to_owned(), disk(*gb))).collect();
        let found = [(100, GuestDisks { running, disks })].into();
        let changes = Changes::parse(&plan.to_string()).unwrap();
        judge(&changes, &found).into_iter().map(|wrong| wrong.cause).collect()
    }

    fn vm(size: Option<u64>, more: Value) -> Value {
        let disk = |size| json!({"interface": "scsi0", "size": size, "datastore_id": "lvm"});
        let disks: Vec<Value> = size.map(disk).into_iter().collect();
        let mut vm = json!({"vm_id": 100, "reboot_after_update": false, "disk": disks, "memory": [{"dedicated": 1}]});
        vm.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        vm
    }

    fn update(before: Value, after: Value) -> Value {
        json!({"actions": ["update"], "before": before, "after": after})
    }

    #[test]
    fn disk_outside_the_state_is_named_before_a_resize_detaches_it() {
        let grown = update(vm(Some(40), json!({})), vm(Some(60), json!({})));
        assert_eq!(wrong(grown.clone(), true, &[("scsi0", 40)]), [""; 0]);
        let said = wrong(grown.clone(), true, &[("scsi0", 40), ("scsi1", 100)]);
        assert!(said[0].contains("has the disk scsi1") && said.len() == 1, "{said:?}");
        assert_eq!(wrong(grown, false, &[("scsi0", 40), ("virtio1", 1)]).len(), 1, "also of a machine that is off");
        // Another change leaves them alone.
        let renamed = update(vm(Some(40), json!({"name": "a"})), vm(Some(40), json!({"name": "b"})));
        assert_eq!(wrong(renamed, true, &[("scsi0", 40), ("scsi1", 100)]), [""; 0]);
    }

    #[test]
    fn data_disk_of_a_machine_without_disk_gb_needs_the_size_of_its_first_disk() {
        let mut after = vm(Some(100), json!({}));
        after["disk"][0]["interface"] = json!("scsi1");
        let plan = json!({"resource_changes": [{"address": "a", "type": "proxmox_virtual_environment_vm", "index": "node1",
            "change": update(vm(None, json!({})), after)}]});
        let disk = GuestDisk { datastore: "lvm".to_owned(), size_mib: Some(20 * 1024), flags: DiskFlags::default() };
        let found = [(100, GuestDisks { running: true, disks: [("scsi0".to_owned(), disk)].into() })].into();
        let said = judge(&Changes::parse(&plan.to_string()).unwrap(), &found);
        assert!(said.len() == 1 && said[0].hint.starts_with("Set `disk_gb: 20` for node1"), "{said:?}");
    }

    #[test]
    fn resize_with_memory_is_refused_while_the_machine_runs() {
        let both = update(vm(Some(40), json!({})), vm(Some(60), json!({"memory": [{"dedicated": 2}]})));
        let said = wrong(both.clone(), true, &[("scsi0", 40)]);
        assert!(said[0].contains("changes its memory"), "{said:?}");
        assert_eq!(wrong(both, false, &[("scsi0", 40)]), [""; 0]);
        let mut restarts = update(vm(Some(40), json!({})), vm(Some(60), json!({"memory": [{"dedicated": 2}]})));
        restarts["after"]["reboot_after_update"] = json!(true);
        assert_eq!(wrong(restarts, true, &[("scsi0", 40)]), [""; 0]);
    }

    #[test]
    fn disk_size_given_later_must_first_be_the_size_that_the_disk_has() {
        let later = |size| update(vm(None, json!({})), vm(Some(size), json!({})));
        assert_eq!(wrong(later(20), true, &[("scsi0", 20)]), [""; 0]);
        for size in [10, 40] {
            let said = wrong(later(size), true, &[("scsi0", 20)]);
            assert!(said[0].contains("has 20 GB and was made without `disk_gb`"), "{said:?}");
        }
    }

    #[test]
    fn disk_of_a_running_machine_does_not_move_to_another_datastore() {
        let mut after = vm(Some(40), json!({}));
        after["disk"][0]["datastore_id"] = json!("ceph");
        let moved = update(vm(Some(40), json!({})), after);
        let said = wrong(moved, true, &[("scsi0", 40)]);
        assert!(said[0].contains("is on lvm"), "{said:?}");
    }

    #[test]
    fn disk_smaller_than_that_of_the_template_is_refused() {
        let create = |size| {
            let after = json!({"clone": [{"vm_id": 100}], "disk": [{"interface": "scsi0", "size": size}]});
            json!({"actions": ["create"], "before": null, "after": after})
        };
        assert_eq!(wrong(create(20), false, &[("scsi0", 20)]), [""; 0]);
        assert_eq!(wrong(create(10), false, &[("virtio0", 20)]), [""; 0]);
        let said = wrong(create(10), false, &[("scsi0", 20)]);
        assert_eq!(said, ["node1: disk_gb is 10, and the disk scsi0 of template 100 has 20 GB"]);
    }

    #[test]
    fn machine_that_the_token_does_not_see_is_not_resized() {
        let plan = json!({"resource_changes": [{"address": "a", "type": "proxmox_virtual_environment_vm", "index": "node1",
            "change": update(vm(Some(40), json!({})), vm(Some(60), json!({})))}]});
        let said = judge(&Changes::parse(&plan.to_string()).unwrap(), &BTreeMap::new());
        assert!(said[0].cause.contains("does not see virtual machine 100"), "{said:?}");
    }
}
