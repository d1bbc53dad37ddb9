//! The modules and stacks for Proxmox, by a real Terraform on the recorded provider: wiring, not
//! what Proxmox accepts.
//!
//! Needs `terraform`, and BIND for the records: `.ci/setup --test` installs both.

mod examples;
mod import;
#[path = "../common/recorded.rs"]
mod recorded;
#[path = "../dns/servers.rs"]
#[allow(dead_code, reason = "the tests of DNS use the rest")]
mod servers;
mod tree;

use tree::Tree;

const MODULES: [&str; 3] = ["proxmox-pool", "proxmox-vm", "proxmox-lxc"];
const STACKS: [&str; 2] = ["proxmox-vm", "proxmox-lxc"];

#[test]
fn every_module_and_stack_is_valid() {
    let tree = Tree::new(recorded::Nowhere);
    let dirs =
        MODULES.map(|name| format!("modules/{name}")).into_iter().chain(STACKS.map(|name| format!("stacks/{name}")));
    for dir in dirs {
        tree.run(&dir, &["init", "-no-color"]).good();
        tree.run(&dir, &["validate", "-no-color"]).good();
    }
}

#[test]
fn the_modules_own_tests_pass() {
    let tree = Tree::new(recorded::Nowhere);
    for name in MODULES {
        let dir = format!("modules/{name}");
        tree.run(&dir, &["init", "-no-color"]).good();
        let tested = tree.run(&dir, &["test", "-no-color"]).good();
        assert!(tested.text.contains("0 failed."), "{}", tested.text);
    }
}
