//! Failover, proved on real nodes: `up` proves what it made, drills strike and pass, the positive
//! control loses what it must, and clusters that are broken on purpose are caught.
//!
//! One cluster serves all steps. `make test-long` adds the whole catalogue and hactl killed in the
//! middle of every drill.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    time::{Duration, Instant},
};

use crate::common::{Bench, application::Application, docker, steps::Steps};
use nix::sys::signal::Signal;
use serde_json::Value;

const NAME: &str = "t-verify";
const NODES: [&str; 3] = ["node1", "node2", "node3"];
const FILE: &str = "name: t-verify
instances:
  node1: {}
  node2: {}
  node3: {}
defaults: {memory: 768, cores: 1, disk_gb: 1}
";

#[test]
fn cluster_with_three_nodes_proves_its_failover() {
    let bench = Bench::new(NAME, FILE);
    let mut steps = Steps::new();

    steps.must("up, with a new cluster, proves its failover once", || {
        bench.act(&["up", NAME]);
        let proof = report(&bench);
        assert_eq!(titles(&proof), ["switchover", "postgres-crash"]);
        assert!(all(&proof, "passed") && sum(&proof, "lost") == 0 && sum(&proof, "acknowledged") > 400, "{proof:#}");
        let again = bench.act(&["up", NAME]);
        assert!(again["stages"].as_array().unwrap().iter().all(|stage| stage["stage"] != "verify"), "{again}");
    });

    steps.step("drills, with an application that writes, lose no row and a second oracle agrees", || {
        let drills = ["node-loss", "primary-isolated", "etcd-quorum-loss", "disk-full"];
        let words: Vec<&str> = drills.iter().flat_map(|drill| ["--drill", drill]).collect();
        let application = Application::start(bench.status()["dsn"].as_str().unwrap(), 1);
        bench.act(&[&["verify", NAME], &words[..]].concat());
        let written = application.finish();
        println!("   an application wrote {written} rows meanwhile, and has them all");
        assert!(written > 100, "{written}");
        let verdict = report(&bench);
        assert_eq!(titles(&verdict), drills);
        assert!(all(&verdict, "passed") && sum(&verdict, "split_brain") == 0, "{verdict:#}");
        for drill in verdict["drills"].as_array().unwrap() {
            let round = &drill["rounds"][0];
            assert!(round["write_gap_ms"].as_u64() <= round["bound_ms"].as_u64(), "{round}");
            let moved = round["new_primary_node"].is_string();
            // Whether a primary with a full disk is replaced is not promised.
            assert!(drill["name"] == "disk-full" || moved == (drill["name"] != "etcd-quorum-loss"), "{round}");
        }
        other_oracle(&bench, &verdict);
    });

    steps.step("adopted cluster file, for the same machines, is read and drilled", || {
        adopted(&bench);
    });

    steps.step("self-test, with weaker durability, loses rows, and with the cluster's own loses none", || {
        bench.act(&["verify", NAME, "--self-test"]);
        let control = report(&bench);
        assert_eq!(
            titles(&control),
            [
                "self-test/watcher",
                "self-test/quorum-strict",
                "self-test/async",
                "self-test/guarded",
                "self-test/unguarded"
            ]
        );
        let watcher = &control["drills"][0];
        assert!(watcher["outcome"] == "passed" && watcher["lost"] == 0, "{watcher:#}");
        let lost = [1, 2, 3, 4].map(|index| control["drills"][index]["lost"].as_u64().unwrap());
        assert!(lost[0] == 0 && lost[1] > 0 && lost[2] == 0 && lost[3] > 0, "{control:#}");
        other_oracle(&bench, &control);
    });

    steps.step("acknowledged row, deleted during a drill, is found to be lost", || {
        deleted_row(&bench);
    });

    steps.step("verify, with a database or table of its name that it did not make, drops nothing", || {
        unmarked(&bench);
    });

    steps.step("up, with a declared database dropped, creates it again", || {
        superuser(&leader(&bench), "postgres", "DROP DATABASE app");
        assert!(bench.status()["problems"].to_string().contains("database-missing"));
        bench.act(&["up", NAME, "--no-verify"]);
        healthy_within(&bench, Duration::from_secs(30));
    });

    steps.step("drill, after SIGINT, takes its fault back", || {
        interrupted(&bench);
    });

    steps.step("verify, with the lease guard stopped on the primary, is refused", || {
        without_guard(&bench);
    });

    steps.step("verify, with synchronous_commit off for the role, is refused", || {
        lowered_role(&bench);
    });

    steps.step("verify, with synchronous mode off, is refused", || {
        lowered_mode(&bench);
    });

    steps.step("verify, with Patroni stopped on the replicas, is refused", || {
        replicas_without_patroni(&bench);
    });

    steps.step("drill, with a fault without effect, fails", || {
        fault_without_effect(&bench);
    });

    steps.step("drills, with a bound above the longest allowed interruption, are refused", || {
        bench.act(&["verify", NAME, "--drill", "all", "--max-interruption", "1"]);
        let none = report(&bench);
        assert!(none["drills"].as_array().unwrap().iter().all(|drill| drill["outcome"] == "refused"), "{none:#}");
        let (code, _) = bench.fail(&["verify", NAME, "--drill", "node-loss", "--max-interruption", "1"]);
        assert_eq!(code, 1);
    });

    steps.step("verify, with an unknown drill, fails and names the nearest drill", || {
        let (code, error) = bench.fail(&["verify", NAME, "--drill", "node-los"]);
        assert!(code == 2 && error["hint"].as_str().unwrap().contains("node-loss"), "{error}");
    });

    if std::env::var_os("HACTL_TEST_LONG").is_some() {
        let whole = steps.step("drills, with the whole catalogue, pass", || {
            bench.act(&["verify", NAME, "--drill", "all"]);
            let whole = report(&bench);
            let (refused, ran): (Vec<_>, Vec<_>) =
                whole["drills"].as_array().unwrap().iter().partition(|drill| drill["outcome"] == "refused");
            let refused: Vec<_> = refused.iter().map(|drill| &drill["name"]).collect();
            // Three machines do not survive the loss of two, and the cluster has no entry point.
            assert_eq!(refused, ["double-loss", "pooler-crash", "proxy-crash", "pool-exhausted"]);
            assert!(ran.iter().all(|drill| drill["outcome"] == "passed" || drill["outcome"] == "skipped"), "{whole:#}");
            assert_eq!(sum(&whole, "lost"), 0, "{whole:#}");
            titles(&whole)
        });

        steps.needs(
            &whole,
            "cluster, after hactl is killed in every drill, is healthy within the deadline",
            |titles| {
                for title in titles {
                    killed(&bench, title);
                }
            },
        );

        steps.step("soak, with ten rounds, passes", || {
            bench.act(&["verify", NAME, "--drill", "soak", "--rounds", "10", "--seed", "1"]);
        });
    }

    steps.step("nodes, after all drills, have nothing left of them", || {
        assert_eq!(leftovers(&bench), "");
    });
    steps.finish();
}

