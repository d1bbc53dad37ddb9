//! Tests of what `up` refuses.

use std::collections::BTreeMap;

use super::*;
use crate::model::Role;
use crate::terraform::{
    diff::{AttributeChange, Cost},
    fixture::{change, changes, keys, on_proxmox, plan_of},
    updates::Disk,
};

#[test]
fn changes_that_create_or_repair_are_allowed() {
    let plan = plan_of(&["node1"]);
    for action in [Action::NoOp, Action::Create, Action::Read, Action::Update, Action::Import] {
        assert!(
            guard(&plan, &changes(vec![change("hactl_node", "node1", action)]), &Consent::default()).is_ok(),
            "{action:?}"
        );
    }
    let unfinished = ResourceChange { unfinished: true, ..change("hactl_node", "node1", Action::Replace) };
    assert!(guard(&plan, &changes(vec![unfinished]), &Consent::default()).is_ok());
}

#[test]
fn destructive_and_unknown_changes_are_refused_with_the_name() {
    let plan = plan_of(&["node1"]);
    for action in [Action::Replace, Action::Delete, Action::Forget, Action::Unknown] {
        for kind in ["hactl_node", "hactl_volume", "hactl_network"] {
            let error = guard(&plan, &changes(vec![change(kind, "node1", action)]), &Consent::default()).unwrap_err();
            assert_eq!(error.code, "plan-refused");
            assert!(error.causes[0].contains("node1"), "{error}");
            assert!(error.hint.unwrap().contains("hactl down"));
        }
    }
    for action in [Action::Replace, Action::Delete, Action::Forget] {
        assert!(
            guard(&plan, &changes(vec![change("hactl_dns_record_set", "node1", action)]), &Consent::default()).is_ok()
        );
    }
    assert!(
        guard(&plan, &changes(vec![change("hactl_dns_record_set", "node1", Action::Unknown)]), &Consent::default())
            .is_err()
    );
    let data = ResourceChange { unfinished: true, ..change("hactl_volume", "node1", Action::Replace) };
    assert!(guard(&plan, &changes(vec![data]), &Consent::default()).is_err());
}

/// A plan of node1 with its roles and web, a plain machine; without `web` it was taken out of the file.
fn mixed(web: bool) -> (Plan, Consent) {
    let mut plan = plan_of(if web { &["node1", "web"] } else { &["node1"] });
    if let Some(node) = plan.nodes.get_mut(&"web".parse::<InstanceKey>().unwrap()) {
        node.roles.clear();
    }
    let ran = [("node1", BTreeSet::from([Role::Etcd, Role::Patroni])), ("web", BTreeSet::new())];
    let ran = ran.into_iter().map(|(key, roles)| (key.parse().unwrap(), roles)).collect();
    (plan, Consent { ran, ..Consent::default() })
}

#[test]
fn destroy_option_allows_plain_machines_and_never_members() {
    for kind in ["hactl_node", "proxmox_virtual_environment_vm", "proxmox_virtual_environment_container"] {
        for (action, web) in [(Action::Delete, false), (Action::Forget, false), (Action::Replace, true)] {
            let (plan, consent) = mixed(web);
            let destructive = changes(vec![change(kind, "web", action), change("terraform_data", "web", action)]);
            let error = guard(&plan, &destructive, &consent).unwrap_err();
            assert_eq!(error.causes.len(), 1, "{error}");
            assert!(error.hint.unwrap().starts_with("Run again with `--allow-destroy web` if you intend this"));
            let named = Consent { destroy: keys(&["web"]), ..consent.clone() };
            assert!(guard(&plan, &destructive, &named).is_ok());
            let other = Consent { destroy: keys(&["node1"]), ..consent.clone() };
            assert!(guard(&plan, &destructive, &other).is_err());

            let member = changes(vec![change(kind, "node1", action)]);
            let named = Consent { destroy: keys(&["node1"]), ..consent };
            let error = guard(&plan, &member, &named).unwrap_err();
            assert!(error.causes[0].contains("cannot remove a member from a running cluster"), "{error}");
        }
    }
    // An unknown machine may be a member.
    let unknown = changes(vec![change("hactl_node", "old", Action::Delete)]);
    let consent = Consent { destroy: keys(&["old"]), ..Consent::default() };
    assert!(guard(&mixed(true).0, &unknown, &consent).is_err());
}

