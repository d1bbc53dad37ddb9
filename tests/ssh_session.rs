//! SSH sessions against a real sshd on loopback, started by the test as the current user.

mod login;
mod shared;

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use hactl::{
    model::{Hop, Secret, SshTarget},
    ssh::{self, Remote, SshFailure, SshKeys},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Sshd {
    child: Child,
    target: SshTarget,
    key: SshKeys,
    dir: tempfile::TempDir,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

fn sshd() -> Sshd {
    sshd_with("")
}

fn sshd_with(options: &str) -> Sshd {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    keygen(&path("host"));
    keygen(&path("user"));
    fs::copy(path("user.pub"), path("authorized_keys")).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized_keys\n\
         StrictModes no\nUsePAM no\nPidFile none\n{options}\n",
        dir.path().display()
    );
    fs::write(path("config"), config).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    let child = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(path("config"))
        .stderr(Stdio::null())
        .spawn()
        .expect("openssh-server is installed");
    let target = SshTarget {
        host: "127.0.0.1".to_owned(),
        port,
        user: String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned(),
        sudo: false,
        host_key: Some(fs::read_to_string(path("host.pub")).unwrap()),
        bastion: None,
    };
    let key = SshKeys::from(Secret::new(fs::read_to_string(path("user")).unwrap()));
    Sshd { child, target, key, dir }
}

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn command_returns_status_and_both_streams_and_reads_its_input() {
    let sshd = sshd();
    let remote = Remote::connect("node1", &sshd.target, &sshd.key, SOON).await.unwrap();
    let done = remote.run("cat; echo err >&2; exit 7", b"hello", SOON).await.unwrap();
    assert_eq!((done.status, done.stdout.as_str(), done.stderr.as_str()), (7, "hello", "err\n"));
    let big = remote.run("head -c 3000000 /dev/zero | tr '\\0' x", b"", SOON).await.unwrap();
    assert_eq!(big.stdout.len(), 3_000_000);
}

#[tokio::test]
async fn command_and_tunnels_at_once_share_one_session() {
    let sshd = sshd();
    let remote = Remote::connect("node1", &sshd.target, &sshd.key, SOON).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    let slow = remote.run("sleep 1; echo done", b"", SOON);
    let echo = async {
        let mut tunnels = Vec::new();
        for number in 0..4_u8 {
            let mut tunnel = remote.tunnel("127.0.0.1", port, SOON).await.unwrap();
            let sent = vec![number; 500_000];
            let (mut reader, mut writer) = tunnel.split();
            let mut got = vec![0; sent.len()];
            let (_, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut got));
            read.unwrap();
            assert!(got == sent);
            tunnels.push(tunnel);
        }
    };
    let (slow, ()) = tokio::join!(slow, echo);
    assert_eq!(slow.unwrap().stdout, "done\n");
}

#[tokio::test]
async fn tunnel_to_a_closed_port_fails_with_host_and_port() {
    let sshd = sshd();
    let remote = Remote::connect("node1", &sshd.target, &sshd.key, SOON).await.unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = remote.tunnel("127.0.0.1", port, SOON).await.unwrap_err();
    assert_eq!(error.failure, SshFailure::ChannelRefused);
    assert!(error.to_string().contains(&format!("nothing answers on 127.0.0.1:{port}")), "{error}");
}

/// A port whose queue of connections is full, as that of a stopped server is: connecting there hangs.
fn full_port() -> (socket2::Socket, Vec<std::net::TcpStream>, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(500));
    let waiting = std::iter::from_fn(|| connect().ok()).take(16).collect();
    (socket, waiting, address.port())
}

