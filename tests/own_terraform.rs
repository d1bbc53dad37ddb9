//! A module of the user's own whose machines are none: what `down` finds in its state, and what it leaves there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::json;
use tempfile::TempDir;

use crate::common::http_state::{self, HttpState};

/// A directory with the file of cluster `pg`, and a module that Terraform has applied.
struct Applied(TempDir);

impl Applied {
    fn new(files: &[(&str, &str)]) -> Self {
        let applied = Self(tempfile::tempdir().unwrap());
        let file = "name: pg\nplatform: {terraform: {dir: infra}}\ninstances: {node1: {}}\n";
        fs::write(applied.path("pg.yaml"), file).unwrap();
        for (name, text) in files {
            let path = applied.path("infra").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        applied.terraform(&["init"]);
        applied.terraform(&["apply", "-auto-approve"]);
        applied
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, program: impl AsRef<Path>, dir: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program.as_ref());
        command.args(args).current_dir(self.path(dir)).stdin(Stdio::null());
        command.env("TF_HTTP_USERNAME", http_state::USER).env("TF_HTTP_PASSWORD", http_state::PASSWORD);
        command.env_remove("TF_CLI_CONFIG_FILE").env_remove("HACTL_DIR").output().unwrap()
    }

    fn terraform(&self, args: &[&str]) -> String {
        let done = self.run("terraform", "infra", args);
        assert!(done.status.success(), "terraform {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// What hactl answers: exit code and stderr.
    fn hactl(&self, args: &[&str]) -> (Option<i32>, String) {
        let done = self.run(env!("CARGO_BIN_EXE_hactl"), "", args);
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    }
}

#[test]
fn down_with_a_module_called_data_asks_before_it_destroys() {
    let main = "module \"data\" {\n  source   = \"./node\"\n  for_each = toset([\"a.data.b\"])\n}\n";
    let place = Applied::new(&[("main.tf", main), ("node/main.tf", "resource \"terraform_data\" \"n\" {}\n")]);
    let address = "module.data[\"a.data.b\"].terraform_data.n";
    let (code, said) = place.hactl(&["down", "pg"]);
    assert!(said.contains(address) && said.contains("cannot ask for confirmation: stdin is not a terminal"), "{said}");
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(place.terraform(&["state", "list"]).trim(), address, "it was destroyed without a confirmation");
    let (code, said) = place.hactl(&["down", "pg", "--yes"]);
    assert_eq!((code, place.terraform(&["state", "list"]).as_str()), (Some(0), ""), "{said}");
    // And of nothing nothing is asked.
    let (code, said) = place.hactl(&["down", "pg"]);
    assert!(code == Some(0) && said.contains("pg: nothing is left to destroy"), "{code:?} {said}");
}

#[test]
fn down_after_an_apply_without_machines_removes_its_record() {
    let place = Applied::new(&[("main.tf", "output \"record\" {\n  value = \"left\"\n}\n")]);
    assert!(place.terraform(&["output", "-json"]).contains("left"));
    let (code, said) = place.hactl(&["down", "pg", "--yes"]);
    assert_eq!((code, place.terraform(&["output", "-json"]).trim()), (Some(0), "{}"), "{said}");
}

#[test]
fn lock_of_a_module_never_initialised_is_released() {
    let server = HttpState::start();
    let main = format!(
        "terraform {{\n  backend \"http\" {{\n    address        = \"{0}\"\n    lock_address   = \"{0}/lock\"\n    \
         unlock_address = \"{0}/lock\"\n    lock_method    = \"POST\"\n    unlock_method  = \"DELETE\"\n  }}\n}}\n",
        server.address("own")
    );
    let place = Applied::new(&[("main.tf", &main)]);
    // A run that was killed while it had the state: its lock is nobody's any more.
    server.lock("own", "dead");
    // A fresh runner has none of what init fetches, and does not get this provider.
    fs::remove_dir_all(place.path("infra/.terraform")).unwrap();
    let nowhere = "terraform {\n  required_providers {\n    other = { source = \"hactl.local/test/none\" }\n  }\n}\n";
    fs::write(place.path("infra/versions.tf"), nowhere).unwrap();
    let (code, said) = place.hactl(&["terraform", "force-unlock", "pg", "dead"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!server.is_locked("own"));
}

#[test]
fn addresses_of_the_own_module_stay_when_an_instance_is_added() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/own-terraform/infra/main.tf"),
        dir.path().join("main.tf"),
    )
    .unwrap();
    let terraform = |args: &[&str]| {
        let mut command = Command::new("terraform");
        let done = command.args(args).current_dir(dir.path()).env_remove("TF_CLI_CONFIG_FILE").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let values = |keys: &[&str]| {
        let instance = json!({"hostname": "h", "memory": 1, "cores": 1, "roles": []});
        let instances: serde_json::Map<_, _> = keys.iter().map(|key| ((*key).to_owned(), instance.clone())).collect();
        let mut values = json!({"instances": instances, "authorized_keys": []});
        if keys.contains(&"arbiter") {
            let addresses = [("arbiter", 24), ("node1", 21), ("node2", 22), ("node3", 23)];
            values["addresses"] =
                addresses.map(|(key, last)| (key.to_owned(), json!(format!("192.168.1.{last}")))).into_iter().collect();
        }
        fs::write(dir.path().join("a.auto.tfvars.json"), values.to_string()).unwrap();
    };
    values(&["node1", "node2", "node3"]);
    terraform(&["init"]);
    terraform(&["apply", "-auto-approve"]);
    values(&["node1", "node2", "node3", "arbiter"]);
    let planned = terraform(&["plan", "-no-color"]);
    assert!(planned.contains("Plan: 1 to add, 0 to change, 0 to destroy."), "{planned}");
}
