//! hactl in a directory with a cluster file, between a recorded provider and a simulated API.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use hactl::dns::SECRET_VARIABLE;
use serde_json::Value;

use crate::{
    common::recorded::{Hypervisor, Recorded},
    dns::servers,
    proxmox_api::simulator::{SECRET, Simulator, TOKEN},
};

pub(crate) struct Program {
    dir: tempfile::TempDir,
    pub(crate) recorded: Recorded,
    pub(crate) simulator: Simulator,
}

impl Program {
    pub(crate) fn new(hypervisor: impl Hypervisor, simulator: Simulator) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), recorded: Recorded::start(hypervisor), simulator }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the cluster file of `pg`: plain machines, so that there is nothing for Ansible to do. `platform` is what
    /// the platform's section has beside the API, `rest` the rest of the file.
    pub(crate) fn file(&self, platform: &str, rest: &str) {
        let (endpoint, ca_cert) = (self.simulator.endpoint(), self.simulator.ca_cert());
        let text = format!(
            "name: pg\nplatform:\n  proxmox: {{endpoint: '{endpoint}', ca_cert: {}{platform}}}\n{rest}",
            ca_cert.display(),
        );
        fs::write(self.path("pg.yaml"), text).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.args(args).args(["--output", "json"]).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("TF_REATTACH_PROVIDERS", self.recorded.reattach(None)).env_remove("HACTL_DIR");
        command.env("PROXMOX_VE_API_TOKEN", format!("{TOKEN}={SECRET}"));
        command.env(SECRET_VARIABLE, servers::secret());
        command
    }

    /// The exit code, and the last line or the object that a command prints.
    pub(crate) fn run(&self, args: &[&str]) -> (i32, Value) {
        let done = self.command(args).output().unwrap();
        let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
        let last = serde_json::from_str(&stdout).or_else(|_| serde_json::from_str(stdout.lines().last().unwrap_or("")));
        let last = last.unwrap_or_else(|error| panic!("{error}: {stdout}{}", String::from_utf8_lossy(&done.stderr)));
        (done.status.code().unwrap(), last)
    }
}
