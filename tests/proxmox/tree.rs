//! The embedded Terraform tree in a directory of its own, the providers attached, and Terraform on it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use hactl::{assets::Assets, dns::SECRET_VARIABLE, terraform::provider};
use serde_json::Value;

use crate::{
    common::recorded::{Hypervisor, Nowhere, Recorded},
    dns::servers,
};

pub(crate) struct Tree {
    dir: tempfile::TempDir,
    pub(crate) recorded: Recorded,
    /// A filesystem mirror with the real provider, which is then used instead of the recorded one.
    mirror: Option<PathBuf>,
}

/// The variable that names such a mirror.
const MIRROR_VARIABLE: &str = "HACTL_TEST_PROVIDERS";

/// How a command of Terraform ended.
pub(crate) struct Done {
    pub(crate) code: i32,
    /// Without Terraform's line breaks.
    pub(crate) text: String,
    stdout: String,
}

impl Tree {
    pub(crate) fn new(hypervisor: impl Hypervisor) -> Self {
        Self::with(hypervisor, None)
    }

    /// With the real provider, where the environment names a mirror that has it. There is no Proxmox behind it: it can
    /// plan new machines and validate, but not refresh and apply.
    pub(crate) fn real() -> Option<Self> {
        let mirror = std::env::var_os(MIRROR_VARIABLE)?;
        Some(Self::with(Nowhere, Some(mirror.into())))
    }

    fn with(hypervisor: impl Hypervisor, mirror: Option<PathBuf>) -> Self {
        let tree = Self { dir: tempfile::tempdir().unwrap(), recorded: Recorded::start(hypervisor), mirror };
        Assets::embedded().write("terraform", &tree.path("")).unwrap();
        provider::install(&tree.dir.path().join("data"), env!("CARGO_BIN_EXE_hactl").as_ref()).unwrap();
        tree
    }

    /// A file or directory of the tree.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("tree").join(name)
    }

    /// Runs Terraform in a directory of the tree.
    pub(crate) fn run(&self, dir: &str, args: &[&str]) -> Done {
        let mut command = Command::new("terraform");
        command.args(args).current_dir(self.path(dir)).env("XDG_DATA_HOME", self.dir.path().join("data"));
        command.env(SECRET_VARIABLE, servers::secret());
        command.env("RUST_BACKTRACE", "0").env_remove("TF_CLI_CONFIG_FILE");
        match &self.mirror {
            None => command.env("TF_REATTACH_PROVIDERS", self.recorded.reattach(None)),
            Some(mirror) => {
                let own = self.dir.path().join("data/terraform/plugins");
                let config = self.dir.path().join("terraform.rc");
                let text = format!(
                    "provider_installation {{\n  filesystem_mirror {{\n    path = \"{}\"\n    include = [\"hactl.local/*/*\"]\n  }}\n  \
                     filesystem_mirror {{\n    path = \"{}\"\n    include = [\"registry.terraform.io/*/*\"]\n  }}\n}}\n",
                    own.display(),
                    mirror.display()
                );
                fs::write(&config, text).unwrap();
                // Nothing answers there: a plan of new machines asks nothing.
                command
                    .env("PROXMOX_VE_ENDPOINT", "https://127.0.0.1:1/")
                    .env("PROXMOX_VE_API_TOKEN", "a@pve!b=00000000-0000-0000-0000-000000000000");
                command.env("TF_CLI_CONFIG_FILE", config)
            }
        };
        let done = command.stdin(Stdio::null()).output().unwrap();
        let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
        let text = format!("{stdout}{}", String::from_utf8_lossy(&done.stderr));
        let text = text.replace('\u{2502}', " ").split_whitespace().collect::<Vec<_>>().join(" ");
        Done { code: done.status.code().unwrap_or(-1), text, stdout }
    }

    pub(crate) fn init(&self, dir: &str) {
        self.run(dir, &["init", "-no-color", "-input=false"]).good();
    }

    pub(crate) fn apply(&self, dir: &str) -> Done {
        self.run(dir, &["apply", "-auto-approve", "-input=false", "-json"])
    }

    pub(crate) fn destroy(&self, dir: &str) -> Done {
        self.run(dir, &["destroy", "-auto-approve", "-input=false", "-json"])
    }

    /// The changes of a plan by address, as `create`, `update`, `delete,create`; those that do nothing are left out.
    pub(crate) fn plan(&self, dir: &str) -> Vec<(String, String)> {
        self.run(dir, &["plan", "-no-color", "-input=false", "-out=read.tfplan"]).good();
        let plan = self.shown(dir, "read.tfplan");
        let changes = plan["resource_changes"].as_array().cloned().unwrap_or_default();
        let actions = |change: &Value| {
            let actions = change["change"]["actions"].as_array().unwrap();
            actions.iter().map(|action| action.as_str().unwrap()).collect::<Vec<_>>().join(",")
        };
        let changes = changes.iter().map(|change| (change["address"].as_str().unwrap().to_owned(), actions(change)));
        changes.filter(|(_, action)| action != "no-op").collect()
    }

    /// A plan in a file, as JSON.
    pub(crate) fn shown(&self, dir: &str, file: &str) -> Value {
        let shown = self.run(dir, &["show", "-json", file]).good();
        serde_json::from_str(&shown.stdout).unwrap()
    }

    pub(crate) fn output(&self, dir: &str, name: &str) -> Value {
        let done = self.run(dir, &["output", "-json", name]).good();
        serde_json::from_str(&done.stdout).unwrap()
    }

    /// Writes the variables of a module or stack.
    pub(crate) fn set(&self, dir: &str, values: &Value) {
        fs::write(self.path(dir).join("terraform.tfvars.json"), values.to_string()).unwrap();
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Done {
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.text);
        self
    }

    /// Starts and ends of resources in their order: `start ADDRESS`, `complete ADDRESS`, `errored ADDRESS`.
    pub(crate) fn steps(&self) -> Vec<String> {
        let lines = self.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter_map(|line| {
                let step = line["type"].as_str()?.strip_prefix("apply_")?.to_owned();
                let address = line["hook"]["resource"]["addr"].as_str()?;
                (step != "progress").then(|| format!("{step} {address}"))
            })
            .collect()
    }
}
