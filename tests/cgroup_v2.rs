//! A cluster on a machine whose control groups are version 2 alone, as on current distributions, also where the kernel of this
//! machine has version 1. Only in `make test-long`. Needs what `tests/up.rs` needs.

use std::{fs, process::Command};

use crate::common::{Bench, docker, steps::Steps};

/// The cluster whose machine has the image.
const RACK: &str = "t-vm-rack";
const NAME: &str = "t-vm-cgroup";

#[test]
#[ignore = "boots a machine of its own, 2 minutes: `make test-long` runs it"]
fn machine_with_control_groups_of_version_2_alone_runs_a_cluster() {
    let rack = Bench::new(RACK, "instances: {one: {}}\ndefaults: {roles: [], memory: 768, cores: 1}\n");
    rack.act(&["provision", RACK]);
    let image = docker(&["inspect", "--format", "{{.Image}}", &format!("{RACK}-one")]);
    let bench = Bench::new(NAME, "");
    let keygen =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(bench.path("id")).status();
    assert!(keygen.unwrap().success());
    let address = start(image.trim(), &fs::read_to_string(bench.path("id.pub")).unwrap());
    bench.write_file(&format!(
        "name: {NAME}\nplatform: {{hosts: {{ssh: {{user: root, key: id}}}}}}\ndefaults: {{memory: 768, cores: 1}}\n\
         instances:\n  one: {{address: {address}}}\n"
    ));

    let mut steps = Steps::new();
    steps.must("up, on a machine with version 2 alone, makes a healthy cluster", || {
        assert_eq!(on("stat -fc %T /sys/fs/cgroup"), "cgroup2fs\n");
        bench.up();
        assert_eq!(bench.status()["healthy"], true);
    });

    steps.step("units, on the machine, run in control groups of their own and survive the end of a backend", || {
        for unit in ["patroni", "etcd"] {
            let group = on(&format!("tail -n 1 /proc/$(systemctl show -p MainPID --value {unit})/cgroup"));
            assert_eq!(group, format!("0::/system.slice/{unit}.service\n"));
        }
        assert_eq!(on("systemctl show -p OOMPolicy --value patroni"), "continue\n");
    });

    steps.step("PostgreSQL, with a killed Patroni, outlives it in its control group", || {
        let postmaster = on(POSTMASTER);
        on("systemctl kill --kill-who=main -s KILL patroni; sleep 3");
        assert_eq!(on(POSTMASTER), postmaster);
        assert_eq!(
            on("cut -d: -f3 </proc/$(head -n 1 /var/lib/postgresql/15/*/postmaster.pid)/cgroup | tail -n 1"),
            "/system.slice/patroni.service\n"
        );
    });

    steps.step("up, with an unchanged cluster, changes nothing", || assert_eq!(bench.up()["changed"], false));

    steps.step("down, with `--wipe-data`, removes the cluster", || {
        bench.act(&["down", NAME, "--yes", "--wipe-data"]);
        assert_eq!(on("systemctl is-active patroni etcd; ls /etc/patroni 2>/dev/null"), "inactive\ninactive\n");
        rack.act(&["down", RACK, "--yes"]);
    });
    steps.finish();
}

const POSTMASTER: &str = "head -n 1 /var/lib/postgresql/15/*/postmaster.pid";

/// Starts a machine with the image, whose root has the key, and gives its address.
fn start(image: &str, key: &str) -> String {
    let label = format!("hactl.cluster={NAME}");
    let boot = "umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec /sbin/init";
    let mut args = vec!["run", "--detach", "--name", NAME, "--label", &label, "--cgroupns", "private"];
    for capability in ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE"] {
        args.extend(["--cap-add", capability]);
    }
    args.extend(["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]);
    args.extend(["--tmpfs", "/run", "--tmpfs", "/run/lock", "--entrypoint", "/bin/sh", image, "-c", boot]);
    docker(&args);
    let prepared = on(&format!(
        "until [ -S /run/systemd/private ]; do sleep 0.2; done; systemctl is-system-running --wait; ssh-keygen -A; echo '{}' >~/.ssh/authorized_keys; systemctl reset-failed ssh; systemctl restart ssh; systemctl is-active ssh",
        key.trim()
    ));
    assert!(prepared.ends_with("active\n"), "{prepared}");
    docker(&["inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", NAME]).trim().to_owned()
}

/// Runs a script on the machine.
fn on(script: &str) -> String {
    docker(&["exec", NAME, "bash", "-c", script])
}
