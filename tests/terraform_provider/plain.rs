//! Plain Terraform without hactl around it: the shim, `terraform test` of the module, and a
//! Terraform that is interrupted or killed.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use hactl::{assets::Assets, terraform::provider};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::cluster::{Cluster, KEY, with_cluster};

/// The embedded Terraform tree and the shim, in directories of their own.
struct Plain {
    dir: tempfile::TempDir,
}

impl Plain {
    fn new() -> Self {
        let plain = Self { dir: tempfile::tempdir().unwrap() };
        Assets::embedded().write("terraform", &plain.path("tree")).unwrap();
        // A copy: a build that goes on elsewhere must not change the binary under a test.
        fs::copy(env!("CARGO_BIN_EXE_hactl"), plain.path("hactl")).unwrap();
        provider::install(&plain.path("data"), &plain.path("hactl")).unwrap();
        plain
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, dir: &str, image: &str, args: &[&str]) -> Command {
        let mut command = Command::new("terraform");
        command.args(args).current_dir(self.path("tree").join(dir)).env("XDG_DATA_HOME", self.path("data"));
        command
            .env("TF_VAR_image", image)
            .env_remove("TF_CLI_CONFIG_FILE")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn succeed(&self, dir: &str, image: &str, args: &[&str]) -> String {
        let output = self.command(dir, image, args).output().unwrap();
        assert!(output.status.success(), "terraform {args:?}: {}", text(&output));
        text(&output)
    }

    /// Processes of this shim's hactl.
    fn plugins(&self) -> usize {
        let link = self.path("data/hactl/bin/hactl").display().to_string();
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes
            .filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.starts_with(link.as_bytes())))
            .count()
    }

    /// Starts an apply of the stack in a process group of its own, and waits until a node boots.
    async fn start_apply(&self, cluster: &Cluster) -> Child {
        let nodes: serde_json::Map<String, serde_json::Value> = [("node1", 10), ("node2", 11)]
            .map(|(key, slot)| {
                (key.to_owned(), serde_json::json!({"hostname": key, "slot": slot, "memory": 256, "cores": 1}))
            })
            .into_iter()
            .collect();
        let values = serde_json::json!({
            "cluster": cluster.name, "cluster_uuid": cluster.uuid, "nodes": nodes, "authorized_keys": [KEY],
        });
        fs::write(self.path("tree/stacks/local/terraform.tfvars.json"), values.to_string()).unwrap();
        self.succeed("stacks/local", &cluster.image, &["init", "-no-color"]);
        let apply = ["apply", "-auto-approve", "-no-color", "-input=false"];
        let child = self.command("stacks/local", &cluster.image, &apply).process_group(0).spawn().unwrap();
        wait_until("a node is there", || async {
            cluster.left().await.iter().any(|left| left.starts_with("container"))
        })
        .await;
        child
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn wait_until<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let started = Instant::now();
    while !check().await {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn send(child: &Child, signal: Signal) {
    killpg(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_of_the_modules_pass_through_the_shim() {
    // `tests/apply.tftest.hcl` makes the cluster t-tf-module.
    with_cluster("module", async |cluster| {
        let plain = Plain::new();
        plain.succeed("modules/local-node", &cluster.image, &["init", "-no-color"]);
        let tested = plain.succeed("modules/local-node", &cluster.image, &["test", "-no-color"]);
        assert!(tested.contains("Success! 20 passed, 0 failed."), "{tested}");
        assert_eq!(cluster.left().await, Vec::<String>::new());

        plain.succeed("", &cluster.image, &["fmt", "-check", "-recursive", "-diff"]);

        // Another build of hactl leaves the lock file as it is.
        let lock = plain.path("tree/modules/local-node/.terraform.lock.hcl");
        let before = fs::read_to_string(&lock).unwrap();
        fs::rename(plain.path("hactl"), plain.path("other")).unwrap();
        provider::install(&plain.path("data"), &plain.path("other")).unwrap();
        plain.succeed("modules/local-node", &cluster.image, &["init", "-no-color"]);
        plain.succeed("modules/local-node", &cluster.image, &["validate", "-no-color"]);
        assert_eq!(fs::read_to_string(&lock).unwrap(), before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terraform_interrupted_or_killed_leaves_no_plugin() {
    with_cluster("plain", async |cluster| {
        let plain = Plain::new();
        let child = plain.start_apply(cluster).await;
        send(&child, Signal::SIGINT);
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success());
        wait_until("the plugins are gone", || async { plain.plugins() == 0 }).await;
        let left = cluster.left().await;
        assert!(!left.iter().any(|left| left.starts_with("container")), "{left:?}\n{}", text(&output));

        let mut child = plain.start_apply(cluster).await;
        assert!(plain.plugins() > 0);
        // Only Terraform itself: the plugins are on their own.
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("the plugins are gone", || async { plain.plugins() == 0 }).await;

        let image = cluster.image.as_str();
        plain.succeed("stacks/local", image, &["apply", "-auto-approve", "-no-color", "-input=false"]);
        let planned =
            plain.command("stacks/local", image, &["plan", "-detailed-exitcode", "-no-color"]).output().unwrap();
        assert_eq!(planned.status.code(), Some(0), "{}", text(&planned));
        plain.succeed("stacks/local", image, &["destroy", "-auto-approve", "-no-color"]);
        assert_eq!(cluster.left().await, Vec::<String>::new());
    })
    .await;
}
