//! One cluster, run from three directories that have nothing in common but the cluster file, the committed secrets, the
//! key that opens them, and Terraform's state in a PostgreSQL.
//!
//! Needs the container engine, Terraform and PostgreSQL's server programs; `make test` installs them. About 110 s.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::common::{
    Bench,
    postgres::{PASSWORD, Postgres},
    steps::Steps,
};

const NAME: &str = "t-shared";
const FILE: &str = "name: t-shared
backend: {pg: {skip_index_creation: false}}
instances:
  node1: {}
  node2: {}
defaults: {memory: 768, cores: 1}
verify: {drills: [switchover]}
";

/// A directory of another machine: what was committed, and what CI gives.
fn machine(server: &Postgres, desk: &Bench) -> Bench {
    let mut bench = Bench::beside(NAME, FILE);
    let secrets = format!("{NAME}.secrets.age");
    fs::copy(desk.path(&secrets), bench.path(&secrets)).unwrap();
    bench.env.push(("HACTL_AGE_KEY_FILE", desk.kept("age.key").display().to_string()));
    bench.env.push(("PG_CONN_STR", server.dsn()));
    bench.env.push(("PGPASSWORD", PASSWORD.to_owned()));
    bench
}

fn text(error: &Value) -> String {
    error.to_string()
}

