//! A working directory with a cluster file, the binary under test, and the cluster taken away at the end.

pub(crate) mod application;
pub(crate) mod http_state;
pub(crate) mod postgres;
pub(crate) mod recorded;
pub(crate) mod s3;
pub(crate) mod steps;
pub(crate) mod terminal;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// Asserts that `values` are what `hactl schema SHAPE` says, without a field that it does not know.
pub(crate) fn fits(shape: &str, values: impl IntoIterator<Item = Value>) {
    let done = Command::new(env!("CARGO_BIN_EXE_hactl")).args(["schema", shape]).output().unwrap();
    let mut schema: Value = serde_json::from_slice(&done.stdout).unwrap();
    schema["unevaluatedProperties"] = false.into();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for value in values {
        let wrong: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "not as `hactl schema {shape}` says: {}\n{value}", wrong.join("; "));
    }
}

/// One cluster of a test. Dropping it takes away what is left, also when the test fails.
pub(crate) struct Bench {
    name: &'static str,
    dir: tempfile::TempDir,
    /// Variables for hactl, beside those that are there.
    pub(crate) env: Vec<(&'static str, String)>,
    /// Whether it takes the cluster away at the end.
    sweeps: bool,
}

impl Bench {
    pub(crate) fn new(name: &'static str, file: &str) -> Self {
        let mut bench = Self::beside(name, file);
        bench.sweeps = true;
        bench.sweep();
        bench
    }

    /// A further directory for a cluster that another one takes away at the end.
    pub(crate) fn beside(name: &'static str, file: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("hactl-test-").tempdir().unwrap();
        fs::write(dir.path().join(format!("{name}.yaml")), file).unwrap();
        Self { name, dir, env: Vec::new(), sweeps: false }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// `.hactl/NAME` and below.
    pub(crate) fn kept(&self, below: &str) -> PathBuf {
        self.path(".hactl").join(self.name).join(below)
    }

    /// Writes another cluster file over the one that is there.
    pub(crate) fn write_file(&self, text: &str) {
        fs::write(self.path(&format!("{}.yaml", self.name)), text).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.args(args).args(["--output", "json"]).current_dir(self.dir.path()).env("RUST_BACKTRACE", "0");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn hactl(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs an acting command that must succeed, and gives its summary.
    pub(crate) fn act(&self, args: &[&str]) -> Value {
        let started = Instant::now();
        let done = self.hactl(args);
        let stdout = String::from_utf8_lossy(&done.stdout);
        println!("   hactl {}: {} in {:.1} s", args.join(" "), done.status, started.elapsed().as_secs_f64());
        let last: Value = stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        assert!(done.status.success(), "hactl {}: {last:#}\n{}", args.join(" "), String::from_utf8_lossy(&done.stderr));
        fits("event", stdout.lines().map(|line| serde_json::from_str(line).unwrap()));
        assert_eq!(last["type"], "summary", "the last line is not the summary: {last}");
        last
    }

    /// Runs `up`, which may interrupt writes and must succeed.
    pub(crate) fn up(&self) -> Value {
        self.act(&["up", self.name, "--no-verify", "--yes"])
    }

    pub(crate) fn status(&self) -> Value {
        let done = self.hactl(&["status", self.name]);
        let status: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
        });
        fits("status", [status.clone()]);
        status
    }

    /// The status of a cluster that is healthy, or becomes so in that time.
    pub(crate) fn healthy_within(&self, patience: Duration) -> Value {
        let deadline = Instant::now() + patience;
        let mut status = self.status();
        while status["healthy"] != true && Instant::now() < deadline {
            std::thread::sleep(Duration::from_secs(1));
            status = self.status();
        }
        assert_eq!(status["healthy"], true, "{status:#}");
        status
    }

    /// Runs an acting command that must fail, and gives its exit code and error.
    pub(crate) fn fail(&self, args: &[&str]) -> (i32, Value) {
        self.follow(args).end_in_error()
    }

    /// Starts a command whose event lines are read while it runs.
    pub(crate) fn follow(&self, args: &[&str]) -> Running {
        Running::new(self.command(args))
    }

    pub(crate) fn client(&self) -> PathBuf {
        self.kept("client")
    }

    pub(crate) fn address(&self, node: &str) -> String {
        let fleet = fs::read(self.kept("fleet.json")).unwrap();
        let fleet: Value = serde_json::from_slice(&fleet).unwrap();
        fleet["nodes"][node]["address"].as_str().unwrap().to_owned()
    }

    /// One statement by psql; what it printed, without headers.
    pub(crate) fn sql(&self, dsn: &str, statement: &str) -> String {
        let done = Command::new("psql").args([dsn, "-X", "-A", "-t", "-q", "-c", statement]).output().unwrap();
        assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// Starts `up` and kills it, with no chance to clean up, as soon as `stage` has started. Gives the
    /// processes that it left behind.
    pub(crate) fn kill_in_stage(&self, stage: &str) -> Vec<String> {
        let mut up = self.follow(&["up", self.name]);
        up.wait_for_stage(stage);
        std::thread::sleep(Duration::from_millis(300));
        up.kill();
        self.lock_holders()
    }

    /// The programs that hold the cluster's lock: hactl, and whatever it started.
    pub(crate) fn lock_holders(&self) -> Vec<String> {
        let lock = self.kept("lock");
        let mut found = Vec::new();
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
            if files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|target| target == lock)) {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                found.push(name.trim().to_owned());
            }
        }
        found
    }

    /// Containers, networks and volumes with the cluster's label, one per line.
    pub(crate) fn leftovers(&self) -> String {
        let label = format!("label=hactl.cluster={}", self.name);
        let list = |args: &[&str]| docker(&[args, &["-q", "--filter", &label][..]].concat());
        [list(&["ps", "-a"]), list(&["network", "ls"]), list(&["volume", "ls"])].concat()
    }

