//! A cluster whose machines are all gone, and every record of them: the cluster file, the secrets file with its key and the
//! repository make it again.

use std::{fs, time::Instant};

use serde_json::Value;

use crate::{
    backup::{file, give_key, kinds, node, section},
    common::{Bench, docker, s3::S3, steps::Steps},
};

const NAME: &str = "t-recovery";

/// Takes away every machine, and all that hactl has here of the cluster but the key of the secrets file.
fn lose_everything(bench: &Bench) {
    bench.sweep();
    let key = fs::read(bench.kept("age.key")).unwrap();
    fs::remove_dir_all(bench.path(".hactl")).unwrap();
    fs::create_dir_all(bench.kept("")).unwrap();
    fs::write(bench.kept("age.key"), key).unwrap();
}

/// What Patroni says of the member that leads.
fn leader(bench: &Bench) -> Value {
    let status = bench.status();
    let members = status["members"].as_array().unwrap();
    members.iter().find(|member| member["role"] == "leader").unwrap_or_else(|| panic!("{status:#}")).clone()
}

#[test]
#[ignore = "needs moto from the package index: `make test-long` runs it"]
fn cluster_whose_machines_are_gone_comes_back_from_its_repository() {
    let mut steps = Steps::new();
    let bench = Bench::new(NAME, &file("node1: {}, node2: {}", ""));
    let ca = bench.path("ca.pem");
    let store = steps.must("S3, by TLS, starts", || S3::start_tls(&ca));
    bench.write_file(&file("node1: {}, node2: {}", &section(&store, &ca, "")));
    steps.step("up --from-backup, without a secrets file, makes no secrets", || {
        let (code, error) = bench.fail(&["up", NAME, "--from-backup"]);
        assert_eq!((code, error["code"].as_str()), (3, Some("secrets-missing")), "{error:#}");
        assert!(!bench.path(&format!("{NAME}.secrets.age")).exists());
    });
    let dsn = steps.must("up makes a cluster, and backup now a backup of it", || {
        bench.act(&["secrets", NAME, "create"]);
        give_key(&bench, NAME, &store);
        let up = bench.act(&["up", NAME, "--no-verify"]);
        bench.act(&["backup", "now", NAME]);
        up["dsn"].as_str().unwrap().to_owned()
    });
    let authority = fs::read(bench.client().join("ca-postgresql.pem")).unwrap();
    let first = leader(&bench);
    bench.sql(&dsn, "CREATE TABLE kept (word text)");
    bench.sql(&dsn, "INSERT INTO kept VALUES ('archived')");
    let key = first["name"].as_str().unwrap().to_owned();
    node(NAME, &key, "runuser -u postgres -- psql -XAtqc 'SELECT pg_switch_wal()' postgres");
    node(NAME, &key, "hactl-pgbackrest check");
    steps.step("up --from-backup, while a machine has data, is refused", || {
        let (_, error) = bench.fail(&["up", NAME, "--from-backup"]);
        assert_eq!(error["code"], "recovery-refused", "{error:#}");
        assert!(error.to_string().contains("node1 answers and has data"), "{error:#}");
    });
    steps.step("hactl-alone sees segments that arrive between its looks, and none in a quiet archive", || {
        let program = fs::read_to_string("roles/pgbackrest/files/hactl-alone").unwrap();
        fs::write(bench.path("hactl-alone"), program).unwrap();
        let container = format!("{NAME}-{key}");
        docker(&["cp", bench.path("hactl-alone").to_str().unwrap(), &format!("{container}:/opt/hactl-alone")]);
        let stanza = node(NAME, &key, "sed -n 's/.*--stanza=\\([^ ]*\\) .*/\\1/p' /usr/local/sbin/hactl-pgbackrest");
        let look =
            format!("runuser -u postgres -- python3 /opt/hactl-alone /etc/pgbackrest/pgbackrest.conf {stanza} 17 5");
        let quiet = node(NAME, &key, &look);
        assert!(quiet.contains("for 5 s no other one came"), "{quiet}");
        let write = "runuser -u postgres -- psql -XAtqc 'SELECT txid_current()' -c 'SELECT pg_switch_wal()' postgres";
        let busy = node(NAME, &key, &format!("(sleep 2; {write}) >/dev/null & ! {look} 2>&1"));
        assert!(busy.contains("another cluster uses it. At first its newest WAL segment is 00000001"), "{busy}");
    });

    lose_everything(&bench);
    let began = Instant::now();
    let done = steps.must("up --from-backup makes the cluster again, and a full backup", || {
        bench.act(&["up", NAME, "--from-backup"])
    });
    println!("   all machines gone to healthy with a full backup: {:.0} s", began.elapsed().as_secs_f64());
    steps.step("the cluster has its rows, its passwords, its authority and a new timeline", || {
        let dsn = done["dsn"].as_str().unwrap();
        assert_eq!(bench.sql(dsn, "SELECT string_agg(word, ' ') FROM kept"), "archived");
        assert_eq!(fs::read(bench.client().join("ca-postgresql.pem")).unwrap(), authority);
        let (before, after) = (&first["timeline"], &leader(&bench)["timeline"]);
        assert!(after.as_u64().unwrap() > before.as_u64().unwrap(), "{before} {after}");
        assert!(done["message"].as_str().unwrap().contains("The last transaction in it ended at 20"), "{done:#}");
    });
    steps.step("the repository has both backups, and takes WAL", || {
        assert_eq!(kinds(&bench, NAME), ["full", "full"]);
        let leader = leader(&bench);
        node(NAME, leader["name"].as_str().unwrap(), "hactl-pgbackrest check");
        for key in ["node1", "node2"] {
            let left = node(NAME, key, "ls /etc/pgbackrest; cat /var/lib/postgresql/17/*/postgresql.auto.conf");
            assert!(!left.contains("hactl-source") && !left.contains("\nrestore_command"), "{key}: {left}");
        }
    });
    steps.step("a second up changes nothing", || {
        assert_eq!(bench.act(&["up", NAME, "--no-verify", "--yes"])["changed"], false);
    });
    steps.step("backup verify proves the backups, and status says when", || {
        bench.act(&["backup", "verify", NAME]);
        assert!(bench.status()["backup"]["last_restore"].is_string());
    });
    steps.finish();
}