#[test]
fn cluster_with_shared_state_is_run_from_three_machines() {
    let server = Postgres::start();

    // Takes away at the end what is left.
    let desk = Bench::new(NAME, FILE);
    let mut steps = Steps::new();

    steps.must("secrets create, without a machine, writes the secrets file", || {
        let created = desk.act(&["secrets", NAME, "create"]);
        assert_eq!(created["changed"], true, "{created}");
    });

    steps.step("up, with a backend that does not answer, fails and names its variables", || {
        let lost = machine(&server, &desk);
        let mut command = lost.command(&["up", NAME]);
        command.env("PG_CONN_STR", "postgres://terraform@127.0.0.1:1/postgres?sslmode=disable");
        let (code, error) = crate::common::Running::new(command).end_in_error();
        assert_eq!((code, error["code"].as_str()), (1, Some("backend")), "{error:#}");
        assert!(text(&error).contains("PGPASSWORD"), "{error:#}");
    });

    let first = machine(&server, &desk);
    steps.must("up, on the first machine, makes the cluster and locks out other directories", || {
        let mut up = first.follow(&["up", NAME, "--no-verify"]);
        // Machines and their lock are there, and etcd is not. An image may be baked before, with tasks of its own.
        up.wait_for_stage("configure");
        up.wait_for("task on the machines", |event| event["type"] == "task-finished");
        let racing = machine(&server, &desk);
        for command in [&["up", NAME][..], &["down", NAME, "--yes"]] {
            let (code, error) = racing.fail(command);
            assert_eq!((code, error["code"].as_str()), (1, Some("cluster-locked")), "{command:?} {error:#}");
            assert!(text(&error).contains("locked by `hactl up t-shared` ("), "{error:#}");
        }
        let (code, events) = up.end();
        assert_eq!(code, 0, "{:#?}", events.last());
        assert_ne!(server.resources("hactl_t_shared"), "0");
        assert!(!first.kept("terraform/stacks/local/terraform.tfstate").exists(), "the state is here, too");
        first.holds_no(PASSWORD);
    });

    let second = machine(&server, &desk);
    steps.step("status, ssh and psql, on a second machine, reach the cluster", || {
        let status = second.status();
        assert_eq!(status["healthy"], true, "{status:#}");
        assert_eq!(second.hactl(&["ssh", NAME, "node2", "--", "true"]).status.code(), Some(0));
        // PGPASSWORD is that of the state.
        assert_eq!(second.hactl(&["psql", NAME, "--", "-wc", "SELECT 1"]).status.code(), Some(0));
    });

    steps.step("database, new in the cluster file, needs a run that records its password", || {
        second.write_file(&format!("{FILE}postgres: {{databases: {{app: {{}}, crm: {{}}}}}}\n"));
        let problems = second.status()["problems"].clone();
        assert_eq!((problems.as_array().unwrap().len(), &problems[0]["code"]), (1, &"database-missing".into()));
        let (_, error) = second.fail(&["configure", NAME]);
        assert_eq!(error["code"], "secrets-behind", "{error:#}");
    });

    second.write_file(FILE);
    let third = machine(&server, &desk);

    steps.step("verify, on the second machine, passes and locks out a third machine", || {
        let mut verify = second.follow(&["verify", NAME, "--rounds", "1"]);
        verify.wait_for("a strike", |event| text(event).contains("switchover: injecting the fault"));
        for command in [&["up", NAME][..], &["verify", NAME]] {
            let (code, error) = third.fail(command);
            assert_eq!((code, error["code"].as_str()), (1, Some("cluster-locked")), "{error:#}");
            for word in ["locked by `hactl verify t-shared` (", "-verify", " since ", "expires at"] {
                assert!(text(&error).contains(word), "no {word} in {error:#}");
            }
        }
        let (code, events) = verify.end();
        assert_eq!(code, 0, "{:#?}", events.last());
    });

    steps.step("up, with the state of another cluster, is refused", || {
        let other = Bench::beside(
            "t-other",
            &FILE.replace(
                "name: t-shared\nbackend: {pg: {skip_index_creation: false}}",
                "name: t-other\nbackend: {pg: {schema_name: hactl_t_shared}}",
            ),
        );
        let mut command = other.command(&["up", "t-other"]);
        command.envs(third.env.iter().map(|(name, value)| (name, value))).env_remove("HACTL_AGE_KEY_FILE");
        let (code, error) = crate::common::Running::new(command).end_in_error();
        assert_eq!((code, error["code"].as_str()), (1, Some("state-of-another")), "{error:#}");
    });

    steps.step("provision, with another place of the state, moves the state", || {
        let moved = |bench: &Bench, text: &str| {
            bench.write_file(text);
            let (code, events) = bench.follow(&["provision", NAME]).end();
            assert_eq!(code, 0, "{:#?}", events.last());
            events.iter().any(|event| event["code"] == "state-moved")
        };
        let elsewhere = FILE.replace("skip_index_creation: false", "schema_name: hactl_t_moved");
        first.write_file(&elsewhere);
        let plan = first.hactl(&["plan", NAME]);
        let said = String::from_utf8_lossy(&[plan.stdout, plan.stderr].concat()).into_owned();
        assert!(plan.status.code() == Some(1) && said.contains("to move the state"), "{said}");
        assert!(moved(&first, &elsewhere));
        assert_ne!(server.sql("SELECT json_array_length(data::json->'resources') FROM hactl_t_moved.states"), "0");
        // The copy that stays there is the user's to remove.
        server.sql("DROP SCHEMA hactl_t_shared CASCADE");
        let here = first.kept("terraform/stacks/local/terraform.tfstate");
        assert!(moved(&first, &FILE.replace("backend: {pg: {skip_index_creation: false}}\n", "")));
        assert!(fs::read_to_string(&here).unwrap().contains("hactl_node"));
        assert!(moved(&first, FILE));
        assert_eq!(first.status()["healthy"], true);
    });

    steps.step("force-unlock, with the backend pg, is refused", || {
        let (code, error) = first.fail(&["terraform", "force-unlock", NAME, "1"]);
        assert_eq!((code, error["code"].as_str()), (2, Some("force-unlock")), "{error:#}");
    });

    steps.step("provision, after a killed run in the same directory, takes the lock at once", || {
        let mut killed = second.follow(&["verify", NAME, "--rounds", "1"]);
        killed.wait_for_stage("verify");
        killed.kill();
        assert_eq!(second.act(&["provision", NAME])["ok"], true);
    });

    steps.step("down, after a killed run in another directory, is refused until the lock expires", || {
        let mut killed = second.follow(&["verify", NAME, "--rounds", "1"]);
        killed.wait_for_stage("verify");
        // The lock is taken before the stage begins, and renewed at most now.
        killed.kill();
        let died = Instant::now();
        let (_, error) = third.fail(&["down", NAME, "--yes"]);
        std::thread::sleep(Duration::from_secs(31).saturating_sub(died.elapsed()));
        assert_eq!(error["code"], "cluster-locked", "{error:#}");
    });

    steps.step("down, on the third machine, leaves no machine and no resource in the state", || {
        let down = third.act(&["down", NAME, "--yes"]);
        assert_eq!(down["ok"], true, "{down}");
        assert_eq!(third.leftovers(), "");
        assert_eq!(server.resources("hactl_t_shared"), "0");
        let status = second.hactl(&["status", NAME]);
        assert_eq!(status.status.code(), Some(1));
        let said = String::from_utf8_lossy(&status.stderr).into_owned() + &String::from_utf8_lossy(&status.stdout);
        assert!(said.contains("has no machines"), "{said}");
        let (_, error) = second.fail(&["up", NAME]);
        assert_eq!(error["code"], "state-empty", "{error:#}");
    });
    steps.finish();
}
