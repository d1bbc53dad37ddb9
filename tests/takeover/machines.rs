//! A running cluster of the release before, taken over by this one while clients write to it.
//!
//! Builds that release from its commit. Needs what `tests/up.rs` needs, and a clone that has the commit.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::common::{Bench, application::Application, docker, steps::Steps};

/// The commit of the release before.
const BEFORE: &str = "48cca037bcef1ca1b58deddfeb3d0ac48824affc";

const NAME: &str = "t-takeover-live";
const NODES: [&str; 3] = ["node1", "node2", "node3"];
const FILE: &str = "name: t-takeover-live
instances:
  node1: {}
  node2: {}
  node3: {}
defaults: {memory: 768, cores: 1}
";

#[test]
#[ignore = "builds the release before and drills its cluster, some 5 minutes: make test-long"]
fn cluster_of_the_release_before_is_taken_over_and_only_patroni_and_its_lease_guards_restart() {
    let before = release_before();
    let bench = Bench::new(NAME, FILE);

    let mut steps = Steps::new();
    let (application, started, agents) =
        steps.must("up, with the release before, makes a cluster and proves its failover", || {
            let made = Command::new(&before)
                .args(["up", NAME, "--output", "json"])
                .current_dir(bench.path(""))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&made.stdout);
            assert!(made.status.success(), "{said}{}", String::from_utf8_lossy(&made.stderr));
            let summary: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
            let application = Application::start(summary["dsn"].as_str().unwrap(), 2);
            (application, NODES.map(|node| (node, starts(node))), NODES.map(agents_of))
        });

    steps.step("plan, with this release, finds no changes of machines and names the services that restart", || {
        let planned = bench.hactl(&["plan", NAME, "--detailed-exitcode"]);
        let text = String::from_utf8_lossy(&planned.stdout);
        assert_eq!(planned.status.code(), Some(2), "{text}{}", String::from_utf8_lossy(&planned.stderr));
        let planned: Value = serde_json::from_str(&text).unwrap();
        let resources = planned["changes"]["resources"].as_array().unwrap();
        assert!(resources.iter().all(|resource| resource["action"] == "no-op"), "{planned:#}");
        assert_eq!(planned["consents"], Value::Array(Vec::new()), "{planned:#}");
        let changes = planned["configuration"]["changes"].as_array().unwrap().iter();
        let restarts: Vec<&Value> = changes.filter(|change| change["action"] == "restart").collect();
        for node in NODES {
            let of_guard = |change: &&&Value| change["machine"] == node && change["unit"] == "hactl-lease-guard";
            assert!(restarts.iter().any(|change| of_guard(&change)), "{planned:#}");
        }
    });

    steps.step(
        "status, with this release, is healthy and reports unknown lease guards, no firewall, and settings that it adds",
        || {
            let status = bench.status();
            let notices = status["notices"].as_array().unwrap();
            let of = |code: &str| {
                let notices = notices.iter().filter(|notice| notice["code"] == code);
                notices.map(|notice| notice["node"].as_str()).collect::<Vec<_>>()
            };
            assert_eq!((of("guard-unknown"), of("firewall-off")), (NODES.map(Some).to_vec(), NODES.map(Some).to_vec()));
            // The settings that this release adds are in etcd after its first `up`.
            let differs = of("configuration-differs");
            assert!(!differs.is_empty() && notices.len() == 6 + differs.len(), "{status:#}");
            // Those of new clusters are not among them.
            let text = status.to_string();
            assert!(["archive_mode", "shared_preload_libraries"].iter().all(|name| !text.contains(name)), "{status:#}");
            assert_eq!(status["healthy"], true, "{status:#}");
        },
    );

    steps.step("up, with this release, updates Patroni's units and the lease guards, and skips verify", || {
        let up = bench.act(&["up", NAME]);
        let stages = up["stages"].as_array().unwrap().iter();
        let stages: BTreeMap<_, _> =
            stages.map(|stage| (stage["stage"].as_str().unwrap(), &stage["outcome"])).collect();
        assert_eq!((&up["changed"], stages["configure"]), (&Value::Bool(true), &Value::from("ok")), "{up:#}");
        assert!(!stages.contains_key("verify"), "a cluster that was proved before is proved again: {up:#}");
    });

    steps.step("configure, with this release, runs Ansible without a change", || {
        let configured = bench.act(&["configure", NAME]);
        assert_eq!(configured["changed"], false, "{configured:#}");
    });

    steps.step(
        "etcd, PostgreSQL and clients, after up and configure, continue; only Patroni and the lease guards restarted",
        || {
            assert_eq!(NODES.map(|node| (node, starts(node))), started);
            let now = NODES.map(agents_of);
            let mut pairs = now.iter().flatten().zip(agents.iter().flatten());
            assert!(pairs.all(|(now, before)| now != before), "{agents:?} {now:?}");
            let (acknowledged, failed) = application.written();
            println!("   {acknowledged} rows so far");
            assert!(acknowledged > 100 && failed == 0, "{acknowledged} rows acknowledged, {failed} not");
            let status = bench.status();
            assert_eq!(
                (&status["healthy"], &status["problems"], &status["notices"]),
                (&Value::Bool(true), &Value::Array(Vec::new()), &Value::Array(Vec::new())),
                "{status:#}"
            );
        },
    );

    steps.step("drills, with this release, pass and lose no acknowledged row", || {
        for drill in ["switchover", "node-loss"] {
            bench.act(&["verify", NAME, "--drill", drill, "--rounds", "1"]);
            let report: Value = serde_json::from_slice(&bench.hactl(&["report", NAME]).stdout).unwrap();
            let ran = report["drills"].as_array().unwrap().iter();
            let ran: Vec<_> = ran.map(|drill| (&drill["name"], &drill["outcome"], &drill["lost"])).collect();
            assert_eq!(ran, [(&drill.into(), &"passed".into(), &0.into())], "{report:#}");
        }
        let (acknowledged, failed) = application.written();
        println!("   {acknowledged} rows were acknowledged, {failed} were not");
        assert!(application.finish() >= acknowledged);
    });

    steps.step("down, with this release, leaves nothing", || {
        assert_eq!(bench.act(&["down", NAME, "--yes"])["changed"], true);
        assert_eq!(bench.leftovers(), "");
    });
    steps.finish();
}

