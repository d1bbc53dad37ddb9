//! Machines: each is an SSH server on an address of its own. Its commands run as root with their own processes, network,
//! /etc, /var/lib and /run; a process that does nothing keeps these namespaces.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
};

use crate::common::as_root;

/// The machines and their roles in the cluster file.
pub(super) const MACHINES: [(&str, &str); 3] =
    [("one", "[etcd, patroni]"), ("two", "[etcd, patroni]"), ("three", "[etcd]")];

/// The units that the roles install, each with its role.
const UNITS: [(&str, &str); 3] = [("etcd", "etcd"), ("patroni", "patroni"), ("hactl-lease-guard", "patroni")];

/// One machine.
pub(super) struct Machine {
    pub(super) address: Ipv4Addr,
    pub(super) port: u16,
    root: PathBuf,
    /// Keeps the namespaces.
    idle: Child,
    sshd: Child,
}

/// Starts all machines. Their files are below `dir`, which holds the fake programs; the private key `key` may log in.
pub(super) fn start(dir: &Path, key: &Path) -> BTreeMap<&'static str, Machine> {
    // sshd refuses to start without it.
    let _ = fs::create_dir_all("/run/sshd");
    let network = free_network();
    let numbered = MACHINES.iter().zip(1..);
    numbered.map(|((name, _), number)| (*name, Machine::start(dir, key, name, network(number)))).collect()
}

/// A network in 127.77.0.0/16 that no other test uses: its machines' ports are those of the roles.
fn free_network() -> impl Fn(u8) -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id().to_le_bytes()[0];
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = move |number| Ipv4Addr::new(127, 77, next.wrapping_add(process), number);
        if TcpListener::bind((address(1), 2379)).is_ok() {
            return address;
        }
    }
}

impl Machine {
    fn start(dir: &Path, key: &Path, name: &str, address: Ipv4Addr) -> Self {
        let root = dir.join("machines").join(name);
        for below in ["etc", "var/lib", "run"] {
            fs::create_dir_all(root.join(below)).unwrap();
        }
        // Programs of the controller run with this /etc.
        let mut copy = Command::new("cp");
        copy.args(["-a", "/etc/alternatives", "/etc/ld.so.cache", "/etc/passwd", "/etc/group"]).arg(root.join("etc"));
        assert!(copy.status().unwrap().success());
        fs::write(root.join("etc/os-release"), "ID=debian\nVERSION_ID=\"12\"\n").unwrap();
        fs::write(root.join("meminfo"), "MemTotal:        2097152 kB\n").unwrap();
        let idle = idle(&root, address);
        new_key(&root.join("host"));
        let port = TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress {address}\nHostKey {0}/host\nAuthorizedKeysFile {1}\nStrictModes no\nUsePAM no\n\
             PidFile none\nMaxStartups 100\nMaxSessions 100\nSetEnv HOME={0}\nForceCommand {2}/machine.sh {name}\n",
            root.display(),
            key.with_extension("pub").display(),
            dir.display(),
        );
        fs::write(root.join("sshd_config"), config).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f"]).arg(root.join("sshd_config")).stdin(Stdio::null());
        let sshd = sshd.stderr(fs::File::create(root.join("sshd.log")).unwrap()).spawn();
        Self { address, port, root, idle, sshd: sshd.expect("openssh-server is installed") }
    }

    /// Where one of its files is on the controller.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.root.join(file)
    }

    /// Writes the files of the roles that hactl reads, and starts the units.
    pub(super) fn configure(&self, roles: &str, digest: &str, is_replica: bool) {
        let units = UNITS.iter().filter(|(_, role)| roles.contains(role));
        let mut files: Vec<_> = units.map(|(unit, _)| (unit_file(unit), "active\n".to_owned())).collect();
        let mut add = |file: &str, text: &str| files.push((file.to_owned(), text.to_owned()));
        add("etc/hactl/digest", digest);
        add("etc/etcd/etcd.conf.yml", "data-dir: /var/lib/etcd\n");
        add("var/lib/etcd/member/wal", "");
        if roles.contains("patroni") {
            let data = "var/lib/postgresql/15/pg";
            add("etc/patroni/patroni.yml", &format!("scope: pg\npostgresql:\n  data_dir: \"/{data}\"\n"));
            add(&format!("{data}/PG_VERSION"), "15\n");
            if is_replica {
                add(&format!("{data}/standby.signal"), "");
            }
        }
        self.write(&files);
    }

    /// Ends a unit, as a crash does.
    pub(super) fn end(&self, unit: &str) {
        self.write(&[(unit_file(unit), "inactive\n".to_owned())]);
    }

    /// Writes files as root, who owns their directories.
    fn write(&self, files: &[(String, String)]) {
        let mut tar = as_root("tar");
        tar.args(["-x", "-C"]).arg(&self.root);
        let mut tar = tar.stdin(Stdio::piped()).spawn().unwrap();
        let mut archive = tar::Builder::new(tar.stdin.take().unwrap());
        for (file, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, file, text.as_bytes()).unwrap();
        }
        drop(archive.into_inner().unwrap());
        assert!(tar.wait().unwrap().success());
    }

    /// Ends the SSH server: the machine does not answer any more.
    pub(super) fn power_off(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.power_off();
        // It ends when its input does.
        drop(self.idle.stdin.take());
        let _ = self.idle.wait();
        if !nix::unistd::getuid().is_root() {
            // Its commands ran as root, and the test cannot remove their files.
            let _ = as_root("rm").arg("-rf").arg(&self.root).status();
        }
    }
}

fn unit_file(unit: &str) -> String {
    format!("etc/systemd/system/{unit}.service")
}

/// Starts the process that keeps a machine's namespaces, and writes its number to the file `pid`.
fn idle(root: &Path, address: Ipv4Addr) -> Child {
    const SETUP: &str = r#"
        set -e
        for dir in etc var/lib run; do mount --bind "$1/$dir" "/$dir"; done
        mount --bind "$1/meminfo" /proc/meminfo
        ip link set lo up
        ip address add "$2/16" dev lo
        echo ready
        read -r _ || true
    "#;
    let mut command = as_root("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", SETUP, "sh"]);
    command.arg(root).arg(address.to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "namespaces need root or `sudo -n`");
    // The process in the namespaces is the last descendant.
    let mut pid = child.id().to_string();
    while let Ok(below) = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        && let Some(next) = below.split_whitespace().next()
    {
        pid = next.to_owned();
    }
    fs::write(root.join("pid"), pid).unwrap();
    child
}

/// Makes an SSH key pair.
pub(super) fn new_key(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}
