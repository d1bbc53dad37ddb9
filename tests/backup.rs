//! Backups of a running cluster: added without a restart, made by hand and by the schedule, proved to restore, restored to a moment in
//! a new cluster, and cloned.
//! The repository is a bucket of moto, by TLS.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::common::{Bench, docker, s3::S3, steps::Steps};

const NAME: &str = "t-backup";
const COPY: &str = "t-backup-copy";
const NODES: [&str; 3] = ["node1", "node2", "node3"];

pub(crate) fn file(instances: &str, backup: &str) -> String {
    format!(
        "platform: {{local: {{image: 'debian:13'}}}}\ninstances: {{{instances}}}\ndefaults: {{memory: 640, cores: 1}}\n\
         postgres: {{version: 17}}\n{backup}"
    )
}

pub(crate) fn section(store: &S3, ca: &Path, rest: &str) -> String {
    let (bucket, endpoint, region) = (store.told("bucket"), store.told("endpoint"), store.told("region"));
    let ca = ca.display();
    format!(
        "backup: {{repositories: {{main: {{s3: {{bucket: {bucket}, endpoint: '{endpoint}', region: {region}, ca: '{ca}'}}}}}}{rest}}}\n"
    )
}

pub(crate) fn node(cluster: &str, key: &str, command: &str) -> String {
    docker(&["exec", &format!("{cluster}-{key}"), "sh", "-c", command]).trim().to_owned()
}

fn ask(cluster: &str, key: &str, query: &str) -> String {
    node(cluster, key, &format!("runuser -u postgres -- psql -XAtq -c \"{query}\" postgres"))
}

fn starts() -> Vec<String> {
    NODES.iter().map(|key| ask(NAME, key, "SELECT pg_postmaster_start_time()")).collect()
}

