//! The whole chain on real nodes: `up`, `status`, `psql`, TLS, lost nodes, kills in every stage, `down`.
//!
//! One cluster serves all steps in their order, since making one is what takes the time. Needs the
//! container engine, Terraform, psql and openssl; `make test` installs them.

use std::{net::TcpStream, process::Command, time::Duration};

use crate::common::{Bench, containers, docker, output, steps::Steps};

const FILE: &str = "name: t-up
instances:
  node1: {}
  node2: {}
  node3: {}
defaults: {memory: 768, cores: 1}
";

#[test]
fn cluster_with_three_nodes_runs_from_up_to_down() {
    let bench = Bench::new("t-up", FILE);
    let mut steps = Steps::new();

    steps.step("plan, without a cluster, creates all resources and no secrets", || {
        let done = bench.hactl(&["plan", "t-up"]);
        assert!(done.status.success(), "{}", text(&done));
        let planned: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        let changes = planned["changes"]["resources"].as_array().unwrap();
        assert!(changes.len() > 6 && changes.iter().all(|change| change["action"] == "create"), "{planned:#}");
        crate::common::fits("plan", [planned]);
        assert!(!bench.path("t-up.secrets.age").exists());
    });

    let dsn = steps.must("up, without a cluster, makes one", || {
        let summary = bench.up();
        assert_eq!(summary["ok"], true, "{summary}");
        let dsn = summary["dsn"].as_str().unwrap().to_owned();
        assert!(!dsn.contains("password="), "the connection string holds a password: {dsn}");
        dsn
    });

    steps.step("status, of the new cluster, shows three members of Patroni and of etcd", || {
        let status = bench.status();
        assert_eq!(status["healthy"], true, "{status:#}");
        assert_eq!(status["members"].as_array().unwrap().len(), 3);
        assert_eq!(status["etcd"]["members"].as_array().unwrap().len(), 3);
        assert_eq!(status["durability"], "quorum-strict");
        assert_eq!(status["dsn"], dsn.as_str());
    });

    let written = steps.step("connection string, used by psql, logs in as the owner over TLS and writes", || {
        bench.sql(&dsn, "CREATE TABLE proof (id int); INSERT INTO proof VALUES (1)");
        assert_eq!(
            bench.sql(&dsn, "SELECT current_user || ' ' || ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"),
            "app true"
        );
    });

    steps.step("psql command, with and without a database, connects to the primary", || {
        let asked = "SELECT current_database() || ' ' || current_user || ' ' || pg_is_in_recovery()";
        for (given, database) in [(&[][..], "app"), (&["-d", "postgres"], "postgres"), (&["postgres"], "postgres")] {
            let args = [&["psql", "t-up", "--", "-XAtwc", asked], given].concat();
            let done =
                Command::new(env!("CARGO_BIN_EXE_hactl")).args(args).current_dir(bench.path("")).output().unwrap();
            assert_eq!(
                String::from_utf8_lossy(&done.stdout).trim(),
                format!("{database} app false"),
                "{}",
                text(&done)
            );
        }
    });

    steps.step("up, with an unchanged cluster, changes nothing", || {
        let again = bench.up();
        assert_eq!(again["changed"], false, "{again}");
        let skipped = again["stages"]
            .as_array()
            .unwrap()
            .iter()
            .any(|stage| stage["stage"] == "configure" && stage["outcome"] == "skipped");
        assert!(skipped, "{again}");
    });

    steps.step("configure, with an unchanged cluster, runs Ansible without a change", || {
        let configured = bench.act(&["configure", "t-up"]);
        assert_eq!(configured["changed"], false, "{configured}");
    });

    steps.step("ports, with and without a client certificate, serve TLS and refuse writes without one", || {
        through_the_firewall(&bench, || tls(&bench, &bench.status()));
    });

    steps.step("up, during another up, fails and names the holder of the lock", || {
        let first = bench.spawn(&["up", "t-up"]);
        std::thread::sleep(Duration::from_millis(700));
        let second = bench.hactl(&["up", "t-up"]);
        assert_eq!(second.status.code(), Some(1), "{}", text(&second));
        assert!(text(&second).contains("held by `hactl up"), "{}", text(&second));
        let first = first.wait_with_output().unwrap();
        assert!(first.status.success(), "{}", text(&first));
    });

    steps.step("up, with a replica's container removed, repairs the replica", || {
        let leader = leader(&bench);
        let replica = ["node1", "node2", "node3"].into_iter().find(|node| *node != leader).unwrap();
        docker(&["rm", "-f", &format!("t-up-{replica}")]);
        assert_eq!(bench.up()["ok"], true);
        healthy(&bench);
    });

    steps.step("up, with the leader's container removed, repairs it", || {
        docker(&["rm", "-f", &format!("t-up-{}", leader(&bench))]);
        assert_eq!(bench.up()["ok"], true);
        healthy(&bench);
    });

    steps.needs(&written, "row, after the leader's container was removed, is kept", |()| {
        assert_eq!(bench.sql(&dsn, "SELECT count(*) FROM proof"), "1");
    });

    steps.step("up, with one voter removed and another stopped, repairs both", || {
        let running: Vec<String> = containers("t-up");
        docker(&["rm", "-f", &running[0]]);
        let kept = Command::new("docker").args(["stop", "-t", "0", &running[1]]).output().unwrap();
        assert!(kept.status.success());
        // The stopped one comes back with its data: only with two that are removed is the majority lost.
        assert_eq!(bench.up()["ok"], true);
        healthy(&bench);
    });

    for stage in ["fetch", "image", "provision", "inventory", "configure", "health"] {
        steps.step(&format!("up, after a kill in stage {stage}, converges"), || {
            if stage == "configure" {
                // A digest that does not match makes Ansible run.
                for container in containers("t-up") {
                    docker(&["exec", &container, "rm", "-f", "/etc/hactl/digest"]);
                }
            }
            let orphans = bench.kill_in_stage(stage);
            println!("   killed in {stage}; left behind: {orphans:?}");
            let (code, events) = bench.follow(&["up", "t-up"]).end();
            assert_eq!(code, 0, "after a kill in {stage}: {:#?}", events.last());
            if stage == "configure" {
                assert!(orphans.iter().any(|name| name.starts_with("ansible")), "{orphans:?}");
                let told = |event: &serde_json::Value| event["type"] == "warning" && event["code"] == "orphan-ended";
                assert!(events.iter().any(told), "no warning says that orphans were ended");
            }
            healthy(&bench);
        });
    }
    steps.step("up, after a kill between creation and start of a container, makes it again", || {
        docker(&["rm", "-f", "t-up-node2"]);
        let up = bench.follow(&["up", "t-up"]);
        half_made("t-up-node2");
        up.kill();
        println!(
            "   left behind: {}",
            docker(&["ps", "-a", "--filter", "name=t-up-node2", "--format", "{{.Status}}"]).trim()
        );
        assert_eq!(bench.up()["ok"], true);
        healthy(&bench);
    });

    if let Some(rounds) = std::env::var("HACTL_TEST_LONG").ok().and_then(|count| count.parse::<u32>().ok()) {
        steps.step("up, after kills at random moments, converges", || {
            // 1 is plain yes, as `make test-long` says it; another number is how many.
            for round in 0..if rounds == 1 { 20 } else { rounds } {
                // Anywhere in an `up` that repairs a node, or in the seconds of one that changes nothing.
                let repairs = round % 3 == 0;
                let wait = Duration::from_millis(rand::random_range(50..if repairs { 20_000 } else { 2_500 }));
                if repairs {
                    docker(&["rm", "-f", "t-up-node2"]);
                }
                let up = bench.follow(&["up", "t-up"]);
                std::thread::sleep(wait);
                up.kill();
                println!("   round {round}: killed after {wait:?}; left behind: {:?}", bench.lock_holders());
                assert_eq!(bench.up()["ok"], true);
                healthy(&bench);
            }
        });
    }

    steps.needs(&written, "row, after all repairs, is kept", |()| {
        assert_eq!(bench.sql(&dsn, "SELECT count(*) FROM proof"), "1");
    });

    steps.step("up, with two of three voters removed, is refused and names the loss", || {
        let gone = ["t-up-node1", "t-up-node3"];
        docker(&[&["rm", "-f"], &gone[..]].concat());
        voters_gone(&bench, &["2 of 3 etcd voters are gone", "node1, node3", "left: node2"]);
    });

    steps.step("up, with all voters removed and their volumes kept, is refused and names the loss", || {
        docker(&["rm", "-f", "t-up-node2"]);
        voters_gone(&bench, &["3 of 3 etcd voters are gone", "none is left"]);
    });

    steps.step("down, with `--yes`, leaves nothing", || {
        let down = bench.act(&["down", "t-up", "--yes"]);
        assert_eq!(down["ok"], true, "{down}");
        assert_eq!(bench.leftovers(), "");
    });
    steps.finish();
}