#[tokio::test]
async fn tunnel_that_does_not_open_leaves_open_channels_running() {
    let sshd = sshd();
    let remote = Remote::connect("node1", &sshd.target, &sshd.key, SOON).await.unwrap();
    let (_server, _waiting, port) = full_port();
    // The shell answers again and again while the tunnel hangs.
    let ticks = remote.run("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; echo $i; done", b"", SOON);
    let hanging = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let started = std::time::Instant::now();
        let error = remote.tunnel("127.0.0.1", port, Duration::from_millis(300)).await.unwrap_err();
        assert_eq!(error.failure, SshFailure::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(2), "{error}");
    };
    let started = std::time::Instant::now();
    let (ticks, ()) = tokio::join!(ticks, hanging);
    assert_eq!(ticks.unwrap().stdout.lines().count(), 10);
    assert!(started.elapsed() < Duration::from_secs(4), "the open channel waited for the one that hangs");
    // What cannot be opened ends the session, rather than that the next channel is taken for it.
    let error = remote.run("echo mine", b"", Duration::from_secs(10)).await.unwrap_err();
    assert_eq!(error.failure, SshFailure::SessionEnded);
    assert!(error.to_string().contains("the SSH session ended"), "{error}");
}

#[tokio::test]
async fn other_host_key_or_refused_key_fails_without_another_attempt() {
    let sshd = sshd();
    let mut other = sshd.target.clone();
    other.host_key =
        Some("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f".to_owned());
    let error = Remote::connect("node1", &other, &sshd.key, SOON).await.unwrap_err();
    assert_eq!(error.failure, SshFailure::OtherHostKey);
    assert!(error.to_string().contains("another host key"), "{error}");
    let stranger = tempfile::tempdir().unwrap();
    keygen(&stranger.path().join("key"));
    let key = SshKeys::from(Secret::new(fs::read_to_string(stranger.path().join("key")).unwrap()));
    let error = Remote::connect("node1", &sshd.target, &key, SOON).await.unwrap_err();
    assert_eq!(error.failure, SshFailure::KeyRefused);
    assert!(error.to_string().contains("refused the SSH key for user"), "{error}");
}

#[tokio::test]
async fn unreachable_machine_fails_with_what_was_seen_and_attempts() {
    let target = SshTarget {
        host: "127.0.0.1".into(),
        port: 1,
        user: "root".into(),
        sudo: false,
        host_key: Some("ssh-ed25519 AAAA".into()),
        bastion: None,
    };
    let key = SshKeys::from(Secret::new(String::new()));
    let error = Remote::connect("node1", &target, &key, Duration::from_millis(600)).await.unwrap_err();
    assert_eq!(error.failure, SshFailure::Unreachable);
    assert!(error.to_string().contains("refused") && error.to_string().contains("attempts"), "{error}");
}

#[tokio::test]
async fn host_key_scan_returns_the_key_unless_known_hosts_has_another() {
    let sshd = sshd();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    let (host, port) = (sshd.target.host.as_str(), sshd.target.port);
    let own = sshd.target.host_key.clone().unwrap();
    let own = own.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    // sshd may not listen yet.
    let _ = Remote::connect("node1", &sshd.target, &sshd.key, SOON).await.unwrap();
    let shown = ssh::scan_host_key(host, port, &file).await.unwrap();
    assert!(shown.key == own && !shown.known && shown.fingerprint.starts_with("SHA256:"), "{shown:?}");

    fs::write(&file, format!("@revoked other ssh-rsa AAAA\n[{host}]:{port} {own}\n")).unwrap();
    assert!(ssh::scan_host_key(host, port, &file).await.unwrap().known);

    for hosts in ["*".to_owned(), format!("[{host}]:{port}")] {
        fs::write(&file, format!("[{host}]:{port} {own}\n@revoked {hosts} {own}\n")).unwrap();
        let error = ssh::scan_host_key(host, port, &file).await.unwrap_err();
        assert_eq!(error.failure, SshFailure::OtherHostKey);
        assert!(error.to_string().contains("marks as revoked"), "{error}");
    }

    keygen(&dir.path().join("other"));
    let other = fs::read_to_string(dir.path().join("other.pub")).unwrap();
    fs::write(&file, format!("[{host}]:{port} {other}")).unwrap();
    let error = ssh::scan_host_key(host, port, &file).await.unwrap_err();
    assert_eq!(error.failure, SshFailure::OtherHostKey);
    let error = error.to_string();
    assert!(error.contains("shows another host key") && error.contains("known_hosts"), "{error}");
}

