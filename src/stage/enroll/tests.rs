//! Enrolling sshd on loopback, which plays the machines and the bastion.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
};

use super::*;
use crate::{
    context::Dirs,
    event::{Event, Events},
    model::{InstanceKey, Secret},
    plan::PlannedInstance,
};

struct Sshd {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keygen(path: &std::path::Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

/// Lets `key` in, and finds programs in its own directory first.
fn sshd(key: &std::path::Path, port: Option<u16>) -> Sshd {
    let dir = tempfile::tempdir().unwrap();
    keygen(&dir.path().join("host"));
    let port = port.unwrap_or_else(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {1}.pub\nStrictModes no\n\
         UsePAM no\nPidFile none\nSetEnv PATH={0}:/usr/bin:/bin\n",
        dir.path().display(),
        key.display()
    );
    fs::write(dir.path().join("config"), config).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-e", "-f"]).arg(dir.path().join("config")).stderr(Stdio::null());
    let sshd = Sshd { child: command.spawn().expect("openssh-server is installed"), port, dir };
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    sshd
}

impl Sshd {
    fn program(&self, name: &str, script: &str) {
        let path = self.dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn me() -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name
}

fn fleet(machines: &[(&str, &Sshd)], bastion: Option<&Sshd>) -> Fleet {
    let nodes = machines.iter().map(|(name, sshd)| {
        let key = InstanceKey::new(*name).unwrap();
        let node = PlannedInstance {
            pooler_port: None,
            key: key.clone(),
            hostname: crate::model::HostName::new(format!("pg-{name}")).unwrap(),
            roles: [crate::model::Role::Patroni].into(),
            memory_mib: 1,
            cores: 1,
            disk_gb: None,
            address_index: 10,
        };
        let hop = |sshd: &Sshd| Hop { user: me(), host: "127.0.0.1".into(), port: sshd.port, host_key: None };
        let ssh = SshTarget {
            host: "127.0.0.1".into(),
            port: sshd.port,
            user: me(),
            sudo: false,
            host_key: None,
            bastion: bastion.map(hop),
        };
        (key, FleetNode { node, address: Ipv4Addr::LOCALHOST, machine_id: None, ssh, data_device: None, found: None })
    });
    Fleet { cluster: ClusterName::new("pg").unwrap(), nodes: nodes.collect() }
}

struct Site {
    dir: tempfile::TempDir,
    keys: SshKeys,
    known: HostKeys,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        keygen(&dir.path().join("id"));
        let keys = SshKeys::from(Secret::new(fs::read_to_string(dir.path().join("id")).unwrap()));
        Self { dir, keys, known: HostKeys::default() }
    }

    fn id(&self) -> std::path::PathBuf {
        self.dir.path().join("id")
    }

    /// The outcome, and the steps and warnings of it.
    async fn enroll(&mut self, fleet: Fleet) -> (Result<Fleet>, String) {
        self.enroll_from(fleet, Origin::JustCreated).await
    }

    async fn enroll_from(&mut self, fleet: Fleet, origin: Origin) -> (Result<Fleet>, String) {
        let (events, mut receiver) = Events::channel();
        let env = BTreeMap::from([("HOME".to_owned(), self.dir.path().display().to_string())]);
        let context = Context { dirs: Dirs::new(self.dir.path(), &env), env, events, stop: Default::default() };
        let listening = tokio::spawn(async move {
            let mut said = String::new();
            while let Some(event) = receiver.recv().await {
                if let Event::Step { step: text, .. } | Event::Warning { message: text, .. } = &event {
                    said.push_str(text);
                    said.push('\n');
                }
            }
            said
        });
        let enrolled = enroll_machines(&context, fleet, &mut self.known, &self.keys, origin).await;
        drop(context);
        (enrolled, listening.await.unwrap())
    }
}

#[tokio::test]
async fn enrolled_machine_is_skipped_until_its_host_key_changes() {
    let mut site = Site::new();
    let (one, two, bastion) = (sshd(&site.id(), None), sshd(&site.id(), None), sshd(&site.id(), None));
    // The output of cloud-init, which is still running when SSH first answers.
    one.program(
        "cloud-init",
        "if [ \"$2\" = --wait ]; then sleep 1; [ -e \"$0.cut\" ] || { touch \"$0.cut\"; kill $(ps -o ppid= $PPID); exec sleep 5; }; \
         touch \"$0.done\"; fi\n\
         if [ -e \"$0.done\" ]; then echo 'status: done'; else echo 'status: running'; fi",
    );
    two.program("cloud-init", "echo 'status: error'; echo 'detail: no such package'; exit 1");
    let machines = [("one", &one), ("two", &two)];
    let (enrolled, said) = site.enroll(fleet(&machines, Some(&bastion))).await;
    let enrolled = enrolled.unwrap();
    assert!(one.dir.path().join("cloud-init.done").exists(), "{said}");
    assert!(said.contains("two: cloud-init finished with errors: status: error detail: no such package"), "{said}");
    assert!(said.contains("host key recorded at first contact: SHA256:"), "{said}");
    assert_eq!((site.known.machines.len(), site.known.bastions.len()), (2, 1));
    for node in enrolled.nodes.values() {
        assert_eq!(node.ssh.host_key.as_ref(), site.known.machines.get(node.key()));
        assert!(node.ssh.bastion.as_ref().unwrap().host_key.is_some());
    }

    // Machines that are known are not asked again.
    fs::remove_file(one.dir.path().join("cloud-init.done")).unwrap();
    let known = site.known.clone();
    let (again, said) = site.enroll(fleet(&machines, Some(&bastion))).await;
    assert_eq!((again.unwrap(), &site.known, said.as_str()), (enrolled, &known, ""));
    assert!(!one.dir.path().join("cloud-init.done").exists());

    // Another machine at the same address is refused, until it is known to be meant.
    let port = two.port;
    drop(two);
    let two = sshd(&site.id(), Some(port));
    let machines = [("one", &one), ("two", &two)];
    let (refused, _) = site.enroll(fleet(&machines, Some(&bastion))).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("another host key") && error.contains("`hactl secrets pg host-keys forget two`"), "{error}");
    assert_eq!(site.known, known);
    assert!(site.known.forget("two"));
    let (enrolled, said) = site.enroll(fleet(&machines, Some(&bastion))).await;
    assert!(enrolled.is_ok() && said.contains("host key recorded"), "{said}");
    assert_ne!(site.known, known);

    // A machine without a role is not waited for.
    let mut plain = fleet(&[("one", &one), ("two", &two)], Some(&bastion));
    drop(two);
    plain.nodes.values_mut().last().unwrap().node.roles.clear();
    let (enrolled, _) = site.enroll(plain).await;
    assert!(enrolled.unwrap().nodes.values().last().unwrap().ssh.host_key.is_none());

    // A machine that is gone is forgotten, and so is a bastion that is not used any more.
    let (enrolled, _) = site.enroll(fleet(&[("one", &one)], None)).await;
    assert!(enrolled.is_ok());
    assert_eq!((site.known.machines.len(), site.known.bastions.len()), (1, 0));
}

#[tokio::test]
async fn host_key_from_the_platform_overrides_the_recorded_key() {
    let mut site = Site::new();
    let one = sshd(&site.id(), None);
    let shown = fs::read_to_string(one.dir.path().join("host.pub")).unwrap();
    let mut fleet = fleet(&[("one", &one)], None);
    let key = InstanceKey::new("one").unwrap();
    fleet.nodes.get_mut(&key).unwrap().ssh.host_key = Some(shown.clone());
    site.known.machines.insert(key.clone(), "ssh-ed25519 AAAA".to_owned());
    let (enrolled, said) = site.enroll(fleet.clone()).await;
    assert!(enrolled.is_ok() && ssh::same_key(&site.known.machines[&key], &shown), "{said}");

    // The platform must report the same.
    fleet.nodes.get_mut(&key).unwrap().ssh.host_key =
        Some("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f".to_owned());
    let (refused, _) = site.enroll(fleet).await;
    assert!(refused.unwrap_err().to_string().contains("another host key"));
}

#[tokio::test]
async fn bastion_with_another_key_in_known_hosts_is_refused() {
    let mut site = Site::new();
    let (one, bastion) = (sshd(&site.id(), None), sshd(&site.id(), None));
    fs::create_dir(site.dir.path().join(".ssh")).unwrap();
    let other = fs::read_to_string(one.dir.path().join("host.pub")).unwrap();
    let line = format!("[127.0.0.1]:{} {other}", bastion.port);
    fs::write(site.dir.path().join(".ssh/known_hosts"), line).unwrap();
    let (enrolled, _) = site.enroll(fleet(&[("one", &one)], Some(&bastion))).await;
    let error = enrolled.unwrap_err().to_string();
    assert!(error.contains("another host key") && error.contains("known_hosts"), "{error}");
}

#[tokio::test]
async fn existing_machine_with_another_key_in_known_hosts_is_refused_at_once() {
    let mut site = Site::new();
    let one = sshd(&site.id(), None);
    let shown = fs::read_to_string(one.dir.path().join("host.pub")).unwrap();
    fs::create_dir(site.dir.path().join(".ssh")).unwrap();
    let known_hosts = site.dir.path().join(".ssh/known_hosts");
    fs::write(&known_hosts, format!("[127.0.0.1]:{} {shown}", one.port)).unwrap();
    let (enrolled, said) = site.enroll_from(fleet(&[("one", &one)], None), Origin::Existing).await;
    assert!(enrolled.is_ok() && site.known.machines.len() == 1, "{said}");

    // Another key than the user knows is refused; a machine that was just made has no place in that file.
    site.known = HostKeys::default();
    fs::remove_file(site.id().with_extension("pub")).unwrap();
    keygen(&site.dir.path().join("other"));
    let other = fs::read_to_string(site.dir.path().join("other.pub")).unwrap();
    fs::write(&known_hosts, format!("[127.0.0.1]:{} {other}", one.port)).unwrap();
    let (enrolled, _) = site.enroll_from(fleet(&[("one", &one)], None), Origin::Existing).await;
    let error = enrolled.unwrap_err();
    assert!(error.code == "host-key" && error.to_string().contains("known_hosts"), "{error}");

    // No first boot will bring a key that it does not let in now.
    fs::remove_file(&known_hosts).unwrap();
    let began = Instant::now();
    let (enrolled, _) = site.enroll_from(fleet(&[("one", &one)], None), Origin::Existing).await;
    assert!(enrolled.unwrap_err().to_string().contains("refused the SSH key") && began.elapsed().as_secs() < 10);
}

/// Runs the script about Python with an `apt-get` that `installs` or fails; whether it succeeded, and what it printed.
fn python(origin: Origin, installs: bool) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let python = dir.path().join("python3");
    let apt = match installs {
        true => format!("#!/bin/sh\ncase $* in *' install '*) : >{0}; chmod +x {0} ;; esac\n", python.display()),
        false => "#!/bin/sh\necho 'E: Temporary failure resolving'\nexit 100\n".to_owned(),
    };
    let program = dir.path().join("apt-get");
    fs::write(&program, apt).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let done = Command::new("/bin/sh")
        .args(["-c", &python_script(&python.display().to_string(), origin)])
        .env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()))
        .output()
        .unwrap();
    (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
}

#[test]
fn new_machine_without_python_gets_it_and_an_existing_one_does_not() {
    assert_eq!(python(Origin::JustCreated, true), (true, String::new()));
    let (installed, said) = python(Origin::JustCreated, false);
    assert!(!installed && said.contains("Temporary failure resolving") && said.contains("does not exist"), "{said}");
    let (installed, said) = python(Origin::Existing, true);
    assert!(!installed && said.ends_with("/python3 does not exist\n"), "{said}");
}
