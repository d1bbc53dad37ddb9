//! Every fault on real nodes: the undo is set, the fault strikes and is seen, and it is taken back, by
//! whoever asked for it or, when that one is killed, by itself. Nothing of it stays on a node.
//!
//! One cluster serves all steps. Needs what tests/up.rs needs.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::common::{Bench, steps::Steps};
use hactl::{
    context::{Context, Dirs},
    deployment::{Cluster, Deployment},
    event::Events,
    exec::Lock,
    health::{Healthy, wait_until_healthy},
    query::StatusProbe,
    verify::{
        catalogue::{self, Drill, Fault},
        fault::{self, FaultTarget},
    },
};

const NAME: &str = "t-faults-v";

const FILE: &str = "name: t-faults-v
instances:
  node1: {}
  node2: {}
  node3: {}
defaults: {memory: 768, cores: 1}
";

/// Drills whose fault is struck and taken back as soon as its effect is seen.
const DRILLS: &[&str] = &[
    "switchover",
    "postgres-crash",
    "oom-backend",
    "patroni-crash/restart",
    "patroni-crash/dead",
    "patroni-hang",
    "primary-isolated",
    "primary-cut-from-etcd",
    "sync-replica-isolated",
    "slow-network/loss",
    "slow-network/latency",
    "etcd-leader-loss",
    "etcd-slow/late",
    "etcd-slow/bursts",
    "certificate-expired/replica",
    "rest-exhausted",
    "etcd-quorum-loss",
    "disk-full",
    "replica-loss",
    "cluster-power-off",
];

/// An undo that must not come by itself in this test.
const FAR: Duration = Duration::from_secs(120);
/// How soon an effect is seen.
const SOON: Duration = Duration::from_secs(15);
/// How soon a cluster is whole again after a fault that was taken back.
const WHOLE: Duration = Duration::from_secs(90);

#[tokio::test]
async fn faults_on_real_nodes_are_struck_seen_and_taken_back() {
    let bench = Bench::new(NAME, FILE);
    let mut steps = Steps::new();
    steps.must("up, without a cluster, makes one", || bench.up());
    let context = context(&bench.path(""));
    let cluster = Cluster::open(NAME, &context.dirs).unwrap();
    let watcher = StatusProbe::new(&context, &mut Deployment::open(cluster)).await.unwrap();
    let cluster = watcher.fault_target(&context);

    for title in DRILLS {
        let name = format!("{title}, struck and taken back, leaves a healthy cluster");
        let drill = drill(title);
        steps.step_async(&name, strike_and_undo(drill.before.first().unwrap_or(drill), &cluster)).await;
    }

    for title in ["primary-isolated", "replica-loss"] {
        let name = format!("{title}, with an undo that fires by itself, is reported and can be taken back again");
        steps.step_async(&name, comes_by_itself(drill(title), &cluster)).await;
    }

    let name = "watcher, during a fault, does not hold the cluster's lock";
    steps.step_async(name, keeps_no_lock(&bench, &cluster)).await;

    for title in ["patroni-crash/dead", "node-loss"] {
        let name = format!("{title}, after hactl is killed, is taken back within the deadline");
        steps.step_async(&name, killed(&bench, title, &cluster)).await;
    }

    let name = "fault of a killed run, with a late undo, is found and swept";
    steps.step_async(name, swept(&bench, &cluster)).await;

    steps.step("down, with `--yes`, leaves nothing", || {
        bench.act(&["down", NAME, "--yes"]);
        assert_eq!(bench.leftovers(), "");
    });
    steps.finish();
}

async fn strike_and_undo(drill: &Drill, cluster: &FaultTarget<'_>) {
    if let Some(reason) = fault::obstacle(drill, cluster).await.unwrap() {
        println!("   {}: cannot be done here: {reason}", drill.title());
        let expected = match drill.fault {
            Fault::FillDisk => "PGDATA has no file system of its own: it is a directory of a larger one",
            Fault::DelayPackets => "the kernel cannot delay packets: netem",
            _ => "no obstacle",
        };
        assert!(reason.contains(expected), "{reason}");
        return;
    }
    let healthy = whole(cluster).await;
    let targets = fault::targets(drill, healthy.health(), cluster).unwrap();
    let mut clock = Clock::new();
    let mut armed = fault::arm(drill, &targets, FAR, cluster).await.unwrap();
    clock.lap("armed");
    armed.inject().await.unwrap();
    clock.lap("struck");
    assert!(armed.took_effect(drill.effect_within()).await.unwrap(), "{} had no effect", drill.title());
    clock.lap("seen");
    if drill.undo == "nothing to revert" {
        assert!(!armed.fired().await.unwrap());
    } else if drill.fault != Fault::PowerOff {
        assert!(!armed.fired().await.unwrap(), "the undo came too early");
        assert_ne!(fault::leftovers(cluster).await.unwrap(), Vec::<String>::new());
    }
    armed.revert().await.unwrap();
    armed.revert().await.unwrap();
    clock.lap("undone");
    whole(cluster).await;
    clock.lap("whole");
    assert_eq!(fault::leftovers(cluster).await.unwrap(), Vec::<String>::new());
    let targets: Vec<&str> = targets.iter().map(|key| key.as_str()).collect();
    println!("   {} on {}: {}", drill.title(), targets.join(" "), clock.laps.join(", "));
}

