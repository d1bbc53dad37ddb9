//! The binary without any node: what it refuses, in which words, with which exit code, on which stream.
//!
//! Long because it is one list of refusals, each a few lines.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// An empty directory in which hactl is run.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(name: &str, text: &str) -> Self {
        let place = Self::new();
        fs::write(place.path().join(name), text).unwrap();
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        for name in ["HACTL_DIR", "HACTL_CACHE_DIR", "HACTL_AGE_KEY_FILE", "HACTL_AGE_KEY_COMMAND"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What hactl prints when it fails: code, stdout, stderr.
    fn fails(&self, args: &[&str]) -> (i32, String, String) {
        let done = self.run(args);
        let code = done.status.code().unwrap();
        assert_ne!(code, 0, "hactl {args:?} succeeded");
        (code, text(&done.stdout), text(&done.stderr))
    }

    /// The one line or object that a failing command prints as JSON.
    fn error(&self, args: &[&str]) -> (i32, Value) {
        let (code, stdout, stderr) = self.fails(&[args, &["--output", "json"][..]].concat());
        let error = stdout.lines().find_map(|line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["type"] == "error").then(|| event["error"].clone())
        });
        let error = error.unwrap_or_else(|| serde_json::from_str(&stdout).expect(&stderr));
        let keys: Vec<&str> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "what", "object", "causes", "hint"]);
        (code, error)
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every command that takes a cluster's name and needs no more arguments.
const ON_A_CLUSTER: &[&[&str]] = &[
    &["up"],
    &["plan"],
    &["status"],
    &["down", "--yes"],
    &["provision"],
    &["inventory"],
    &["configure"],
    &["psql"],
    &["image", "build"],
    &["fetch"],
];

