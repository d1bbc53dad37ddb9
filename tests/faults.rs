//! Trouble on the way to a cluster: interrupts, an engine that goes away, a disk that fills up, a node
//! that dies, a port that is taken, changes that would destroy. Each is named with the next step, and
//! the next `up` converges. And a search for secrets where none may be.
//!
//! One node serves all steps in their order. Needs what tests/up.rs needs.

use std::{
    fs,
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::common::{Bench, as_root, docker, steps::Steps};
use nix::sys::signal::Signal;
use serde_json::Value;

const NAME: &str = "t-tr-one";
const NODE: &str = "t-tr-one-node1";

const FILE: &str = "name: t-tr-one
instances:
  node1: {}
defaults: {memory: 768, cores: 1}
";

/// How long a clean stop may take.
const SECONDS: Duration = Duration::from_secs(15);

#[test]
fn node_with_faults_during_up_is_named_and_converges() {
    let bench = Bench::new(NAME, FILE);
    let mut steps = Steps::new();
    // What the image needs is made before clocks are watched.
    steps.must("image build, without a cluster, succeeds", || {
        bench.act(&["image", "build", NAME]);
    });

    steps.step("up, with a subnet that is in use, names the network that has it", || {
        subnet_in_use(&bench);
    });

    bench.write_file(FILE);
    let watch = Arguments::watch();
    steps.step("up, after SIGINT while the node is made, ends with 130 within seconds", || {
        interrupt(&bench, "provision", &[Signal::SIGINT], 130);
    });

    steps.step("up, after SIGTERM while the node is configured, ends with 143 within seconds", || {
        interrupt(&bench, "configure", &[Signal::SIGTERM], 143);
    });

    steps.step("up, after a second SIGINT, ends at once", || {
        let started = interrupt(&bench, "configure", &[Signal::SIGINT, Signal::SIGINT], 130);
        assert!(started < Duration::from_secs(3), "{started:?}");
    });

    steps.must("up, after interrupts, converges", || {
        assert_eq!(bench.up()["ok"], true);
    });

    steps.step("up, without an engine in the middle of a run, names the engine and converges later", || {
        engine_goes_away(&bench);
    });

    steps.step("up, with a node killed during configure, names the node and converges later", || {
        forget_digest();
        let mut up = bench.follow(&["up", NAME]);
        up.wait_for("task on the node", |event| event["type"] == "task-finished");
        docker(&["kill", NODE]);
        let (code, error) = up.end_in_error();
        assert_eq!(code, 1, "{error:#}");
        // Ansible says what it saw of the connection, in one of several ways.
        contains(&error, &["node1: "]);
        let seen = ["nreachable", "Connection refused", "EOF", "onnection"];
        assert!(seen.iter().any(|word| error["causes"].to_string().contains(word)), "{error:#}");
        converges(&bench);
    });

    steps.step("up, with a node killed between two stages, names the node and converges later", || {
        let mut up = bench.follow(&["up", NAME]);
        up.wait_for_stage("inventory");
        docker(&["kill", NODE]);
        let (code, error) = up.end_in_error();
        assert_eq!(code, 1, "{error:#}");
        contains(&error, &["node1: "]);
        converges(&bench);
    });

    steps.step("up, with a port that is in use, names the node and converges later", || {
        let published = docker(&["port", NODE, "22/tcp"]);
        let port = published.trim().rsplit(':').next().unwrap();
        docker(&["stop", "-t", "0", NODE]);
        let taken = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
        let (code, error) = bench.fail(&["up", NAME]);
        assert_eq!(code, 1);
        contains(&error, &[NODE, "docker port"]);
        drop(taken);
        converges(&bench);
    });

    steps.step("up, with a disk that fills up, names the cause and converges later", || {
        disk_fills_up(&bench);
    });

    steps.step("up, with a change that replaces or destroys the node, is refused by name", || {
        let other = |change: &str, with: &str| bench.write_file(&FILE.replace(change, with));
        for (change, with, verb) in [
            ("node1: {}", "node1: {vm_name: other}", "replace the machine node1"),
            ("node1: {}", "node2: {}", "destroy the machine node1"),
            ("instances", "platform: {local: {subnet: 10.213.77.0/24}}\ninstances", "replace"),
        ] {
            other(change, with);
            let (code, error) = bench.fail(&["up", NAME]);
            assert_eq!((code, error["code"].as_str()), (1, Some("plan-refused")), "{error:#}");
            contains(&error, &[verb, "hactl down t-tr-one"]);
            let plan: Value = serde_json::from_slice(&bench.hactl(&["plan", NAME]).stdout).unwrap();
            assert_eq!(plan["refused"]["code"], "plan-refused", "{plan:#}");
        }
    });

    bench.write_file(FILE);
    steps.step("up, with the former cluster file, converges", || {
        converges(&bench);
    });

    steps.step("up, with the only voter removed and its volume kept, is refused and names the loss", || {
        docker(&["rm", "-f", NODE]);
        let (code, error) = bench.fail(&["up", NAME]);
        assert_eq!((code, error["code"].as_str()), (1, Some("voters-gone")), "{error:#}");
        contains(&error, &["node1", "none is left", "acknowledged commit", "hactl down t-tr-one"]);
    });

    steps.step("secrets, after all runs, are in no process argument, record or output", || {
        secrets(&bench, &watch.end());
    });

    steps.step("down, with `--yes`, leaves nothing", || {
        bench.act(&["down", NAME, "--yes"]);
        assert_eq!(bench.leftovers(), "");
    });
    steps.finish();
}

fn contains(error: &Value, words: &[&str]) {
    for word in words {
        assert!(error.to_string().contains(word), "no `{word}` in {error:#}");
    }
}

fn converges(bench: &Bench) {
    assert_eq!(bench.up()["ok"], true);
    assert_eq!(bench.status()["healthy"], true);
}

/// Makes the next `up` run Ansible.
fn forget_digest() {
    docker(&["exec", NODE, "rm", "-f", "/etc/hactl/digest"]);
}

fn subnet_in_use(bench: &Bench) {
    let name = "t-tr-taken";
    let net = "10.213.78.0/24";
    docker(&["network", "rm", name]);
    docker(&["network", "create", "--subnet", net, name]);
    bench.write_file(&format!("{FILE}platform: {{local: {{subnet: {net}}}}}\n"));
    let (code, error) = bench.fail(&["up", NAME]);
    docker(&["network", "rm", name]);
    assert_eq!(code, 1);
    contains(&error, &[net, name, "subnet"]);
    // The volume needs no network, and Terraform knows of it.
    let left = bench.leftovers();
    assert!(left.is_empty() || left.trim() == "t-tr-one-node1-pgdata", "{left}");
}

/// Starts `up`, sends `signals` in `stage`, and gives how long it took to end.
fn interrupt(bench: &Bench, stage: &str, signals: &[Signal], expected: i32) -> Duration {
    let mut up = bench.follow(&["up", NAME]);
    amid(&mut up, stage);
    let started = Instant::now();
    for signal in signals {
        up.signal(*signal);
        std::thread::sleep(Duration::from_millis(200));
    }
    let (code, events) = up.end();
    let took = started.elapsed();
    println!("   ended with {code} after {:.1} s", took.as_secs_f64());
    assert_eq!(code, expected, "{:#?}", events.last());
    assert!(took < SECONDS, "{took:?}");
    if signals.len() == 1 {
        let last = events.last().unwrap();
        assert_eq!((&last["type"], &last["ok"]), (&"summary".into(), &false.into()), "{last:#}");
        assert!(last["message"].as_str().unwrap().contains("Run the same command again"), "{last:#}");
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(bench.lock_holders(), Vec::<String>::new());
    took
}

/// Waits until `stage` is in the middle of something that an event tells of, however fast the machine is.
fn amid(up: &mut crate::common::Running, stage: &str) {
    up.wait_for_stage(stage);
    match stage {
        "provision" => {
            up.wait_for("node in the making", |event| event["type"] == "step" && event["step"] == "creating")
        }
        "configure" => up.wait_for("task on the node", |event| event["type"] == "task-finished"),
        _ => {}
    }
}

fn engine_goes_away(bench: &Bench) {
    // Before anything is asked of it, and while it makes a node.
    for stage in ["image", "provision"] {
        docker(&["rm", "-f", NODE]);
        docker(&["volume", "rm", "-f", &docker(&["volume", "ls", "-q", "--filter", "label=hactl.cluster=t-tr-one"])]);
        let proxy = Proxy::new(bench.path("engine.sock"));
        let mut command = bench.command(&["up", NAME]);
        command.env("DOCKER_HOST", format!("unix://{}", proxy.path.display()));
        let mut up = crate::common::Running::new(command);
        amid(&mut up, stage);
        proxy.cut();
        let (code, error) = up.end_in_error();
        assert!(matches!(code, 1 | 3), "{code}");
        contains(&error, &["engine"]);
        assert_eq!(bench.lock_holders(), Vec::<String>::new());
        converges(bench);
    }
}

/// A socket in front of the engine's, which can be cut.
struct Proxy {
    path: PathBuf,
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl Proxy {
    fn new(path: PathBuf) -> Self {
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let (cut, streams) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stop, all) = (Arc::clone(&cut), Arc::clone(&streams));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let far = UnixStream::connect("/var/run/docker.sock").unwrap();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || pass(from, to));
                }
                all.lock().unwrap().extend([near, far]);
            }
        });
        Self { path, cut, streams }
    }

    /// As if the engine had been stopped: connections break, and there is no socket any more.
    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        fs::remove_file(&self.path).unwrap();
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The directory of the cluster on a file system of its own that is filled in the middle of a run.
fn disk_fills_up(bench: &Bench) {
    let dir = bench.path(".hactl");
    let aside = bench.path("aside");
    let (from, to) = (dir.to_str().unwrap(), aside.to_str().unwrap());
    let succeeds = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    let copy = |from: &str, to: &str| succeeds(Command::new("cp").args(["-a", from, to]));
    copy(from, to);
    let options = format!("size=64m,uid={},gid={}", nix::unistd::getuid(), nix::unistd::getgid());
    succeeds(as_root("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs", from]));
    copy(&format!("{to}/."), from);
    docker(&["stop", "-t", "0", NODE]);
    forget_digest();
    let mut up = bench.follow(&["up", NAME]);
    up.wait_for_stage("provision");
    let filler = dir.join("filler");
    let _ = io::copy(&mut io::repeat(0), &mut fs::File::create(&filler).unwrap());
    let (code, error) = up.end_in_error();
    let _ = fs::remove_file(&filler);
    let result = std::panic::catch_unwind(|| {
        assert_eq!(code, 1);
        contains(&error, &["o space left on device"]);
        converges(bench);
    });
    copy(&format!("{from}/."), to);
    succeeds(as_root("umount").args(["--lazy", from]));
    copy(&format!("{to}/."), from);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    converges(bench);
}

