//! What an operator types into `postgres.parameters` of a running cluster, under clients that write: a value that no server
//! accepts changes nothing, one that a member does not come back with is taken back, and a file that was put right heals.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Bench, application::Application, docker, steps::Steps};

const NAME: &str = "t-operator";
const NODES: [&str; 3] = ["node1", "node2", "node3"];

/// The cluster file with these parameters, the first of them in line 7. The other tests' machines have Debian 12 and
/// PostgreSQL 15.
fn file(parameters: &[&str]) -> String {
    let lines: String = parameters.iter().map(|line| format!("    {line}\n")).collect();
    let section = if parameters.is_empty() { "" } else { "  parameters:\n" };
    format!(
        "platform: {{local: {{image: 'debian:13'}}}}\ninstances: {{node1: {{}}, node2: {{}}, node3: {{}}}}\n\
         defaults: {{memory: 640, cores: 1}}\npostgres:\n  version: 17\n{section}{lines}"
    )
}

fn node(key: &str, command: &str) -> String {
    docker(&["exec", &format!("{NAME}-{key}"), "sh", "-c", command]).trim().to_owned()
}

/// A query on one server, by its socket.
fn ask(key: &str, query: &str) -> String {
    node(key, &format!("runuser -u postgres -- psql -XAtq -c \"{query}\" postgres"))
}

/// When each server started.
fn starts() -> Vec<String> {
    NODES.iter().map(|key| ask(key, "SELECT pg_postmaster_start_time()")).collect()
}

fn healthy(bench: &Bench) {
    // A probe may time out on a machine that has much to do.
    let status = bench.healthy_within(Duration::from_secs(60));
    let states: Vec<&str> =
        status["members"].as_array().unwrap().iter().map(|member| member["state"].as_str().unwrap()).collect();
    assert_eq!(states.iter().filter(|state| **state == "streaming").count(), 2, "{status:#}");
    for key in NODES {
        // Nothing that was tried is left.
        let left = node(
            key,
            "ls -d /run/hactl-parameters-canary /run/hactl-parameters-undo /var/tmp/hactl-parameters-* 2>/dev/null || :",
        );
        assert_eq!(left, "", "{key}");
        assert_eq!(node(key, "grep -c hactl-parameters-canary /etc/patroni/patroni.yml || :"), "0", "{key}");
    }
}

