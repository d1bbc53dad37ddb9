//! The modules and stacks for Proxmox, by a real Terraform on the recorded provider: wiring, not
//! what Proxmox accepts.
//!
//! Needs `terraform`, and for the records `named`, `dig` and `nsupdate`; `.ci/setup --test` installs them.

mod changed;
mod examples;
mod handed_on;
mod import;
mod kept;
mod killed;
mod moved;
mod names;
mod order;
mod parallelism;
mod program;
mod protection;
mod real;
mod roll;
mod shown;
mod tree;

use serde_json::{Value, json};
use tree::Tree;

use crate::common::recorded;

/// What differs between virtual machines and containers.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// The directory of the module, and of the stack.
    pub(crate) name: &'static str,
    pub(crate) type_name: &'static str,
    /// A template that is not the default one.
    pub(crate) template: fn() -> (&'static str, Value),
}

pub(crate) const VM: Kind =
    Kind { name: "proxmox-vm", type_name: recorded::VM, template: || ("template", json!(9003)) };
pub(crate) const CONTAINER: Kind = Kind {
    name: "proxmox-lxc",
    type_name: recorded::CONTAINER,
    template: || ("template_file_id", json!("local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst")),
};

impl Kind {
    pub(crate) fn module(self) -> String {
        format!("modules/{}", self.name)
    }

    pub(crate) fn stack(self) -> String {
        format!("stacks/{}", self.name)
    }

    /// The address of a machine in the stack.
    pub(crate) fn address(self, key: &str) -> String {
        format!("module.machines.{}.this[\"{key}\"]", self.type_name)
    }
}

/// Both kinds at once: most of the time goes into starting Terraform.
pub(crate) fn both(test: fn(Kind)) {
    at_once([VM, CONTAINER], test);
}

fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Copy + Send) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || test(case));
        }
    });
}

#[test]
fn modules_and_stacks_are_valid() {
    validate(&Tree::new(recorded::Nowhere));
}

fn validate(tree: &Tree) {
    for dir in ["modules", "stacks"] {
        let mut names: Vec<_> =
            std::fs::read_dir(tree.path(dir)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert!(names.len() >= 3, "{names:?}");
        for name in names {
            let dir = format!("{dir}/{}", name.to_str().unwrap());
            tree.init(&dir);
            tree.run(&dir, &["validate", "-no-color"]).good();
        }
    }
    tree.run("", &["fmt", "-check", "-recursive", "-diff"]).good();
}

#[test]
fn variables_and_outputs_have_a_description_with_an_example() {
    let assets = hactl::assets::Assets::embedded();
    for kind in
        ["modules/proxmox-pool", "modules/proxmox-vm", "modules/proxmox-lxc", "stacks/proxmox-vm", "stacks/proxmox-lxc"]
    {
        for file in ["variables.tf", "outputs.tf"] {
            let text = assets.text(&format!("terraform/{kind}/{file}")).unwrap();
            for block in
                text.split("\n}\n").filter(|block| block.contains("variable \"") || block.contains("output \""))
            {
                let description = block.split_once("  description = ").expect(block).1;
                let description = match description.split_once("<<-EOT") {
                    Some((_, text)) => text.split("EOT").next(),
                    None => description.lines().next(),
                };
                assert!(description.unwrap().contains("for example"), "{kind}/{file}: {block}");
            }
        }
    }
}

#[test]
fn tests_of_the_modules_pass() {
    terraform_test(&Tree::new(recorded::Nowhere));
}

fn terraform_test(tree: &Tree) {
    let passed = [
        ("modules/proxmox-pool", 5),
        ("modules/proxmox-vm", 54),
        ("modules/proxmox-lxc", 47),
        ("stacks/proxmox-vm", 29),
        ("stacks/proxmox-lxc", 29),
    ];
    at_once(passed, |(dir, count)| {
        tree.init(dir);
        let tested = tree.run(dir, &["test", "-no-color"]).good();
        assert!(tested.text.contains(&format!("Success! {count} passed, 0 failed.")), "{dir}: {}", tested.text);
    });
}

#[test]
fn variable_missing_or_of_a_wrong_type_is_named() {
    both(|kind| {
        let tree = Tree::new(recorded::Nowhere);
        let (module, stack) = (kind.module(), kind.stack());
        for dir in [&module, &stack] {
            tree.init(dir);
        }
        let refused = |dir: &str, values: Value, words: &[&str]| {
            tree.set(dir, &values);
            let done = tree.run(dir, &["plan", "-no-color", "-input=false"]);
            assert_eq!(done.code, 1, "{}", done.text);
            for word in words {
                assert!(done.text.contains(word), "no `{word}` in {}", done.text);
            }
        };
        refused(
            &module,
            json!({"vms": {"web01": {"memory": 1024}}}),
            &["element \"web01\"", "\"vm_name\" is required"],
        );
        refused(
            &module,
            json!({"vms": {"web01": {"vm_name": "a", "memory": "much"}}}),
            &["var.vms", "a number is required"],
        );
        refused(&module, json!({"vms": ["web01"]}), &["vms"]);
        refused(&stack, json!({"instances": {"web01": {"cores": [2]}}}), &["var.instances", "cores", "number"]);
        refused(&stack, json!({"instances": {"Web_1": {}}}), &["for example \"web01\""]);
    });
}