/// `target`, by way of `bastion`.
fn behind(target: &Sshd, bastion: &Sshd) -> (SshTarget, SshKeys) {
    let SshTarget { user, host, port, host_key, .. } = bastion.target.clone();
    let reached = SshTarget { bastion: Some(Hop { user, host, port, host_key }), ..target.target.clone() };
    (reached, SshKeys { machine: target.key.machine.clone(), bastion: bastion.key.bastion.clone() })
}

#[tokio::test]
async fn commands_and_tunnels_through_a_bastion_reach_the_machine() {
    let (bastion, machine) = (sshd(), sshd());
    let (target, keys) = behind(&machine, &bastion);
    let remote = Remote::connect("node1", &target, &keys, SOON).await.unwrap();
    // It is the bastion's sshd that the machine's sees.
    let client = remote.run("echo $SSH_CLIENT", b"", SOON).await.unwrap();
    assert!(client.stdout.starts_with("127.0.0.1 "), "{client:?}");
    let sockets = Command::new("ss").args(["-tnpH", "state", "established"]).output().unwrap();
    let sockets = String::from_utf8_lossy(&sockets.stdout).into_owned();
    let ours = format!("pid={},", std::process::id());
    let to = |port: u16| {
        let lines = sockets.lines().filter(|line| line.contains(&ours));
        lines.filter(|line| line.split_whitespace().nth(3) == Some(&format!("127.0.0.1:{port}"))).count()
    };
    assert_eq!((to(bastion.target.port), to(machine.target.port)), (1, 0), "{sockets}");

    let big = remote.run("head -c 3000000 /dev/zero | tr '\\0' x", b"", SOON).await.unwrap();
    assert_eq!(big.stdout.len(), 3_000_000);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tunnel = remote.tunnel("127.0.0.1", port, SOON).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    tunnel.write_all(b"there").await.unwrap();
    far.write_all(b"back").await.unwrap();
    let (mut there, mut back) = ([0; 5], [0; 4]);
    far.read_exact(&mut there).await.unwrap();
    tunnel.read_exact(&mut back).await.unwrap();
    assert_eq!((&there, &back), (b"there", b"back"));

    // The session on the bastion ends with the one that went through it.
    drop((tunnel, far, remote));
    let held = |port: u16| {
        let sockets = Command::new("ss").args(["-tnpH", "state", "established"]).output().unwrap();
        let sockets = String::from_utf8_lossy(&sockets.stdout).into_owned();
        sockets.lines().any(|line| line.contains(&ours) && line.contains(&format!("127.0.0.1:{port} ")))
    };
    for _ in 0..50 {
        if !held(bastion.target.port) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the bastion's session outlived its use");
}

#[tokio::test]
async fn failure_at_the_bastion_names_the_bastion() {
    let (bastion, machine) = (sshd(), sshd());
    let (target, keys) = behind(&machine, &bastion);
    let said = async |target: &SshTarget, keys: &SshKeys| {
        let started = std::time::Instant::now();
        let error = Remote::connect("node1", target, keys, Duration::from_secs(2)).await.unwrap_err();
        let seen = (error.failure, error.bastion.as_deref().map(str::to_owned));
        (error.to_string(), seen, started.elapsed())
    };
    let hop = |change: &dyn Fn(&mut Hop)| {
        let mut target = target.clone();
        change(target.bastion.as_mut().unwrap());
        target
    };
    let address = format!("127.0.0.1:{}", bastion.target.port);
    let place = format!("bastion {address}");
    let at_bastion = Some(address);

    let (error, seen, took) = said(&hop(&|hop| hop.host_key.clone_from(&machine.target.host_key)), &keys).await;
    assert_eq!(seen, (SshFailure::OtherHostKey, at_bastion.clone()));
    assert!(error.contains(&format!("{place} shows another host key")) && took < SOON / 10, "{error}");
    let (error, seen, took) = said(&hop(&|hop| hop.host_key = None), &keys).await;
    assert_eq!(seen, (SshFailure::UnknownHostKey, at_bastion.clone()));
    assert!(error.contains(&format!("no host key is recorded for {place}")) && took < SOON / 10, "{error}");
    let stranger = SshKeys { bastion: machine.key.bastion.clone(), ..keys.clone() };
    let (error, seen, took) = said(&target, &stranger).await;
    assert_eq!(seen, (SshFailure::KeyRefused, at_bastion));
    assert!(error.contains(&place) && error.contains("refused the SSH key") && took < SOON / 10, "{error}");
    // What is behind it may still come up.
    let silent = SshTarget { port: 1, ..target.clone() };
    let (error, seen, took) = said(&silent, &keys).await;
    assert_eq!(seen, (SshFailure::Unreachable, None));
    assert!(error.contains("could not connect to 127.0.0.1:1") && error.contains("attempts in 2 s"), "{error}");
    assert!(took >= Duration::from_secs(1), "{took:?}");
    let mut other = target.clone();
    other.host_key.clone_from(&bastion.target.host_key);
    let (error, seen, _) = said(&other, &keys).await;
    assert_eq!(seen, (SshFailure::OtherHostKey, None));
    assert!(error.contains(&format!("127.0.0.1:{} shows another", machine.target.port)), "{error}");

    let closed = sshd_with("AllowTcpForwarding no");
    let (target, keys) = behind(&machine, &closed);
    let (error, seen, took) = said(&target, &keys).await;
    let at_closed = format!("127.0.0.1:{}", closed.target.port);
    assert_eq!(seen, (SshFailure::TunnelProhibited, Some(at_closed)));
    assert!(took < SOON / 10, "{took:?}");
    assert!(error.contains("prohibited") && error.contains("AllowTcpForwarding"), "{error}");
}

#[tokio::test]
async fn just_created_machine_is_retried_until_it_accepts_the_key() {
    let sshd = sshd();
    let keys = sshd.dir.path().join("authorized_keys");
    let authorized = fs::read(&keys).unwrap();
    fs::write(&keys, "").unwrap();
    let mut target = SshTarget { host_key: None, ..sshd.target.clone() };
    let late = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        fs::write(&keys, &authorized).unwrap();
    };
    let mut seen = Vec::new();
    let connected = Remote::first_connection("node1", &target, &sshd.key, SOON, true, async |said: &str| {
        seen.push(said.to_owned())
    });
    let (connected, ()) = tokio::join!(connected, late);
    let (_remote, shown) = connected.unwrap();
    let own = sshd.target.host_key.clone().unwrap();
    assert_eq!(
        shown.split_whitespace().take(2).collect::<Vec<_>>(),
        own.split_whitespace().take(2).collect::<Vec<_>>()
    );
    let last = seen.last().unwrap();
    assert!(last.contains("SSH-2.0-OpenSSH") && last.contains("refused the SSH key for user"), "{seen:?}");

    // Another host key does not become the right one by waiting, and a wait has an end.
    target.host_key =
        Some("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f".to_owned());
    let error =
        Remote::first_connection("node1", &target, &sshd.key, SOON, true, async |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("another host key"), "{error}");
    // Nor for one that was met before to take a key again.
    fs::write(&keys, "").unwrap();
    let started = std::time::Instant::now();
    let error =
        Remote::first_connection("node1", &sshd.target, &sshd.key, SOON, false, async |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("refused the SSH key") && started.elapsed() < SOON / 2, "{error}");
    let patience = Duration::from_secs(1);
    let error =
        Remote::first_connection("node1", &sshd.target, &sshd.key, patience, true, async |_| ()).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("attempts in 1 s") && error.contains("cloud-init status --long"), "{error}");
}

