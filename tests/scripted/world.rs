//! The surroundings of one hactl: its directory, the machines, and what each fake program does when hactl calls it.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::{
    fakes::{self, Call},
    machines::{self, MACHINES, Machine},
    services::{Inventory, Services},
};

/// Something that happened while hactl ran.
pub(super) enum Observed {
    /// hactl printed an event.
    Event(Value),
    /// hactl closed its output.
    OutputEnded,
    /// hactl, or a command on a machine, called a fake program.
    Called(Call),
    /// A fake program received SIGINT.
    Interrupted,
    /// A key in etcd changed. etcd answers after `go`.
    EtcdChanged { change: String, go: oneshot::Sender<()> },
}

/// The file with the consent of a run.
const CONSENT: &str = "/consent.json";

/// The faults that a scenario can set. Each happens once.
const FAULTS: [&str; 6] = [
    "terraform apply fails",
    "terraform apply hangs until Ctrl-C",
    "terraform plan replaces the machine two",
    "ansible-playbook fails on two",
    "ansible-playbook hangs until Ctrl-C",
    "Ctrl-C when one stops patroni.service",
];

/// What the state of the module contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Nothing,
    /// Everything but the volume.
    WithoutVolume,
    Everything,
}

/// A plan that was made and not applied.
#[derive(Clone, Copy)]
struct Planned {
    /// The name of its transcripts.
    kind: &'static str,
    state_after: State,
}

/// Everything that one scenario works with.
pub(super) struct World {
    machines: BTreeMap<&'static str, Machine>,
    services: Option<Services>,
    state: State,
    /// The output `record` of the state, and its value after the next apply.
    record: String,
    next_record: String,
    planned: Option<Planned>,
    faults: Vec<&'static str>,
    /// Programs whose environment variables the transcript has yet to name.
    unnamed: Vec<&'static str>,
    sender: Sender<Observed>,
    pub(super) observed: Receiver<Observed>,
    // Dropped after everything that uses it.
    dir: tempfile::TempDir,
}

