//! A process as a value: program, arguments, the child's whole environment, and how it is ended.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader},
    sync::mpsc,
};

use crate::{
    context::Context,
    error::{Error, Result},
};

/// How long a child may take to end by itself after an interrupt, before it is killed.
pub const GRACE: Duration = Duration::from_secs(20);

/// Lines of output that an error quotes.
const QUOTED_LINES: usize = 15;

/// Variables of the user that every child gets, beside those that a stage adds.
const PASSED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TZ",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSH_AUTH_SOCK",
    "DOCKER_HOST",
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A line of a child's output, without its end.
#[derive(Clone, Debug)]
pub struct Line {
    pub stream: Stream,
    pub text: String,
}

/// A process to be started. Arguments are a list and never pass a shell.
#[derive(Clone)]
pub struct Command {
    program: PathBuf,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    passed: Vec<&'static str>,
    prefixes: Vec<&'static str>,
    withheld: Vec<&'static str>,
    withheld_prefixes: Vec<&'static str>,
    dir: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
    grace: Duration,
}

/// A process that ended.
#[derive(Clone, Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    /// The last lines of both streams, in the order they came.
    pub tail: Vec<String>,
    pub duration: Duration,
}

impl Command {
    pub fn new(program: impl AsRef<Path>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
            passed: Vec::new(),
            prefixes: Vec::new(),
            withheld: Vec::new(),
            withheld_prefixes: Vec::new(),
            dir: None,
            stdin: None,
            grace: GRACE,
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: Into<String>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the child.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Lets further variables of the user through, by name.
    #[must_use]
    pub fn pass(mut self, names: &[&'static str]) -> Self {
        self.passed.extend(names);
        self
    }

    /// Lets further variables of the user through, by the start of their name.
    #[must_use]
    pub fn pass_prefix(mut self, prefix: &'static str) -> Self {
        self.prefixes.push(prefix);
        self
    }

    /// Keeps a variable of the user back, whatever else lets it through.
    #[must_use]
    pub fn withhold(mut self, name: &'static str) -> Self {
        self.withheld.push(name);
        self
    }

    /// The same by the start of the name.
    #[must_use]
    pub fn withhold_prefix(mut self, prefix: &'static str) -> Self {
        self.withheld_prefixes.push(prefix);
        self
    }

    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// What the child reads; the way for secrets, which never go into arguments.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// The time between interrupt and kill, [`GRACE`] by default.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The arguments, for tests of the functions that build commands.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        &self.args
    }

    /// The child's whole environment when started in `context`.
    #[must_use]
    pub fn environment(&self, context: &Context) -> BTreeMap<String, String> {
        let user = context.env.iter().filter(|(name, _)| {
            let passed = PASSED.contains(&name.as_str())
                || self.passed.contains(&name.as_str())
                || self.prefixes.iter().any(|prefix| name.starts_with(prefix));
            let withheld = self.withheld.contains(&name.as_str())
                || self.withheld_prefixes.iter().any(|prefix| name.starts_with(prefix));
            passed && !withheld
        });
        let mut env: BTreeMap<_, _> = user.map(|(name, value)| (name.clone(), value.clone())).collect();
        env.insert("LC_ALL".to_owned(), "C.UTF-8".to_owned());
        env.extend(self.env.clone());
        env
    }

    /// Runs to the end and hands every line of output to `on_line` as it comes.
    ///
    /// The child leads a process group of its own. When `context.stop` is cancelled the group is
    /// interrupted, and killed after the grace period.
    ///
    /// # Errors
    /// When the program is not there or cannot be started, or when the run was interrupted. A child
    /// that ends with a failure is not an error here: see [`Command::succeed`].
    pub async fn run(&self, context: &Context, mut on_line: impl FnMut(&Line)) -> Result<Finished> {
        let started = Instant::now();
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.environment(context))
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let mut child = command.spawn().map_err(|error| self.not_started(&error))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        // Declared after the child, so it goes first: the group's number is still the child's own.
        let mut alive = Alive(group);
        if let (Some(bytes), Some(mut stdin)) = (self.stdin.clone(), child.stdin.take()) {
            tokio::spawn(async move {
                // A child that does not read to the end tells so by its status.
                let _ = stdin.write_all(&bytes).await;
            });
        }
        let (sender, mut lines) = mpsc::channel(256);
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(read_lines(stdout, Stream::Stdout, sender.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(read_lines(stderr, Stream::Stderr, sender));
        }
        let mut stdout = String::new();
        let mut tail = std::collections::VecDeque::new();
        let mut take = |line: Line| {
            on_line(&line);
            if line.stream == Stream::Stdout {
                stdout.push_str(&line.text);
                stdout.push('\n');
            }
            if tail.len() == QUOTED_LINES {
                tail.pop_front();
            }
            tail.push_back(line.text);
        };
        let mut stopping = false;
        let mut exited = None;
        let mut open = true;
        let far = Duration::from_secs(u64::from(u32::MAX));
        let deadline = tokio::time::sleep(far);
        tokio::pin!(deadline);
        let status = loop {
            tokio::select! {
                line = lines.recv(), if open => match line {
                    Some(line) => take(line),
                    None => open = false,
                },
                status = child.wait(), if exited.is_none() => {
                    let status = status.map_err(|error| self.failed().source(&error))?;
                    exited = Some(status);
                    // Grandchildren may hold the pipes open: what has been written is read, no more.
                    deadline.as_mut().reset(tokio::time::Instant::now() + Duration::from_millis(500));
                }
                () = context.stop.cancelled(), if !stopping && exited.is_none() => {
                    stopping = true;
                    signal(group, Signal::SIGINT);
                    deadline.as_mut().reset(tokio::time::Instant::now() + self.grace);
                }
                () = &mut deadline => match exited {
                    Some(status) => break status,
                    None => {
                        signal(group, Signal::SIGKILL);
                        deadline.as_mut().reset(tokio::time::Instant::now() + far);
                    }
                },
            }
            if let Some(status) = exited
                && !open
            {
                break status;
            }
        };
        if stopping {
            // What the child started and did not end must not outlive the run.
            signal(group, Signal::SIGKILL);
        }
        alive.0 = None;
        if stopping {
            return Err(Error::interrupted("finish", self));
        }
        Ok(Finished { status, stdout, tail: tail.into(), duration: started.elapsed() })
    }

    /// As [`Command::run`], and a child that ends with a failure is an error with its last lines.
    ///
    /// # Errors
    /// Those of [`Command::run`], and every end but success.
    pub async fn succeed(&self, context: &Context, on_line: impl FnMut(&Line)) -> Result<Finished> {
        let finished = self.run(context, on_line).await?;
        if finished.status.success() {
            return Ok(finished);
        }
        Err(self.failed().cause(ended(finished.status)).cause(finished.tail.join("\n").trim()))
    }

    /// Runs with this process's own terminal and environment and gives the exit code; for shells and psql.
    ///
    /// # Errors
    /// When the program is not there or cannot be started.
    pub async fn attach(&self, context: &Context) -> Result<u8> {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&context.env);
        for name in &self.withheld {
            command.env_remove(name);
        }
        command.envs(&self.env);
        let mut child = command.spawn().map_err(|error| self.not_started(&error))?;
        // Ctrl-C reaches the child by the terminal: it decides what that means.
        let status = child.wait().await.map_err(|error| self.failed().source(&error))?;
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn failed(&self) -> Error {
        Error::failed("command", "run", self)
    }

    pub(super) fn not_started(&self, error: &io::Error) -> Error {
        let program = self.program.display();
        if error.kind() == io::ErrorKind::NotFound {
            let missing = match &self.dir {
                Some(dir) if !dir.exists() => return self.failed().cause(format!("{} does not exist", dir.display())),
                _ => Error::missing("command-not-found", "start", &program),
            };
            return missing.cause(format!("{program} is not on this machine")).hint("run `hactl doctor`");
        }
        Error::failed("command-not-started", "start", program).source(error)
    }
}

/// How a process ended, in words.
#[must_use]
pub fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with status {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// A child's process group, killed when the run is dropped before its end: Tokio kills the child alone.
struct Alive(Option<Pid>);

impl Drop for Alive {
    fn drop(&mut self) {
        signal(self.0, Signal::SIGKILL);
    }
}

/// Kills the process group of every child, for a second Ctrl-C.
pub fn kill_children() {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return };
    for task in tasks.flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            signal(Some(Pid::from_raw(pid)), Signal::SIGKILL);
        }
    }
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // The group may be gone already.
        let _ = killpg(group, signal);
    }
}