#[test]
fn name_unknown_is_reported_with_the_nearest_name() {
    let place = Place::with("pg-prod.yaml", "instances: {node1: {}}\n");
    for command in ON_A_CLUSTER {
        for (wrong, right) in [("patroni-3nod", "patroni-3node"), ("pg-prd", "pg-prod")] {
            let (code, error) = place.error(&[command, &[wrong][..]].concat());
            assert_eq!((code, &error["code"]), (2, &"cluster-unknown".into()), "{command:?}");
            assert_eq!(error["object"], wrong);
            assert!(error["hint"].as_str().unwrap().contains(&format!("did you mean {right}?")), "{error}");
        }
    }
    let (code, stdout, stderr) = place.fails(&["up", "patroni-3nod"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("error: cannot find cluster patroni-3nod\n") && stderr.contains("hint: "), "{stderr}");
    let (_, error) = place.error(&["status", "something-else"]);
    assert!(error["hint"].as_str().unwrap().contains("patroni-1node"), "{error}");
    assert_eq!(place.error(&["up", "./pg.yaml"]).0, 2);
    assert_eq!(place.files(), ["pg-prod.yaml"], "a refused command made something");
}

#[test]
fn name_of_a_directory_is_reported_without_suggesting_itself() {
    let place = Place::with("other.yaml", "instances: {node1: {}}\n");
    for dir in ["pg.yaml", ".hactl/pg"] {
        fs::create_dir_all(place.path().join(dir)).unwrap();
    }
    let (code, error) = place.error(&["status", "pg"]);
    assert_eq!((code, &error["code"]), (2, &"cluster-unknown".into()));
    assert!(!error["hint"].as_str().unwrap().contains("did you mean"), "{error}");
    let (code, error) = place.error(&["status", "pg.yaml"]);
    assert_eq!((code, &error["code"]), (2, &"cluster-file".into()));
    assert_eq!(error["hint"], "Check that it is a file, and that you may read it");
}

const WRONG: &str = "name: bad
instances:
  node1: {memory: lots, coers: 2}
  Node_2: {}
  node3: {vm_name: same}
  node3: {vm_name: same}
  node4: {vm_name: same}
patroni: {timers: {ttl: 20, loop_wait: 10, retry_timeout: 10}}
postgres: {version: 12}
platform: {locl: {}}
";

#[test]
fn cluster_file_with_problems_reports_all_with_file_line_and_path() {
    let place = Place::with("bad.yaml", WRONG);
    let expected = [
        "bad.yaml:3:19: instances.node1.memory: ",
        "bad.yaml:3:25: instances.node1.coers: unknown key (did you mean cores?)",
        "bad.yaml:4:3: instances.Node_2: `Node_2` is not a valid instance key",
        "bad.yaml:6:3: instances.node3: `node3` is given twice",
        "bad.yaml:7:20: instances.node4.vm_name: host name `same` is also the host name of instance node3",
        "bad.yaml:8:11: patroni.timers: loop_wait 10 + 2 * retry_timeout 10 = 30 is more than ttl 20",
        "bad.yaml:9:21: postgres.version: 12 is too small",
        "bad.yaml:10:12: platform.locl: unknown key (did you mean local?)",
    ];
    for command in ON_A_CLUSTER {
        let (code, error) = place.error(&[command, &["bad"][..]].concat());
        assert_eq!((code, &error["code"], &error["object"]), (2, &"cluster-file".into(), &"bad.yaml".into()));
        let causes: Vec<&str> =
            error["causes"].as_array().unwrap().iter().map(|cause| cause.as_str().unwrap()).collect();
        assert_eq!(causes.len(), expected.len(), "{causes:#?}");
        for (cause, expected) in causes.iter().zip(expected) {
            assert!(cause.starts_with(expected), "{cause}\nis not\n{expected}");
        }
    }
    let (code, _, stderr) = place.fails(&["up", "bad"]);
    assert_eq!(code, 2);
    for expected in expected {
        assert!(stderr.contains(&format!("cause: {expected}")), "{stderr}");
    }
    assert_eq!(place.files(), ["bad.yaml"], "a refused file made something");
    // With this option 2 means changes.
    assert_eq!(place.fails(&["plan", "bad", "--detailed-exitcode"]).0, 1);
}

#[test]
fn cluster_file_that_is_broken_is_a_usage_error_without_a_panic() {
    let texts = [
        "",
        "- a\n",
        "instances: [1]\n",
        "a: b: c\n",
        "\u{0}",
        "instances: {node1: {}}\nplatform: {local: {subnet: 10.0.0.1/33}}\n",
    ];
    for text in texts {
        let place = Place::with("bad.yaml", text);
        let (code, error) = place.error(&["up", "bad"]);
        assert_eq!((code, &error["code"]), (2, &"cluster-file".into()), "{text:?}: {error}");
        assert!(error["causes"][0].as_str().unwrap().starts_with("bad.yaml:"), "{error}");
    }
    let place = Place::new();
    fs::write(place.path().join("bad.yaml"), b"name: \xff\n").unwrap();
    assert_eq!(place.error(&["up", "bad"]).0, 2);
    fs::create_dir(place.path().join("dir.yaml")).unwrap();
    assert_eq!(place.error(&["up", "dir.yaml"]).0, 2);
}

#[test]
fn command_that_cannot_begin_ends_its_events_with_a_summary() {
    let place = Place::new();
    let done = place.run(&["up", "nothing", "--output", "json"]);
    let stdout = text(&done.stdout);
    let events: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["error", "summary"]);
    assert_eq!(events[1]["ok"], false);
    assert_eq!(text(&done.stderr), "");
}

