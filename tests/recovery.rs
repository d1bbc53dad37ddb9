//! PostgreSQL 17 on Debian 13, under clients that write: logical slots survive a switchover, and a run that is killed or
//! that fails in between leaves a cluster that heals. A cluster for itself takes some minutes: `make test-long` runs it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::common::{Bench, application::Application, docker, steps::Steps};

const NAME: &str = "t-recovery";
const NODES: [&str; 3] = ["node1", "node2", "node3"];

/// The cluster file with these parameters, and what else is under `postgres`.
fn file(parameters: &str, postgres: &str) -> String {
    format!(
        "platform: {{local: {{image: 'debian:13'}}}}\ninstances: {{node1: {{}}, node2: {{}}, node3: {{}}}}\n\
         defaults: {{memory: 640, cores: 1}}\n\
         patroni: {{slots: {{events: {{type: logical, database: app, plugin: test_decoding}}}}}}\n\
         postgres: {{version: 17, parameters: {{wal_level: logical{parameters}}}{postgres}}}\n"
    )
}

fn node(key: &str, command: &str) -> String {
    docker(&["exec", &format!("{NAME}-{key}"), "sh", "-c", command]).trim().to_owned()
}

/// A query on one server, by its socket.
fn ask(key: &str, query: &str) -> String {
    node(key, &format!("runuser -u postgres -- psql -XAtq -c \"{query}\" app"))
}

/// The status of a cluster that is healthy, or becomes so.
fn healthy(bench: &Bench) -> Value {
    bench.healthy_within(Duration::from_secs(180))
}

fn primary(bench: &Bench) -> &'static str {
    let status = healthy(bench);
    NODES.into_iter().find(|key| status["leader"] == *key).unwrap()
}

/// Waits until a query gives this answer on these machines.
fn until(keys: &[&str], query: &str, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(90);
    for key in keys {
        let mut said = ask(key, query);
        while said != wanted {
            assert!(Instant::now() < deadline, "{key} says {said} to {query}");
            std::thread::sleep(Duration::from_millis(500));
            said = ask(key, query);
        }
    }
}

/// A client of a logical slot.
struct Consumer {
    slot: &'static str,
    read: BTreeSet<String>,
}

impl Consumer {
    fn new(slot: &'static str) -> Self {
        Self { slot, read: BTreeSet::new() }
    }

    /// Reads what the slot on the primary has, and moves the slot past it.
    fn consume(&mut self, primary: &str) {
        let changes =
            ask(primary, &format!("SELECT data FROM pg_logical_slot_get_changes('{}', NULL, NULL)", self.slot));
        let rows = changes.lines().filter_map(|line| line.strip_prefix("table public.orders: INSERT: id[bigint]:"));
        self.read.extend(rows.map(str::to_owned));
    }
}