fn leader(bench: &Bench) -> String {
    bench.status()["leader"].as_str().expect("a leader").to_owned()
}

fn healthy(bench: &Bench) {
    let status = bench.status();
    assert_eq!(status["healthy"], true, "{status:#}");
    assert_eq!(status["members"].as_array().unwrap().len(), 3, "{status:#}");
}

/// `up` must refuse, say what would be lost, and make nothing.
fn voters_gone(bench: &Bench, words: &[&str]) {
    let before = bench.leftovers();
    let (code, error) = bench.fail(&["up", "t-up"]);
    assert_eq!((code, error["code"].as_str()), (1, Some("voters-gone")), "{error:#}");
    for word in [words, &["acknowledged commit", "hactl down t-up"]].concat() {
        assert!(error.to_string().contains(word), "no `{word}` in {error:#}");
    }
    assert_eq!(bench.leftovers(), before, "a refused up made something");
}

/// Waits until a container is there that was never started.
fn half_made(name: &str) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let filter = format!("name={name}");
    while docker(&["ps", "-aq", "--filter", &filter]).is_empty() {
        assert!(std::time::Instant::now() < deadline, "{name} was not made");
    }
}

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether a connection from this machine, which is no member and in the network of the machines, is accepted.
fn accepts(address: &str, port: u16) -> bool {
    let to = format!("{address}:{port}").parse().unwrap();
    TcpStream::connect_timeout(&to, Duration::from_secs(3)).is_ok()
}

