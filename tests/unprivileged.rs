//! A cluster in unprivileged containers of LXC, as Proxmox makes them: root inside is a user without rights outside, devices
//! belong to nobody, and the kernel is out of reach. Only in `make test-long`. Needs root, `lxc` and what `tests/up.rs` needs.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::common::{Bench, docker, steps::Steps};

/// The cluster whose machine has the image.
const RACK: &str = "t-lxc-rack";
const NAME: &str = "t-lxc";
const NODES: [&str; 3] = ["one", "two", "three"];
const SUBNET: &str = "10.88.250";
/// The first user of the host that the containers have.
const FIRST: u32 = 100_000;

#[test]
#[ignore = "three containers of LXC, 3 minutes: `make test-long` runs it"]
fn cluster_in_unprivileged_containers_proves_its_failover() {
    if let Some(reason) = obstacle() {
        println!("   skipped: {reason}");
        return;
    }
    let rack = Bench::new(RACK, "instances: {one: {}}\ndefaults: {roles: [], memory: 768, cores: 1}\n");
    rack.act(&["provision", RACK]);
    let image = docker(&["inspect", "--format", "{{.Image}}", &format!("{RACK}-one")]);
    let bench = Bench::new(NAME, "");
    let keygen =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(bench.path("id")).status();
    assert!(keygen.unwrap().success());
    let containers = Containers::start(image.trim(), &fs::read_to_string(bench.path("id.pub")).unwrap());
    let instances: String =
        (11..).zip(NODES).map(|(host, node)| format!("  {node}: {{address: {SUBNET}.{host}}}\n")).collect();
    bench.write_file(&format!(
        "name: {NAME}\nplatform: {{hosts: {{ssh: {{user: root, key: id}}}}}}\ndefaults: {{memory: 768, cores: 1}}\n\
         instances:\n{instances}"
    ));

    let mut steps = Steps::new();
    steps.must("up, in unprivileged containers, makes a healthy cluster and leaves devices alone", || {
        let owner = "stat -c %U /dev/null; head -n 1 /proc/self/uid_map | awk '{print $2}'";
        assert_eq!(containers.on("one", owner), format!("nobody\n{FIRST}\n"));
        bench.up();
        assert_eq!(bench.status()["healthy"], true);
        assert_eq!(containers.on("one", owner), format!("nobody\n{FIRST}\n"));
    });

    steps.step("up, with an unchanged cluster, changes nothing", || assert_eq!(bench.up()["changed"], false));

    steps.step("units, in the containers, have none that failed", || {
        for node in NODES {
            assert_eq!(containers.on(node, "systemctl --failed --no-legend --plain"), "", "{node}");
        }
    });

    steps.step("drills, in unprivileged containers, pass without a lost commit", || {
        bench.act(&["verify", NAME, "--yes", "--drill", "switchover", "--drill", "postgres-crash"]);
        let report: Value = serde_json::from_slice(&bench.hactl(&["report", NAME]).stdout).unwrap();
        for drill in report["drills"].as_array().unwrap() {
            assert!(drill["outcome"] == "passed" && drill["lost"] == 0, "{drill:#}");
        }
    });

    steps.step("down, with `--wipe-data`, removes the cluster", || {
        bench.act(&["down", NAME, "--yes", "--wipe-data"]);
        for node in NODES {
            assert_eq!(containers.on(node, "systemctl is-active patroni etcd || :"), "inactive\ninactive\n");
        }
        rack.act(&["down", RACK, "--yes"]);
    });
    steps.finish();
}

fn obstacle() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root can give the containers their users".to_owned());
    }
    let missing = Command::new("lxc-start").arg("--version").stdout(Stdio::null()).status().is_err();
    missing.then(|| "lxc-start is not installed".to_owned())
}

/// The containers, each with a copy of the image. They end when this is dropped.
struct Containers {
    directory: tempfile::TempDir,
}

