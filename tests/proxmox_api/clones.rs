//! Machines that a killed run began, grown disks and protected machines, by the methods of the API that Terraform's provider
//! and administrators use.

use std::collections::BTreeMap;
use std::sync::Arc;

use hactl::{
    context::{Context, Dirs},
    event::Events,
    model::{Choices, Platform},
    plan, platform, spec,
};

use super::*;

const NEW: &str = "newid=100&name=pg-prod-new&full=1";

/// The machine that `wanted` does not know is named; its hint.
fn named(simulator: &Simulator, wanted: &ProxmoxRequest) -> String {
    let error = check(simulator, wanted).unwrap_err();
    assert_eq!(error.code, "proxmox-machine-there", "{error}");
    assert!(error.to_string().contains("virtual machine 100 (pg-prod-new) on pve1 has the same name"), "{error}");
    error.hint.unwrap().to_string()
}

/// Terraform's provider asks for a clone and is killed; Proxmox finishes it.
#[test]
fn clone_of_a_killed_run_is_named_while_it_is_made_and_until_it_is_removed() {
    let simulator = Simulator::start(World::default());
    let wanted = wanted([machine("pve1", 9002)]);
    check(&simulator, &wanted).unwrap();
    let cloning = Arc::clone(&simulator.world().machines.cloning);
    let under_way = cloning.lock().unwrap();
    send(&simulator, "POST", "nodes/pve1/qemu/9002/clone", NEW);
    named(&simulator, &wanted);
    let twice = try_send(&simulator, "POST", "nodes/pve1/qemu/9002/clone", NEW).unwrap_err();
    assert_eq!(twice, "VM 100 already exists on node 'pve1'");
    let refused = try_send(&simulator, "DELETE", "nodes/pve1/qemu/100", "").unwrap_err();
    assert_eq!(refused, "VM is locked (clone)");
    drop(under_way);
    settled(&simulator, 100);
    let hint = named(&simulator, &wanted);
    // What the hint says, with the same API.
    assert!(hint.contains("`qm stop 100`, then `qm destroy 100 --purge`, on pve1"), "{hint}");
    send(&simulator, "POST", "nodes/pve1/qemu/100/status/start", "");
    let refused = try_send(&simulator, "DELETE", "nodes/pve1/qemu/100", "").unwrap_err();
    assert_eq!(refused, "VM 100 is running - destroy failed");
    send(&simulator, "POST", "nodes/pve1/qemu/100/status/stop", "");
    send(&simulator, "DELETE", "nodes/pve1/qemu/100", "");
    let started = Instant::now();
    while check(&simulator, &wanted).is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "it is still there");
    }
}

/// hactl's context and a cluster file for this API.
fn cluster(simulator: &Simulator) -> (Context, Platform) {
    let env = BTreeMap::from([(TOKEN_VARIABLE.to_owned(), token())]);
    let dirs = Dirs::new(&std::env::temp_dir(), &env);
    let context = Context { dirs, env, events: Events::channel().0, stop: Default::default() };
    let file = format!(
        "name: pg\nplatform: {{proxmox: {{endpoint: '{}', ca_cert: {}}}}}\ninstances: {{node1: {{}}}}\n",
        simulator.endpoint(),
        simulator.ca_cert().display()
    );
    let spec = spec::load("pg.yaml", file.as_bytes(), "pg").unwrap();
    (context, plan::decide(&spec, &Choices::default()).unwrap().platform)
}

#[test]
fn disk_that_was_grown_in_proxmox_is_read_with_its_new_size_and_the_flags_of_its_template() {
    let simulator = Simulator::start(World::default());
    let disk = "local-lvm:base-9002-disk-0,discard=on,size=10G,ssd=1";
    simulator.world().guests.get_mut(&9002).unwrap().config.insert("scsi0".to_owned(), disk.into());
    send(&simulator, "POST", "nodes/pve1/qemu/9002/clone", &format!("{NEW}&storage=nvme"));
    settled(&simulator, 100);
    let (context, platform) = cluster(&simulator);
    let read = || {
        let found = run(proxmox::disks(&context, platform.proxmox().unwrap(), &[100].into())).unwrap();
        found[&100].disks["scsi0"].clone()
    };
    let cloned = read();
    assert_eq!((cloned.datastore.as_str(), cloned.size_gb()), ("nvme", Some(10)));
    assert_eq!((cloned.flags.discard.as_deref(), cloned.flags.ssd), (Some("on"), Some(true)));
    send(&simulator, "PUT", "nodes/pve1/qemu/100/resize", "disk=scsi0&size=%2B20G");
    assert_eq!(read().size_gb(), Some(30));
    let resize = |form| try_send(&simulator, "PUT", "nodes/pve1/qemu/100/resize", form).unwrap_err();
    assert_eq!(resize("disk=scsi0&size=20G"), "shrinking disks is not supported");
    assert_eq!(resize("disk=scsi9&size=40G"), "disk 'scsi9' does not exist");
    assert_eq!(read().size_gb(), Some(30));
}

#[test]
fn protected_machine_is_removed_only_after_hactl_has_lifted_its_protection() {
    let simulator = Simulator::start(World::default());
    simulator.world().guests.insert(100, Guest { running: false, ..Guest::new("qemu", "pve1", "pg-prod-node1") });
    send(&simulator, "PUT", "nodes/pve1/qemu/100/config", "protection=1");
    let remove = || try_send(&simulator, "DELETE", "nodes/pve1/qemu/100", "");
    assert_eq!(remove().unwrap_err(), "can't remove VM 100 - protection mode enabled");
    let (context, platform) = cluster(&simulator);
    run(platform::unprotect(&context, &platform, &[100].into())).unwrap();
    remove().unwrap();
}

/// What is not simulated must not look as if it had worked.
#[test]
fn method_that_the_simulator_does_not_know_is_refused() {
    let simulator = Simulator::start(World::default());
    for (method, path, form) in [
        ("POST", "nodes/pve1/qemu/9002/snapshot", "snapname=x"),
        ("PUT", "nodes/pve1/qemu/9002/config", "net0=virtio,link_down=1"),
        ("POST", "nodes/pve1/lxc/9002/clone", NEW),
        ("DELETE", "pools", "poolid=p"),
    ] {
        let words = try_send(&simulator, method, path, form).unwrap_err();
        assert!(words.contains("not implemented") || words.contains("does not change"), "{method} {path}: {words}");
    }
}
