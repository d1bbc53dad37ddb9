//! What the real Ansible makes of our inventories: every form gives the same values, with their types.
//!
//! Runs in the environment that hactl itself makes for Ansible.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, path::Path, process::Command};

use hactl::{
    ansible::inventory::{self, Inventory, Reader},
    model::Secret,
};
use serde_json::{Value, json};

/// Values that break careless quoting.
const AWKWARD: &str = r##"
name: awkward
instances: {node1: {}, node2: {}, node3: {}, plain: {roles: []}}
postgres:
  parameters:
    log_line_prefix: "%m [%p] # ; = ' {{ not_a_template }} {% raw %} \\ \" é"
    archive_command: "test ! -f '/a b/%f' && cp %p '/a b/%f'"
    random_page_cost: 1.1
    jit: false
    work_mem: 16777216
    application_name: "True"
    search_path: "3.10"
"##;

fn built(password: &str) -> Inventory {
    let (plan, fleet, mut material) = crate::fixture::example(AWKWARD);
    let secret = || Secret::new(password.to_owned());
    material.secrets.passwords.values_mut().for_each(|password| *password = secret());
    material.secrets.nodes.values_mut().flat_map(|node| node.get_mut("patroni")).for_each(|pair| pair.key = secret());
    material.ssh_private_key = Some("/a b/it's/key".into());
    material.ssh_config = "/a b/ssh_config".into();
    inventory::build(&plan, &fleet, &material).unwrap()
}

fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Vec<u8> {
    let programs = crate::common::ansible().ansible_playbook;
    let output = Command::new(programs.with_file_name(program))
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    output.stdout
}

/// Variables of each host as `ansible-inventory` merged them.
fn hostvars(inventory: &Path, environment: &[(&str, &str)]) -> BTreeMap<String, Value> {
    let list = run("ansible-inventory", &["-i", inventory.to_str().unwrap(), "--list"], environment);
    let list: Value = serde_json::from_slice(&list).unwrap();
    serde_json::from_value(list["_meta"]["hostvars"].clone()).unwrap()
}

#[test]
fn inventory_in_every_format_gives_the_same_values() {
    let inventory = built("p@ss {{ word }} {% # '\" \\ é");
    let dir = tempfile::tempdir().unwrap();
    let written = inventory::write(dir.path(), &inventory).unwrap();
    let from_ini = hostvars(&written.ini, &[]);
    let from_yaml = hostvars(&written.yaml, &[]);
    assert_eq!(from_ini, from_yaml);

    // The dynamic form holds the secrets itself; the script of the examples asks a hactl that answers with it.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/inventory/hactl-inventory.sh");
    let hactl = dir.path().join("hactl");
    let list = inventory::json(&inventory, Reader::Ansible);
    std::fs::write(
        &hactl,
        format!("#!/bin/sh\n[ \"$*\" = 'inventory awkward --list' ] || exit 2\ncat <<'END'\n{list}\nEND\n"),
    )
    .unwrap();
    std::fs::set_permissions(&hactl, std::fs::Permissions::from_mode(0o700)).unwrap();
    let environment = [("HACTL", hactl.to_str().unwrap()), ("HACTL_CLUSTER", "awkward")];
    assert_eq!(hostvars(Path::new(script), &environment), from_ini);

    // And all of it is what went in: cluster variables are merged into every host's.
    let node = &from_ini["node1"];
    for (name, value) in &inventory.vars {
        assert_eq!(&node[name], value, "{name}");
    }
    assert_eq!(node["ansible_port"], json!(22_010));
    assert_eq!(node["hactl_digest"], inventory.digest());
    assert_eq!(from_ini.len(), 4);
}

#[test]
fn inventory_value_with_braces_is_no_template() {
    let password = "p@ss {{ word }} {% # '\" \\ é";
    let dir = tempfile::tempdir().unwrap();
    let written = inventory::write(dir.path(), &built(password)).unwrap();
    let (play, seen) = (dir.path().join("play.yml"), dir.path().join("seen.json"));
    let text = format!(
        "- hosts: node1
  gather_facts: false
  connection: local
  tasks:
    - ansible.builtin.copy:
        dest: {}
        mode: '0600'
        content: >-
          {{{{ [patroni_postgresql_parameters, patroni_superuser_password,
                patroni_database_passwords.app, ansible_ssh_common_args, patroni_key] | to_json }}}}
",
        seen.display()
    );
    std::fs::write(&play, text).unwrap();
    run("ansible-playbook", &["-i", written.ini.to_str().unwrap(), play.to_str().unwrap()], &[]);
    let msg: Value = serde_json::from_slice(&std::fs::read(&seen).unwrap()).unwrap();
    assert_eq!(msg[0]["log_line_prefix"], "%m [%p] # ; = ' {{ not_a_template }} {% raw %} \\ \" é");
    assert_eq!(msg[0]["random_page_cost"], json!(1.1));
    assert_eq!(msg[0]["jit"], json!(false));
    assert_eq!(msg[0]["search_path"], json!("3.10"));
    assert_eq!(msg[0]["application_name"], json!("True"));
    assert_eq!((&msg[1], &msg[2], &msg[4]), (&json!(password), &json!(password), &json!(password)));
    assert_eq!(msg[3], "-F '/a b/ssh_config'");
}

#[test]
fn instance_names_that_yaml_takes_for_other_values_are_hosts_in_every_form() {
    // PyYAML reads YAML 1.1. Keys of instances begin with a letter, so no number is among them.
    let words = ["false", "n", "no", "null", "off", "on", "true", "y", "yes"];
    let instances: Vec<String> = words.iter().map(|word| format!("\"{word}\": {{}}")).collect();
    let (plan, fleet, material) =
        crate::fixture::example(&format!("name: words\ninstances: {{{}}}\n", instances.join(", ")));
    let inventory = inventory::build(&plan, &fleet, &material).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let written = inventory::write(dir.path(), &inventory).unwrap();
    for file in [&written.ini, &written.yaml] {
        let failed = [("ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED", "True")];
        let hosts = hostvars(file, &failed);
        assert_eq!(hosts.keys().collect::<Vec<_>>(), words, "{}", file.display());
    }
}
