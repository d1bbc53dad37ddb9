//! What `plan` shows of machines on Proxmox, what needs consent by attribute, and what is said of disks before an apply.

use serde_json::{Value, json};

use super::program::Program;
use crate::{
    common::recorded::{self, VM},
    proxmox_api::simulator::{Guest, Simulator, World},
};

/// The machine `web`, as `up` makes it, with these disks in Proxmox beside its cloud-init drive.
fn made(instance: &str) -> Program {
    let program = Program::new(recorded::Nowhere, Simulator::start(World::default()));
    write(&program, instance);
    let (code, summary) = program.run(&["up", "pg", "--no-verify"]);
    assert_eq!(code, 0, "{summary:#}");
    let mut guest = Guest::new("qemu", "pve1", "pg-prod-web");
    guest.config.insert("ide2".to_owned(), json!("local-lvm:vm-100-cloudinit,media=cdrom"));
    guest.config.insert("scsi0".to_owned(), json!("local-lvm:vm-100-disk-0,size=20G"));
    program.simulator.world().guests.insert(100, guest);
    program
}

fn write(program: &Program, instance: &str) {
    program.file("", &format!("defaults: {{roles: []}}\ninstances:\n  web: {{{instance}}}\n"));
}

/// What `plan` shows of the machine: each attribute with before, after and cost.
fn shown(planned: &Value) -> Vec<String> {
    let of_machine = |change: &&Value| change["kind"] == VM;
    let machine = planned["changes"]["resources"].as_array().unwrap().iter().find(of_machine).unwrap();
    let attributes = machine["attributes"].as_array().unwrap().iter();
    let attributes = attributes.filter(|attribute| attribute["after"] != "(known after apply)");
    attributes
        .map(|a| {
            format!("{} {} {} {}", a["path"].as_str().unwrap(), a["before"], a["after"], a["cost"].as_str().unwrap())
        })
        .collect()
}

#[test]
fn plan_shows_the_attributes_of_a_machine_and_asks_for_those_that_are_not_free() {
    let program = made("memory: 2048");
    write(&program, "memory: 4096, vlan: 30");
    let (_, planned) = program.run(&["plan", "pg"]);
    assert_eq!(
        shown(&planned),
        ["memory[0].dedicated 2048 4096 next-restart", "network_device[0].vlan_id 0 30 interrupts"],
        "{planned:#}"
    );
    assert_eq!(planned["refused"]["code"], "consent-missing", "{planned:#}");
    let (code, refused) = program.run(&["up", "pg", "--no-verify"]);
    assert_eq!(code, 1, "{refused:#}");
    assert!(refused.to_string().contains("--allow-change web:network_device.vlan_id"), "{refused:#}");
    let allow = ["--allow-change", "web:network_device"];
    let (_, planned) = program.run(&["plan", "pg", allow[0], allow[1]]);
    assert_eq!(planned["refused"], Value::Null, "{planned:#}");
    let (code, summary) = program.run(&["up", "pg", "--no-verify", allow[0], allow[1]]);
    assert_eq!((code, &summary["changed"]), (0, &true.into()), "{summary:#}");
    let (_, planned) = program.run(&["plan", "pg"]);
    assert_eq!(
        planned["changes"]["resources"].as_array().unwrap().iter().filter(|c| c["action"] != "no-op").count(),
        0
    );
}

#[test]
fn saved_plan_binds_to_the_values_of_attributes() {
    let program = made("memory: 2048");
    write(&program, "memory: 4096");
    assert_eq!(program.run(&["plan", "pg", "--out", "plan.json"]).0, 0);
    write(&program, "memory: 8192");
    let (code, refused) = program.run(&["up", "pg", "--no-verify", "--plan", "plan.json"]);
    assert_eq!(code, 1, "{refused:#}");
    assert!(refused.to_string().contains("Terraform plans other changes"), "{refused:#}");
}