#[tokio::test]
async fn connection_closed_without_a_greeting_is_no_ssh_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = SshTarget {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
        user: "root".into(),
        sudo: false,
        host_key: Some("ssh-ed25519 AAAA".into()),
        bastion: None,
    };
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let key = SshKeys::from(Secret::new(String::new()));
    let error = Remote::connect("node1", &target, &key, Duration::from_millis(600)).await.unwrap_err();
    assert!(error.to_string().contains("no SSH server answered"), "{error}");
}

#[tokio::test]
async fn output_of_a_command_has_nothing_of_what_the_login_shell_prints() {
    let sshd = sshd();
    let shells = tempfile::tempdir().unwrap();
    let (target, keys) = (&sshd.target, &sshd.key);
    let remote = Remote::connect("node1", target, keys, SOON).await.unwrap();
    assert_eq!(remote.run("true", b"", SOON).await.unwrap().stdout, "");
    // What a user's shell prints before it runs the command: with and without an end of the line, and much of it.
    for greeting in ["echo WELCOME", "printf 'no newline'", "seq 100000"] {
        let shell = shells.path().join("shell");
        fs::write(&shell, format!("#!/bin/sh\n{greeting}\nexec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\n")).unwrap();
        fs::set_permissions(&shell, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let sshd = sshd_with(&format!("ForceCommand {}", shell.display()));
        let remote = Remote::connect("node1", &sshd.target, &sshd.key, SOON).await.unwrap();
        let done = remote.run("cat; echo err >&2; exit 7", b"hello", SOON).await.unwrap();
        assert_eq!((done.status, done.stdout.as_str(), done.stderr.as_str()), (7, "hello", "err\n"), "{greeting}");
        assert_eq!(remote.run("cat /nonexistent 2>/dev/null", b"", SOON).await.unwrap().stdout, "", "{greeting}");
    }
    // A shell that does not run the command says why.
    let sshd = sshd_with("ForceCommand echo This account is not available; exit 1");
    let remote = Remote::connect("node1", &sshd.target, &sshd.key, SOON).await.unwrap();
    let done = remote.run("id", b"", SOON).await.unwrap();
    assert_eq!((done.status, done.stdout.as_str()), (1, "This account is not available\n"));
}

#[tokio::test]
async fn machine_that_forwards_nothing_is_named_at_once_with_its_setting() {
    let sshd = sshd_with("AllowTcpForwarding no");
    let remote = Remote::connect("node1", &sshd.target, &sshd.key, SOON).await.unwrap();
    let started = std::time::Instant::now();
    let error = remote.tunnel("127.0.0.1", 2379, SOON).await.unwrap_err();
    assert_eq!(error.failure, SshFailure::TunnelProhibited);
    let error = hactl::error::Error::from(error);
    assert_eq!(error.code, "ssh-forwarding");
    assert!(error.causes[0].contains("does not forward connections to 127.0.0.1:2379"), "{error}");
    assert!(error.hint.unwrap().contains("AllowTcpForwarding local") && started.elapsed() < SOON / 2);
    // A list of addresses refuses the others in the same way.
    let sshd = sshd_with("PermitOpen 127.0.0.1:1");
    let remote = Remote::connect("node1", &sshd.target, &sshd.key, SOON).await.unwrap();
    assert_eq!(remote.tunnel("127.0.0.1", 2379, SOON).await.unwrap_err().failure, SshFailure::TunnelProhibited);
    assert_eq!(remote.tunnel("127.0.0.1", 1, SOON).await.unwrap_err().failure, SshFailure::ChannelRefused);
}
