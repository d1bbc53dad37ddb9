//! The embedded Terraform tree in a directory of its own, the providers attached, and Terraform on it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use hactl::{assets::Assets, provider};
use serde_json::Value;

use crate::recorded::{Hypervisor, Recorded};

pub(crate) struct Tree {
    dir: tempfile::TempDir,
    pub(crate) recorded: Recorded,
}

/// How a command of Terraform ended.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl Tree {
    pub(crate) fn new(hypervisor: impl Hypervisor) -> Self {
        let tree = Self { dir: tempfile::tempdir().unwrap(), recorded: Recorded::start(hypervisor) };
        Assets::embedded().write("terraform", &tree.path("")).unwrap();
        provider::install(&tree.dir.path().join("data"), env!("CARGO_BIN_EXE_hactl").as_ref()).unwrap();
        tree
    }

    /// A file or directory of the tree.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("tree").join(name)
    }

    pub(crate) fn reattach(&self) -> String {
        self.recorded.reattach(None)
    }

    /// Runs Terraform in a directory of the tree.
    pub(crate) fn run(&self, dir: &str, args: &[&str]) -> Done {
        let mut command = Command::new("terraform");
        command.args(args).current_dir(self.path(dir)).env("XDG_DATA_HOME", self.dir.path().join("data"));
        command.env("TF_REATTACH_PROVIDERS", self.reattach()).env_remove("TF_CLI_CONFIG_FILE");
        let done = command.stdin(Stdio::null()).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        Done { code: done.status.code().unwrap_or(-1), text }
    }

    /// Writes the variables of a stack.
    #[allow(dead_code, reason = "the tests that follow use it")]
    pub(crate) fn set(&self, dir: &str, values: &Value) {
        fs::write(self.path(dir).join("terraform.tfvars.json"), values.to_string()).unwrap();
    }
}

impl Done {
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.text);
        self
    }
}