async fn comes_by_itself(drill: &Drill, cluster: &FaultTarget<'_>) {
    let targets = fault::targets(drill, whole(cluster).await.health(), cluster).unwrap();
    let mut armed = fault::arm(drill, &targets, Duration::from_secs(6), cluster).await.unwrap();
    armed.inject().await.unwrap();
    assert!(armed.took_effect(SOON).await.unwrap());
    let mut clock = Clock::new();
    tokio::time::sleep(Duration::from_secs(2)).await;
    until("the undo has come", async || armed.fired().await.unwrap()).await;
    clock.lap("fired");
    armed.revert().await.unwrap();
    assert!(armed.inject().await.is_err(), "it struck without an undo");
    whole(cluster).await;
    assert_eq!(fault::leftovers(cluster).await.unwrap(), Vec::<String>::new());
    println!("   {}: {}", drill.title(), clock.laps.join(", "));
}

async fn keeps_no_lock(bench: &Bench, cluster: &FaultTarget<'_>) {
    let drill = drill("replica-loss");
    let targets = fault::targets(drill, whole(cluster).await.health(), cluster).unwrap();
    let lock = Lock::acquire(&bench.kept("lock"), "test").await.unwrap();
    let mut armed = fault::arm(drill, &targets, FAR, cluster).await.unwrap();
    let holders = bench.lock_holders();
    assert!(!holders.contains(&"hactl".to_owned()), "{holders:?}");
    armed.revert().await.unwrap();
    drop(lock);
}

async fn killed(bench: &Bench, title: &str, cluster: &FaultTarget<'_>) {
    whole(cluster).await;
    strike_and_be_killed(bench, title, Duration::from_secs(10));
    let mut clock = Clock::new();
    until("nothing is left", async || fault::leftovers(cluster).await.is_ok_and(|left| left.is_empty())).await;
    clock.lap("taken back after the kill");
    whole(cluster).await;
    clock.lap("whole");
    println!("   {title}: {}", clock.laps.join(", "));
}

async fn swept(bench: &Bench, cluster: &FaultTarget<'_>) {
    whole(cluster).await;
    strike_and_be_killed(bench, "patroni-hang", FAR);
    let left = fault::leftovers(cluster).await.unwrap();
    assert!(left.len() == 2 && left.iter().all(|what| what.contains(": hactl-undo-")), "{left:?}");
    fault::sweep(cluster).await.unwrap();
    assert_eq!(fault::leftovers(cluster).await.unwrap(), Vec::<String>::new());
    whole(cluster).await;
}

/// Another process of this test strikes, and is killed as soon as the effect is seen.
fn strike_and_be_killed(bench: &Bench, title: &str, deadline: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "verify_faults::fault_struck_until_killed", "--ignored", "--nocapture"])
        .env("HACTL_TEST_STRIKE", title)
        .env("HACTL_TEST_DEADLINE", deadline.as_secs().to_string())
        .env("HACTL_TEST_DIR", bench.path(""))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("it hurts")), "{title} was not struck");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
#[ignore = "a part of another test, which runs it in a process of its own"]
async fn fault_struck_until_killed() {
    let title = std::env::var("HACTL_TEST_STRIKE").unwrap();
    let context = context(Path::new(&std::env::var("HACTL_TEST_DIR").unwrap()));
    let cluster = Cluster::open(NAME, &context.dirs).unwrap();
    let watcher = StatusProbe::new(&context, &mut Deployment::open(cluster)).await.unwrap();
    let cluster = watcher.fault_target(&context);
    let targets = fault::targets(drill(&title), &watcher.health().await, &cluster).unwrap();
    let deadline = Duration::from_secs(std::env::var("HACTL_TEST_DEADLINE").unwrap().parse().unwrap());
    let mut armed = fault::arm(drill(&title), &targets, deadline, &cluster).await.unwrap();
    armed.inject().await.unwrap();
    assert!(armed.took_effect(SOON).await.unwrap());
    println!("it hurts");
    std::future::pending::<()>().await;
}

/// Waits until the cluster is healthy.
async fn whole(cluster: &FaultTarget<'_>) -> Healthy {
    let (access, fleet) = (cluster.access, cluster.fleet);
    wait_until_healthy(cluster.context, cluster.plan, fleet, access, WHOLE).await.unwrap()
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(30), "not seen: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn drill(title: &str) -> &'static Drill {
    catalogue::choose(&[title.to_owned()]).unwrap()[0]
}

fn context(dir: &Path) -> Context {
    let mut env: std::collections::BTreeMap<String, String> = std::env::vars().collect();
    env.insert("HACTL_PROGRAM".to_owned(), env!("CARGO_BIN_EXE_hactl").to_owned());
    Context { dirs: Dirs::new(dir, &env), env, events: Events::channel().0, stop: Default::default() }
}

/// What took how long.
struct Clock {
    since: Instant,
    laps: Vec<String>,
}

impl Clock {
    fn new() -> Self {
        Self { since: Instant::now(), laps: Vec::new() }
    }

    fn lap(&mut self, what: &str) {
        self.laps.push(format!("{what} {:.1} s", self.since.elapsed().as_secs_f64()));
        self.since = Instant::now();
    }
}