/// All arguments of all processes while it watches.
struct Arguments {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<String>,
}

impl Arguments {
    fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = std::collections::BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                for process in fs::read_dir("/proc").unwrap().flatten() {
                    if let Ok(line) = fs::read(process.path().join("cmdline")) {
                        seen.insert(String::from_utf8_lossy(&line).into_owned());
                    }
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            seen.into_iter().collect::<Vec<_>>().join("\n")
        });
        Self { stop, thread }
    }

    fn end(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Searches for every secret of the cluster where there must be none.
fn secrets(bench: &Bench, arguments: &str) {
    let secrets = secret_words(bench);
    assert!(secrets.len() > 12, "only {} secrets were found", secrets.len());
    assert!(arguments.contains("ansible-playbook") && arguments.contains("terraform"), "nothing was watched");
    let found_in = |name: &str, text: &str| {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "a secret is in {name}: {}...", &secret[..6]);
        }
    };
    found_in("the arguments of a process", arguments);
    let mut count = 0;
    for dir in ["runs", "terraform", "cluster.json", "fleet.json", "lock", "inventory"] {
        for (path, bytes) in files(&bench.kept(dir)) {
            if path.ends_with("secrets.yml") {
                continue;
            }
            // Bytes as they are: a plan is an archive, and read as text besides.
            found_in(&path.display().to_string(), &String::from_utf8_lossy(&bytes));
            count += 1;
        }
    }
    assert!(count > 30, "only {count} files were read");
    for args in [
        &["inventory", NAME][..],
        &["inventory", NAME, "--format", "yaml"],
        &["inventory", NAME, "--format", "json"],
        &["plan", NAME],
        &["status", NAME],
    ] {
        let done = bench.hactl(args);
        found_in(&args.join(" "), &String::from_utf8_lossy(&done.stdout));
        found_in(&args.join(" "), &String::from_utf8_lossy(&done.stderr));
    }
    // A check that cannot fail proves nothing: the files that hold them are found.
    let held: String =
        files(&bench.kept("inventory")).iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
    assert!(secrets.iter().filter(|secret| held.contains(secret.as_str())).count() > 8);
}