/// What follows from a call.
pub(super) enum Outcome {
    /// The program has ended.
    Ended,
    /// hactl gets a SIGINT, and the program a moment later; then it prints this text and exits with this code.
    Hangs(Call, String, i32),
    /// The program has ended, and hactl gets a SIGINT.
    Interrupt,
}

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("hactl-scripted-").tempdir().unwrap();
        let (sender, observed) = mpsc::channel();
        fakes::install(dir.path(), sender.clone());
        let key = dir.path().join("id");
        machines::new_key(&key);
        let infra = dir.path().join("infra");
        fs::create_dir(&infra).unwrap();
        fs::write(infra.join("main.tf"), include_str!("recorded/infra/main.tf")).unwrap();
        let world = Self {
            machines: machines::start(dir.path(), &key),
            services: None,
            state: State::Nothing,
            record: String::new(),
            next_record: String::new(),
            planned: None,
            faults: Vec::new(),
            unnamed: Vec::new(),
            sender,
            observed,
            dir,
        };
        world.write_cluster_file("[record]", true);
        world
    }

    /// Writes the cluster file; `pass` and `destroy` are settings of the module.
    fn write_cluster_file(&self, pass: &str, destroy: bool) {
        let sum = write_etcd_archive(&self.dir.path().join("etcd.tar.gz"));
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
        let instances = MACHINES.map(|(name, roles)| format!("  {name}: {{roles: {roles}}}\n")).concat();
        let text = format!(
            "platform:\n  terraform: {{dir: infra, pass: {pass}, destroy: {destroy}, ssh: {{user: {user}, key: id}}}}\n\
             etcd: {{archive: etcd.tar.gz, sha256: {sum}}}\ndefaults: {{memory: 2048, cores: 1}}\ninstances:\n{instances}",
        );
        fs::write(self.dir.path().join("pg.yaml"), text).unwrap();
    }

    /// Sets a condition or a fault, in the words of the scenarios.
    pub(super) fn set(&mut self, line: &str) {
        if let Some(fault) = FAULTS.iter().find(|fault| **fault == line) {
            return self.faults.push(fault);
        }
        match line {
            "the transcript names environment variables" => self.unnamed = vec!["terraform", "ansible-playbook"],
            "the machines stay" => self.write_cluster_file("[record]", false),
            "the module takes no record" => self.write_cluster_file("[]", true),
            "fleet.json is unreadable" => fs::write(self.dir.path().join(".hactl/pg/fleet.json"), "{").unwrap(),
            "Patroni on two has crashed" => {
                self.machines["two"].end("patroni");
                self.services.as_mut().unwrap().stop("two", "patroni");
            }
            _ => panic!("unknown condition or fault: {line}"),
        }
    }

    /// Whether a fault is set, and takes it back.
    fn take(&mut self, fault: &str) -> bool {
        let at = self.faults.iter().position(|set| *set == fault);
        at.map(|at| self.faults.remove(at)).is_some()
    }

    /// Takes back all faults that did not happen.
    pub(super) fn take_faults(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.faults)
    }

    /// A command of hactl, with a fixed environment.
    pub(super) fn hactl(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        let path = format!("{}:{}", self.dir.path().join("bin").display(), std::env::var("PATH").unwrap());
        command.args(words.split_whitespace()).args(["--output", "json"]).current_dir(self.dir.path()).env_clear();
        command.envs([("PATH", path.as_str()), ("USER", "me")]).env("HOME", self.dir.path());
        command.env("HACTL_CACHE_DIR", self.dir.path().join("cache"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(super) fn sender(&self) -> Sender<Observed> {
        self.sender.clone()
    }

    /// The locks that exist, on machines and in etcd.
    pub(super) fn locks(&self) -> Vec<String> {
        let files = self.machines.iter().filter(|(_, machine)| machine.path("run/hactl/lock").exists());
        let files = files.map(|(name, _)| format!("/run/hactl/lock on {name}"));
        files.chain(self.services.iter().flat_map(Services::keys)).collect()
    }

    /// Replaces in a text what differs between runs: paths, digests, times and addresses.
    pub(super) fn normalised(&self, text: &str) -> String {
        let dir = self.dir.path();
        let mut text = text.to_owned();
        for (below, name) in [("cache/assets", "ROLES"), ("cache/ansible", "PYTHON"), (".hactl/pg/runs", "RUN")] {
            for entry in fs::read_dir(dir.join(below)).into_iter().flatten().flatten() {
                let path = entry.path().display().to_string();
                text = text.replace(&path, &format!("@/{below}/{name}"));
            }
        }
        text = text.replace(&dir.display().to_string(), "@");
        for (name, machine) in &self.machines {
            text = text.replace(&machine.address.to_string(), &format!("@{name}"));
        }
        // A temporary file: its directory has a random name.
        let parts: Vec<&str> = text.split(CONSENT).collect();
        let (last, before) = parts.split_last().unwrap();
        let before = before.iter().map(|part| part.rsplit_once('@').map_or(*part, |(start, _)| start).to_owned());
        before.map(|start| start + "@TMP" + CONSENT).chain([(*last).to_owned()]).collect()
    }

    /// A transcript of a real tool, with the values of this world.
    fn recorded(&self, name: &str) -> String {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripted/recorded");
        let mut text = fs::read_to_string(dir.join(name)).unwrap();
        for ((name, _), number) in MACHINES.iter().zip(1..) {
            let machine = &self.machines[name];
            text = text.replace(&format!("127.77.0.{number}"), &machine.address.to_string());
            text = text.replace(&format!("6000{number}"), &machine.port.to_string());
        }
        let escaped = |text: &str| {
            let quoted = Value::from(text).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        };
        let record = if name.starts_with("terraform/output") { &self.record } else { &self.next_record };
        text.replace("@before@", &escaped(&self.record)).replace("@record@", &escaped(record))
    }

    /// Whether the transcript names the environment variables of this call.
    pub(super) fn names_variables(&mut self, call: &Call) -> bool {
        let at = self.unnamed.iter().position(|program| *program == call.invocation.program);
        at.map(|at| self.unnamed.remove(at)).is_some()
    }

    /// Plays the program that was called.
    pub(super) fn play(&mut self, call: Call) -> Outcome {
        match call.invocation.program.as_str() {
            "terraform" => self.terraform(call),
            "ansible-playbook" => self.ansible_playbook(call),
            "systemctl" => self.systemctl(call),
            _ => {
                call.exit(0);
                Outcome::Ended
            }
        }
    }

    fn terraform(&mut self, call: Call) -> Outcome {
        let command = call.invocation.arguments.first().cloned().unwrap_or_default();
        match command.as_str() {
            "version" => call.print(&self.recorded("terraform/version.json")),
            "init" => call.print(&self.recorded("terraform/init.txt")),
            "plan" => {
                let planned = self.terraform_plan(&call);
                self.planned = Some(planned);
                fs::write(call.option("-out=").unwrap(), planned.kind).unwrap();
                call.print(&self.recorded(&format!("terraform/plan-{}.jsonl", planned.kind)));
            }
            "show" => call.print(&self.recorded(&format!("terraform/show-{}.json", self.planned.unwrap().kind))),
            "apply" => return self.terraform_apply(call),
            "output" => {
                let name = match self.state {
                    State::Nothing => "output-none",
                    State::WithoutVolume => "output-rest",
                    State::Everything => "output",
                };
                call.print(&self.recorded(&format!("terraform/{name}.json")));
            }
            _ => panic!("the fake terraform does not know: {}", call.invocation.arguments.join(" ")),
        }
        call.exit(0);
        Outcome::Ended
    }

    fn terraform_plan(&mut self, call: &Call) -> Planned {
        let values = call.option("-var-file=").map(|file| fs::read(file).unwrap());
        let values: Value = values.map(|values| serde_json::from_slice(&values).unwrap()).unwrap_or_default();
        self.next_record = values["record"].as_str().unwrap_or_default().to_owned();
        let state = self.state;
        let (kind, state_after) = match state {
            State::Nothing if call.has("-destroy") => ("gone", State::Nothing),
            _ if call.has("-destroy") => ("destroy", State::Nothing),
            _ if self.take("terraform plan replaces the machine two") => ("replace", State::Everything),
            State::Nothing => ("create", State::Everything),
            State::WithoutVolume => ("rest", State::Everything),
            State::Everything if self.record == self.next_record => ("none", State::Everything),
            State::Everything => ("record", State::Everything),
        };
        Planned { kind, state_after }
    }

    fn terraform_apply(&mut self, call: Call) -> Outcome {
        let Planned { kind, state_after } = self.planned.take().unwrap();
        self.record.clone_from(&self.next_record);
        if self.take("terraform apply fails") {
            call.print(&self.recorded("terraform/apply-failed.jsonl"));
            self.state = State::WithoutVolume;
            call.exit(1);
            return Outcome::Ended;
        }
        if self.take("terraform apply hangs until Ctrl-C") {
            let output = self.recorded("terraform/apply-interrupted.jsonl");
            let lines: Vec<&str> = output.lines().collect();
            let at = lines.iter().position(|line| line.contains("Interrupt received")).unwrap();
            call.print(&lines[..at].join("\n"));
            self.state = State::WithoutVolume;
            return Outcome::Hangs(call, lines[at..].join("\n"), 1);
        }
        call.print(&self.recorded(&format!("terraform/apply-{kind}.jsonl")));
        self.state = state_after;
        if state_after == State::Nothing {
            self.services = None;
            self.machines.values_mut().for_each(Machine::power_off);
        }
        call.exit(0);
        Outcome::Ended
    }

    fn ansible_playbook(&mut self, call: Call) -> Outcome {
        if self.take("ansible-playbook fails on two") {
            call.write_events(&self.recorded("ansible/failed.jsonl"));
            call.exit(2);
            return Outcome::Ended;
        }
        if self.take("ansible-playbook hangs until Ctrl-C") {
            // The exit code of a playbook that the user interrupts.
            return Outcome::Hangs(call, String::new(), 99);
        }
        let dir = call.invocation.arguments.iter().skip_while(|argument| *argument != "--inventory").nth(1).unwrap();
        let inventory = Inventory::read(Path::new(dir));
        for (name, roles) in MACHINES {
            self.machines[name].configure(roles, inventory.digest(), name != "one");
        }
        let addresses = self.machines.iter().map(|(name, machine)| (*name, machine.address)).collect();
        self.services = Some(Services::start(self.services.take(), &inventory, &addresses, &self.sender));
        call.write_events(&self.recorded("ansible/configured.jsonl"));
        call.exit(0);
        Outcome::Ended
    }

    /// Plays `systemctl disable --now UNIT` of a machine.
    fn systemctl(&mut self, call: Call) -> Outcome {
        let machine = MACHINES.iter().find(|(name, _)| call.invocation.machine.as_deref() == Some(name)).unwrap().0;
        let unit = call.invocation.arguments.last().unwrap().trim_end_matches(".service").to_owned();
        self.services.as_mut().unwrap().stop(machine, &unit);
        call.exit(0);
        let interrupts = (machine, unit.as_str()) == ("one", "patroni");
        match interrupts && self.take("Ctrl-C when one stops patroni.service") {
            true => Outcome::Interrupt,
            false => Outcome::Ended,
        }
    }
}

/// Writes a release archive of etcd with empty programs, and returns its SHA-256.
fn write_etcd_archive(path: &Path) -> String {
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for name in ["etcd", "etcdctl", "etcdutl"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o755);
        archive.append_data(&mut header, format!("etcd/{name}"), std::io::empty()).unwrap();
    }
    let bytes = archive.into_inner().unwrap().finish().unwrap();
    fs::write(path, &bytes).unwrap();
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
