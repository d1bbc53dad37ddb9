//! `plan` says what the next `up` does to a running cluster: each kind of input is edited, and what `plan` showed is compared
//! with what `up` then did. The restart of the primary waits for consent.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::common::{Bench, application::Application, docker, fits, steps::Steps};

const NAME: &str = "t-plan-shows";
const NODES: [&str; 3] = ["node1", "node2", "node3"];

/// The cluster file with this version of etcd, these parameters and what else is under `postgres`, and this ttl.
fn file(etcd: &str, parameters: &[&str], postgres: &str, ttl: u32) -> String {
    let parameters: String = parameters.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "instances: {{node1: {{}}, node2: {{}}, node3: {{}}}}\ndefaults: {{memory: 640, cores: 1}}\netcd: {{version: \"{etcd}\"}}\n\
         patroni: {{timers: {{ttl: {ttl}}}}}\npostgres:\n  parameters:\n{parameters}{postgres}"
    )
}

/// What changes, comparable: files and reloads of each machine, settings and accounts as sets, restarts in their order.
#[derive(Debug, PartialEq)]
struct Shown {
    files: BTreeSet<(String, String)>,
    settings: BTreeSet<String>,
    accounts: BTreeSet<String>,
    reloads: BTreeSet<(String, String)>,
    /// Machine and unit of the services whose members restart one after the other, and whether writes are interrupted.
    restarts: Vec<(String, String, bool)>,
    /// The restarts of other units, which all machines do at once.
    at_once: BTreeSet<(String, String)>,
}

impl Shown {
    /// From the changes that `plan` lists, or those that the record of an `up` has.
    fn of(changes: &Value) -> Self {
        let mut shown = Self {
            files: BTreeSet::new(),
            settings: BTreeSet::new(),
            accounts: BTreeSet::new(),
            reloads: BTreeSet::new(),
            restarts: Vec::new(),
            at_once: BTreeSet::new(),
        };
        for change in changes.as_array().unwrap() {
            let text = |field: &str| change[field].as_str().unwrap_or_default().to_owned();
            let machine = text("machine");
            match (change["kind"].as_str().unwrap(), change["action"].as_str()) {
                // The programs come with the version, and the digest with every run.
                ("file", _) if text("path") == "/etc/hactl/digest" || text("path").starts_with("/opt/") => {}
                ("file", _) => _ = shown.files.insert((machine, text("path"))),
                ("setting", _) => {
                    shown.settings.insert(format!("{} {} {}", text("name"), change["old"], change["new"]));
                }
                ("account", _) => _ = shown.accounts.insert(text("did")),
                ("unit", Some("reload")) => _ = shown.reloads.insert((machine, text("unit"))),
                ("unit", Some("restart")) if ["etcd", "postgresql"].contains(&text("unit").as_str()) => {
                    shown.restarts.push((machine, text("unit"), change["interrupts_writes"] == true));
                }
                ("unit", Some("restart")) => _ = shown.at_once.insert((machine, text("unit"))),
                _ => {}
            }
        }
        shown
    }

    fn members(&self, unit: &str) -> Vec<&str> {
        self.restarts.iter().filter(|(_, of, _)| of == unit).map(|(machine, ..)| machine.as_str()).collect()
    }
}

/// `plan` with its exit code.
fn plan(bench: &Bench, more: &[&str]) -> (i32, Value) {
    let args = [&["plan", NAME, "--detailed-exitcode"], more].concat();
    let done = bench.hactl(&args);
    let planned: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    });
    fits("plan", [planned.clone()]);
    (done.status.code().unwrap(), planned)
}

/// What the last `up` did.
fn did(bench: &Bench) -> Shown {
    let runs = fs::read_dir(bench.kept("runs")).unwrap().flatten().map(|entry| entry.path());
    let last = runs.filter(|path| path.to_string_lossy().ends_with("-up")).max().unwrap();
    let configured: Value = serde_json::from_slice(&fs::read(last.join("configured.json")).unwrap()).unwrap();
    Shown::of(&configured["changes"])
}

fn starts() -> Vec<String> {
    let ask = "runuser -u postgres -- psql -XAtqc 'SELECT pg_postmaster_start_time()' postgres";
    NODES.iter().map(|key| docker(&["exec", &format!("{NAME}-{key}"), "sh", "-c", ask]).trim().to_owned()).collect()
}

fn leader(bench: &Bench) -> String {
    bench.status()["leader"].as_str().unwrap().to_owned()
}

/// Plans the file, runs `up --yes`, and compares.
fn planned_and_done(bench: &Bench, text: &str) -> (Value, Shown) {
    bench.write_file(text);
    let (code, planned) = plan(bench, &[]);
    assert_eq!(code, 2, "{planned:#}");
    let shown = Shown::of(&planned["configuration"]["changes"]);
    bench.up();
    assert_eq!(did(bench), shown, "plan does not show what up did");
    (planned, shown)
}