#[test]
fn cluster_with_one_data_node_is_reported_as_not_proved() {
    let bench = Bench::new("t-verify-one", "instances: {node1: {}}\ndefaults: {memory: 768, cores: 1}\n");
    let summary = bench.act(&["up", "t-verify-one"]);
    assert!(summary["message"].as_str().unwrap().contains("not proved: one data node"), "{summary}");
    let (code, error) = bench.fail(&["verify", "t-verify-one", "--drill", "node-loss"]);
    assert_eq!(code, 1, "{error}");
    assert!(error["causes"][0].as_str().unwrap().contains("machines with PostgreSQL"), "{error}");
}

/// Everything about it is read from its machines: TLS, client certificates, passwords, timers.
fn adopted(bench: &Bench) {
    fs::copy(bench.client().join("id_ed25519"), bench.path("id")).unwrap();
    // The keys are not the members' names.
    let instances: String = (1..)
        .zip(NODES)
        .map(|(number, node)| format!("  pg{number}: {{address: {}}}\n", bench.address(node)))
        .collect();
    let file = format!("adopted: true\nplatform: {{hosts: {{ssh: {{key: id}}}}}}\ninstances:\n{instances}");
    fs::write(bench.path("t-seen.yaml"), file).unwrap();
    let done = bench.hactl(&["status", "t-seen"]);
    let status: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert!(status["healthy"] == true && status["notices"].as_array().unwrap().is_empty(), "{status:#}");
    assert_eq!(status["durability"], "quorum-strict", "{status:#}");
    assert!(status["leader"].as_str().unwrap().starts_with("pg"), "{status:#}");
    bench.act(&["verify", "t-seen", "--yes", "--drill", "switchover"]);
    let done = bench.hactl(&["report", "t-seen"]);
    let verdict: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(verdict["drills"][0]["outcome"], "passed", "{verdict:#}");
    assert_eq!(
        (verdict["path"].as_str(), verdict["timers"]["ttl"].as_u64()),
        (Some("direct"), Some(20)),
        "{verdict:#}"
    );
}

