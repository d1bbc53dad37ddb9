//! Plain Terraform on the module, with the provider found by its shim.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hactl::{assets::Assets, dns::SECRET_VARIABLE, terraform::provider};
use serde_json::{Value, json};

use super::servers::{KEY, Server, ZONE, other_secret, secret};

/// The environment variable with the secret of the other key.
pub(crate) const OTHER_VARIABLE: &str = "LAB_DNS_SECRET";

pub(crate) struct Plain {
    dir: tempfile::TempDir,
    pub(crate) secret: String,
    /// The directory that Terraform runs in: the module itself, unless a test has a configuration around it.
    pub(crate) root: PathBuf,
}

/// How a command of Terraform ended.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) text: String,
    pub(crate) took: Duration,
}

impl Plain {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("tree/modules/dns-records");
        let plain = Self { dir, secret: secret(), root };
        Assets::embedded().write("terraform", &plain.path("tree")).unwrap();
        provider::install(&plain.path("data"), env!("CARGO_BIN_EXE_hactl").as_ref()).unwrap();
        plain.run(&["init", "-no-color"]).good();
        plain
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("terraform");
        command.args(args).current_dir(&self.root).env("XDG_DATA_HOME", self.path("data"));
        command
            .env(SECRET_VARIABLE, &self.secret)
            .env(OTHER_VARIABLE, other_secret())
            .env("RUST_BACKTRACE", "0")
            .env_remove("TF_CLI_CONFIG_FILE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Done {
        let started = Instant::now();
        let done = self.command(args).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        // Terraform wraps its messages at 78 characters, behind a bar.
        let text = text.replace('\u{2502}', " ").split_whitespace().collect::<Vec<_>>().join(" ");
        Done { code: done.status.code().unwrap_or(-1), text, took: started.elapsed() }
    }

    /// Writes the module's variables: those of `server`, over them `more`.
    pub(crate) fn set(&self, server: &Server, more: Value) {
        let mut values =
            json!({"zone": ZONE, "server": server.address, "port": server.port, "key_name": KEY, "records": {}});
        for (name, value) in more.as_object().unwrap() {
            values[name] = value.clone();
        }
        fs::write(self.root.join("terraform.tfvars.json"), values.to_string()).unwrap();
    }

    pub(crate) fn apply(&self) -> Done {
        self.run(&["apply", "-auto-approve", "-no-color", "-input=false", "-parallelism=20"])
    }

    pub(crate) fn start_apply(&self) -> Child {
        self.command(&["apply", "-auto-approve", "-no-color", "-input=false", "-parallelism=4"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// The exit code of a plan: 0 when there is nothing to do, 2 for changes.
    pub(crate) fn plan(&self) -> Done {
        self.run(&["plan", "-detailed-exitcode", "-no-color", "-input=false"])
    }

    pub(crate) fn destroy(&self) -> Done {
        self.run(&["destroy", "-auto-approve", "-no-color", "-input=false"])
    }

    pub(crate) fn state(&self) -> String {
        fs::read_to_string(self.root.join("terraform.tfstate")).unwrap_or_default()
    }
}

impl Done {
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.text);
        self
    }

    /// It must have failed, within seconds, with each of `words`.
    pub(crate) fn bad(self, words: &[&str]) -> Self {
        assert_eq!(self.code, 1, "{}", self.text);
        for word in words {
            assert!(self.text.contains(word), "no `{word}` in {}", self.text);
        }
        assert!(self.took < Duration::from_secs(10), "{:?}: {}", self.took, self.text);
        self
    }
}