fn accepted(bench: &Bench, node: &str) -> Vec<u16> {
    [2379, 2380, 5432, 8008].into_iter().filter(|port| accepts(&bench.address(node), *port)).collect()
}

/// Does `work` while the machines' firewalls let this machine in.
fn through_the_firewall(bench: &Bench, work: impl FnOnce()) {
    for node in ["node1", "node2", "node3"] {
        assert_eq!(accepted(bench, node), [5432], "{node}: the firewall");
        let rule = "nft insert rule inet hactl input tcp dport 2379-8008 accept";
        docker(&["exec", &format!("t-up-{node}"), "sh", "-c", rule]);
        assert_eq!(accepted(bench, node), [2379, 2380, 5432, 8008], "{node}: the ports");
    }
    work();
    for node in ["node1", "node2", "node3"] {
        docker(&["exec", &format!("t-up-{node}"), "systemctl", "reload", "hactl-firewall"]);
        assert_eq!(accepted(bench, node), [5432], "{node}: the firewall that was loaded again");
    }
}

fn tls(bench: &Bench, status: &serde_json::Value) {
    let client = bench.client();
    let host = bench.address("node1");
    let control = client.join("control-ca.pem").display().to_string();
    let postgres = client.join("ca-postgresql.pem").display().to_string();
    let s_client = |port: u16, more: &[&str]| {
        let connect = format!("{host}:{port}");
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &connect, "-verify_return_error", "-verify_ip", &host]).args(more);
        output(&mut command)
    };
    let (certificate, key) = (client.join("client.pem"), client.join("client.key"));
    let identity = ["-cert", certificate.to_str().unwrap(), "-key", key.to_str().unwrap()];
    for port in [2379, 8008] {
        let seen = s_client(port, &[&["-CAfile", &control], &identity[..]].concat());
        assert!(seen.contains("Verify return code: 0 (ok)"), "port {port}: {seen}");
    }
    let seen = s_client(5432, &["-starttls", "postgres", "-CAfile", &postgres]);
    assert!(seen.contains("Verify return code: 0 (ok)"), "port 5432: {seen}");
    // Only members have the peers' CA: the port speaks TLS and asks for a certificate.
    let seen = s_client(2380, &["-CAfile", &control]);
    assert!(seen.contains("Acceptable client certificate CA names"), "port 2380: {seen}");
    assert!(seen.contains("unable to get local issuer certificate"), "port 2380: {seen}");

    let curl = |url: &str, more: &[&str]| {
        let mut command = Command::new("curl");
        output(
            command.args(["-sS", "--max-time", "5", "--cacert", &control, "-w", " %{http_code}"]).args(more).arg(url),
        )
    };
    let ours = ["--cert", identity[1], "--key", identity[3]];
    let health = format!("https://{host}:2379/health");
    let refused = curl(&health, &[]);
    assert!(!refused.contains("health\":"), "etcd answers without a client certificate: {refused}");
    assert!(curl(&health, &ours).contains("\"health\":\"true\""), "{}", curl(&health, &ours));
    let leader = bench.address(status["leader"].as_str().unwrap());
    let config = format!("https://{leader}:8008/config");
    let patch = curl(&config, &["-X", "PATCH", "-d", "{\"ttl\": 21}"]);
    assert!(patch.ends_with(" 403"), "PATCH without a certificate: {patch}");
    let kept = curl(&config, &ours);
    assert!(kept.replace(' ', "").contains("\"ttl\":20"), "{kept}");
}