/// `up` must fail with these words, each parameter at its place.
fn refused(bench: &Bench, parameters: &[&str], expected: &[(&str, &[&str])]) {
    bench.write_file(&file(parameters));
    let (code, error) = bench.fail(&["up", NAME, "--no-verify"]);
    assert_eq!((code, error["code"].as_str()), (1, Some("parameter-refused")), "{error:#}");
    let causes: Vec<&str> = error["causes"].as_array().unwrap().iter().map(|cause| cause.as_str().unwrap()).collect();
    for (place, words) in expected {
        let cause = causes.iter().find(|cause| cause.starts_with(&format!("{NAME}.yaml:{place}: ")));
        let cause = cause.unwrap_or_else(|| panic!("no cause at {place}: {error:#}"));
        for word in *words {
            assert!(cause.contains(word), "no `{word}` in {cause}");
        }
    }
    assert_eq!(causes.len(), expected.len(), "{error:#}");
    healthy(bench);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one cluster for all edits")]
fn edit_of_parameters_never_takes_a_healthy_cluster_down() {
    /// A place in the cluster file, and what the message there contains.
    type Expected<'a> = (&'a str, &'a [&'a str]);
    let bench = Bench::new(NAME, &file(&[]));
    let mut steps = Steps::new();
    let up = steps.must("up, without a cluster, makes one", || bench.up());
    let dsn = up["dsn"].as_str().unwrap().to_owned();
    let application = Application::start(&dsn, 2);

    // Nothing but the server that tries them sees these.
    let untouched: [(&str, &[&str], &[Expected<'_>]); 7] = [
        (
            "up, with values that Patroni drops, names each of them and what is allowed",
            &["wal_keep_size: 2G", "work_mem: 16mb", "wrok_mem: 4MB", "log_statement: DDLL", "max_worker_processes: 1"],
            &[
                ("7:20", &["postgres.parameters.wal_keep_size", "units B, kB, MB, GB, TB", "(did you mean 2GB?)"]),
                ("8:15", &["postgres.parameters.work_mem", "`16mb`", "(did you mean 16MB?)"]),
                ("9:15", &["no such parameter", "(did you mean work_mem?)"]),
                ("10:20", &["none, ddl, mod, all", "(did you mean ddl?)"]),
                ("11:27", &["allowed: 2 to 262143"]),
            ],
        ),
        (
            "up, with a library that is not installed, quotes the server",
            &["shared_preload_libraries: pg_stat_statements,pgaudit"],
            &[("7:31", &["shared_preload_libraries", "could not access file \"pgaudit\""])],
        ),
        (
            "up, with a time zone and a locale that do not exist, quotes the server about both",
            &["timezone: Europe/Berlim", "lc_messages: en_US.UTF-8"],
            &[
                ("7:15", &["invalid value for parameter \"TimeZone\": \"Europe/Berlim\""]),
                ("8:18", &["invalid value for parameter \"lc_messages\": \"en_US.UTF-8\""]),
            ],
        ),
        (
            "up, with more memory than the machine has, says how much it has",
            &["shared_buffers: 2GB", "work_mem: 5MB"],
            &[("7:21", &["MB of shared memory", "640 MB of memory"])],
        ),
        (
            "up, with a library that breaks each new connection, quotes the server",
            &["session_preload_libraries: pgaudit"],
            &[("7:32", &["could not access file \"pgaudit\""])],
        ),
        (
            "up, with huge pages that the machine does not have, says so",
            &["huge_pages: on"],
            &[("7:17", &["MB of shared memory", "the machine has 0 MB of huge pages"])],
        ),
        (
            "up, with a restore_command that no shell finds, says what it does to each standby",
            &["restore_command: /nonexistent/archive-get %f %p"],
            &[("7:22", &["it ended with status 127", "no standby would start", "/nonexistent/archive-get: not found"])],
        ),
    ];
    for (name, parameters, expected) in untouched {
        steps.step(name, || {
            let (before, (_, failed)) = (starts(), application.written());
            refused(&bench, parameters, expected);
            assert_eq!(starts(), before, "a server was restarted");
            assert_eq!(application.written().1, failed, "a write failed");
        });
    }

    steps.step("up, with a directory that only the real server opens, restarts one replica and takes it back", || {
        let (before, primary) = (starts(), bench.status()["leader"].as_str().unwrap().to_owned());
        let words: &[&str] = &["which did not pass", "could not open log file \"/proc/none/", "taken back"];
        refused(&bench, &["log_directory: /proc/none", "logging_collector: on"], &[("7:20", words)]);
        let restarted: Vec<&str> = NODES
            .into_iter()
            .zip(before.iter().zip(starts()))
            .filter(|(_, (before, after))| *before != after)
            .map(|(key, _)| key)
            .collect();
        assert!(restarted.len() == 1 && restarted[0] != primary, "{restarted:?}");
    });

    steps.step("up, with a directory that the second replica lacks, takes the change back everywhere", || {
        let primary = bench.status()["leader"].as_str().unwrap().to_owned();
        let lacks = NODES.into_iter().rev().find(|key| *key != primary).unwrap();
        for key in NODES.into_iter().filter(|key| *key != lacks) {
            node(key, "mkdir /var/log/collected && chown postgres: /var/log/collected");
        }
        let words: &[&str] = &[lacks, "did not come back", "could not open log file", "the change was taken back"];
        refused(&bench, &["log_directory: /var/log/collected", "logging_collector: on"], &[("7:20", words)]);
        for key in NODES {
            assert_eq!(ask(key, "SHOW logging_collector"), "off", "{key}");
        }
        assert_eq!(bench.status()["leader"], primary.as_str());
    });

    steps.step("up, with the file put right, has nothing to take back", || {
        bench.write_file(&file(&[]));
        bench.up();
        healthy(&bench);
    });

    // What shrinks must reach the primary first: no switchover can bring it about.
    for (connections, moves) in [("150", true), ("100", false)] {
        let how = if moves { "moves the primary" } else { "leaves the primary where it is" };
        steps.step(&format!("up, with max_connections {connections}, restarts each server and {how}"), || {
            let (before, leader) = (starts(), bench.status()["leader"].clone());
            bench.write_file(&file(&[&format!("max_connections: {connections}"), "work_mem: 5MB"]));
            bench.up();
            healthy(&bench);
            assert_eq!(bench.status()["leader"] != leader, moves, "{leader} led");
            assert!(starts().iter().zip(&before).all(|(after, before)| after != before));
            for key in NODES {
                assert_eq!(ask(key, "SHOW max_connections"), connections, "{key}");
                assert_eq!(ask(key, "SHOW work_mem"), "5MB", "{key}");
            }
        });
    }

    steps.step("up, with a version or a name that a cluster cannot have, is refused at its place", || {
        let before = starts();
        let edits = [
            ("version: 17", "version: 16", "5:12: postgres.version: ", "version-refused"),
            ("postgres:\n", "etcd: {version: 3.5.35}\npostgres:\n", "4:17: etcd.version: ", "version-refused"),
            ("version: 17", "version: 17\n  locale: de_DE.UTF-8", "6:11: postgres.locale: ", "locale-fixed"),
            (
                "version: 17",
                "version: 17\n  databases: {app: {icu_locale: de-DE}}",
                "6:33: postgres.databases.app.icu_locale: ",
                "locale-fixed",
            ),
            ("node3: {}", "node3: {roles: [etcd]}", "2:43: instances.node3.roles: ", "role-lost"),
            ("version: 17", "databases: {hactl_verify: {}}", "5:15: postgres.databases.hactl_verify: ", "cluster-file"),
        ];
        for (found, changed, place, code) in edits {
            bench.write_file(&file(&[]).replace(found, changed));
            let (status, error) = bench.fail(&["up", NAME, "--no-verify"]);
            assert_eq!((status, error["code"].as_str()), (2, Some(code)), "{error:#}");
            let cause = error["causes"][0].as_str().unwrap();
            assert!(cause.starts_with(&format!("{NAME}.yaml:{place}")), "{error:#}");
        }
        assert_eq!(starts(), before, "a server was restarted");
        // What a new cluster with this version gets.
        let locale = "SELECT datlocprovider, datlocale, datcollate FROM pg_database WHERE datname = 'app'";
        assert_eq!(ask("node1", locale), "b|C.UTF-8|C.UTF-8");
        bench.write_file(&file(&[]));
        healthy(&bench);
    });

    steps.step("up, on machines with a proxy, a shell that prints and umask 077, changes a parameter", || {
        for key in NODES {
            node(
                key,
                "printf 'https_proxy=http://127.0.0.1:9\nhttp_proxy=http://127.0.0.1:9\n' >> /etc/environment; \
                 sed -i '1i echo WELCOME' /root/.bashrc; \
                 echo 'session optional pam_umask.so umask=0077' >> /etc/pam.d/sshd",
            );
        }
        healthy(&bench);
        bench.write_file(&file(&["work_mem: 6MB"]));
        bench.up();
        healthy(&bench);
        for key in NODES {
            assert_eq!(ask(key, "SHOW work_mem"), "6MB", "{key}");
        }
    });

    steps.step("status, with a value in etcd that PostgreSQL does not have, names it", || {
        node("node1", "patronictl edit-config --force -p work_mem=16mb >/dev/null");
        let deadline = Instant::now() + Duration::from_secs(60);
        let found = loop {
            let status = bench.status();
            let problems = status["problems"].as_array().unwrap().clone();
            let codes: Vec<&str> = problems.iter().filter_map(|problem| problem["code"].as_str()).collect();
            if codes == ["parameter-differs"; 3] || Instant::now() > deadline {
                break problems;
            }
        };
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(
            found.iter().all(|problem: &Value| problem["message"].as_str().unwrap().contains("work_mem")),
            "{found:#?}"
        );
    });

    let acknowledged = steps.step("application, after all edits, finds every row", || application.finish());
    steps.needs(&acknowledged, "up, with no server that starts, heals the cluster by a file that is right", |_| {
        node("node1", "patronictl edit-config --force -p shared_preload_libraries=pgaudit >/dev/null; sleep 8");
        for key in NODES {
            node(key, "systemctl stop patroni hactl-lease-guard");
        }
        for key in NODES {
            node(key, "systemctl start patroni hactl-lease-guard");
        }
        std::thread::sleep(Duration::from_secs(10));
        assert_eq!(bench.status()["leader"], Value::Null);
        let up = bench.hactl(&["up", NAME, "--no-verify", "--yes"]);
        for key in NODES.into_iter().filter(|_| !up.status.success()) {
            let senders = ask(key, "SELECT application_name, state, client_addr FROM pg_stat_replication");
            let receiver = ask(key, "SELECT status, sender_host, slot_name FROM pg_stat_wal_receiver");
            println!("   {key} sends to [{senders}] and receives from [{receiver}]");
        }
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        healthy(&bench);
    });
    steps.finish();
}

#[test]
fn first_start_that_did_not_finish_is_begun_again() {
    const ONE: &str = "t-operator1";
    let file = |parameters: &str| format!("instances: {{n1: {{}}}}\ndefaults: {{memory: 640, cores: 1}}\n{parameters}");
    let bench = Bench::new(ONE, &file("postgres: {parameters: {lc_messages: en_US.UTF-8}}\n"));
    let mut steps = Steps::new();
    let run = |command: &str| docker(&["exec", &format!("{ONE}-n1"), "sh", "-c", command]).trim().to_owned();
    steps.step("first up, with a parameter that no server accepts, names it and starts nothing", || {
        let (code, error) = bench.fail(&["up", ONE, "--no-verify"]);
        assert_eq!((code, error["code"].as_str()), (1, Some("parameter-refused")), "{error:#}");
        assert!(error.to_string().contains("3:38: postgres.parameters.lc_messages"), "{error:#}");
        assert_eq!(run(&format!("ls /var/lib/postgresql/15/{ONE} 2>/dev/null || echo none")), "none");
    });
    steps.must("up, with the file put right, makes the cluster", || {
        bench.write_file(&file(""));
        bench.up()
    });
    steps.step(
        "up, after a first start that ended before its roles, begins again and keeps the directory aside",
        || {
            let data = format!("/var/lib/postgresql/15/{ONE}");
            run(&format!(
                "systemctl stop patroni && patronictl remove {ONE} >/dev/null <<'END'\n{ONE}\nYes I am aware\nEND\n\
             rm -r {data} && runuser -u postgres -- /usr/lib/postgresql/15/bin/initdb -D {data} >/dev/null && \
             systemctl start patroni && sleep 5"
            ));
            let up = bench.up();
            assert_eq!(bench.sql(up["dsn"].as_str().unwrap(), "SELECT 1"), "1");
            assert_eq!(run(&format!("ls -d {data}.unfinished-* | wc -l")), "1");
        },
    );
    steps.step("up, with data of a user and no cluster in etcd, keeps the data", || {
        let up = bench.up();
        let dsn = up["dsn"].as_str().unwrap();
        bench.sql(dsn, "CREATE TABLE kept AS SELECT 7 AS row");
        run(&format!(
            "systemctl stop patroni && patronictl remove {ONE} >/dev/null <<'END'\n{ONE}\nYes I am aware\nEND\n"
        ));
        bench.up();
        assert_eq!(bench.sql(dsn, "SELECT row FROM kept"), "7");
    });
    steps.finish();
}