#[test]
fn init_twice_writes_a_valid_file_and_overwrites_nothing() {
    let place = Place::new();
    let done = place.run(&["init", "pg-dev"]);
    assert!(done.status.success());
    assert!(text(&done.stdout).contains("hactl up pg-dev"), "{}", text(&done.stdout));
    let written = fs::read_to_string(place.path().join("pg-dev.yaml")).unwrap();
    assert!(written.lines().filter(|line| line.trim_start().starts_with('#')).count() > 5, "{written}");
    // Good as a cluster file: what is missing is the cluster.
    assert_eq!(place.error(&["status", "pg-dev"]).1["code"], "not-provisioned");

    let (code, error) = place.error(&["init", "pg-dev"]);
    assert_eq!((code, &error["code"]), (1, &"init".into()));
    assert!(error["object"].as_str().unwrap().ends_with("pg-dev.yaml") && error["hint"].is_string(), "{error}");
    assert_eq!(fs::read_to_string(place.path().join("pg-dev.yaml")).unwrap(), written);

    for wrong in ["Bad_Name", "-x", "a.b", "../x", "", "1a", &"x".repeat(64)] {
        let (code, stdout, stderr) = place.fails(&["init", "--", wrong]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{wrong}: {stderr}");
    }
    assert_eq!(place.files(), ["pg-dev.yaml"]);
}

#[test]
fn adopted_cluster_is_refused_by_commands_that_change_it() {
    let place = Place::new();
    let done = place.run(&["init", "pg-prod", "--adopted"]);
    assert!(done.status.success());
    assert!(text(&done.stdout).contains("hactl verify pg-prod"), "{}", text(&done.stdout));
    for words in ["up", "plan", "provision", "configure", "inventory", "fetch", "image build", "down", "down --yes"] {
        let words: Vec<&str> = words.split(' ').chain(["pg-prod"]).collect();
        let (code, error) = place.error(&words);
        assert_eq!((code, &error["code"]), (2, &"adopted".into()), "{words:?}: {error}");
        assert!(error["hint"].as_str().unwrap().contains("`hactl status pg-prod`"), "{words:?}: {error}");
    }
    assert_eq!(place.files(), ["pg-prod.yaml"]);
}

#[test]
fn command_with_a_question_on_a_cluster_without_machines_fails_before_the_question() {
    let place = Place::with("pg.yaml", "instances: {node1: {}}\n");
    for command in [&["switchover", "pg"][..], &["reinit", "pg", "node1"], &["restart", "pg", "node1", "--pending"]] {
        let (code, error) = place.error(command);
        assert_eq!((code, &error["code"]), (1, &"not-provisioned".into()), "{error:#}");
    }
}

#[test]
fn word_that_is_no_subcommand_is_reported_with_the_subcommands() {
    let place = Place::with("pg.yaml", "instances: {node1: {}}\n");
    let lists = [
        (&["secrets", "pg", "creat"][..], "[subcommands: create, set, recipients, rotate, host-keys", Some("'create'")),
        (&["secrets", "pg", "zzz", "more"], "[subcommands: create, set, recipients, rotate, host-keys", None),
        (&["secrets", "pg", "recipients", "ad"], "[subcommands: list, add, remove", Some("'add'")),
        (&["--output", "json", "secrets", "up", "rotat"], "[subcommands: create, set, recipients,", Some("'rotate'")),
        (&["image", "biuld"], "[subcommands: list, build, prune", Some("'build'")),
    ];
    for (words, list, meant) in lists {
        let (code, stdout, stderr) = place.fails(words);
        assert_eq!((code, stdout.as_str()), (2, ""), "{words:?}");
        assert!(stderr.contains("error: unrecognized subcommand") && stderr.contains(list), "{words:?}: {stderr}");
        let suggests = meant.map(|name| format!("tip: did you mean {name}?"));
        assert_eq!(stderr.contains("did you mean"), suggests.is_some(), "{stderr}");
        assert!(stderr.contains(suggests.as_deref().unwrap_or_default()), "{stderr}");
    }
    // Another mistake keeps its own words.
    for (words, said) in [
        (&["secrets", "pg", "create", "more"][..], "unexpected argument 'more'"),
        (&["secrets", "pg", "--creat"], "unexpected argument '--creat'"),
        (&["statsu", "pg"], "similar subcommand exists: 'status'"),
    ] {
        let (_, _, stderr) = place.fails(words);
        assert!(stderr.contains(said) && !stderr.contains("[subcommands"), "{words:?}: {stderr}");
    }
}

#[test]
fn plan_with_a_key_file_that_does_not_exist_is_refused() {
    let file = |key: &str| {
        format!(
            "platform: {{hosts: {{ssh: {{key: {key}}}}}}}\ninstances: {{node1: {{address: 192.0.2.1}}}}\n\
             postgres: {{own_network: true}}\n"
        )
    };
    let place = Place::with("pg.yaml", &file("/nonexistent/id"));
    for command in ["plan", "up"] {
        let (code, error) = place.error(&[command, "pg"]);
        assert_eq!((code, &error["code"]), (3, &"ssh-key".into()), "{command}: {error:#}");
        assert_eq!(error["object"], "/nonexistent/id");
        assert_eq!(error["hint"], "Check `ssh.key` in the cluster file");
    }
}

#[test]
fn drill_unknown_is_reported_with_a_similar_name_if_there_is_one() {
    let place = Place::with("pg.yaml", "instances: {node1: {}}\n");
    for (wrong, right) in [("node-los", Some("node-loss")), ("al", Some("all")), ("nonsense", None)] {
        let (code, error) = place.error(&["verify", "pg", "--drill", wrong]);
        assert_eq!((code, &error["code"]), (2, &"drill-unknown".into()));
        let hint = error["hint"].as_str().unwrap();
        assert_eq!(hint.split_once("did you mean ").map(|(_, meant)| meant.trim_end_matches('?')), right, "{hint}");
    }
}

const PROXMOX: &str = "
name: pg
platform: {proxmox: {endpoint: https://pve1:8006/, pool: pg}}
dns: {zone: home.sflab.io., server: 192.168.1.13, key_name: ddnskey.}
instances: {node1: {}, node2: {node: pve2}, node3: {}}
";

#[test]
fn import_with_a_wrong_machine_writes_no_block() {
    let place = Place::with("pg.yaml", PROXMOX);
    let file = place.path().join(".hactl/pg/terraform/stacks/proxmox-vm/import.tf");
    let old = r#"{"vm_ids": {"value": {"node2": 101}}, "resource_ids": {"value": {"node2": "pve2/qemu/101"}}}"#;
    fs::write(place.path().join("old.json"), old).unwrap();

    let (code, error) = place.error(&["import", "pg", "nod1=100", "node3=x", "--from", "old.json"]);
    assert_eq!((code, &error["code"]), (2, &"import".into()));
    let causes = [
        "node3: `x` is not the number of a machine: write a whole number from 100 to 999999999",
        "`nod1=100` names no instance: did you mean node1?",
    ];
    assert_eq!(error["causes"], serde_json::json!(causes), "{error:#}");
    assert!(!file.exists());

    let done = place.run(&["import", "pg", "node1=100", "--from", "old.json", "--pool", "--records"]);
    let (stdout, stderr) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{stdout}{stderr}");
    for told in [
        "the pool pg",
        "node1: pve1/100, with its record",
        "node2: pve2/101, with its record",
        "Next:\n  hactl plan pg\n",
    ] {
        assert!(stdout.contains(told), "{told}: {stdout}");
    }
    assert!(stderr.contains("no ID for node3"), "{stderr}");
    let blocks = fs::read_to_string(&file).unwrap();
    assert_eq!(blocks.matches("\nimport {\n").count(), 5, "{blocks}");

    // A mistake after that leaves the file as it was.
    assert_eq!(place.error(&["import", "pg", "node1=100", "node2=100"]).0, 2);
    assert_eq!(fs::read_to_string(&file).unwrap(), blocks);

    for (words, code) in [
        (&["import", "pg", "--from", "nothing.json"][..], "import-from"),
        (&["import", "patroni-1node", "node1=100"], "import-platform"),
    ] {
        let (status, error) = place.error(words);
        assert_eq!((status, &error["code"]), (2, &code.into()), "{error}");
    }
    assert_eq!(place.fails(&["import", "pg"]).0, 2);
    assert_eq!(place.fails(&["import", "pg", "--records"]).0, 2);
}

#[test]
fn eject_into_an_existing_directory_is_refused() {
    let place = Place::new();
    let done = place.run(&["eject", "mine"]);
    assert!(done.status.success());
    for path in ["roles/patroni/tasks/main.yml", "playbooks/patroni-cluster.yml"] {
        assert!(place.path().join("mine").join(path).is_file(), "{path}");
    }
    fs::create_dir(place.path().join("theirs")).unwrap();
    fs::write(place.path().join("theirs/file"), "kept").unwrap();
    let (code, error) = place.error(&["eject", "theirs"]);
    assert_eq!(code, 1);
    assert_eq!(error["causes"][0], "the directory is not empty");
    assert_eq!(fs::read_dir(place.path().join("theirs")).unwrap().count(), 1);
    assert_eq!(place.error(&["eject", "theirs/file"]).0, 1);
}

#[test]
fn query_before_the_first_up_reports_that_no_cluster_exists() {
    let place = Place::new();
    for command in [&["status"][..], &["inventory"], &["psql"], &["configure"]] {
        let (code, error) = place.error(&[command, &["patroni-3node"]].concat());
        assert_eq!((code, &error["code"]), (1, &"not-provisioned".into()), "{command:?}: {error}");
        assert!(error["hint"].as_str().unwrap().contains("`hactl up patroni-3node`"), "{error}");
    }
    for command in ["ssh", "logs"] {
        let (code, error) = place.error(&[command, "patroni-3node", "node1"]);
        assert_eq!((code, &error["code"]), (1, &"not-provisioned".into()), "{command}: {error}");
    }
}

#[test]
fn report_of_a_removed_cluster_is_shown() {
    let place = Place::new();
    assert_eq!(place.error(&["report", "patroni-3node"]).1["code"], "report-none");
    let verdict = serde_json::json!({
        "version": 1, "cluster": "pg", "started": "2026-11-22T07:17:39Z", "hactl": "0.1.0", "platform": "local",
        "stamps": [], "durability": "quorum-strict", "fencing": "none", "timers": {}, "seed": 1, "path": "direct",
        "libpq": "psql (PostgreSQL) 17.0", "drills": [],
    });
    let run = place.path().join(".hactl/pg/runs/20261122T071739-verify");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("report.json"), verdict.to_string()).unwrap();
    let shown = text(&place.run(&["report", "pg"]).stdout);
    assert!(shown.starts_with("pg: nothing proved: no drill ran\n"), "{shown}");
    assert!(shown.ends_with("\n  .hactl/pg/runs/20261122T071739-verify/report.json\n"), "{shown}");
    for (format, start) in [("json", "{\n"), ("junit", "<?xml "), ("markdown", "## pg: "), ("html", "<!DOCTYPE html>")]
    {
        let shown = text(&place.run(&["report", "pg", "2026", "--format", format]).stdout);
        assert!(shown.starts_with(start), "{format}: {shown}");
    }
    let object: Value = serde_json::from_slice(&place.run(&["report", "pg", "--output", "json"]).stdout).unwrap();
    assert_eq!(object, verdict);
    let (code, error) = place.error(&["report", "pg", "20261122T071738-verify"]);
    assert_eq!((code, &error["code"]), (2, &"run-unknown".into()));
    assert_eq!(error["hint"], "Use one of the nearest names: 20261122T071739-verify");
    // Nothing is found where there is no browser; the page is there all the same.
    let opened = place.command(&["report", "pg", "--open"]).env("PATH", "").output().unwrap();
    assert_eq!(opened.status.code(), Some(3));
    assert!(text(&opened.stderr).contains("hint: Open the page yourself"), "{}", text(&opened.stderr));
    assert!(run.join("report.html").is_file());
}

#[test]
fn help_of_every_command_shows_examples() {
    let place = Place::new();
    let help = text(&place.run(&["--help"]).stdout);
    assert!(help.contains("Examples:"), "{help}");
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: Vec<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        let done = place.run(&[name, "--help"]);
        assert!(done.status.success() && done.stderr.is_empty());
        let help = text(&done.stdout);
        assert!(help.contains("Examples:\n") && help.contains(&format!("hactl {name}")), "{help}");
        assert!(!help.lines().next().unwrap().ends_with('.'), "{help}");
    }
    for wrong in [&["upp", "x"][..], &["up"], &["up", "x", "--frobnicate"], &[], &["status", "x", "--output", "yaml"]] {
        let (code, stdout, stderr) = place.fails(wrong);
        assert_eq!((code, stdout.as_str()), (2, ""), "{wrong:?}");
        assert!(stderr.contains("--help"), "{stderr}");
    }
}

#[test]
fn completions_schema_and_version_are_written_to_stdout() {
    let place = Place::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let done = place.run(&["completions", shell]);
        assert!(done.status.success() && done.stderr.is_empty());
        assert!(text(&done.stdout).contains("patroni") || text(&done.stdout).contains("hactl"), "{shell}");
    }
    let script = place.path().join("hactl.bash");
    fs::write(&script, place.run(&["completions", "bash"]).stdout).unwrap();
    assert!(Command::new("bash").arg("-n").arg(&script).status().unwrap().success());

    let done = place.run(&["schema"]);
    assert!(done.status.success() && done.stderr.is_empty());
    let schema: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&serde_json::json!({"instances": {"node1": {}, "node2": {"memory": 2048}}})));
    assert!(!validator.is_valid(&serde_json::json!({"instances": {"node1": {"memry": 2048}}})));
    assert!(!validator.is_valid(&serde_json::json!({"instances": {"node1": {"memory": "lots"}}})));

    assert!(text(&place.run(&["version"]).stdout).starts_with(&format!("hactl {}", env!("CARGO_PKG_VERSION"))));
    for shape in ["status", "plan", "event", "report", "history", "error", "drills", "doctor", "images"] {
        let schema: Value = serde_json::from_slice(&place.run(&["schema", shape]).stdout).unwrap();
        assert!(jsonschema::meta::is_valid(&schema), "{shape}: {schema:#}");
        assert!(jsonschema::validator_for(&schema).unwrap().iter_errors(&Value::from(1)).next().is_some(), "{shape}");
    }
    let validator = |shape: &str| {
        let mut schema: Value = serde_json::from_slice(&place.run(&["schema", shape]).stdout).unwrap();
        schema["unevaluatedProperties"] = false.into();
        jsonschema::validator_for(&schema).unwrap()
    };
    let events = text(&place.run(&["up", "bad", "--output", "json"]).stdout);
    assert_eq!(events.lines().count(), 2, "an error and a summary: {events}");
    for line in events.lines() {
        let mut event: Value = serde_json::from_str(line).unwrap();
        assert!(validator("event").is_valid(&event), "{line}");
        event["more"] = 1.into();
        assert!(!validator("event").is_valid(&event), "an unknown field is accepted: {line}");
    }
    let drills: Value = serde_json::from_slice(&place.run(&["verify", "--list", "--output", "json"]).stdout).unwrap();
    assert!(validator("drills").is_valid(&drills));
    let doctor: Value = serde_json::from_slice(&place.run(&["doctor", "--output", "json"]).stdout).unwrap();
    assert!(validator("doctor").is_valid(&doctor));
    assert!(!validator("doctor").is_valid(&serde_json::json!({"ok": "yes", "checks": []})));
    let error: Value = serde_json::from_slice(&place.run(&["plan", "bad", "--output", "json"]).stdout).unwrap();
    assert!(validator("error").is_valid(&error), "{error:#}");
    let version: Value = serde_json::from_slice(&place.run(&["version", "--output", "json"]).stdout).unwrap();
    assert!(validator("version").is_valid(&version));
    assert_eq!(version["hactl"], env!("CARGO_PKG_VERSION"), "{version}");
}