/// Deletes a row of a running round behind everybody's back.
fn deleted_row(bench: &Bench) {
    let mut running = bench.follow(&["verify", NAME, "--drill", "switchover"]);
    running.wait_for("strike", |event| words(event).contains("in effect"));
    let primary = leader(bench);
    let deleted = superuser(
        &primary,
        "hactl_verify",
        "DELETE FROM switchover_1 WHERE client = 1 AND seq = (SELECT min(seq) FROM switchover_1 WHERE client = 1) RETURNING seq",
    );
    assert!(!deleted.is_empty(), "no row was deleted");
    let (code, error) = running.end_in_error();
    assert_eq!(code, 4, "{error}");
    let verdict = report(bench);
    assert_eq!((sum(&verdict, "lost"), all(&verdict, "failed")), (1, true), "{verdict:#}");
    // The journals of a round that failed are beside the report.
    let journals = verdict["drills"][0]["rounds"][0]["journals"].as_str().expect("journals of the failed round");
    for node in NODES {
        let said = fs::read_to_string(bench.kept(&format!("runs/latest/{journals}/{node}.log"))).unwrap();
        assert!(said.contains("patroni[") && !said.contains("hactl_verify@"), "{node}: {said:.2000}");
    }
}

/// A database of the drills' name with rows of a user, then a table of a user in the drills' own database.
fn unmarked(bench: &Bench) {
    let primary = leader(bench);
    let ask = |database: &str, sql: &str| superuser(&primary, database, sql);
    ask("postgres", "CREATE DATABASE hactl_verify");
    ask("hactl_verify", "CREATE TABLE mine AS SELECT 42 AS answer");
    let (code, error) = bench.fail(&["verify", NAME, "--drill", "postgres-crash"]);
    assert!(code == 1 && error["code"] == "drill-database" && error.to_string().contains("mark"), "{error}");
    assert_eq!(ask("hactl_verify", "SELECT answer FROM mine").trim(), "42");
    ask("postgres", "DROP DATABASE hactl_verify");

    let mut running = bench.follow(&["verify", NAME, "--drill", "postgres-crash"]);
    running.wait_for("strike", |event| words(event).contains("undo armed") || words(event).contains("injecting"));
    running.kill();
    healthy_within(bench, Duration::from_secs(60));
    let primary = leader(bench);
    superuser(&primary, "hactl_verify", "CREATE TABLE mine AS SELECT 42 AS answer");
    let (code, error) = bench.fail(&["verify", NAME, "--drill", "postgres-crash"]);
    assert!(code == 1 && error.to_string().contains("mine"), "{error}");
    superuser(&primary, "hactl_verify", "DROP TABLE mine");
    bench.act(&["verify", NAME, "--drill", "postgres-crash"]);
}

fn interrupted(bench: &Bench) {
    let mut running = bench.follow(&["verify", NAME, "--drill", "primary-isolated"]);
    running.wait_for("effect", |event| words(event).contains("in effect"));
    running.signal(Signal::SIGINT);
    let (code, _) = running.end();
    assert_eq!(code, 130);
    assert_eq!(leftovers(bench), "");
    healthy_within(bench, Duration::from_secs(90));
}

/// Nothing would stop a primary that outlives its Patroni.
fn without_guard(bench: &Bench) {
    let primary = leader(bench);
    on(&primary, &["systemctl", "stop", "hactl-lease-guard"]);
    let (code, error) = bench.fail(&["verify", NAME, "--drill", "switchover"]);
    on(&primary, &["systemctl", "start", "hactl-lease-guard"]);
    assert!(code == 4 && error.to_string().contains("hactl-lease-guard is not running"), "{error}");
    healthy_within(bench, Duration::from_secs(30));
}

