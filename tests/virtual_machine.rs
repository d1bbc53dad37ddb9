//! What containers cannot show, on a virtual machine: kernel settings and the watchdog device. qemu interprets the machine's
//! instructions, so it needs no support by the processor, and takes two minutes to boot. Only in `make test-long`.
//!
//! Needs root for the machine's network, and `qemu-system-x86`, `mmdebstrap` and `e2fsprogs`. The image stays in Cargo's
//! directory for tests and is made only once.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::common::{Bench, ansible, steps::Steps};

const NAME: &str = "t-vm";
const ADDRESS: &str = "10.99.77.2";
const DEVICE: &str = "hactl-t-vm";
/// How long the machine may take to boot.
const BOOT: Duration = Duration::from_secs(600);

#[test]
#[ignore = "boots a virtual machine without hardware virtualisation, 20 minutes: `make test-long` runs it"]
fn virtual_machine_has_kernel_settings_and_a_watchdog_that_resets_it() {
    if let Some(reason) = obstacle() {
        println!("   skipped: {reason}");
        return;
    }
    let mut steps = Steps::new();
    let machine = steps.must("virtual machine, from Debian's packages, boots", Machine::boot);
    let bench = Bench::beside(
        NAME,
        &format!(
            "name: {NAME}\nplatform: {{hosts: {{ssh: {{user: root, key: id}}}}}}\nmachine: {{tune: true, watchdog: true}}\n\
             defaults: {{memory: 1024, cores: 1}}\nfirewall: false\ninstances:\n  one: {{address: {ADDRESS}}}\n"
        ),
    );
    fs::copy(image().join("id"), bench.path("id")).unwrap();

    steps.must("up, with `machine.tune`, sets the kernel parameters of the plan", || {
        // A machine that is this slow may not answer in time.
        machine.wait_for(|| bench.hactl(&["up", NAME, "--no-verify", "--yes"]).status.success());
        let plan: serde_json::Value = serde_json::from_slice(&bench.hactl(&["plan", NAME]).stdout).unwrap();
        let decided =
            json!({"vm.dirty_background_bytes": 67_108_864, "vm.dirty_bytes": 536_870_912, "vm.swappiness": 1});
        assert_eq!(plan["plan"]["kernel"], decided);
        assert_eq!(machine.run(SETTINGS), KERNEL);
    });

    steps.step("Patroni, with `machine.watchdog`, arms the device, and status says so", || {
        let status = bench.status();
        assert_eq!(status["members"][0]["watchdog"], "armed", "{status:#}");
        assert_eq!(status["notices"], json!([]), "{status:#}");
        assert_eq!(machine.run("cat /sys/class/watchdog/watchdog*/identity | sort | head -n 1"), "i6300ESB timer\n");
        let states = machine
            .run("grep -l i6300 /sys/class/watchdog/*/identity | xargs dirname | xargs -I{} cat {}/state {}/timeout");
        assert_eq!(states, "active\n15\n");
    });

    steps.step(
        "backend, on a kernel that allows scores, is killed for memory before Patroni and the postmaster",
        || {
            assert_eq!(machine.run(SCORES), "patroni -800\npostmaster -800\nbackend 0\n");
        },
    );

    // How many of them a kernel that runs can still reserve depends on its free memory.
    steps.step("role, with a number of huge pages, sets them for the next boot", || {
        kernel_of_the_role(&bench);
        assert_eq!(machine.run("grep nr_hugepages /etc/sysctl.d/60-hactl.conf"), "vm.nr_hugepages = 137\n");
    });

    let boot = machine.run(BOOT_ID);
    steps.step("machine, with a stopped Patroni, is reset by its device and keeps its kernel parameters", || {
        machine.run("kill -STOP $(systemctl show -p MainPID --value patroni)");
        let stopped = Instant::now();
        machine.wait_for(|| machine.try_run(BOOT_ID).is_none());
        println!("   the machine went away after {:.1} s", stopped.elapsed().as_secs_f64());
        machine.wait_for(|| machine.try_run(BOOT_ID).is_some_and(|now| now != boot));
        println!("   the machine answered again after {:.1} s", stopped.elapsed().as_secs_f64());
        assert_eq!(machine.run(SETTINGS), KERNEL);
    });

    steps.step("cluster, after the reset, is healthy and its device is armed again", || {
        machine.wait_for(|| bench.status()["members"][0]["watchdog"] == "armed");
        let status = bench.status();
        assert_eq!(status["healthy"], true, "{status:#}");
    });

    steps.step("PostgreSQL, which starts after the reset, has its shared memory in the huge pages", || {
        assert_eq!(machine.run(HUGE_PAGES), "reserved 137 server yes\n");
    });

    steps.step("up, on the machine that was reset, changes only the huge pages back, and then nothing", || {
        let up = || bench.hactl(&["up", NAME, "--no-verify", "--yes"]);
        machine.wait_for(|| up().status.success());
        assert_eq!(machine.run("cat /etc/sysctl.d/60-hactl.conf | grep -c nr_hugepages || :"), "0\n");
        assert_eq!(bench.up()["changed"], false);
    });
    steps.finish();
}