#[test]
fn output_to_a_closed_pipe_causes_no_panic() {
    let place = Place::with("bad.yaml", WRONG);
    let hactl = env!("CARGO_BIN_EXE_hactl");
    for args in ["schema", "--help", "up --help", "completions bash", "version", "plan bad", "up bad --output json"] {
        // The pipe's reader is gone before hactl writes.
        let script = format!("(sleep 0.3; exec \"$0\" {args} 2>err) | true; echo \"${{PIPESTATUS[0]}}\"");
        let done = Command::new("bash").args(["-c", &script, hactl]).current_dir(place.path()).output().unwrap();
        let code: i32 = text(&done.stdout).trim().parse().unwrap();
        assert!(code < 3, "{args}: {code}");
        let stderr = fs::read_to_string(place.path().join("err")).unwrap();
        assert!(!stderr.contains("panicked"), "{args}: {stderr}");
    }
    // Nor when stderr is closed.
    let done = Command::new("bash").args(["-c", "exec \"$0\" up bad 2>&-", hactl]).current_dir(place.path()).output();
    assert_eq!(done.unwrap().status.code(), Some(2));
}

#[test]
fn lock_file_that_is_broken_is_named_with_its_line_and_kept() {
    let broken = "{\n  \"version\": 1,\n<<<<<<< HEAD\n";
    // Beside the cluster file, and in the working directory for a blueprint.
    for (name, lock) in [("dir/pg.yaml", "dir/pg.lock.json"), ("patroni-1node", "patroni-1node.lock.json")] {
        let place = Place::new();
        fs::create_dir(place.path().join("dir")).unwrap();
        fs::write(place.path().join("dir/pg.yaml"), "instances: {node1: {}}\n").unwrap();
        fs::write(place.path().join(lock), broken).unwrap();
        let (code, error) = place.error(&["fetch", name]);
        assert_eq!((code, &error["code"]), (2, &Value::from("lock-file")));
        assert!(error["object"].as_str().unwrap().ends_with(&format!("{lock}:3:1")), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("version control"), "{error}");
        assert_eq!(fs::read_to_string(place.path().join(lock)).unwrap(), broken);
    }
}

