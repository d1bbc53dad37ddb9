//! A working directory with a cluster file, the binary under test, and the cluster taken away at the end.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// One cluster of a test. Dropping it takes away what is left, also when the test fails.
pub struct Bench {
    name: &'static str,
    dir: tempfile::TempDir,
}

impl Bench {
    pub fn new(name: &'static str, file: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("hactl-test-").tempdir().unwrap();
        fs::write(dir.path().join(format!("{name}.yaml")), file).unwrap();
        let bench = Self { name, dir };
        bench.sweep();
        bench
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.args(args).args(["--output", "json"]).current_dir(self.dir.path()).env("RUST_BACKTRACE", "0");
        command
    }

    pub fn hactl(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs an acting command that must succeed, and gives its summary.
    pub fn act(&self, args: &[&str]) -> Value {
        let started = Instant::now();
        let done = self.hactl(args);
        let stdout = String::from_utf8_lossy(&done.stdout);
        println!("   hactl {}: {} in {:.1} s", args.join(" "), done.status, started.elapsed().as_secs_f64());
        let last: Value = stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        assert!(done.status.success(), "hactl {}: {last:#}\n{}", args.join(" "), String::from_utf8_lossy(&done.stderr));
        assert_eq!(last["type"], "summary", "the last line is not the summary: {last}");
        last
    }

    pub fn up(&self) -> Value {
        self.act(&["up", self.name])
    }

    pub fn status(&self) -> Value {
        let done = self.hactl(&["status", self.name]);
        serde_json::from_slice(&done.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
        })
    }

    pub fn client(&self) -> PathBuf {
        self.dir.path().join(".hactl").join(self.name).join("client")
    }

    pub fn address(&self, node: &str) -> String {
        let fleet = fs::read(self.dir.path().join(".hactl").join(self.name).join("fleet.json")).unwrap();
        let fleet: Value = serde_json::from_slice(&fleet).unwrap();
        fleet["nodes"][node]["address"].as_str().unwrap().to_owned()
    }

    /// One statement by psql; what it printed, without headers.
    pub fn sql(&self, dsn: &str, statement: &str) -> String {
        let done = Command::new("psql").args([dsn, "-X", "-A", "-t", "-q", "-c", statement]).output().unwrap();
        assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// Starts `up` and kills it, with no chance to clean up, as soon as `stage` has started.
    pub fn kill_in_stage(&self, stage: &str) {
        let mut child = self.spawn(&["up", self.name]);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut reached = false;
        for line in lines.map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["type"] == "stage-started" && event["stage"] == stage {
                reached = true;
                std::thread::sleep(Duration::from_millis(300));
                break;
            }
        }
        assert!(reached, "stage {stage} never started");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Containers, networks and volumes with the cluster's label, one per line.
    pub fn leftovers(&self) -> String {
        let label = format!("label=hactl.cluster={}", self.name);
        let list = |args: &[&str]| docker(&[args, &["-q", "--filter", &label][..]].concat());
        [list(&["ps", "-a"]), list(&["network", "ls"]), list(&["volume", "ls"])].concat()
    }

    fn sweep(&self) {
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

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What happened is in the record, which would go with the directory.
            let kept = std::env::temp_dir().join(format!("hactl-failed-{}", self.name));
            let _ = fs::remove_dir_all(&kept);
            let _ = Command::new("cp").arg("-r").arg(self.dir.path()).arg(&kept).status();
            println!("   kept for a look: {}", kept.display());
        }
        self.sweep();
    }
}

pub fn docker(args: &[&str]) -> String {
    let done = Command::new("docker").args(args).output().expect("docker is installed");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// The names of a cluster's containers, sorted.
pub fn containers(name: &str) -> Vec<String> {
    let filter = format!("label=hactl.cluster={name}");
    let mut names: Vec<String> =
        docker(&["ps", "--filter", &filter, "--format", "{{.Names}}"]).lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// Both streams of a command, whatever its status.
pub fn output(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}