/// When the node, its etcd and its PostgreSQL started, and their processes.
fn starts(node: &str) -> String {
    let container = format!("{NAME}-{node}");
    let machine = docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &container]);
    let script = "systemctl show --property Id,ActiveEnterTimestamp,MainPID,NRestarts etcd
        runuser -u postgres -- psql -XAtq -d postgres -c 'SELECT pg_postmaster_start_time()'";
    let services = docker(&["exec", &container, "sh", "-euc", script]);
    // Four lines of the unit, and PostgreSQL's line.
    assert!(machine.contains("20") && services.lines().count() == 5, "{node}: {machine}{services}");
    machine + &services
}

/// The process IDs of the machine's Patroni and of its lease guard.
fn agents_of(node: &str) -> [String; 2] {
    ["patroni", "hactl-lease-guard"].map(|unit| {
        let script = format!("systemctl show --property MainPID --value {unit}");
        docker(&["exec", &format!("{NAME}-{node}"), "sh", "-euc", &script])
    })
}

/// The program of the release before, built from its commit.
fn release_before() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known = Command::new("git")
        .args(["cat-file", "-e", &format!("{BEFORE}^{{commit}}")])
        .current_dir(sources)
        .output()
        .expect("git is installed");
    assert!(
        known.status.success(),
        "this test did not run: commit {BEFORE}, the release before, is not in {}.\n{}\
         A shallow clone gets it with `git fetch --unshallow`. An archive of the sources has no commits: use a clone.",
        sources.display(),
        String::from_utf8_lossy(&known.stderr)
    );
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let place = scratch.join("release-before").join(&BEFORE[..7]);
    let source = place.join("source");
    if !source.exists() {
        unpack(sources, &source);
    }
    // Cargo's build directory is the one of this test, so that both releases share the compiled dependencies. The package
    // `hactl` is at another path, which gives its files there other hashes than those of this release. The program itself
    // goes below `place`: in the target directory of this test it would replace the program under test. A cargo older than
    // 1.91 ignores the build directory and compiles the dependencies again.
    let build = scratch.parent().expect("it is below the target directory");
    let target = place.join("target");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--bin", "hactl", "--target-dir"]).arg(&target).current_dir(&source);
    // Cargo describes the tested package in these variables. Build scripts that depend on them, such as ring's, would run
    // again, here and in the next build of this release.
    let told = |name: &str| {
        name == "OUT_DIR" || ["CARGO_BIN_", "CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|start| name.starts_with(start))
    };
    for (name, _) in std::env::vars().filter(|(name, _)| told(name)) {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_BUILD_BUILD_DIR", build);
    assert!(cargo.status().unwrap().success(), "the release before was not built: {cargo:?}");
    let program = target.join("debug/hactl");
    println!("   {}", program.display());
    program
}

/// Writes the files of the release before into the directory `source`, all or none. Their time is that of the commit, so that
/// cargo does not compile them again.
fn unpack(sources: &Path, source: &Path) {
    let place = source.parent().expect("it has a name");
    fs::create_dir_all(place).unwrap();
    let new = tempfile::tempdir_in(place).unwrap();
    let archive = new.path().join("archive.tar");
    let tree = new.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let mut git = Command::new("git");
    git.args(["archive", "--output"]).arg(&archive).arg(BEFORE).current_dir(sources);
    assert!(git.status().unwrap().success(), "{git:?}");
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&tree);
    assert!(tar.status().unwrap().success(), "{tar:?}");
    fs::rename(tree, source).unwrap();
}