#[test]
fn problems_on_github_are_shown_at_their_lines() {
    let place = Place::with("pg.yaml", "instances: {node1: {memry: 1}}\nexta: 1\n");
    for command in ["up", "plan", "verify", "status"] {
        let summary = place.path().join("summary.md");
        let done = place
            .command(&[command, "pg.yaml", "--output", "github"])
            .env("GITHUB_WORKSPACE", place.path().parent().unwrap())
            .env("GITHUB_STEP_SUMMARY", &summary)
            .env_remove("GITHUB_OUTPUT")
            .output()
            .unwrap();
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{said}");
        let file = place.path().file_name().unwrap().to_str().unwrap().to_owned() + "/pg.yaml";
        for start in
            [format!("::error file={file},line=1,col=21,title="), format!("::error file={file},line=2,col=1,title=")]
        {
            assert_eq!(said.lines().filter(|line| line.starts_with(&start)).count(), 1, "{command}: {said}");
        }
        // The end of a command that acts is on the step's page.
        let page = fs::read_to_string(&summary).unwrap_or_default();
        let _ = fs::remove_file(&summary);
        let acts = ["up", "verify"].contains(&command);
        assert_eq!(page.starts_with(&format!("### hactl {command} pg.yaml: failed\n")), acts, "{command}: {page}");
    }
}

