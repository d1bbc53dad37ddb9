//! The roles by plain `ansible-playbook`, on nodes that hactl made: converge, again, check mode, the live
//! services, a much changed set of variables, and back. `tests/roles/run` does the same on any inventory.

use std::{path::Path, process::Command};

use crate::common::{Bench, docker, steps::Steps};

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
            .env("ANSIBLE_PLAYBOOK", &ansible.ansible_playbook)
            .env("ANSIBLE_STRATEGY", "mitogen_linear")
            .env("ANSIBLE_STRATEGY_PLUGINS", &ansible.mitogen_strategy_dir)
            .env("ANSIBLE_ROLES_PATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("roles"))
            .status()
            .unwrap();
        assert!(run.success(), "tests/roles/run failed: its output is above");
    });

    steps.step("packages, on a machine that resolves no name, fail with the cause that apt-get gives", || {
        let resolver = |text: &str| docker(&["exec", "t-roles-node1", "sh", "-c", text]);
        resolver("cp /etc/resolv.conf /root/ && echo nameserver 127.0.0.9 > /etc/resolv.conf");
        let run = Command::new(&ansible.ansible_playbook)
            .args(["--inventory", &inventory.display().to_string(), "--limit", "node1", "--tags", "common"])
            .args(["--extra-vars", "{\"common_packages\": [\"hello\"], \"hactl_digest\": \"\"}"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks/patroni-cluster.yml"))
            .env("ANSIBLE_ROLES_PATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("roles"))
            .output()
            .unwrap();
        resolver("cat /root/resolv.conf > /etc/resolv.conf");
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(!run.status.success() && said.contains("Temporary failure resolving"), "{said}");
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