    /// Reads every file below the directory: none may have the secret.
    pub(crate) fn holds_no(&self, secret: &str) {
        let mut dirs = vec![self.path("")];
        let mut files = 0;
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap().flatten() {
                let path = entry.path();
                if entry.file_type().unwrap().is_dir() {
                    dirs.push(path);
                } else if let Ok(bytes) = fs::read(&path) {
                    files += 1;
                    let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                    assert!(!found, "{} has the state's password", path.display());
                }
            }
        }
        assert!(files > 5, "only {files} files were read");
    }

    /// Takes away what the engine has of the cluster.
    pub(crate) fn sweep(&self) {
        let label = format!("label=hactl.cluster={}", self.name);
        for (list, remove) in [
            (&["ps", "-a"][..], &["rm", "-f"][..]),
            (&["network", "ls"], &["network", "rm"]),
            (&["volume", "ls"], &["volume", "rm"]),
        ] {
            let found = docker(&[list, &["-q", "--filter", &label]].concat());
            for id in found.split_whitespace() {
                docker(&[remove, &[id]].concat());
            }
        }
    }
}

/// A command under way. Its event lines are read by a thread, so it never waits for us.
pub(crate) struct Running {
    child: Child,
    events: Receiver<Value>,
    pub(crate) seen: Vec<Value>,
    words: String,
}

impl Running {
    pub(crate) fn new(mut command: Command) -> Self {
        let words = format!("{command:?}");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap_or_default());
            }
        });
        Self { child, events, seen: Vec::new(), words }
    }

    /// Reads events up to the first for which `wanted` holds.
    pub(crate) fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) {
        while let Ok(event) = self.events.recv_timeout(Duration::from_secs(300)) {
            let found = wanted(&event);
            self.seen.push(event);
            if found {
                return;
            }
        }
        let _ = self.child.kill();
        panic!("{}: no {what}; last: {:#?}", self.words, self.seen.iter().rev().take(3).collect::<Vec<_>>());
    }

    pub(crate) fn wait_for_stage(&mut self, stage: &str) {
        self.wait_for(stage, |event| event["type"] == "stage-started" && event["stage"] == stage);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end: exit code, and all events.
    pub(crate) fn end(mut self) -> (i32, Vec<Value>) {
        let code = self.child.wait().unwrap().code().expect("it was not killed");
        self.seen.extend(self.events.iter());
        (code, std::mem::take(&mut self.seen))
    }

    /// Waits for the end, which must be a failure: exit code and error.
    pub(crate) fn end_in_error(self) -> (i32, Value) {
        let words = self.words.clone();
        let (code, events) = self.end();
        let error = events.iter().find(|event| event["type"] == "error").map(|event| event["error"].clone());
        let error = error.unwrap_or_else(|| panic!("{words}: no error, code {code}: {:#?}", events.last()));
        println!("   {words}: {code} {error:#}");
        assert!(code != 0 && error["hint"].is_string(), "{error:#}");
        (code, error)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What happened is in the record, which would go with the directory.
            let place = if self.sweeps { "" } else { &self.dir.path().display().to_string().replace('/', "-") };
            let kept = std::env::temp_dir().join(format!("hactl-failed-{}{place}", self.name));
            let _ = fs::remove_dir_all(&kept);
            let _ = Command::new("cp").arg("-r").arg(self.dir.path()).arg(&kept).status();
            println!("   kept for a look: {}", kept.display());
        }
        if self.sweeps {
            self.sweep();
        }
    }
}

pub(crate) fn docker(args: &[&str]) -> String {
    let done = Command::new("docker").args(args).output().expect("docker is installed");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Makes a machine of the local engine one of a cloud image: `user` has the keys and may use sudo without a password,
/// and root logs in no more.
pub(crate) fn give_to_sudo_user(container: &str, user: &str) {
    let script = format!(
        "set -eu
         useradd --create-home --shell /bin/bash {user}
         install -d -m 700 -o {user} -g {user} ~{user}/.ssh
         install -m 600 -o {user} -g {user} /root/.ssh/authorized_keys ~{user}/.ssh/authorized_keys
         echo '{user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{user}
         sed -i 's/^PermitRootLogin.*/PermitRootLogin no/' /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*
         sshd -T | grep -qx 'permitrootlogin no'
         systemctl restart ssh
         echo done"
    );
    let said = docker(&["exec", container, "bash", "-c", &script]);
    assert!(said.ends_with("done\n"), "{container}: {said}");
}

/// The command lines of processes that have `word` as an argument.
pub(crate) fn processes_of(word: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.split('\0').any(|one| one == word)).collect()
}

/// The names of a cluster's containers, sorted.
pub(crate) fn containers(name: &str) -> Vec<String> {
    let filter = format!("label=hactl.cluster={name}");
    let mut names: Vec<String> =
        docker(&["ps", "--filter", &filter, "--format", "{{.Names}}"]).lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// A command that runs as root, by `sudo` where the test does not.
pub(crate) fn as_root(program: &str) -> Command {
    if nix::unistd::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

/// Both streams of a command, whatever its status.
pub(crate) fn output(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

/// Ansible's environment as hactl uses it; made when it is not there yet.
pub(crate) fn ansible() -> hactl::ansible::AnsibleEnvironment {
    let env: std::collections::BTreeMap<String, String> = std::env::vars().collect();
    let dirs = hactl::context::Dirs::new(&std::env::current_dir().unwrap(), &env);
    let (events, _) = hactl::event::Events::channel();
    let context = hactl::context::Context { dirs, env, events, stop: Default::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(hactl::ansible::environment(&context)).unwrap()
}