/// A role whose sessions wait for no replica.
fn lowered_role(bench: &Bench) {
    let primary = leader(bench);
    superuser(&primary, "postgres", "ALTER ROLE app SET synchronous_commit = false");
    let (code, error) = bench.fail(&["verify", NAME, "--drill", "switchover"]);
    superuser(&primary, "postgres", "ALTER ROLE app RESET synchronous_commit");
    assert!(code == 4 && error.to_string().contains("synchronous_commit"), "{error}");
    healthy_within(bench, Duration::from_secs(30));
}

/// Synchronous mode switched off in the DCS.
fn lowered_mode(bench: &Bench) {
    patronictl(&leader(bench), "synchronous_mode=off");
    std::thread::sleep(Duration::from_secs(8));
    let (code, error) = bench.fail(&["verify", NAME, "--drill", "switchover"]);
    patronictl(&leader(bench), "synchronous_mode=quorum");
    assert_eq!(code, 4, "{error}");
    healthy_within(bench, Duration::from_secs(30));
}

/// Patroni stopped on every replica: none could take over.
fn replicas_without_patroni(bench: &Bench) {
    let primary = leader(bench);
    let replicas: Vec<&str> = NODES.into_iter().filter(|node| *node != primary).collect();
    for node in &replicas {
        on(node, &["systemctl", "stop", "patroni"]);
    }
    let (code, error) = bench.fail(&["verify", NAME, "--drill", "node-loss"]);
    for node in &replicas {
        on(node, &["systemctl", "start", "patroni"]);
    }
    assert_eq!(code, 4, "{error}");
    healthy_within(bench, Duration::from_secs(90));
}

/// The rules that cut the primary off never reach the kernel.
fn fault_without_effect(bench: &Bench) {
    let primary = leader(bench);
    let deaf = "printf '#!/bin/sh\\n' >/usr/local/sbin/nft && chmod 755 /usr/local/sbin/nft";
    on(&primary, &["sh", "-c", deaf]);
    let (code, error) = bench.fail(&["verify", NAME, "--drill", "primary-isolated"]);
    on(&primary, &["rm", "/usr/local/sbin/nft"]);
    assert!(code == 4 && error.to_string().contains("did not take effect"), "{error}");
    healthy_within(bench, Duration::from_secs(30));
}

/// `kill -9` while the fault is in place: what was armed takes it back by the deadline that was printed, and the
/// cluster heals well before the other.
fn killed(bench: &Bench, title: &str) {
    let mut running = bench.follow(&["verify", NAME, "--drill", title]);
    let mut deadline = Duration::ZERO;
    running.wait_for("strike", |event| words(event).contains("in effect") || event["type"] == "summary");
    for event in &running.seen {
        let words = words(event);
        if let Some((_, seconds)) = words.split_once("within ").filter(|_| words.contains("undo armed")) {
            deadline = Duration::from_secs(seconds.split(' ').next().unwrap().parse().unwrap());
        }
    }
    running.kill();
    println!("   {title}: killed; deadline {} s", deadline.as_secs());
    healthy_within(bench, deadline + Duration::from_secs(120));
}

/// The verdict of the last run.
fn report(bench: &Bench) -> Value {
    let text = fs::read(bench.kept("runs/latest/report.json")).unwrap();
    let verdict: Value = serde_json::from_slice(&text).unwrap();
    crate::common::fits("report", [verdict.clone()]);
    verdict
}

/// `name/variant` of the drills that were not skipped.
fn titles(verdict: &Value) -> Vec<String> {
    let drills = verdict["drills"].as_array().unwrap().iter();
    drills
        .filter(|drill| drill["outcome"] != "skipped" && drill["outcome"] != "refused")
        .map(|drill| match drill["variant"].as_str() {
            Some(variant) => format!("{}/{variant}", drill["name"].as_str().unwrap()),
            None => drill["name"].as_str().unwrap().to_owned(),
        })
        .collect()
}

