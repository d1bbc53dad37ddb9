//! A machine that lets in a user who needs sudo, and nobody but by way of a bastion: configured, looked at, drilled, and
//! reached by `ssh` and `psql` like any other.

use std::{fs, process::Command};

use crate::common::{Bench, docker, give_to_sudo_user, steps::Steps};
use serde_json::{Value, json};

const NAME: &str = "t-ssh";

#[test]
fn cluster_behind_a_bastion_is_configured_and_drilled_by_a_sudo_user() {
    let bench = Bench::new(NAME, "instances: {node1: {}, way: {roles: []}}\ndefaults: {memory: 768, cores: 1}\n");
    bench.act(&["provision", NAME]);
    let (node, way) = (bench.address("node1"), bench.address("way"));

    let mut steps = Steps::new();
    steps.must("machine, with a sudo user, is reached through the bastion alone", || {
        for machine in ["node1", "way"] {
            give_to_sudo_user(&format!("{NAME}-{machine}"), "admin");
        }
        let filter = FILTER.replace("@WAY@", &way).replace("@OWN@", &node);
        on("node1", &filter);
        let fleet = bench.kept("fleet.json");
        let mut found: Value = serde_json::from_slice(&fs::read(&fleet).unwrap()).unwrap();
        let hop = found["nodes"]["way"]["ssh"].clone();
        let ssh = found["nodes"]["node1"]["ssh"].as_object_mut().unwrap();
        ssh.extend([
            ("host".to_owned(), json!(node)),
            ("port".to_owned(), json!(22)),
            ("user".to_owned(), json!("admin")),
            ("sudo".to_owned(), json!(true)),
            (
                "bastion".to_owned(),
                json!({"user": "admin", "host": hop["host"], "port": hop["port"], "host_key": hop["host_key"]}),
            ),
        ]);
        fs::write(&fleet, serde_json::to_vec(&found).unwrap()).unwrap();
    });

    steps.must("configure, through the bastion, makes a healthy cluster", || {
        let mut configure = vec!["configure", NAME];
        if std::env::var_os("HACTL_TEST_LONG").is_some() {
            configure.push("--no-mitogen");
        }
        bench.act(&configure);
        let status = bench.status();
        assert_eq!(status["healthy"], true, "{status:#}");
    });

    steps.step("ssh and psql, through the bastion, reach the machine", || {
    let said = |args: &[&str]| {
        let hactl = Command::new(env!("CARGO_BIN_EXE_hactl")).args(args).current_dir(bench.path("")).output();
        let done = hactl.unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    };
    assert_eq!(said(&["ssh", NAME, "node1", "--", "id", "-un"]), "admin");
    let asked =
        "SELECT host(inet_server_addr()), host(inet_client_addr()), ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(said(&["psql", NAME, "--", "-XAtc", asked]), format!("{node}|{node}|t"));
    let database = "SELECT current_database()";
    assert_eq!(said(&["psql", NAME, "--", "-XAtwc", database, "-d", "postgres"]), "postgres");
    let refused = Command::new("ssh")
        .args(["-F", bench.client().join("ssh_config").to_str().unwrap(), "-l", "root", "node1", "true"])
        .output()
        .unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("Permission denied"));
    });

    steps.step("drill, through the bastion, passes", || {
        bench.act(&["verify", NAME, "--yes", "--drill", "postgres-crash"]);
        let done = bench.hactl(&["report", NAME]);
        let report: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(
            (&report["path"], &report["drills"][0]["outcome"]),
            (&json!("tunnel"), &json!("passed")),
            "{report:#}"
        );
    });

    steps.step("status, with another host key on the bastion, names the bastion", || {
    on(
        "way",
        "rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; systemctl restart ssh",
    );
    let status = bench.status();
    assert!(
        status["problems"].to_string().contains("bastion")
            && status["problems"].to_string().contains("another host key")
    );
    });

    steps.step("down, with a changed host key, succeeds", || bench.act(&["down", NAME, "--yes"]));
    steps.finish();
}

/// Of everything that comes in from outside.
const FILTER: &str = "nft -f - <<'END'
table inet way {
  chain input {
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
    ip saddr { @WAY@, @OWN@ } accept
  }
}
END";

/// Runs a script on a machine.
fn on(node: &str, script: &str) -> String {
    let marked = format!("{script}\necho done");
    let said = docker(&["exec", &format!("{NAME}-{node}"), "bash", "-c", &marked]);
    assert!(said.ends_with("done\n"), "{node}: {said}");
    said
}