/// Passwords, and the lines of private keys.
fn secret_words(bench: &Bench) -> Vec<String> {
    let mut words = Vec::new();
    let mut keys = Vec::new();
    for (path, bytes) in files(&bench.kept("inventory")) {
        if path.ends_with("secrets.yml") {
            collect(&serde_json::from_slice(&bytes).unwrap(), "", &mut words, &mut keys);
        }
    }
    for (path, bytes) in files(&bench.kept("client")) {
        let text = String::from_utf8(bytes).unwrap();
        if path.ends_with("pgpass") {
            words.extend(text.lines().map(|line| line.rsplit(':').next().unwrap().to_owned()));
        }
        keys.push(text);
    }
    let identity = fs::read_to_string(bench.kept("age.key")).unwrap();
    words.extend(identity.lines().filter(|line| line.starts_with("AGE-SECRET")).map(str::to_owned));
    for key in keys.iter().filter(|key| key.contains("PRIVATE KEY")) {
        let lines = key.lines().skip_while(|line| !line.contains("PRIVATE KEY")).skip(1);
        // The first line of an SSH key says its kind, the same for all.
        let body: Vec<_> = lines.take_while(|line| !line.starts_with("-----")).collect();
        words.extend(body.iter().skip(usize::from(body.len() > 3)).map(|line| (*line).to_owned()));
    }
    words.retain(|word| word.len() >= 16);
    words.sort();
    words.dedup();
    words
}

fn collect(value: &Value, name: &str, words: &mut Vec<String>, keys: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            let name = if name.ends_with("passwords") { name } else { key };
            collect(value, name, words, keys);
        }),
        Value::String(text) if text.contains("PRIVATE KEY") => keys.push(text.clone()),
        Value::String(text) if name.contains("password") => words.push(text.clone()),
        _ => {}
    }
}

fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    if path.is_file() {
        return vec![(path.to_owned(), fs::read(path).unwrap())];
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| !entry.path().is_symlink()).flat_map(|entry| files(&entry.path())).collect()
}