async fn read_lines(reader: impl AsyncRead + Unpin, stream: Stream, lines: mpsc::Sender<Line>) {
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match reader.read_until(b'\n', &mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
                if lines.send(Line { stream, text }).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.display())?;
        for arg in &self.args {
            write!(f, " {arg}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{context::Dirs, event::Events};

    fn context() -> Context {
        let env =
            BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned()), ("X_SECRET".to_owned(), "1".to_owned())]);
        Context { dirs: Dirs::new(Path::new("/tmp"), &env), env, events: Events::channel().0, stop: Default::default() }
    }

    #[tokio::test]
    async fn a_failure_names_the_command_its_status_and_its_last_lines() {
        let command = Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]);
        let error = command.succeed(&context(), |_| ()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("ended with status 3") && text.contains("err") && text.contains("out"), "{text}");
    }

    #[tokio::test]
    async fn the_child_sees_only_what_it_is_given() {
        let done = Command::new("env").succeed(&context(), |_| ()).await.unwrap();
        assert!(!done.stdout.contains("X_SECRET"), "{}", done.stdout);
        assert!(done.stdout.contains("LC_ALL=C.UTF-8"));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_missing() {
        let error = Command::new("no-such-program-of-ours").run(&context(), |_| ()).await.unwrap_err();
        assert_eq!(error.kind.exit_code(), 3);
    }

    #[tokio::test]
    async fn a_child_whose_output_ends_after_it_ends_the_run_at_once() {
        // On a busy machine one try may be slow, and not all of them.
        for _ in 0..10 {
            let done =
                Command::new("sh").args(["-c", "sleep 0.05 & echo out"]).succeed(&context(), |_| ()).await.unwrap();
            assert_eq!(done.stdout, "out\n");
            if done.duration < Duration::from_millis(400) {
                return;
            }
        }
        panic!("each run waited for output that had ended");
    }

    #[tokio::test]
    async fn stop_interrupts_the_whole_group() {
        // As hactl itself has one: children begin with the default then, also where a script started the
        // whole in the background, which ignores SIGINT.
        let _handler = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).unwrap();
        let context = context();
        let stop = context.stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            stop.cancel();
        });
        let started = Instant::now();
        let error = Command::new("sh").args(["-c", "sleep 60 & wait"]).run(&context, |_| ()).await.unwrap_err();
        assert_eq!(error.kind.exit_code(), 130);
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    /// Whether a process whose arguments hold `word` is there.
    fn runs(word: &str) -> bool {
        std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|arg| arg == word.as_bytes())
        })
    }

    #[tokio::test]
    async fn a_run_that_is_dropped_takes_its_whole_group_along() {
        let command = Command::new("sh").args(["-c", "sleep 61.0625 & wait"]);
        let late = tokio::time::timeout(Duration::from_millis(300), command.run(&context(), |_| ())).await;
        assert!(late.is_err());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!runs("61.0625"));
    }

    #[tokio::test]
    async fn what_a_stopped_child_leaves_behind_is_ended() {
        let context = context();
        context.stop.cancel();
        // The child ends at once; its own child ignores the interrupt.
        let command = Command::new("sh").args(["-c", "(trap '' INT; exec sleep 61.125) & trap 'exit 1' INT; wait"]);
        assert!(command.run(&context, |_| ()).await.is_err());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!runs("61.125"));
    }

    #[tokio::test]
    async fn a_child_that_ignores_the_interrupt_is_killed_after_the_grace_period() {
        let context = context();
        context.stop.cancel();
        let command = Command::new("sh").args(["-c", "trap '' INT; sleep 60"]).grace(Duration::from_millis(300));
        let started = Instant::now();
        assert!(command.run(&context, |_| ()).await.is_err());
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
