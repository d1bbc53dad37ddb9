//! Logging in with more keys than a server takes in one session.

use super::*;

/// `count` keys that no server knows.
fn strangers(count: usize) -> Vec<ssh::PrivateKey> {
    let dir = tempfile::tempdir().unwrap();
    let keys = (0..count).map(|number| {
        let path = dir.path().join(number.to_string());
        keygen(&path);
        Secret::new(fs::read_to_string(path).unwrap()).into()
    });
    keys.collect()
}

#[tokio::test]
async fn key_behind_more_keys_than_one_session_takes_is_reached_by_further_sessions() {
    let (bastion, machine) = (sshd_with("MaxAuthTries 3"), sshd());
    let (target, keys) = behind(&machine, &bastion);
    for before in [2, 3, 7] {
        let bastion = [strangers(before), keys.bastion.clone()].concat();
        let keys = SshKeys { bastion, ..keys.clone() };
        Remote::connect("node1", &target, &keys, SOON).await.unwrap_or_else(|error| panic!("{before}: {error}"));
    }
    let refused = async |count: usize| {
        let keys = SshKeys { bastion: strangers(count), ..keys.clone() };
        Remote::connect("node1", &target, &keys, SOON).await.unwrap_err()
    };
    let error = refused(7).await;
    assert_eq!(error.failure, SshFailure::KeyRefused);
    assert!(error.to_string().contains("refused all 7 SSH keys"), "{error}");
    // No server is asked for ever.
    let error = refused(20).await.to_string();
    assert!(error.contains("refused 15 of 20 SSH keys, and ended the session"), "{error}");
    assert!(error.contains("Set `ssh: {key: FILE}`"), "{error}");
}

/// An agent with `keys`, ended with the test.
struct Agent {
    child: Child,
    socket: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Agent {
    fn with(keys: &[std::path::PathBuf]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent");
        let child = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let agent = Self { child, socket, _dir: dir };
        for _ in 0..100 {
            if agent.socket.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut add = Command::new("ssh-add");
        assert!(add.arg("-q").args(keys).env("SSH_AUTH_SOCK", &agent.socket).status().unwrap().success());
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn right_key_behind_nine_others_in_an_agent_logs_in() {
    let sshd = sshd();
    let keys: Vec<_> = (0..9).map(|number| sshd.dir.path().join(format!("other{number}"))).collect();
    keys.iter().for_each(|key| keygen(key));
    let all = [keys.clone(), vec![sshd.dir.path().join("user")]].concat();
    let dir = tempfile::tempdir().unwrap();
    let file = format!(
        "adopted: true\nplatform: {{hosts: {{ssh: {{key: agent, user: {}}}}}}}\ninstances:\n  \
         n1: {{address: 10.0.0.1, ssh_host: 127.0.0.1, ssh_port: {}}}\n",
        sshd.target.user, sshd.target.port
    );
    fs::write(dir.path().join("ad.yaml"), file).unwrap();
    let status = |agent: &Agent| {
        let mut hactl = Command::new(env!("CARGO_BIN_EXE_hactl"));
        hactl.args(["status", "ad"]).current_dir(dir.path()).env("HOME", dir.path());
        let done = hactl.env("SSH_AUTH_SOCK", &agent.socket).output().unwrap();
        String::from_utf8_lossy(&done.stderr).into_owned()
    };
    // No Patroni runs there, but hactl could look.
    let said = status(&Agent::with(&all));
    assert!(!said.contains("refused") && said.contains("atroni"), "{said}");
    let said = status(&Agent::with(&keys));
    assert!(said.contains("refused all 9 SSH keys") && said.contains("ssh: {key: FILE}"), "{said}");
}
