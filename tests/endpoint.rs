//! A cluster that runs gets an entry point: applications log in through the pooler of each machine, nothing of PostgreSQL
//! restarts, and new users and passwords reach the poolers without a restart.

use std::{
    collections::BTreeSet,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::common::{Bench, docker, steps::Steps};

const NAME: &str = "t-endpoint";
const NODES: [&str; 3] = ["node1", "node2", "node3"];
const PASSWORD: &str = "another password of the owner";

fn file(databases: &str, more: &str) -> String {
    format!(
        "platform: {{local: {{image: 'debian:13'}}}}\ninstances: {{node1: {{}}, node2: {{}}, node3: {{}}}}\n\
         defaults: {{memory: 640, cores: 1}}\npostgres: {{version: 17, databases: {{{databases}}}}}\n{more}"
    )
}

const ENDPOINT: &str = "endpoint: {replicas: true}\n";

fn node(key: &str, command: &str) -> String {
    docker(&["exec", &format!("{NAME}-{key}"), "sh", "-c", command]).trim().to_owned()
}

/// What `command` prints on each machine.
fn on_all(command: &str) -> Vec<String> {
    NODES.map(|key| node(key, command)).into()
}

fn postmasters() -> Vec<String> {
    on_all("runuser -u postgres -- psql -XAtqc 'SELECT pg_postmaster_start_time()'")
}

fn psql(dsn: &str, statement: &str) -> Output {
    let mut command = Command::new("timeout");
    command.args(["20", "psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", dsn, "-c", statement]);
    command.output().unwrap()
}

/// What a statement gives, which must succeed.
fn answer(dsn: &str, statement: &str) -> String {
    let done = psql(dsn, statement);
    assert!(done.status.success(), "{dsn}: {statement}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// Why a statement fails, which it must.
fn refusal(dsn: &str) -> String {
    let done = psql(dsn, "SELECT 1");
    assert!(!done.status.success(), "{dsn}: not refused");
    String::from_utf8_lossy(&done.stderr).into_owned()
}

/// A connection string with another value of a parameter: libpq takes the last one.
fn with(dsn: &str, parameters: &str) -> String {
    format!("{dsn} {parameters}")
}

/// The report of one round of each of these drills, which must pass.
fn drilled(bench: &Bench, drills: &[&str]) -> Value {
    let drills = drills.iter().flat_map(|drill| ["--drill", drill]);
    let verify: Vec<&str> = ["verify", NAME, "--rounds", "1"].into_iter().chain(drills).collect();
    bench.act(&verify);
    let report = std::fs::read_to_string(bench.kept("runs/latest/report.json")).unwrap();
    serde_json::from_str(&report).unwrap()
}

/// The transactions of the clients: several statements, of which all or none are done.
const TRANSACTION: &str = "\\set id random(1, 100)\nBEGIN;\nUPDATE accounts SET n = n + 1 WHERE id = :id;\n\
                           INSERT INTO orders VALUES (:id);\nCOMMIT;\n";
/// How long the clients work while the primary moves, and while a change restarts every server, in seconds.
const WORK: u64 = 25;
const LONG_WORK: u64 = 100;

/// Applications at work: eight clients with prepared statements, and two that connect for each transaction. The times of
/// their transactions are fixed beforehand, so that a stall is seen as one.
struct Clients {
    dir: tempfile::TempDir,
    benches: Vec<std::process::Child>,
}

/// What came of them.
#[derive(Debug)]
struct Work {
    /// The transactions that were done.
    done: usize,
    /// What pgbench said of those that failed.
    errors: Vec<String>,
    /// The longest time from the moment at which a transaction was due to its end.
    longest: Duration,
}

impl Clients {
    fn start(dsn: &str, seconds: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("work.sql"), TRANSACTION).unwrap();
        let bench = |name: &str, args: &[&str]| {
            let mut pgbench = Command::new("pgbench");
            pgbench.args(["--no-vacuum", "--file=work.sql", "--log"]).args(args).current_dir(dir.path());
            pgbench.arg(format!("--time={seconds}")).arg(format!("--log-prefix={name}")).arg(dsn);
            let said = std::fs::File::create(dir.path().join(format!("{name}.said"))).unwrap();
            pgbench.stdout(Stdio::null()).stderr(said).spawn().unwrap()
        };
        let staying = bench("staying", &["--protocol=prepared", "--client=8", "--jobs=2", "--rate=200"]);
        let coming = bench("coming", &["--connect", "--client=2", "--jobs=2", "--rate=20"]);
        Self { benches: vec![staying, coming], dir }
    }

    fn finish(self) -> Work {
        for mut bench in self.benches {
            bench.wait().unwrap();
        }
        let mut work = Work { done: 0, errors: Vec::new(), longest: Duration::ZERO };
        for file in std::fs::read_dir(self.dir.path()).unwrap().flatten() {
            let (name, text) = (file.file_name(), std::fs::read_to_string(file.path()).unwrap());
            let name = name.to_string_lossy();
            if name.ends_with(".said") {
                let error = text.lines().filter(|line| line.contains("error:") && !line.contains("Run was aborted"));
                work.errors.extend(error.map(str::to_owned));
            } else if name.contains("ing.") {
                for line in text.lines() {
                    let mut words = line.split(' ').skip(2);
                    let micros = words.next().and_then(|word| word.parse().ok()).map(Duration::from_micros);
                    match micros {
                        Some(took) => {
                            work.done += 1;
                            work.longest = work.longest.max(took);
                        }
                        None => work.errors.push(line.to_owned()),
                    }
                }
            }
        }
        work
    }
}

#[test]
#[ignore = "a cluster for itself, several minutes: `make test-long` runs it"]
#[expect(clippy::too_many_lines, reason = "one cluster for all steps")]
fn running_cluster_gets_an_entry_point_that_applications_use() {
    let mut bench = Bench::new(NAME, &file("app: {}", ""));
    let mut steps = Steps::new();
    let up = steps.must("up without an entry point makes a cluster", || bench.up());
    assert!(up["endpoints"].is_null(), "{up}");
    let started = postmasters();

    steps.step("a drill of the entry point is refused without one", || {
        let (code, error) = bench.fail(&["verify", NAME, "--drill", "pooler-crash"]);
        assert_eq!((code, error["code"].as_str().unwrap()), (1, "drill-refused"));
        assert!(error["causes"][0].as_str().unwrap().contains("set `endpoint` in the cluster file"), "{error}");
    });

    let up = steps.must("up with an entry point needs no consent and does not restart PostgreSQL", || {
        bench.write_file(&file("app: {}", ENDPOINT));
        let up = bench.act(&["up", NAME, "--no-verify"]);
        assert_eq!(postmasters(), started);
        up
    });
    let text = |name: &str| up["endpoints"][name].as_str().unwrap().to_owned();
    let (pooled, replicas, direct) = (text("pooled"), text("replicas"), text("direct"));
    assert_eq!(direct, up["dsn"].as_str().unwrap());
    let addresses = NODES.map(|key| bench.address(key));

    steps.step("each pooler leads to the primary, and its readers to a replica", || {
        answer(&pooled, "CREATE TABLE orders (id bigint)");
        for address in &addresses {
            let here = format!("host={address}");
            let said = answer(
                &with(&pooled, &here),
                "INSERT INTO orders VALUES (-1) RETURNING pg_is_in_recovery(), current_user",
            );
            assert_eq!(said, "f|app", "{address}");
            assert_eq!(answer(&with(&replicas, &here), "SELECT pg_is_in_recovery()"), "t", "{address}");
            // From the pooler to the server, too.
            assert_eq!(answer(&with(&pooled, &here), "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"), "t");
        }
    });

    steps.step("a client without TLS, the superuser and other roles are refused", || {
        assert!(refusal(&with(&pooled, "sslmode=disable")).contains("required"));
        let superuser = "sed -n '/superuser:/,/password:/s/^ *password: \"\\(.*\\)\"$/\\1/p' /etc/patroni/patroni.yml";
        let superuser = node("node1", superuser);
        assert!(superuser.len() > 10, "{superuser}");
        let leader = bench.status()["leader"].as_str().unwrap().to_owned();
        node(&leader, "runuser -u postgres -- psql -XAtqc \"CREATE ROLE guest LOGIN PASSWORD 'known'\"");
        for (user, password) in [
            ("postgres", superuser.as_str()),
            ("replicator", "x"),
            ("hactl_verify", "x"),
            ("guest", "known"),
            ("pgbouncer", ""),
        ] {
            for database in ["app", "pgbouncer"] {
                let as_other = with(
                    &pooled,
                    &format!("user={user} dbname={database} passfile=/nonexistent password='{password}'"),
                );
                let said = refusal(&as_other);
                assert!(!said.contains("no password supplied") || password.is_empty(), "{user}: {said}");
            }
        }
    });

    steps.step("status tells the poolers and their primary", || {
        let status = bench.healthy_within(Duration::from_secs(60));
        let poolers = status["poolers"].as_array().unwrap();
        assert_eq!(poolers.len(), NODES.len());
        for pooler in poolers {
            assert_eq!(pooler["pooler"], "running", "{pooler}");
            assert_eq!(pooler["primary"], Value::from(vec![status["leader"].as_str().unwrap()]), "{pooler}");
            assert_eq!(pooler["replicas"].as_array().unwrap().len(), 2, "{pooler}");
        }
        assert_eq!(status["endpoints"]["pooled"], pooled.as_str());
        let mut through = Command::new(env!("CARGO_BIN_EXE_hactl"));
        through.args(["psql", NAME, "--pooled", "--", "-XAtqc", "SELECT 'through'"]).current_dir(bench.path(""));
        let said = through.output().unwrap();
        let complaint = String::from_utf8_lossy(&said.stderr);
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "through", "{}: {complaint}", said.status);
    });

    steps.step("secrets are in files of the user postgres alone, and in no record", || {
        let files = "stat -c '%a %U' /etc/pgbouncer/hactl/users.txt /etc/pgbouncer/hactl/server.key /run/hactl-haproxy | paste -sd ' '";
        assert_eq!(on_all(files), ["600 postgres 600 postgres 700 root"; 3]);
        let found = Command::new("grep").args(["-rl", "SCRAM-SHA-256\\$4096"]).arg(bench.kept("")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
        // HAProxy and PgBouncer hold the CA of Patroni's API or that of PostgreSQL, and no key of the first.
        let keys = "find /etc/haproxy /etc/pgbouncer -name '*.key' | paste -sd ' '";
        assert_eq!(on_all(keys), ["/etc/pgbouncer/hactl/server.key"; 3]);
    });

    steps.step("a second up changes nothing", || {
        assert_eq!(bench.act(&["up", NAME, "--no-verify"])["changed"], false);
    });

    steps.step("a new password and a new user are there without a restart of the poolers", || {
        let processes = on_all("systemctl show -p MainPID --value pgbouncer");
        bench.env.push(("HACTL_SECRET_OWNER_APP", PASSWORD.to_owned()));
        bench.write_file(&file("app: {}, shop: {owner: seller}", ENDPOINT));
        bench.act(&["up", NAME, "--no-verify"]);
        for address in &addresses {
            let by =
                |password: &str| with(&pooled, &format!("host={address} passfile=/nonexistent password='{password}'"));
            assert_eq!(answer(&by(PASSWORD), "SELECT 1"), "1", "{address}");
            assert!(refusal(&by("before")).contains("authentication failed"));
            let seller = with(&pooled, &format!("host={address} user=seller dbname=shop"));
            assert_eq!(answer(&seller, "SELECT current_user"), "seller", "{address}");
        }
        assert_eq!(on_all("systemctl show -p MainPID --value pgbouncer"), processes);
        assert_eq!(postmasters(), started);
    });

    let counts = || {
        let said = answer(&direct, "SELECT (SELECT sum(n) FROM accounts), (SELECT count(*) FROM orders WHERE id > 0)");
        let (sum, rows) =
            said.split_once('|').map(|(sum, rows)| (sum.to_owned(), rows.parse::<usize>().unwrap())).unwrap();
        assert_eq!(sum, rows.to_string(), "a transaction is half done");
        rows
    };
    steps.step("a switchover fails no transaction of the poolers' clients, and loses none", || {
        answer(&pooled, "CREATE TABLE accounts AS SELECT id, 0::bigint AS n FROM generate_series(1, 100) AS id");
        let before = counts();
        let clients = Clients::start(&pooled, WORK);
        thread::sleep(Duration::from_secs(4));
        let moved = bench.act(&["switchover", NAME, "--yes"]);
        println!("   {}", moved["message"].as_str().unwrap());
        let work = clients.finish();
        println!("   through the poolers: {work:?}");
        assert_eq!(work.errors, Vec::<String>::new());
        assert_eq!(counts() - before, work.done);
        assert!(work.done > 100 * usize::try_from(WORK).unwrap(), "{}", work.done);
        for address in &addresses {
            let said = answer(&with(&pooled, &format!("host={address}")), "SELECT pg_is_in_recovery()");
            assert_eq!(said, "f", "{address}");
        }
    });

    let parameters = |parameters: &str| {
        file("app: {}, shop: {owner: seller}", ENDPOINT)
            .replace("version: 17,", &format!("version: 17, parameters: {{{parameters}}},"))
    };
    steps.step("up restarts every server for a change and fails no transaction of the poolers' clients", || {
        bench.healthy_within(Duration::from_secs(60));
        let (before, started) = (counts(), postmasters());
        let clients = Clients::start(&pooled, LONG_WORK);
        bench.write_file(&parameters("track_activity_query_size: 2048"));
        bench.act(&["up", NAME, "--yes", "--no-verify"]);
        let after = postmasters();
        assert!(started.iter().zip(&after).all(|(started, after)| started != after), "{started:?} {after:?}");
        assert_eq!(answer(&pooled, "SHOW track_activity_query_size"), "2kB");
        let work = clients.finish();
        println!("   while every server restarted: {work:?}");
        assert_eq!(work.errors, Vec::<String>::new());
        assert_eq!(counts() - before, work.done);
    });

    steps.step("up restarts a primary in place for a value that shrinks", || {
        let leader = bench.status()["leader"].clone();
        bench.write_file(&parameters("track_activity_query_size: 2048, max_connections: 95"));
        bench.act(&["up", NAME, "--yes", "--no-verify"]);
        assert_eq!(answer(&direct, "SHOW max_connections"), "95");
        assert_eq!(bench.status()["leader"], leader);
        bench.write_file(&file("app: {}, shop: {owner: seller}", ENDPOINT));
        bench.act(&["up", NAME, "--yes", "--no-verify"]);
    });

    steps.step("a switchover that holds no client back fails transactions", || {
        bench.healthy_within(Duration::from_secs(60));
        let clients = Clients::start(&pooled, WORK);
        thread::sleep(Duration::from_secs(4));
        node("node1", "/opt/patroni-*/bin/patronictl -c /etc/patroni/patroni.yml switchover --force");
        let work = clients.finish();
        println!("   without a pause: {} done, {} errors, longest {:?}", work.done, work.errors.len(), work.longest);
        assert!(!work.errors.is_empty());
        bench.healthy_within(Duration::from_secs(60));
    });

    steps.step("a switchover is refused while a transaction does not end, and its clients go on", || {
        // None is old enough to be refused beforehand, and at each moment one of them has more than 5 s to go.
        let sleeper = || {
            thread::sleep(Duration::from_millis(2700));
            let statements = ["-c", "SELECT pg_sleep(8)"].repeat(6);
            let mut command = Command::new("psql");
            command.args(["-XAtqw", &pooled]).args(statements).stdout(Stdio::null()).spawn().unwrap()
        };
        let sleepers = [sleeper(), sleeper(), sleeper()];
        let (code, error) = bench.fail(&["switchover", NAME, "--yes"]);
        assert_eq!((code, error["code"].as_str().unwrap()), (1, "switchover-refused"));
        assert!(error["causes"][0].as_str().unwrap().contains("did not end within 3 s"), "{error}");
        assert_eq!(answer(&pooled, "SELECT 1"), "1");
        for mut sleeper in sleepers {
            assert!(sleeper.wait().unwrap().success(), "a transaction was ended");
        }
        assert_eq!(on_all("ls /run/hactl-hold 2>/dev/null || :"), [""; 3]);
    });

    steps.step("a drill shows when the clients of the poolers wrote again", || {
        bench.healthy_within(Duration::from_secs(60));
        let report = drilled(&bench, &["node-loss"]);
        assert!(report["libpq"].as_str().unwrap().ends_with(", also through the poolers"), "{}", report["libpq"]);
        let round = &report["drills"][0]["rounds"][0];
        let (recovered, pooled) = (&round["recovered_ms"], &round["pooled"]);
        println!("   node-loss: {recovered}, through the poolers {pooled}");
        assert!(pooled["failed"].as_u64().unwrap() < pooled["attempted"].as_u64().unwrap());
        let (last, pooled) = (recovered["last"].as_u64().unwrap(), recovered["pooled"].as_u64().unwrap());
        assert!(1000 < pooled && pooled <= last, "{recovered}");
    });

    steps.step(
        "drills break the pooler, the proxy and the pool of the first machine, and PostgreSQL is not interrupted",
        || {
            bench.healthy_within(Duration::from_secs(60));
            let programs = || on_all("systemctl show -p MainPID --value pgbouncer haproxy | paste -sd ' '");
            let (before, servers) = (programs(), postmasters());
            let report = drilled(&bench, &["pooler-crash", "proxy-crash", "pool-exhausted"]);
            let drills = report["drills"].as_array().unwrap();
            assert_eq!(drills.len(), 3);
            let pooled: Vec<&Value> = drills.iter().map(|drill| &drill["rounds"][0]["pooled"]).collect();
            for (drill, pooled) in drills.iter().zip(&pooled) {
                println!("   {}: {pooled}, last client {}", drill["name"], drill["rounds"][0]["recovered_ms"]["last"]);
                assert_eq!((&drill["outcome"], &drill["rounds"][0]["target"]), (&"passed".into(), &"node1".into()));
                assert_eq!((&drill["lost"], &pooled["lost"]), (&0.into(), &0.into()));
            }
            // Clients of a pooler that dies lose their connections, and wait for its unit; those of a full pool only wait.
            let [failed, gap] = ["failed", "gap_ms"].map(|field| move |value: &Value| value[field].as_u64().unwrap());
            assert!(failed(pooled[0]) > 0 && gap(pooled[0]) >= 1000, "{}", pooled[0]);
            assert!(failed(pooled[2]) == 0 && gap(pooled[2]) >= 5000, "{}", pooled[2]);
            let after = programs();
            assert!(
                before[0].split_whitespace().zip(after[0].split_whitespace()).all(|(before, after)| before != after)
            );
            assert_eq!((&before[1..], &servers), (&after[1..], &postmasters()));
            // Nothing is left of them.
            assert_eq!(on_all("ls /run/hactl-undo-* 2>/dev/null || :"), [""; 3]);
            assert_eq!(
                answer(&direct, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"),
                "0"
            );
        },
    );

    steps.step("a pooler that is paused or stopped is a problem, and up starts it again", || {
        let codes = || -> BTreeSet<String> {
            let status = bench.status();
            let problems = status["problems"].as_array().unwrap().iter();
            problems
                .map(|problem| {
                    format!("{} {}", problem["code"].as_str().unwrap(), problem["node"].as_str().unwrap_or("-"))
                })
                .collect()
        };
        let console = |word: &str| {
            node(
                "node2",
                &format!(
                    "runuser -u postgres -- psql -XAtqh /run/pgbouncer -p 6432 -U pgbouncer -c '{word}' pgbouncer"
                ),
            )
        };
        console("PAUSE");
        assert_eq!(codes(), BTreeSet::from(["pooler-paused node2".to_owned()]));
        console("RESUME");
        node("node2", "systemctl stop pgbouncer haproxy");
        let found = codes();
        assert!(
            found.is_superset(&["pooler-silent node2", "proxy-silent node2"].map(str::to_owned).into()),
            "{found:?}"
        );
        bench.act(&["up", NAME, "--no-verify"]);
        assert_eq!(codes(), BTreeSet::new());
    });

    steps.step("the cluster file without the entry point is refused", || {
        bench.write_file(&file("app: {}, shop: {owner: seller}", ""));
        let (code, error) = bench.fail(&["up", NAME, "--no-verify"]);
        assert_eq!((code, error["code"].as_str().unwrap()), (2, "endpoint-removed"));
    });

    steps.step("down leaves nothing", || {
        bench.act(&["down", NAME, "--yes"]);
        assert_eq!(bench.leftovers(), "");
    });
    steps.finish();
}
