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
    let tree = Tree::new(Nowhere);
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
        assert_eq!(created(&tree, VM_STACK), expected, "{text}");
    }
}

/// A unit as a root module of plain Terraform: its inputs, with the stack's values and the mocks of what it depends on.
struct Unit {
    name: &'static str,
    text: String,
    root: String,
}

/// The text between the line `start` and the next line `end`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let found = text.split_once(start).and_then(|(_, rest)| rest.split_once(end));
    found.unwrap_or_else(|| panic!("no `{start}` to `{end}` in:\n{text}")).0
}

impl Unit {
    fn new(name: &'static str, stack: &str) -> Self {
        let text = read(&format!("examples/terragrunt/units/{name}/terragrunt.hcl"));
        let source = format!("/examples/terragrunt/units/{name}\"");
        let unit = stack.split("\nunit ").find(|unit| unit.contains(&source)).expect("the stack has the unit");
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
            between(unit, "  values = {", "  }\n"),
            dependencies.replace("values.", "local.values."),
            inputs.replace("values.", "local.values.").replace("dependency.", "local.dependency."),
        );
        Self { name, text, root }
    }

    /// Writes it into the tree, and gives its directory.
    fn write(&self, tree: &Tree) -> String {
        let dir = format!("units/{}", self.name);
        tree.write(&format!("{dir}/main.tf"), &self.root);
        tree.init(&dir);
        dir
    }
}

#[test]
fn terragrunt_units_pass_the_variables_of_their_modules() {
    let stack = read("examples/terragrunt/stacks/homelab-proxmox-vm/terragrunt.stack.hcl");
    let tree = Tree::new(Nowhere);
    for (name, expected) in [
        ("proxmox-pool", counts(&[("proxmox_virtual_environment_pool", 1)])),
        ("proxmox-vm", counts(&[("proxmox_virtual_environment_vm", 3), ("terraform_data", 3)])),
        ("dns", counts(&[("hactl_dns_record_set", 3)])),
    ] {
        let unit = Unit::new(name, &stack);
        let dir = unit.write(&tree);
        assert_eq!(created(&tree, &dir), expected, "{}", unit.root);
        for block in unit.text.split("\ndependency \"").skip(1) {
            let commands = between(block, "mock_outputs_allowed_terraform_commands = [", "]");
            assert_eq!(commands, r#""init", "validate", "plan""#, "{name}");
        }
        // A plan with mocked machines, saved and applied, makes no record.
        if name == "dns" {
            let applied = tree.run(&dir, &["apply", "-input=false", "-no-color", "read.tfplan"]);
            let missing = applied.text.matches("VM IP address is not available").count();
            assert_eq!((applied.code, missing), (1, 3), "{}", applied.text);
        }
    }
    // Each path that a unit is given is where the stack puts the other one.
    let unit = |name: &str| between(&stack, &format!("\nunit \"{name}\" {{"), "\n}\n").to_owned();
    for (from, value, to) in [("machines", "pool_path", "pool"), ("dns", "machines_path", "machines")] {
        assert!(between(&unit(from), value, "\n").ends_with(&format!("= \"../{to}\"")), "{from}");
        assert!(unit(to).contains(&format!("path   = \"{to}\"")), "{to}");
    }
}