#[test]
fn disk_outside_the_state_is_not_detached_by_a_resize() {
    let program = made("disk_gb: 20");
    let disk = |name: &str| {
        let world = &mut program.simulator.world();
        world.guests.get_mut(&100).unwrap().config.insert(name.to_owned(), json!("local-lvm:vm-100-disk-1,size=100G"));
    };
    disk("scsi1");
    write(&program, "disk_gb: 40");
    let (_, planned) = program.run(&["plan", "pg"]);
    assert_eq!(planned["refused"]["code"], "proxmox-disk", "{planned:#}");
    let (code, refused) = program.run(&["up", "pg", "--no-verify"]);
    assert_eq!(code, 1, "{refused:#}");
    assert!(refused.to_string().contains("virtual machine 100 has the disk scsi1"), "{refused:#}");
    assert!(!program.recorded.done().iter().any(|line| line.starts_with("update")), "{:?}", program.recorded.done());
    program.simulator.world().guests.get_mut(&100).unwrap().config.remove("scsi1");
    let (code, summary) = program.run(&["up", "pg", "--no-verify"]);
    assert_eq!((code, &summary["changed"]), (0, &true.into()), "{summary:#}");
}

#[test]
fn disk_smaller_than_that_of_the_template_is_refused_before_the_clone() {
    let program = Program::new(recorded::Nowhere, Simulator::start(World::default()));
    for template in program.simulator.world().guests.values_mut() {
        template.config.insert("scsi0".to_owned(), json!("local-lvm:base-9002-disk-0,size=20G"));
    }
    write(&program, "disk_gb: 10");
    let (code, refused) = program.run(&["up", "pg", "--no-verify"]);
    assert_eq!(code, 1, "{refused:#}");
    assert!(refused.to_string().contains("disk_gb is 10"), "{refused:#}");
    assert_eq!(program.recorded.done(), [""; 0]);
    write(&program, "disk_gb: 20");
    assert_eq!(program.run(&["up", "pg", "--no-verify"]).0, 0);
}

/// Runs Terraform in the stack of `pg`.
fn terraform(program: &Program, args: &[&str]) {
    let mut command = std::process::Command::new("terraform");
    command.args(args).current_dir(program.path(".hactl/pg/terraform/stacks/proxmox-vm"));
    command.env("TF_REATTACH_PROVIDERS", program.recorded.reattach(None)).env_remove("TF_CLI_CONFIG_FILE");
    let done = command.output().unwrap();
    assert!(done.status.success(), "terraform {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn tainted_machine_that_ran_is_replaced_only_by_name() {
    let program = made("memory: 2048");
    let address = format!("module.machines.{VM}.this[\"web\"]");
    terraform(&program, &["taint", &address]);
    let (_, planned) = program.run(&["plan", "pg"]);
    assert_eq!(planned["refused"]["code"], "plan-refused", "{planned:#}");
    assert!(planned["refused"]["hint"].as_str().unwrap().contains("--allow-destroy web"), "{planned:#}");
    terraform(&program, &["untaint", &address]);
    let (_, planned) = program.run(&["plan", "pg"]);
    assert_eq!(
        (&planned["refused"], planned["changes"]["outputs"].as_bool()),
        (&Value::Null, Some(false)),
        "{planned:#}"
    );
}

#[test]
fn pool_with_machines_is_neither_renamed_nor_removed() {
    let program = Program::new(recorded::Nowhere, Simulator::start(World::default()));
    let with = |pool: &str| program.file(pool, "defaults: {roles: []}\ninstances:\n  web: {}\n");
    with(", pool: one");
    assert_eq!(program.run(&["up", "pg", "--no-verify"]).0, 0);
    program.simulator.world().guests.insert(100, Guest::new("qemu", "pve1", "pg-prod-web"));
    program.simulator.world().pools.insert("one".to_owned());
    with(", pool: two");
    let (_, planned) = program.run(&["plan", "pg"]);
    assert!(planned["refused"].to_string().contains("cannot rename a pool"), "{planned:#}");
    with("");
    let (_, planned) = program.run(&["plan", "pg"]);
    assert!(planned["refused"].to_string().contains("pveum pool modify one --vms 100 --delete 1"), "{planned:#}");
}