fn all(verdict: &Value, outcome: &str) -> bool {
    verdict["drills"]
        .as_array()
        .unwrap()
        .iter()
        .all(|drill| drill["outcome"] == outcome || drill["outcome"] == "skipped")
}

fn sum(verdict: &Value, count: &str) -> u64 {
    verdict["drills"].as_array().unwrap().iter().map(|drill| drill[count].as_u64().unwrap()).sum()
}

/// Judges history.jsonl again, with nothing of hactl's: acknowledged and not found is lost.
fn other_oracle(bench: &Bench, verdict: &Value) {
    let text = fs::read_to_string(bench.kept("runs/latest/history.jsonl")).unwrap();
    let (mut acknowledged, mut found) = (BTreeSet::new(), BTreeMap::<String, BTreeSet<(u64, u64)>>::new());
    let mut lost = Vec::new();
    let (mut attempts, mut rounds) = (0, 0);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let number = |field: &str| line[field].as_u64().unwrap();
        match line["type"].as_str().unwrap() {
            "attempt" => {
                attempts += 1;
                if line["outcome"] == "acknowledged" {
                    acknowledged.insert((number("client"), number("seq")));
                }
            }
            "found" => {
                let node = found.entry(line["node"].as_str().unwrap().to_owned()).or_default();
                for range in line["ranges"].as_array().unwrap() {
                    let (first, last) = (range[0].as_u64().unwrap(), range[1].as_u64().unwrap());
                    node.extend((first..=last).map(|seq| (number("client"), seq)));
                }
            }
            "round-ended" => {
                let there = &found[line["primary"].as_str().unwrap()];
                lost.push(acknowledged.difference(there).count() as u64);
                acknowledged.clear();
                found.clear();
                rounds += 1;
            }
            _ => {}
        }
    }
    let counted: Vec<u64> = verdict["drills"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|drill| drill["rounds"].as_array().unwrap())
        .map(|round| round["lost"].as_u64().unwrap())
        .collect();
    assert_eq!(lost, counted);
    assert_eq!(attempts, sum(verdict, "attempted"), "{rounds} rounds");
}

fn words(event: &Value) -> String {
    event["step"].as_str().unwrap_or_default().to_owned()
}

fn leader(bench: &Bench) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(leader) = bench.status()["leader"].as_str() {
            return leader.to_owned();
        }
        assert!(Instant::now() < deadline, "no leader");
    }
}

fn on(node: &str, command: &[&str]) -> String {
    let container = format!("{NAME}-{node}");
    let done = Command::new("docker").args(["exec", &container]).args(command).output().unwrap();
    assert!(done.status.success(), "{command:?} on {node}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

fn superuser(node: &str, database: &str, statement: &str) -> String {
    on(node, &["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-d", database, "-c", statement])
}

fn patronictl(node: &str, setting: &str) {
    on(node, &["patronictl", "-c", "/etc/patroni/patroni.yml", "edit-config", "--quiet", "--force", "-s", setting]);
}

fn healthy_within(bench: &Bench, patience: Duration) {
    let started = Instant::now();
    loop {
        let status = bench.status();
        if status["healthy"] == true {
            println!("   healthy after {:.1} s", started.elapsed().as_secs_f64());
            return;
        }
        assert!(started.elapsed() < patience, "{:#}", status["problems"]);
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// What the drills would have left: database, role, unused slots, files, tables, units.
fn leftovers(bench: &Bench) -> String {
    healthy_within(bench, Duration::from_secs(90));
    let sql = "SELECT datname FROM pg_database WHERE datname = 'hactl_verify' \
               UNION ALL SELECT rolname FROM pg_roles WHERE rolname = 'hactl_verify' \
               UNION ALL SELECT slot_name FROM pg_replication_slots WHERE NOT active";
    let mut found = superuser(&leader(bench), "postgres", sql);
    for node in NODES {
        let script = "ls /run | grep hactl-undo; nft list tables | grep hactl_drill; \
                      systemctl list-units --all --plain --no-legend 'hactl-undo-*' 'hactl-canary-*'; true";
        found += &on(node, &["sh", "-c", script]);
    }
    let running = docker(&["ps", "-q", "--filter", &format!("label=hactl.cluster={NAME}")]);
    assert_eq!(running.lines().count(), 3);
    found
}