/// Gives hactl the access key of the store, as a user does.
pub(crate) fn give_key(bench: &Bench, cluster: &str, store: &S3) {
    for (account, value) in [("backup.main.key", store.told("id")), ("backup.main.secret", store.told("secret"))] {
        let mut command = bench.command(&["secrets", cluster, "set", account]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{account}");
    }
}

fn list(bench: &Bench, name: &str) -> Value {
    let done = bench.hactl(&["backup", "list", name]);
    serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

/// The kinds of the backups, the oldest first.
pub(crate) fn kinds(bench: &Bench, name: &str) -> Vec<String> {
    let seen = list(bench, name);
    seen["backups"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
#[ignore = "needs moto from the package index: `make test-long` runs it"]
fn cluster_with_backups_restores_to_a_moment_and_proves_it() {
    let mut steps = Steps::new();
    let instances = "node1: {}, node2: {}, node3: {}";
    let bench = Bench::new(NAME, &file(instances, ""));
    let ca = bench.path("ca.pem");
    let store = steps.must("S3, by TLS, starts", || S3::start_tls(&ca));
    let up = steps.must("up, without a cluster, makes one", || bench.up());
    let dsn = up["dsn"].as_str().unwrap().to_owned();
    let before = starts();

    bench.write_file(&file(instances, &section(&store, &ca, "")));
    steps.step("up, without the access key of the store, says how to give it", || {
        let (code, error) = bench.fail(&["up", NAME, "--no-verify"]);
        assert_eq!((code, error["code"].as_str()), (2, Some("secret-unset")), "{error:#}");
        assert!(error["hint"].as_str().unwrap().contains("set backup.main.key"), "{error:#}");
    });
    steps.must("up, with backups added, archives and restarts nothing", || {
        give_key(&bench, NAME, &store);
        bench.act(&["up", NAME, "--no-verify"]);
        assert_eq!(starts(), before);
        for key in NODES {
            let modes = node(NAME, key, "stat -c '%a %U %G' /etc/pgbackrest/pgbackrest.conf");
            assert_eq!(modes, "640 root postgres", "{key}");
        }
        assert!(list(&bench, NAME)["last_segment"].is_string());
    });
    steps.step("a second up, without a change, changes nothing", || {
        assert_eq!(bench.act(&["up", NAME, "--no-verify"])["changed"], false);
    });
    steps.step("backup verify, without a backup, fails with the words of pgBackRest", || {
        let (_, error) = bench.fail(&["backup", "verify", NAME]);
        assert_eq!(error["code"], "restore-test-failed", "{error:#}");
        assert!(error.to_string().contains("no backup set"), "{error:#}");
    });
    steps.step("status, without a backup, is healthy and has a notice", || {
        let status = bench.status();
        assert!(status["backup"]["archived_segment"].is_string(), "{status:#}");
        let notices = status["notices"].as_array().unwrap();
        assert!(notices.iter().any(|notice| notice["code"] == "backup-missing"), "{status:#}");
        assert_eq!(status["healthy"], true, "{status:#}");
    });
    steps.must("the schedule makes a full backup on the primary's machine, and then none until it is due", || {
        bench.write_file(&file(instances, &section(&store, &ca, ", schedule: {full: weekly}")));
        bench.act(&["up", NAME, "--no-verify"]);
        assert_eq!(starts(), before);
        for _ in 0..2 {
            for key in NODES {
                assert_eq!(node(NAME, key, "systemctl is-active hactl-backup-scheduled.timer"), "active", "{key}");
                node(NAME, key, "systemctl start hactl-backup-scheduled.service");
            }
            assert_eq!(kinds(&bench, NAME), ["full"]);
        }
    });
    steps.must("backup now adds what has changed since", || {
        bench.act(&["backup", "now", NAME]);
        assert_eq!(kinds(&bench, NAME), ["full", "incr"]);
    });
    steps.step("status has the last backup and the archive", || {
        let status = bench.healthy_within(Duration::from_secs(30));
        assert_eq!(status["backup"]["last"]["kind"], "incr", "{status:#}");
        assert!(status["backup"]["restorable_from"].is_string(), "{status:#}");
        assert_eq!(status["backup"]["failing_segment"], Value::Null, "{status:#}");
    });
    steps.step("backup expire removes nothing that the retention keeps", || {
        let done = bench.act(&["backup", "expire", NAME]);
        assert_eq!(done["changed"], false, "{done:#}");
        assert!(done["message"].as_str().unwrap().contains("no backup has expired"), "{done:#}");
        assert_eq!(kinds(&bench, NAME), ["full", "incr"]);
    });
    steps.step("backup verify restores on a replica and leaves nothing there", || {
        let done = bench.act(&["backup", "verify", NAME]);
        let message = done["message"].as_str().unwrap();
        assert!(message.contains("the backups restore") && message.contains("every checksum is right"), "{message}");
        for key in NODES {
            assert_eq!(node(NAME, key, "ls -d /var/lib/postgresql/hactl-restore-test 2>/dev/null || :"), "", "{key}");
        }
    });

    // Two rows, and a moment between them.
    bench.sql(&dsn, "CREATE TABLE moments (word text)");
    bench.sql(&dsn, "INSERT INTO moments VALUES ('before')");
    std::thread::sleep(Duration::from_secs(2));
    let moment = bench.sql(&dsn, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    std::thread::sleep(Duration::from_secs(2));
    bench.sql(&dsn, "INSERT INTO moments VALUES ('after')");
    for key in NODES {
        // On replicas it is an error.
        ask(NAME, key, "SELECT pg_switch_wal()");
    }
    let copy = Bench::new(COPY, &file("one: {}, two: {}", &section(&store, &ca, "")));
    for kept in [format!("{NAME}.yaml"), format!("{NAME}.secrets.age")] {
        std::fs::copy(bench.path(&kept), copy.path(&kept)).unwrap();
    }
    std::fs::create_dir_all(copy.path(&format!(".hactl/{NAME}"))).unwrap();
    std::fs::copy(bench.kept("age.key"), copy.path(&format!(".hactl/{NAME}/age.key"))).unwrap();
    steps.must("restore makes a new cluster with the rows of that moment", || {
        give_key(&copy, COPY, &store);
        let done = copy.act(&["restore", NAME, "--to", COPY, "--at", &moment]);
        let dsn = done["dsn"].as_str().unwrap();
        assert_eq!(copy.sql(dsn, "SELECT string_agg(word, ' ' ORDER BY word) FROM moments"), "before");
        copy.healthy_within(Duration::from_secs(60));
        for key in ["one", "two"] {
            let left =
                node(COPY, key, "cat /var/lib/postgresql/17/*/postgresql.auto.conf | grep -v '^#'; ls /etc/pgbackrest");
            assert!(!left.contains("restore_command") && !left.contains("recovery_target"), "{key}: {left}");
            assert!(!left.contains("hactl-source"), "{key}: {left}");
        }
        assert_eq!(ask(NAME, "node1", "SELECT count(*) FROM pg_database WHERE datname = 'app'"), "1");
    });
    steps.step("restore, to a cluster that has data, is refused", || {
        let (_, error) = copy.fail(&["restore", NAME, "--to", COPY]);
        assert_eq!(error["code"], "restore-refused", "{error:#}");
        assert!(error.to_string().contains("has data"), "{error:#}");
    });
    steps.step("clone makes a new cluster with the last row, in a stanza of its own", || {
        copy.act(&["down", COPY, "--yes"]);
        copy.write_file(&file("one: {}", &section(&store, &ca, ", stanza: t-backup-clone")));
        // The directory knows the machines of the source now.
        let (known, here) = (bench.kept("."), copy.path(&format!(".hactl/{NAME}/")));
        assert!(Command::new("cp").arg("-a").args([known, here]).status().unwrap().success());
        bench.sql(&dsn, "INSERT INTO moments VALUES ('last')");
        let done = copy.act(&["clone", NAME, "--to", COPY]);
        let dsn = done["dsn"].as_str().unwrap();
        assert_eq!(copy.sql(dsn, "SELECT string_agg(word, ' ' ORDER BY word) FROM moments"), "after before last");
    });
    steps.step("the repository of the source has no backup of the new clusters", || {
        assert_eq!(kinds(&bench, NAME), ["full", "incr"]);
    });
    steps.step("backup now, with another passphrase on the machines, fails", || {
        for key in NODES {
            node(
                NAME,
                key,
                "sed -i 's/^repo1-cipher-pass=.*/repo1-cipher-pass=other/' /etc/pgbackrest/pgbackrest.conf",
            );
        }
        let (_, error) = bench.fail(&["backup", "now", NAME]);
        assert_eq!(error["code"], "backup-failed", "{error:#}");
    });
    steps.finish();
}
