//! The examples for plain Terraform and for Terragrunt, planned by a real Terraform on the recorded provider.

use std::{collections::BTreeMap, fs, path::Path};

use super::tree::Tree;
use crate::common::recorded::Nowhere;

const TOP: &str = env!("CARGO_MANIFEST_DIR");
const VM_STACK: &str = "stacks/proxmox-vm";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(TOP).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a plan in `dir` would create, by type.
fn created(tree: &Tree, dir: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (address, action) in tree.plan(dir) {
        assert_eq!(action, "create", "{address}");
        let kind = address.rsplit_once(".this").and_then(|(before, _)| before.rsplit('.').next());
        let kind = kind.map_or_else(|| "terraform_data".to_owned(), str::to_owned);
        *found.entry(kind).or_default() += 1;
    }
    found
}

fn counts(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn example_values_in_plain_terraform_give_machines_pool_and_records() {
    plan_examples(&Tree::new(Nowhere));
}

pub(super) fn plan_examples(tree: &Tree) {
    tree.init(VM_STACK);
    let page = read("docs/terraform-multi-instance.md");
    let block = page.split("```hcl\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let pool = ("proxmox_virtual_environment_pool", 1);
    let machines = |count| [("proxmox_virtual_environment_vm", count), ("terraform_data", count), pool];
    for (text, expected) in [
        (block, counts(&machines(2))),
        (
            &read("examples/patroni-cluster.tfvars.example"),
            counts(&[&machines(3)[..], &[("hactl_dns_record_set", 3)]].concat()),
        ),
    ] {
        tree.write(&format!("{VM_STACK}/example.auto.tfvars"), text);
        assert_eq!(created(tree, VM_STACK), expected, "{text}");
    }
}

/// A unit of the stack as a root module of plain Terraform: its inputs, with the stack's values and the mocks of what it
/// depends on.
struct Unit {
    name: String,
    /// What the stack says of it.
    block: String,
    text: String,
    root: String,
}

/// The text between the line `start` and the next line `end`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let found = text.split_once(start).and_then(|(_, rest)| rest.split_once(end));
    found.unwrap_or_else(|| panic!("no `{start}` to `{end}` in:\n{text}")).0
}

impl Unit {
    fn new(name: &str, stack: &str) -> Self {
        let block = between(stack, &format!("\nunit \"{name}\" {{"), "\n}\n").to_owned();
        let source = between(&block, "/examples/terragrunt/units/", "\"");
        let text = read(&format!("examples/terragrunt/units/{source}/terragrunt.hcl"));
        let module = between(&text, "source = \"${get_repo_root()}/terraform/modules/", "\"");
        let inputs = between(&text, "\ninputs = {\n", "\n}\n");
        let names = inputs.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let names: Vec<_> =
            names.filter_map(|line| line.trim().split_once(' ').filter(|(name, _)| *name != "#")).collect();
        let arguments: String = names.iter().map(|(name, _)| format!("  {name} = local.inputs.{name}\n")).collect();
        let dependencies: String = text
            .split("\ndependency \"")
            .skip(1)
            .map(|block| {
                let mock = block.lines().find_map(|line| line.trim().strip_prefix("mock_outputs ")).expect("a mock");
                format!("    {} = {{ outputs {mock} }}\n", block.split('"').next().unwrap())
            })
            .collect();
        let root = format!(
            "locals {{{}}}\nlocals {{\n  values = {{{}  }}\n}}\nlocals {{\n  dependency = {{\n{}  }}\n  inputs = {{\n{}\n  }}\n}}\n\
             module \"unit\" {{\n  source = \"../../modules/{module}\"\n{arguments}}}\n",
            between(stack, "locals {", "\n}\n").to_owned() + "\n",
            between(&(block.clone() + "\n"), "  values = {", "\n  }\n").to_owned() + "\n",
            dependencies.replace("values.", "local.values."),
            inputs.replace("values.", "local.values.").replace("dependency.", "local.dependency."),
        );
        Self { name: name.to_owned(), block, text, root }
    }

    /// Writes it into the tree, and gives its directory.
    fn write(&self, tree: &Tree) -> String {
        let dir = format!("units/{}", self.name);
        tree.write(&format!("{dir}/main.tf"), &self.root);
        tree.init(&dir);
        dir
    }
}

const STACK: &str = "examples/terragrunt/stacks/homelab-proxmox-vm/terragrunt.stack.hcl";

#[test]
fn terragrunt_units_pass_the_variables_of_their_modules() {
    let (stack, tree) = (read(STACK), Tree::new(Nowhere));
    let machine = counts(&[("proxmox_virtual_environment_vm", 1), ("terraform_data", 1)]);
    let record = counts(&[("hactl_dns_record_set", 1)]);
    for (name, memory, expected) in [
        ("pool", None, counts(&[("proxmox_virtual_environment_pool", 1)])),
        ("web01", Some(4096), machine.clone()),
        ("web02", Some(4096), machine.clone()),
        ("db01", Some(8192), machine),
        ("dns_web01", None, record.clone()),
        ("dns_web02", None, record.clone()),
        ("dns_db01", None, record),
    ] {
        let unit = Unit::new(name, &stack);
        let dir = unit.write(&tree);
        assert_eq!(created(&tree, &dir), expected, "{}", unit.root);
        for block in unit.text.split("\ndependency \"").skip(1) {
            let commands = between(block, "mock_outputs_allowed_terraform_commands = [", "]");
            assert_eq!(commands, r#""init", "validate", "plan""#, "{name}");
        }
        let plan = tree.shown(&dir, "read.tfplan");
        let changes = plan["resource_changes"].as_array().unwrap();
        let of = |kind: &str| &changes.iter().find(|change| change["type"] == kind).unwrap()["change"]["after"];
        if let Some(memory) = memory {
            let vm = of("proxmox_virtual_environment_vm");
            assert_eq!((&vm["memory"][0]["dedicated"], &vm["name"]), (&memory.into(), &name.into()));
            assert_eq!(vm["pool_id"], "example-multi-vm-pool");
        }
        // A plan with a mocked machine, saved and applied, makes no record.
        if let Some(machine) = name.strip_prefix("dns_") {
            let record = of("hactl_dns_record_set");
            assert_eq!((&record["name"], &record["zone"]), (&machine.into(), &"home.sflab.io.".into()));
            assert_eq!(
                (&record["server"], &record["port"], &record["ttl"]),
                (&"192.168.1.13".into(), &53.into(), &300.into())
            );
            assert_eq!((&record["key_name"], &record["key_algorithm"]), (&"ddnskey.".into(), &"hmac-sha256".into()));
            let applied = tree.run(&dir, &["apply", "-input=false", "-no-color", "read.tfplan"]);
            let missing = applied.text.matches("VM IP address is not available").count();
            assert_eq!((applied.code, missing), (1, 1), "{}", applied.text);
        }
    }
    // Each path that a unit is given is where the stack puts the other one.
    for (from, value, to) in [
        ("web01", "pool_unit_path", "pool"),
        ("web02", "pool_unit_path", "pool"),
        ("db01", "pool_unit_path", "pool"),
        ("dns_web01", "vm_unit_path", "web01"),
        ("dns_web02", "vm_unit_path", "web02"),
        ("dns_db01", "vm_unit_path", "db01"),
    ] {
        assert!(between(&Unit::new(from, &stack).block, value, "\n").ends_with(&format!("= \"../{to}\"")), "{from}");
        assert!(Unit::new(to, &stack).block.contains(&format!("path   = \"{to}\"")), "{to}");
    }
}

/// Values as the design of many machines names them, and what may be left out.
#[test]
fn terragrunt_units_take_containers_and_machines_without_a_pool() {
    let (stack, tree) = (read(STACK), Tree::new(Nowhere));
    let left_out = |name: &str, values: &[&str]| {
        let unit = between(&stack, &format!("\nunit \"{name}\" {{"), "\n}\n");
        let kept: Vec<_> =
            unit.lines().filter(|line| !values.iter().any(|value| line.trim().starts_with(value))).collect();
        stack.replace(unit, &kept.join("\n"))
    };
    let dir = Unit::new("web01", &left_out("web01", &["pool_id", "pool_unit_path"])).write(&tree);
    assert_eq!(created(&tree, &dir)["proxmox_virtual_environment_vm"], 1);
    let plan = tree.shown(&dir, "read.tfplan").to_string();
    assert!(!plan.contains("\"pool_id\":\"example-multi-vm-pool\""), "{plan}");

    let containers = stack.replace("units/proxmox-vm", "units/proxmox-lxc").replace("vm_unit_path", "lxc_unit_path");
    let dir = Unit::new("db01", &containers).write(&tree);
    assert_eq!(created(&tree, &dir)["proxmox_virtual_environment_container"], 1);
    let unit = Unit::new("dns_db01", &containers);
    let dir = unit.write(&tree);
    assert_eq!(created(&tree, &dir), counts(&[("hactl_dns_record_set", 1)]));
    let applied = tree.run(&dir, &["apply", "-input=false", "-no-color", "read.tfplan"]);
    assert!(applied.text.contains("Container IP address is not available"), "{}", applied.text);
    let dir = Unit::new("dns_web01", &left_out("dns_web01", &["dns_port", "key_algorithm", "ttl"])).write(&tree);
    assert_eq!(created(&tree, &dir), counts(&[("hactl_dns_record_set", 1)]));
}
