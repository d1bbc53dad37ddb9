//! A cluster that hactl did not make: put together by hand, with names, ports and paths of its own, nothing served by
//! TLS, and a user who needs sudo. Looked at, drilled, and left as it was.

use std::{fs, process::Command, time::Duration};

use crate::common::{Bench, docker, steps::Steps};
use serde_json::Value;

const MACHINES: &str = "t-adopted";
const NAME: &str = "t-found";
const NODES: [&str; 3] = ["alpha", "beta", "gamma"];
/// Of the hand-made cluster's superuser.
const PASSWORD: &str = "a hand-made: password #1";

#[test]
fn adopted_cluster_made_by_hand_is_read_and_drilled() {
    let bench =
        Bench::new(MACHINES, "instances: {alpha: {}, beta: {}, gamma: {}}\ndefaults: {memory: 768, cores: 1}\n");
    let mut steps = Steps::new();
    let addresses = steps.must("cluster, made by hand, runs on three machines", || {
        bench.act(&["provision", MACHINES]);
        let addresses = NODES.map(|node| bench.address(node));
        by_hand(&bench, &addresses);
        addresses
    });

    let status = steps.must("status, with addresses, user and key alone, finds a healthy cluster", || {
        let instances: String =
            NODES.iter().zip(&addresses).map(|(node, address)| format!("  {node}: {{address: {address}}}\n")).collect();
        let file =
            format!("adopted: true\nplatform: {{hosts: {{ssh: {{user: admin, key: id}}}}}}\ninstances:\n{instances}");
        fs::write(bench.path(&format!("{NAME}.yaml")), file).unwrap();
        until_healthy(&bench)
    });

    steps.step("status, of a cluster with names of its own, shows members, durability and fencing", || {
        assert_eq!(status["durability"], "sync", "{status:#}");
        assert_eq!(status["members"].as_array().unwrap().len(), 3, "{status:#}");
        assert_eq!(status["etcd"]["members"].as_array().unwrap().len(), 3, "{status:#}");
        for member in
            [&status["members"], &status["etcd"]["members"]].into_iter().flat_map(|list| list.as_array().unwrap())
        {
            assert!(NODES.contains(&member["name"].as_str().unwrap()), "{member}");
        }
        assert!(status["fencing"].as_str().unwrap().starts_with("nothing on alpha, beta, gamma"), "{status:#}");
    });

    steps.step("status, of a cluster without TLS, names the ports and counts the cluster as healthy", || {
        let plain: Vec<&Value> =
            status["notices"].as_array().unwrap().iter().filter(|notice| notice["code"] == "without-tls").collect();
        assert_eq!(plain.len(), 3, "{status:#}");
        assert_eq!(plain[0]["message"], "served without TLS: PostgreSQL (5433), Patroni (8010), etcd (23790)");
    });

    steps.step("commands that change a cluster, for an adopted one, are refused", || {
        for command in ["up", "plan", "provision", "configure", "inventory", "fetch", "down"] {
            let done = bench.hactl(&[command, NAME]);
            let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            assert_eq!(done.status.code(), Some(2), "{command}: {said}");
            assert!(said.contains("adopted") && said.contains(&format!("`hactl status {NAME}`")), "{command}: {said}");
        }
    });

    steps.step("drills, on an adopted cluster, pass or are skipped with a reason", || {
        let drills = ["switchover", "primary-isolated", "patroni-crash/restart", "node-loss"];
        let words: Vec<&str> = drills.iter().flat_map(|drill| ["--drill", drill]).collect();
        bench.act(&[&["verify", NAME, "--yes"], &words[..]].concat());
        let verdict = report(&bench);
        let outcomes: Vec<String> = verdict["drills"]
            .as_array()
            .unwrap()
            .iter()
            .map(|drill| format!("{} {}", title(drill), drill["outcome"].as_str().unwrap()))
            .collect();
        let expected =
            ["switchover passed", "patroni-crash/restart skipped", "node-loss skipped", "primary-isolated passed"];
        assert_eq!(outcomes, expected, "{verdict:#}");
        let reason = |index: usize| verdict["drills"][index]["reason"].as_str().unwrap();
        assert!(reason(1).contains("unit patroni@main does not restart Patroni (Restart=no)"), "{verdict:#}");
        assert!(reason(2).contains("hactl cannot power these machines back on"), "{verdict:#}");
        // Its pg_hba lets only members in.
        assert_eq!(
            (verdict["platform"].as_str(), verdict["path"].as_str()),
            (Some("hosts"), Some("tunnel")),
            "{verdict:#}"
        );
        assert!(verdict["stamps"].to_string().contains("without TLS"), "{verdict:#}");
        assert_eq!(verdict["timers"]["loop_wait"], 2, "{verdict:#}");
        for drill in verdict["drills"].as_array().unwrap().iter().filter(|drill| drill["outcome"] == "passed") {
            assert_eq!(drill["lost"], 0, "{drill:#}");
            assert!(drill["acknowledged"].as_u64() > Some(200), "{drill:#}");
        }
    });

    if std::env::var_os("HACTL_TEST_LONG").is_some() {
        steps.step("drills, with the whole catalogue, pass", || {
            bench.act(&["verify", NAME, "--yes", "--drill", "all"]);
        });
    }

    steps.step("drills, after their end, leave nothing on the machines and no password on disk", || {
        for node in NODES {
            let left = on(
                node,
                "ls /run | grep hactl; systemctl list-units --all --plain --no-legend 'hactl-*'; nft list tables",
            );
            assert!(!left.contains("hactl"), "{node}: {left}");
        }
        let databases = on(NODES[0], "runuser -u postgres -- psql -p 5433 -XAtc 'SELECT datname FROM pg_database'");
        assert!(databases.contains("template1") && !databases.contains("hactl_verify"), "{databases}");
        let found = Command::new("grep").args(["-rlF", PASSWORD]).arg(bench.path(".hactl")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    });

    steps.step("status, with Patroni stopped on a member, names the member", || {
        on(NODES[1], "systemctl stop patroni@main");
        let done = bench.hactl(&["status", NAME]);
        let status: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(done.status.code(), Some(1), "{status:#}");
        let seen = status["problems"].as_array().unwrap();
        assert!(
            seen.iter().any(|problem| problem["node"] == "beta" && problem["code"] == "patroni-silent"),
            "{status:#}"
        );
    });
    steps.step("down, of the machines, succeeds", || bench.act(&["down", MACHINES, "--yes"]));
    steps.finish();
}

/// etcd, Patroni and PostgreSQL as set up by another tool.
fn by_hand(bench: &Bench, addresses: &[String; 3]) {
    let keygen =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(bench.path("id")).status();
    assert!(keygen.unwrap().success());
    let key = fs::read_to_string(bench.path("id.pub")).unwrap();
    let peers: Vec<String> =
        (1..).zip(addresses).map(|(number, address)| format!("dcs-{number}=http://{address}:23800")).collect();
    // Only the members themselves.
    let hba: String = addresses
        .iter()
        .map(|address| format!("    - host all,replication all {address}/32 scram-sha-256\n"))
        .collect();
    for ((node, address), number) in NODES.iter().zip(addresses).zip(1..) {
        let script = SETUP
            .replace("@KEY@", key.trim())
            .replace("@N@", &format!("{number}"))
            .replace("@ADDRESS@", address)
            .replace("@PEERS@", &peers.join(","))
            .replace("@HOSTS@", &addresses.each_ref().map(|address| format!("'{address}:23790'")).join(", "))
            .replace("@HBA@", hba.trim_end())
            .replace("@PASSWORD@", PASSWORD);
        on(node, &script);
    }
}

const SETUP: &str = r#"set -eu
useradd --create-home --shell /bin/bash admin
install -d -m 700 -o admin -g admin ~admin/.ssh
echo '@KEY@' >~admin/.ssh/authorized_keys
chown admin:admin ~admin/.ssh/authorized_keys
echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin
cat >/etc/systemd/system/dcs.service <<'END'
[Service]
Type=notify
ExecStart=/usr/local/bin/etcd --name dcs-@N@ --data-dir /var/lib/dcs --initial-cluster @PEERS@ --initial-cluster-state new --listen-client-urls http://0.0.0.0:23790 --advertise-client-urls http://@ADDRESS@:23790 --listen-peer-urls http://0.0.0.0:23800 --initial-advertise-peer-urls http://@ADDRESS@:23800
Restart=always
END
install -d -m 755 /etc/patroni
install -d -m 700 -o postgres -g postgres "/srv/pg data"
cat >/etc/patroni/main.yml <<'END'
scope: by-hand
namespace: /db/
name: pg_@N@
restapi:
  listen: 0.0.0.0:8010
  connect_address: @ADDRESS@:8010
  authentication: {username: operator, password: 0815}
etcd3:
  hosts: [@HOSTS@]
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 2
    retry_timeout: 5
    primary_stop_timeout: 15
    failsafe_mode: true
    synchronous_mode: true
    postgresql: {use_pg_rewind: true}
  initdb: [data-checksums]
postgresql:
  listen: 0.0.0.0:5433
  connect_address: @ADDRESS@:5433
  data_dir: "/srv/pg data/main"
  bin_dir: /usr/lib/postgresql/15/bin
  parameters: {unix_socket_directories: /var/run/postgresql}
  pg_hba:
    - local all all peer
    - host all,replication all 127.0.0.1/32 scram-sha-256
@HBA@
  authentication:
    superuser: {username: postgres, password: '@PASSWORD@'}
    replication: {username: standby, password: streams}
    rewind: {username: rewind, password: rewinds}
END
chown postgres:postgres /etc/patroni/main.yml
chmod 600 /etc/patroni/main.yml
patroni=$(ls -d /opt/patroni-*/bin/patroni)
cat >/etc/systemd/system/patroni@.service <<END
[Service]
User=postgres
ExecStart=$patroni /etc/patroni/%i.yml
KillMode=process
Restart=no
RuntimeDirectory=postgresql
RuntimeDirectoryPreserve=yes
END
systemctl daemon-reload
systemctl start --no-block dcs patroni@main
"#;

/// Runs a script on a machine, and gives what it printed.
fn on(node: &str, script: &str) -> String {
    docker(&["exec", &format!("{MACHINES}-{node}"), "bash", "-c", script])
}

fn until_healthy(bench: &Bench) -> Value {
    let mut last = String::new();
    for _ in 0..40 {
        let done = bench.hactl(&["status", NAME]);
        last = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        if done.status.success() {
            return serde_json::from_slice(&done.stdout).unwrap();
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("it did not become healthy: {last}");
}

fn report(bench: &Bench) -> Value {
    let done = bench.hactl(&["report", NAME]);
    serde_json::from_slice(&done.stdout).unwrap()
}

fn title(drill: &Value) -> String {
    let name = drill["name"].as_str().unwrap();
    drill["variant"].as_str().map_or_else(|| name.to_owned(), |variant| format!("{name}/{variant}"))
}