#[test]
#[ignore = "a cluster for itself, several minutes: `make test-long` runs it"]
fn plan_of_each_edit_shows_what_the_next_up_does() {
    let base = &["work_mem: 4MB"];
    let bench = Bench::new(NAME, &file("3.5.35", base, "", 20));
    let mut steps = Steps::new();
    let up = steps.must("up, without a cluster, asks for no consent", || {
        let (code, planned) = plan(&bench, &[]);
        assert_eq!((code, &planned["configuration"]), (2, &Value::Null), "{planned:#}");
        bench.act(&["up", NAME, "--no-verify"])
    });
    let application = Application::start(up["dsn"].as_str().unwrap(), 2);

    steps.step("plan, with an unchanged file, shows no change", || {
        let (code, planned) = plan(&bench, &[]);
        assert_eq!(code, 0, "{planned:#}");
        assert_eq!(
            (&planned["configuration"]["runs"], planned["consents"].as_array().unwrap().len()),
            (&false.into(), 0)
        );
    });

    steps.step("plan, with a parameter that needs a reload, shows the setting and no restart", || {
        let before = starts();
        let (_, shown) = planned_and_done(&bench, &file("3.5.35", &["work_mem: 5MB"], "", 20));
        assert_eq!(shown.settings, [r#"postgresql.parameters.work_mem "4MB" "5MB""#.to_owned()].into());
        assert_eq!((shown.restarts.len(), starts()), (0, before));
    });

    let postgres = "  databases: {app: {}, shop: {}}\n  access: [10.9.0.0/16]\n";
    steps.step("plan, with another ttl, a database and a network, shows settings, accounts, files and reloads", || {
        let (_, shown) = planned_and_done(&bench, &file("3.5.35", &["work_mem: 5MB"], postgres, 30));
        assert_eq!(shown.settings, ["ttl 20 30".to_owned()].into());
        assert_eq!(shown.accounts, ["created role shop", "created database shop"].map(str::to_owned).into());
        for key in NODES {
            assert!(shown.files.contains(&(key.to_owned(), "/etc/patroni/patroni.yml".to_owned())), "{shown:#?}");
            assert!(shown.reloads.contains(&(key.to_owned(), "patroni".to_owned())), "{shown:#?}");
        }
        assert_eq!(shown.restarts, []);
    });

    let grown = file("3.5.35", &["work_mem: 5MB", "max_connections: 150"], postgres, 30);
    let saved = bench.path("saved.json");
    let save = saved.to_str().unwrap();
    steps.step(
        "up, with a parameter that needs a restart and no consent, restarts the replicas only and says so",
        || {
            bench.write_file(&grown);
            let (before, primary) = (starts(), leader(&bench));
            let (_, planned) = plan(&bench, &["--out", save]);
            let shown = Shown::of(&planned["configuration"]["changes"]);
            assert_eq!(
                shown.members("postgresql").last(),
                Some(&primary.as_str()),
                "the primary is not last: {shown:#?}"
            );
            assert_eq!(planned["consents"][0]["option"], "--yes", "{planned:#}");
            let failed = application.written().1;
            let (code, error) = bench.fail(&["up", NAME, "--no-verify"]);
            assert_eq!((code, error["code"].as_str()), (1, Some("consent-missing")), "{error:#}");
            assert!(error["causes"][0].as_str().unwrap().contains(&primary), "{error:#}");
            let done = did(&bench);
            assert_eq!(done.restarts, shown.restarts[..2], "{done:#?}");
            let same =
                NODES.into_iter().zip(before.iter().zip(starts())).filter(|(_, (before, after))| *before == after);
            assert_eq!(same.map(|(key, _)| key).collect::<Vec<_>>(), [primary.as_str()]);
            assert_eq!(application.written().1, failed, "a write failed");
            let status = bench.status();
            assert_eq!(status["healthy"], true, "{status:#}");
            assert_eq!(status["notices"][0]["code"], "pending-restart", "{status:#}");
        },
    );

    steps.step("up, with a saved plan, refuses an outdated one and carries out a new one", || {
        let primary = leader(&bench);
        let (code, error) = bench.fail(&["up", NAME, "--no-verify", "--plan", save]);
        assert_eq!((code, error["code"].as_str()), (1, Some("plan-outdated")), "{error:#}");
        let (code, planned) = plan(&bench, &["--out", save]);
        let shown = Shown::of(&planned["configuration"]["changes"]);
        assert_eq!((code, shown.restarts), (2, vec![(primary, "postgresql".to_owned(), true)]), "{planned:#}");
        bench.act(&["up", NAME, "--no-verify", "--plan", save]);
        assert_eq!(plan(&bench, &[]).0, 0);
    });

    steps.step("plan, with a parameter that shrinks, shows the primary's restart before those of the replicas", || {
        let primary = leader(&bench);
        let (_, shown) =
            planned_and_done(&bench, &file("3.5.35", &["work_mem: 5MB", "max_connections: 100"], postgres, 30));
        assert_eq!(shown.restarts[0], (primary, "postgresql".to_owned(), true), "{shown:#?}");
        assert_eq!(shown.restarts.len(), 3);
    });

    steps.step(
        "plan, with another version of etcd, shows the move and a restart of each member, the leader last",
        || {
            let status = bench.status();
            let members = status["etcd"]["members"].as_array().unwrap();
            let leads = members.iter().find(|member| member["leader"] == true).unwrap_or_else(|| panic!("{status:#}"));
            let leads = leads["name"].as_str().unwrap().to_owned();
            let (planned, shown) =
                planned_and_done(&bench, &file("3.6", &["work_mem: 5MB", "max_connections: 100"], postgres, 30));
            let moved = &planned["configuration"]["versions"][0];
            assert_eq!((&moved["program"], &moved["from"]), (&"etcd".into(), &"3.5.35".into()), "{planned:#}");
            assert_eq!(shown.members("etcd").last(), Some(&leads.as_str()), "{shown:#?}");
            assert_eq!(plan(&bench, &[]).0, 0);
        },
    );

    steps.step("writers lose no acknowledged row", || assert!(application.finish() > 0));
    bench.act(&["down", NAME, "--yes"]);
    steps.finish();
}