#[test]
fn removal_of_all_machines_requires_every_name() {
    let plan = plan_of(&[]);
    let all = ["node1", "node2"].map(|key| change("proxmox_virtual_environment_vm", key, Action::Delete));
    let all = changes(all.to_vec());
    let ran = keys(&["node1", "node2"]).into_iter().map(|key| (key, BTreeSet::from([Role::Patroni]))).collect();
    let consent = |names: &[&str]| Consent { destroy: keys(names), ran: BTreeMap::clone(&ran), ..Consent::default() };
    let error = guard(&plan, &all, &consent(&["node1"])).unwrap_err();
    assert_eq!((error.causes.len(), error.hint.unwrap().contains("--allow-destroy node2")), (1, true));
    assert!(guard(&plan, &all, &consent(&["node1", "node2"])).is_ok());
    let mut protected = all;
    protected.resources[0].protected = true;
    // hactl lifts its own protection of members, and not that of the cluster file.
    assert!(guard(&plan, &protected, &consent(&["node1", "node2"])).is_ok());
    let kept = on_proxmox("platform: {proxmox: {protection: true}}\ninstances: {}\n");
    let error = guard(&kept, &protected, &consent(&["node1", "node2"])).unwrap_err();
    assert!(error.causes[0].contains("protection: false"), "{error}");
}

#[test]
fn restart_option_allows_named_machines_only() {
    let restart = |key: &str| ResourceChange {
        restarts: true,
        ..change("proxmox_virtual_environment_container", key, Action::Update)
    };
    let plan = plan_of(&["node1", "node2"]);
    let agreed = |names: &[&str]| Consent { restart: keys(names), ..Consent::default() };
    let one = changes(vec![restart("node1")]);
    let error = guard(&plan, &one, &agreed(&[])).unwrap_err();
    assert!(error.causes[0].contains("restart the machine node1"), "{error}");
    assert!(error.hint.unwrap().contains("--allow-restart node1"));
    assert!(guard(&plan, &one, &agreed(&["node1"])).is_ok());
    let both = changes(vec![restart("node1"), restart("node2")]);
    let error = guard(&plan, &both, &agreed(&["node1"])).unwrap_err();
    assert!(error.causes.len() == 1 && error.causes[0].contains("node2"), "{error}");
    assert!(guard(&plan, &both, &agreed(&["node1", "node2"])).is_ok());
}

#[test]
fn lost_disk_is_refused_with_every_option_and_a_hint() {
    let lost = |interface: &str| ResourceChange {
        lost_disks: vec![Disk { interface: interface.to_owned(), size_gb: 20 }],
        ..change("proxmox_virtual_environment_vm", "web", Action::Update)
    };
    let (plan, consent) = mixed(true);
    let consent = Consent { destroy: keys(&["web"]), restart: keys(&["web"]), ..consent };
    let error = guard(&plan, &changes(vec![lost("scsi0")]), &consent).unwrap_err();
    assert!(error.causes[0].contains("the disk scsi0 (20 GB) of the machine web"), "{error}");
    assert!(error.causes[0].contains("set `disk_gb: 20` on that instance to keep the disk"), "{error}");
    let error = guard(&plan, &changes(vec![lost("scsi1")]), &consent).unwrap_err();
    assert!(error.causes[0].contains("set `data_disk_gb: 20` on that instance to keep the disk"), "{error}");
    let error = guard(&plan, &changes(vec![lost("virtio0")]), &consent).unwrap_err();
    assert!(error.causes[0].contains("attach virtio0 as scsi0"), "{error}");
}

#[test]
fn removed_entry_of_an_existing_machine_is_refused_like_the_machine() {
    let entry = |node: &str, action| ResourceChange {
        address: format!("terraform_data.host[\"{node}\"]"),
        ..change("terraform_data", node, action)
    };
    let (plan, consent) = mixed(false);
    let gone = changes(vec![entry("web", Action::Delete)]);
    let error = guard(&plan, &gone, &consent).unwrap_err();
    assert!(error.causes[0].contains("the entry of the machine web"), "{error}");
    assert!(guard(&plan, &gone, &Consent { destroy: keys(&["web"]), ..consent.clone() }).is_ok());
    // Also when the file has no machine left: the cluster would keep running without hactl.
    for (plan, action) in [(plan_of(&["node1"]), Action::Replace), (plan_of(&[]), Action::Delete)] {
        let named = Consent { destroy: keys(&["node1"]), ..consent.clone() };
        let error = guard(&plan, &changes(vec![entry("node1", action)]), &named).unwrap_err();
        assert!(error.causes[0].contains("its services would keep running"), "{error}");
    }
    // The machine exists already; only another address makes it another machine.
    let made = |action| changes(vec![entry("node1", action)]).machines_made().count();
    assert_eq!((made(Action::Create), made(Action::Replace)), (0, 1));
}

#[test]
fn tainted_machine_that_the_last_run_used_is_refused_and_another_of_its_key_is_replaced() {
    let tainted = |key: &str, id: &str| ResourceChange {
        unfinished: true,
        machine_id: Some(id.to_owned()),
        ..change("proxmox_virtual_environment_vm", key, Action::Replace)
    };
    let (plan, consent) = mixed(true);
    let ids = [("node1", "101"), ("web", "102")];
    let machine_ids = ids.into_iter().map(|(key, id)| (key.parse().unwrap(), id.to_owned())).collect();
    let consent = Consent { machine_ids, destroy: keys(&["node1"]), ..consent };
    let error = guard(&plan, &changes(vec![tainted("node1", "101")]), &consent).unwrap_err();
    assert!(error.causes[0].contains("marks the machine as tainted") && error.causes[0].contains("untaint"), "{error}");
    let error = guard(&plan, &changes(vec![tainted("web", "102")]), &consent).unwrap_err();
    assert!(error.hint.unwrap().contains("--allow-destroy web"), "a plain machine goes by name");
    // The machine that ran is gone, and making it again failed.
    assert!(guard(&plan, &changes(vec![tainted("node1", "103")]), &consent).is_ok());
    assert!(guard(&plan, &changes(vec![tainted("new", "101")]), &consent).is_ok());
}