#[test]
fn down_with_another_clusters_name_is_refused() {
    let place = Place::with("clusters.yaml", "name: pg\ninstances: {node1: {}}\n");
    let (code, error) = place.error(&["down", "clusters.yaml", "--confirm", "clusters"]);
    assert_eq!((code, error["code"].as_str()), (1, Some("not-confirmed")), "{error:#}");
    let (code, _, said) = place.fails(&["down", "clusters.yaml", "--confirm", "pg", "--yes"]);
    assert!(code == 2 && said.contains("cannot be used with"), "{said}");
}

#[test]
fn report_bundle_without_a_run_fails_and_writes_no_file() {
    let place = Place::with("pg.yaml", "instances: {node1: {}}\n");
    let (code, error) = place.error(&["report", "pg", "--bundle", "record.tar.gz"]);
    assert_eq!((code, error["code"].as_str()), (1, Some("record-none")), "{error:#}");
    assert_eq!(place.files(), ["pg.yaml"]);
}

#[test]
fn output_that_cannot_be_written_is_a_failure_and_a_closed_pipe_is_none() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("pg.yaml"), "instances: {node1: {}}\n").unwrap();
    let ended = |args: &[&str], stdout: std::process::Stdio| {
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_hactl"))
            .args(args)
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .stdout(stdout)
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    for args in [
        &["schema"][..],
        &["schema", "status", "--output", "json"],
        &["verify", "--list"],
        &["version"],
        &["--help"],
        &["up", "--help"],
        &["--version"],
        &["completions", "bash"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (code, said) = ended(args, full.into());
        assert_eq!(code, Some(1), "{args:?}: {said}");
        assert!(said.contains("cannot write the results to standard output"), "{args:?}: {said}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(ended(args, writer.into()), (Some(0), String::new()), "{args:?}");
    }
}

#[test]
fn file_in_place_of_the_directory_of_clusters_is_named_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("pg.yaml"), "instances: {node1: {}}\n").unwrap();
    fs::write(dir.path().join(".hactl"), "").unwrap();
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(["status", "pg"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains(".hactl\n  cause: it is not a directory\n  hint: Move it away, or set HACTL_DIR"), "{said}");
}