#[test]
#[ignore = "a cluster for itself, several minutes: `make test-long` runs it"]
#[expect(clippy::too_many_lines, reason = "one cluster for all steps")]
fn slots_and_runs_that_break_off_leave_a_whole_cluster() {
    let bench = Bench::new(NAME, &file("", ""));
    let mut steps = Steps::new();
    let up = steps.must("up, without a cluster, makes one", || bench.up());
    let made = primary(&bench);
    ask(made, "SELECT pg_create_logical_replication_slot('copied', 'test_decoding', false, false, true)");
    let application = Application::start(up["dsn"].as_str().unwrap(), 2);
    let mut consumers = [Consumer::new("events"), Consumer::new("copied")];

    steps.step("switchover, with a slot of the file and one with failover, keeps both", || {
        let before = primary(&bench);
        until(&NODES, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'events'", "1");
        let replicas: Vec<&str> = NODES.into_iter().filter(|key| *key != before).collect();
        let synced =
            "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'copied' AND synced AND NOT temporary";
        until(&replicas, synced, "1");
        for consumer in &mut consumers {
            consumer.consume(before);
            println!("   {}: {} rows before", consumer.slot, consumer.read.len());
        }
        let (code, events) = bench.follow(&["switchover", NAME, "--yes"]).end();
        assert_eq!(code, 0, "{:#?}", events.last());
        let notes: Vec<&Value> = events.iter().filter(|event| event["code"] == "switchover-note").collect();
        assert!(notes.is_empty(), "{notes:#?}");
        let after = primary(&bench);
        assert_ne!(after, before);
        until(&[after], "SELECT count(*) FROM pg_replication_slots WHERE slot_name IN ('events', 'copied')", "2");
        for consumer in &mut consumers {
            let had = consumer.read.len();
            consumer.consume(after);
            println!("   {}: {} rows after", consumer.slot, consumer.read.len() - had);
            assert!(consumer.read.len() > had, "{} had nothing more", consumer.slot);
        }
    });

    // It needs a restart, and a member can have it alone: so the replica that tries it has it for some seconds.
    const TRIED: &str = "track_activity_query_size";
    steps.step("up that is killed while a replica tries a parameter leaves a timer that takes it back", || {
        bench.write_file(&file(&format!(", {TRIED}: 2048"), ""));
        let run = bench.follow(&["up", NAME, "--no-verify", "--yes"]);
        let tries = "grep -c hactl-parameters-canary /etc/patroni/patroni.yml || :";
        let deadline = Instant::now() + Duration::from_secs(240);
        let key = loop {
            if let Some(key) = NODES.into_iter().find(|key| node(key, tries) == "1") {
                break key;
            }
            assert!(Instant::now() < deadline, "no replica tries the parameter");
        };
        run.kill();
        // What Ansible had begun there ends.
        std::thread::sleep(Duration::from_secs(15));
        assert_eq!(bench.lock_holders(), Vec::<String>::new());
        assert_eq!(node(key, tries), "1", "{key}: it was taken back by somebody else");
        // What the timer runs, without the wait of ten minutes for it.
        let timer = "systemctl show -p SubState --value hactl-parameters-canary.timer; \
                     systemctl start hactl-parameters-canary.service";
        assert_eq!(node(key, timer), "waiting");
        healthy(&bench);
        for key in NODES {
            assert_eq!(ask(key, &format!("SHOW {TRIED}")), "1kB", "{key}");
            // Patroni's file has it for the start of a new cluster, and no server reads that.
            let left = format!(
                "grep -lI {TRIED} $(find /var/lib/postgresql/17/{NAME} -name 'postgresql*.conf' -o -name '*.json' -o \
                 -name postmaster.opts); grep -l hactl-parameters-canary /etc/patroni/patroni.yml; \
                 ls -d /run/hactl-parameters-* 2>/dev/null || :"
            );
            // The sample of the distribution has every name, as a comment.
            let left: String = node(key, &left).lines().filter(|path| !path.ends_with(".base.conf")).collect();
            assert_eq!(left, "", "{key}");
        }
        bench.up();
        healthy(&bench);
        for key in NODES {
            assert_eq!(ask(key, &format!("SHOW {TRIED}")), "2kB", "{key}");
        }
    });

    steps.step("up, with a Patroni that does not start again, ends its own pause", || {
        let leads = primary(&bench);
        let broken = NODES.into_iter().find(|key| *key != leads).unwrap();
        let start = "SELECT pg_postmaster_start_time()";
        let before = NODES.map(|key| ask(key, start));
        node(
            broken,
            "echo '# edited' >>/etc/systemd/system/patroni.service; mkdir /etc/systemd/system/patroni.service.d; \
             printf '[Service]\\nExecStartPre=/bin/false\\n' >/etc/systemd/system/patroni.service.d/broken.conf",
        );
        let changed = file(&format!(", {TRIED}: 2048"), ", access: [10.9.0.0/16]");
        bench.write_file(&changed);
        let (code, error) = bench.fail(&["up", NAME, "--no-verify", "--yes"]);
        assert_eq!(code, 1, "{error:#}");
        assert!(error.to_string().contains("patroni"), "{error:#}");
        let shown = node(leads, "patronictl -c /etc/patroni/patroni.yml show-config && echo read");
        assert!(shown.ends_with("read") && !shown.contains("pause"), "{shown}");
        assert_eq!(bench.status()["leader"], leads);
        assert_eq!(
            node(broken, "systemctl is-active --quiet patroni && echo runs || :"),
            "",
            "Patroni on {broken} runs"
        );
        assert_eq!(NODES.map(|key| ask(key, start)), before, "a server was restarted");
        node(broken, "rm -r /etc/systemd/system/patroni.service.d; systemctl daemon-reload");
        bench.up();
        assert_eq!(primary(&bench), leads);
        assert_eq!(NODES.map(|key| ask(key, start)), before, "a server was restarted");
    });

    let acknowledged = steps.step("application, after all steps, finds every row", || application.finish());
    steps.needs(&acknowledged, "consumer of each slot, after all steps, has had every row", |acknowledged| {
        let leads = primary(&bench);
        let rows: BTreeSet<String> = ask(leads, "SELECT id FROM orders").lines().map(str::to_owned).collect();
        assert!(rows.len() >= *acknowledged);
        for consumer in &mut consumers {
            consumer.consume(leads);
            let missed: Vec<&String> = rows.difference(&consumer.read).collect();
            assert!(missed.is_empty(), "{} missed {missed:?}", consumer.slot);
            println!("   {}: all of {} rows", consumer.slot, rows.len());
        }
    });
    steps.finish();
}
