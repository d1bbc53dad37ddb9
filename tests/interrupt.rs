//! Ctrl-C while SSH connects to machines that accept the connection and never answer. The threads that wait there cannot
//! be interrupted: hactl must end without them.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use serde_json::json;

use crate::common::{
    Bench,
    terminal::{self, Ended},
};

/// Less than the 5 s that one attempt to connect may take.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Accepts connections, and says nothing on them.
struct SilentServer {
    port: u16,
    accepted: Receiver<TcpStream>,
}

impl SilentServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, accepted) = mpsc::channel();
        std::thread::spawn(move || listener.incoming().map_while(Result::ok).all(|stream| sender.send(stream).is_ok()));
        Self { port, accepted }
    }

    /// Waits until somebody has connected. The connection stays open as long as the result is kept.
    fn accept(&self) -> TcpStream {
        self.accepted.recv_timeout(Duration::from_secs(60)).expect("hactl connects to the machine")
    }
}

/// A directory with `file`, and a private key of the user's.
fn bench(name: &'static str, file: &str) -> Bench {
    let bench = Bench::beside(name, file);
    let keygen =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(bench.path("id")).status();
    assert!(keygen.unwrap().success());
    bench
}

/// A cluster that hactl did not make, on one machine.
fn adopted(server: &SilentServer) -> Bench {
    let port = server.port;
    let file = format!(
        "adopted: true\nplatform: {{hosts: {{ssh: {{key: id}}}}}}\n\
         instances: {{one: {{address: 127.0.0.1, ssh_port: {port}}}}}\n"
    );
    bench("t-silent", &file)
}

/// A cluster on one machine that the user has, as if an earlier run had provisioned it.
fn provisioned(name: &'static str, server: &SilentServer) -> Bench {
    let bench = hosts(name, server);
    bench.act(&["secrets", name, "create"]);
    let public = fs::read_to_string(bench.path("id.pub")).unwrap();
    let host_key = public.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let ssh = json!({"host": "127.0.0.1", "port": server.port, "user": "root", "sudo": false, "host_key": host_key});
    let node = json!({
        "key": "one", "hostname": "pg-one", "roles": ["etcd", "patroni"], "memory_mib": 768, "cores": 1,
        "disk_gb": null, "slot": 10, "address": "10.9.9.1", "ssh": ssh, "found": null,
    });
    let fleet = json!({"cluster": name, "nodes": {"one": node}});
    fs::write(bench.kept("fleet.json"), fleet.to_string()).unwrap();
    bench
}

fn hosts(name: &'static str, server: &SilentServer) -> Bench {
    let port = server.port;
    let file = format!(
        "platform: {{hosts: {{ssh: {{key: id}}}}}}\n\
         instances: {{one: {{address: 10.9.9.1, ssh_host: 127.0.0.1, ssh_port: {port}}}}}\n"
    );
    bench(name, &file)
}

/// Sends `signals` 300 ms apart; returns how long the command went on after the first, its exit code and its words.
fn interrupt(child: Child, signals: usize) -> (Duration, Option<i32>, String) {
    let started = Instant::now();
    for number in 0..signals {
        if number > 0 {
            std::thread::sleep(Duration::from_millis(300));
        }
        // One that has ended already is a zombie until it is waited for, so the number is still its own.
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    }
    let done = child.wait_with_output().unwrap();
    let words = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    (started.elapsed(), done.status.code(), words)
}

#[test]
fn first_signal_while_ssh_connects_ends_a_query_at_once() {
    let server = SilentServer::start();
    let bench = adopted(&server);
    let child = bench.spawn(&["status", "t-silent"]);
    let _connection = server.accept();
    let (took, code, words) = interrupt(child, 1);
    assert_eq!(code, Some(130), "{words}");
    assert!(took < AT_ONCE && words.contains("Run the same command again to resume"), "{took:?}: {words}");
}

#[test]
fn second_signal_while_ssh_connects_ends_a_command_at_once() {
    let server = SilentServer::start();
    let bench = adopted(&server);
    let child = bench.spawn(&["verify", "t-silent", "--yes"]);
    let _connection = server.accept();
    let (took, code, words) = interrupt(child, 2);
    assert_eq!(code, Some(130), "{words}");
    assert!(took < AT_ONCE, "{took:?}: {words}");
}

#[test]
fn first_signal_while_a_query_connects_to_known_machines_ends_it_at_once() {
    let server = SilentServer::start();
    let name = "t-silent-known";
    let bench = provisioned(name, &server);
    for command in [&["status", name][..], &["status", name, "--watch"], &["logs", name, "one"]] {
        let child = bench.spawn(command);
        let _connection = server.accept();
        let (took, code, words) = interrupt(child, 1);
        assert_eq!(code, Some(130), "{command:?}: {words}");
        assert!(
            took < AT_ONCE && words.contains("Run the same command again to resume"),
            "{command:?}: {took:?}: {words}"
        );
    }
}

#[test]
fn first_signal_while_a_lock_is_taken_ends_a_command_at_once() {
    let server = SilentServer::start();
    let name = "t-silent-lock";
    let bench = provisioned(name, &server);
    for command in [&["configure", name][..], &["verify", name, "--yes"], &["down", name, "--yes"]] {
        let child = bench.spawn(command);
        let _connection = server.accept();
        let (took, code, words) = interrupt(child, 1);
        assert_eq!(code, Some(130), "{command:?}: {words}");
        assert!(took < AT_ONCE && words.contains("\"what\":\"lock\""), "{command:?}: {took:?}: {words}");
    }
}

#[test]
fn first_signal_while_ssh_enrolls_a_machine_leaves_a_whole_record_and_no_lock() {
    let server = SilentServer::start();
    let name = "t-silent-hosts";
    let bench = hosts(name, &server);
    let child = bench.spawn(&["provision", name]);
    let _connection = server.accept();
    let (took, code, words) = interrupt(child, 1);
    assert_eq!(code, Some(130), "{words}");
    assert!(took < AT_ONCE, "{took:?}: {words}");
    let recorded = fs::read_to_string(bench.kept("runs/latest/events.jsonl")).unwrap();
    assert!(recorded.lines().last().unwrap().contains("\"type\":\"summary\""), "{recorded}");
    assert_eq!(bench.lock_holders(), Vec::<String>::new());
}

#[test]
fn ctrl_c_at_a_prompt_ends_the_command_at_once_and_does_nothing() {
    let server = SilentServer::start();
    let name = "t-prompt";
    let bench = provisioned(name, &server);
    let state = || {
        let mut files: Vec<_> =
            walkdir::WalkDir::new(bench.path(".")).into_iter().map(|e| e.unwrap().into_path()).collect();
        files.sort();
        files
    };
    let before = state();
    let args = ["verify", name, "--drill", "switchover"];
    let Ended { took, code, screen } = terminal::answer(&bench, &args, "to continue:", "\x03");
    assert!((0.0..2.0).contains(&took) && code == 130, "{took} {code}: {screen}");
    assert!(screen.contains("cannot ask for confirmation about t-prompt"), "{screen}");
    assert_eq!(state(), before, "{screen}");
}
