//! The roles by plain `ansible-playbook`, on nodes that hactl made: converge, again, check mode, the live
//! services, a much changed set of variables, and back. `tests/roles/run` does the same on any inventory.

use std::{path::Path, process::Command};

use crate::common::{Bench, steps::Steps};

const FILE: &str = "name: t-roles
instances:
  node1: {}
  node2: {}
  node3: {}
defaults: {memory: 768, cores: 1}
";

#[test]
fn roles_with_other_variables_converge_change_and_go_back() {
    let bench = Bench::new("t-roles", FILE);
    let mut steps = Steps::new();
    steps.must("up, without a cluster, makes one", || bench.up());
    let inventory = bench.kept("inventory/patroni-cluster.ini");
    let ansible = crate::common::ansible();
    steps.step("roles, by plain ansible-playbook, converge, change and go back", || {
        let run = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/roles/run"))
            .arg(&inventory)
            .env("ANSIBLE_PLAYBOOK", ansible.ansible_playbook)
            .env("ANSIBLE_STRATEGY", "mitogen_linear")
            .env("ANSIBLE_STRATEGY_PLUGINS", ansible.mitogen_strategy_dir)
            .env("ANSIBLE_ROLES_PATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("roles"))
            .status()
            .unwrap();
        assert!(run.success(), "tests/roles/run failed: its output is above");
    });

    if std::env::var_os("HACTL_TEST_LONG").is_some() {
        // Third-party strategies may leave Ansible one day: the roles must do without.
        steps.step("configure, without Mitogen, succeeds", || {
            let plain = bench.act(&["configure", "t-roles", "--no-mitogen"]);
            assert_eq!(plain["ok"], true, "{plain}");
        });
    }
    steps.finish();
}