/// Runs the role's tasks for the kernel with the settings that hactl decides for machines that it made, with as many huge pages as
/// it would reserve for the `shared_buffers` of this small machine.
fn kernel_of_the_role(bench: &Bench) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ansible = ansible();
    done(
        Command::new(ansible.ansible_playbook)
            .arg("--inventory")
            .arg(bench.kept("inventory/patroni-cluster.ini"))
            .arg(top.join("tests/virtual_machine/huge-pages.yml"))
            .env("ANSIBLE_ROLES_PATH", top.join("roles"))
            .env("ANSIBLE_TIMEOUT", "120"),
    );
}

const SETTINGS: &str = "sysctl -n vm.dirty_background_bytes vm.dirty_bytes vm.swappiness";
const KERNEL: &str = "67108864\n536870912\n1\n";
/// What the kernel adds to the chances of Patroni, of the postmaster and of a backend to be killed for memory.
const SCORES: &str = "main=$(systemctl show -p MainPID --value patroni)
postmaster=$(head -n 1 /var/lib/postgresql/15/*/postmaster.pid)
echo patroni $(cat /proc/$main/oom_score_adj)
echo postmaster $(cat /proc/$postmaster/oom_score_adj)
echo backend $(cat /proc/$(pgrep -P $postmaster | head -n 1)/oom_score_adj)";
/// The huge pages of the kernel, and whether PostgreSQL has its shared memory there.
const HUGE_PAGES: &str = "postmaster=$(head -n 1 /var/lib/postgresql/15/*/postmaster.pid)
echo reserved $(cat /proc/sys/vm/nr_hugepages) server $(grep -q anon_hugepage /proc/$postmaster/maps && echo yes || echo no)";
const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";

/// Why the machine cannot be made here.
fn obstacle() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root can make the machine's network".to_owned());
    }
    let missing = |program: &&str| Command::new(program).arg("--version").stderr(Stdio::null()).output().is_err();
    let program = ["qemu-system-x86_64", "mmdebstrap", "mke2fs"].into_iter().find(missing)?;
    Some(format!("{program} is not installed"))
}

/// Where the image is.
fn image() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("virtual-machine")
}

/// A virtual machine, and its network with this one. It ends when it is dropped.
struct Machine {
    qemu: Child,
    _disk: tempfile::TempDir,
}

impl Machine {
    fn boot() -> Self {
        let image = image();
        if !image.join("disk.img").exists() {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/virtual_machine/image.sh");
            done(Command::new("sh").arg(script).arg(&image));
        }
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk.img");
        done(Command::new("cp").arg("--sparse=always").arg(image.join("disk.img")).arg(&disk));
        let _ = Command::new("ip").args(["link", "delete", DEVICE]).stderr(Stdio::null()).status();
        done(Command::new("ip").args(["tuntap", "add", "dev", DEVICE, "mode", "tap"]));
        done(Command::new("ip").args(["address", "add", "10.99.77.1/24", "dev", DEVICE]));
        done(Command::new("ip").args(["link", "set", DEVICE, "up"]));
        let started = Instant::now();
        let qemu = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "1024"])
            .args(["-nodefaults", "-display", "none", "-no-user-config"])
            .args(["-device", "i6300esb", "-action", "watchdog=reset", "-device", "virtio-rng-pci"])
            .arg("-kernel")
            .arg(image.join("vmlinuz"))
            .arg("-initrd")
            .arg(image.join("initrd"))
            .args(["-append", "root=/dev/vda console=ttyS0 quiet", "-serial"])
            .arg(format!("file:{}", dir.path().join("console").display()))
            .arg("-drive")
            .arg(format!("file={},format=raw,if=virtio,cache=unsafe", disk.display()))
            .arg("-netdev")
            .arg(format!("tap,id=net,ifname={DEVICE},script=no,downscript=no"))
            .args(["-device", "virtio-net-pci,netdev=net"])
            .stdout(File::create(dir.path().join("qemu")).unwrap())
            .spawn()
            .unwrap();
        let machine = Self { qemu, _disk: dir };
        machine.wait_for(|| machine.try_run("systemctl is-system-running --wait || :").is_some());
        println!("   the machine booted in {:.1} s", started.elapsed().as_secs_f64());
        machine
    }

    /// What a command on the machine prints, if the machine answers.
    fn try_run(&self, command: &str) -> Option<String> {
        // Each image has a new host key, and the bridge is this test's own.
        let options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"];
        let options =
            options.into_iter().chain(["ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=2"]);
        let said = Command::new("ssh")
            .args(options.flat_map(|option| ["-o", option]))
            .arg("-i")
            .arg(image().join("id"))
            .args([&format!("root@{ADDRESS}"), command])
            .output()
            .unwrap();
        said.status.success().then(|| String::from_utf8_lossy(&said.stdout).into_owned())
    }

    fn run(&self, command: &str) -> String {
        self.try_run(command).unwrap_or_else(|| panic!("`{command}` failed on the virtual machine"))
    }

    fn wait_for(&self, condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < BOOT, "the virtual machine did not get there in {} s", BOOT.as_secs());
            thread::sleep(Duration::from_secs(1));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        let _ = Command::new("ip").args(["link", "delete", DEVICE]).status();
    }
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