#[test]
fn deposed_object_is_destroyed_only_by_its_address_and_key() {
    let kind = "proxmox_virtual_environment_vm";
    let old = ResourceChange { deposed: Some("1a2b3c4d".to_owned()), ..change(kind, "node1", Action::Delete) };
    let (plan, consent) = mixed(true);
    let name = format!("{}#1a2b3c4d", old.address);
    let error = guard(&plan, &changes(vec![old.clone()]), &consent).unwrap_err();
    assert!(error.causes[0].contains("destroy an old object that an earlier replacement left"), "{error}");
    assert!(error.hint.unwrap().contains(&format!("--allow-destroy '{name}'")));
    let by = |address: &str| Consent { addresses: [address.to_owned()].into(), ..consent.clone() };
    assert!(guard(&plan, &changes(vec![old.clone()]), &by(&name)).is_ok());
    // Neither the address alone nor the key of the machine in use.
    assert!(guard(&plan, &changes(vec![old.clone()]), &by(&old.address)).is_err());
    let named = Consent { destroy: keys(&["node1"]), ..consent.clone() };
    assert!(guard(&plan, &changes(vec![old]), &named).is_err());
}

#[test]
fn pool_is_never_renamed_and_removed_by_its_address_only_when_it_is_empty() {
    let plan = on_proxmox("platform: {proxmox: {}}\ninstances: {web: {roles: []}}");
    let of = |change: ResourceChange, pool: &str| ResourceChange {
        pool: Some(pool.to_owned()),
        machine_id: Some("100".to_owned()),
        ..change
    };
    let pool = |action| of(ResourceChange { node: None, ..change(POOL, "p", action) }, "one");
    let machine = |pool: &str, action| of(change("proxmox_virtual_environment_vm", "web", action), pool);
    let named = Consent { addresses: [pool(Action::Delete).address].into(), destroy: keys(&["web"]), ..mixed(true).1 };
    let refused = |resources: Vec<ResourceChange>, consent: &Consent| guard(&plan, &changes(resources), consent).err();
    let error = refused(vec![pool(Action::Replace)], &named).unwrap();
    assert!(error.causes[0].contains("cannot rename a pool"), "{error}");
    let error = refused(vec![pool(Action::Delete), machine("one", Action::Update)], &named).unwrap();
    assert!(error.causes[0].contains("`pveum pool modify one --vms 100 --delete 1`"), "{error}");
    let other = vec![pool(Action::Delete), machine("two", Action::NoOp)];
    let error = refused(other.clone(), &mixed(true).1).unwrap();
    assert!(error.hint.unwrap().contains("--allow-destroy 'module."), "the way out is named");
    assert!(refused(other, &named).is_none());
    assert!(refused(vec![pool(Action::Delete), machine("one", Action::Delete)], &named).is_none(), "it goes first");
}

#[test]
fn attribute_of_a_running_machine_needs_consent_by_its_name() {
    let bios = AttributeChange {
        path: "bios".to_owned(),
        before: "ovmf".into(),
        after: "seabios".into(),
        cost: Cost::NextRestart,
    };
    let changed = |key: &str| ResourceChange {
        attributes: vec![bios.clone()],
        ..change("proxmox_virtual_environment_vm", key, Action::Update)
    };
    let (plan, consent) = mixed(true);
    let both = changes(vec![changed("node1"), changed("web")]);
    let error = guard(&plan, &both, &consent).unwrap_err();
    assert_eq!((error.code, error.causes.len()), ("consent-missing", 2));
    assert!(
        error.causes[0].contains("change bios of the machine node1") && error.causes[0].contains("ovmf"),
        "{error}"
    );
    assert!(error.hint.unwrap().contains("`--allow-change node1:bios --allow-change web:bios`"));
    let change = ["node1", "web"].map(|key| (key.parse().unwrap(), BTreeSet::from(["bios".to_owned()]))).into();
    assert!(guard(&plan, &both, &Consent { change, ..consent.clone() }).is_ok());
    // With something worse beside it, the code is that of the worse.
    let worse =
        changes(vec![changed("node1"), crate::terraform::fixture::change("hactl_node", "node1", Action::Delete)]);
    let error = guard(&plan, &worse, &consent).unwrap_err();
    assert_eq!((error.code, error.causes.len()), ("plan-refused", 2));
}