impl Containers {
    /// Starts them in a network of the engine's, whose rules let them talk to each other; the network goes with the cluster's
    /// label.
    fn start(image: &str, key: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("hactl-lxc-").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let containers = Self { directory };
        let (label, bridge) = (format!("hactl.cluster={NAME}"), "com.docker.network.bridge.name=hactl-t-lxc");
        let subnet = format!("{SUBNET}.0/24");
        docker(&["network", "create", "--label", &label, "--subnet", &subnet, "--opt", bridge, NAME]);
        let archive = containers.path("root.tar");
        let copy = docker(&["create", "--label", &label, image]);
        docker(&["export", "--output", archive.to_str().unwrap(), copy.trim()]);
        docker(&["rm", copy.trim()]);
        for (host, node) in (11..).zip(NODES) {
            containers.make(node, host, &archive);
            containers.run("lxc-start", node, &[]);
            let prepared = format!(
                "until [ -S /run/systemd/private ]; do sleep 0.2; done; systemctl is-system-running --wait; ssh-keygen -A; \
                 mkdir -p -m 700 ~/.ssh; echo '{}' >~/.ssh/authorized_keys; systemctl reset-failed ssh; \
                 systemctl restart ssh; systemctl is-active ssh",
                key.trim()
            );
            let said = containers.on(node, &prepared);
            assert!(said.ends_with("active\n"), "{node}: {said}");
        }
        containers
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn make(&self, node: &str, host: u32, archive: &Path) {
        let root = self.path(node).join("rootfs");
        fs::create_dir_all(root.join("dev")).unwrap();
        fs::set_permissions(self.path(node), fs::Permissions::from_mode(0o755)).unwrap();
        let unpacked = Command::new("tar")
            .args(["--numeric-owner", "--exclude=dev/*", "--exclude=.dockerenv", "-xpf"])
            .arg(archive)
            .arg("-C")
            .arg(&root)
            .status();
        assert!(unpacked.unwrap().success());
        shift(&root);
        let config = format!(
            "lxc.uts.name = {node}\nlxc.rootfs.path = dir:{root}\n\
             lxc.idmap = u 0 {FIRST} 65536\nlxc.idmap = g 0 {FIRST} 65536\n\
             lxc.net.0.type = veth\nlxc.net.0.link = hactl-t-lxc\nlxc.net.0.flags = up\n\
             lxc.net.0.ipv4.address = {SUBNET}.{host}/24\nlxc.net.0.ipv4.gateway = {SUBNET}.1\n\
             lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed\nlxc.apparmor.profile = unconfined\n\
             lxc.tty.max = 0\nlxc.pty.max = 1024\nlxc.init.cmd = /sbin/init\n\
             lxc.cap.drop = sys_rawio audit_read mknod\n",
            root = root.display(),
        );
        fs::write(self.path(node).join("config"), config).unwrap();
    }

    /// Runs a program of LXC for a container. Without `newuidmap` on its path root gives the container its users itself.
    fn run(&self, program: &str, node: &str, args: &[&str]) -> String {
        let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin"].map(|place| Path::new(place).join(program));
        let program = found.iter().find(|path| path.exists()).expect("a program of LXC");
        let done = Command::new(program)
            .arg("--lxcpath")
            .arg(self.directory.path())
            .args(["--name", node])
            .args(args)
            .env("PATH", "/nonexistent")
            .output()
            .unwrap();
        assert!(done.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Runs a script in a container.
    fn on(&self, node: &str, script: &str) -> String {
        let set = "--set-var=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        self.run("lxc-attach", node, &["--clear-env", set, "--set-var=HOME=/root", "--", "/bin/bash", "-c", script])
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for node in NODES {
            let _ = Command::new("lxc-stop").arg("-P").arg(self.directory.path()).args(["-k", "-n", node]).status();
        }
        // It sorts by inode, and so is faster than the standard library with many files.
        let _ = Command::new("rm").arg("-rf").arg(self.directory.path()).status();
    }
}

/// Gives everything below `path` to the users of a container. The change of an owner takes the set-user-ID bit away.
fn shift(path: &Path) {
    let seen = fs::symlink_metadata(path).unwrap();
    lchown(path, Some(seen.uid() + FIRST), Some(seen.gid() + FIRST)).unwrap();
    if !seen.is_symlink() {
        fs::set_permissions(path, seen.permissions()).unwrap();
    }
    if seen.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            shift(&entry.unwrap().path());
        }
    }
}
