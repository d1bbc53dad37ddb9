//! A process as a value: program, arguments, the child's whole environment, and how it is ended.

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
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
    process::Child,
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    env,
    error::{Error, Result, codes},
    event::Event,
};

/// How long a child may take to end by itself after an interrupt, before it is killed.
pub const GRACE: Duration = Duration::from_secs(20);

/// Lines of output that an error quotes.
const QUOTED_LINES: usize = 15;

/// Lines of output that wait for their reader; then the child waits.
pub const BUFFERED_LINES: usize = 256;

/// How long output is waited for after the child's end: grandchildren may hold the pipes open.
const AFTER_THE_END: Duration = Duration::from_millis(500);

/// Which of a child's outputs.
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

impl Line {
    /// The line of `tool` for the run's record.
    #[must_use]
    pub fn event(self, tool: &str) -> Event {
        let stream = match self.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        Event::Output { tool: tool.to_owned(), stream, line: self.text }
    }
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
    /// All of standard output; nothing after [`Command::stream`].
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

    /// Withholds a variable of the user, even if another rule passes it.
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
            let passed = env::passed_to_all().any(|passed| passed == name.as_str())
                || self.passed.contains(&name.as_str())
                || self.prefixes.iter().any(|prefix| name.starts_with(prefix));
            let withheld = self.withheld.contains(&name.as_str())
                || self.withheld_prefixes.iter().any(|prefix| name.starts_with(prefix));
            passed && !withheld
        });
        let mut env: BTreeMap<_, _> = user.map(|(name, value)| (name.clone(), value.clone())).collect();
        env.insert(env::LC_ALL.to_owned(), "C.UTF-8".to_owned());
        env.extend(self.env.clone());
        env
    }

    /// Runs to the end, keeps standard output, and hands every line of output to `on_line` as it comes.
    ///
    /// # Errors
    /// Those of [`Command::stream`].
    pub async fn run(&self, context: &Context, mut on_line: impl FnMut(&Line)) -> Result<Finished> {
        let (sender, mut lines) = mpsc::channel::<Line>(BUFFERED_LINES);
        let mut stdout = String::new();
        let take = async {
            while let Some(line) = lines.recv().await {
                on_line(&line);
                if line.stream == Stream::Stdout {
                    stdout.push_str(&line.text);
                    stdout.push('\n');
                }
            }
        };
        let (finished, ()) = tokio::join!(self.stream(context, sender), take);
        Ok(Finished { stdout, ..finished? })
    }

    /// Runs to the end and sends every line of output to `lines` as it comes; of the output the result has the tail
    /// alone. A slow reader slows the child: no line is lost.
    ///
    /// The child leads a process group of its own. When `context.stop` is cancelled the group is
    /// interrupted, and killed after the grace period.
    ///
    /// # Errors
    /// When the program is not there or cannot be started, or when the run was interrupted. A child
    /// that ends with a failure is not an error here: see [`Command::checked`].
    pub async fn stream(&self, context: &Context, lines: mpsc::Sender<Line>) -> Result<Finished> {
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
                // A child that does not read its whole input reports that by its status.
                let _ = stdin.write_all(&bytes).await;
            });
        }
        let (sender, output) = mpsc::channel(BUFFERED_LINES);
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(read_lines(stdout, Stream::Stdout, sender.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(read_lines(stderr, Stream::Stderr, sender));
        }
        let ended = CancellationToken::new();
        let supervise = async {
            let end = self.supervise(&mut child, group, &context.stop).await;
            ended.cancel();
            end
        };
        let (end, tail) = tokio::join!(supervise, forward(output, &lines, &ended));
        let (status, stopped) = end?;
        if stopped {
            // What the child started and did not end must not outlive the run.
            signal(group, Signal::SIGKILL);
        }
        alive.0 = None;
        if stopped {
            return Err(Error::interrupted("finish", format!("`{}`", self.title())));
        }
        Ok(Finished { status, stdout: String::new(), tail, duration: started.elapsed() })
    }

    /// As [`Command::stream`]; the output goes into the run's record as that of `tool`.
    ///
    /// # Errors
    /// Those of [`Command::stream`].
    pub async fn record(&self, context: &Context, tool: &str) -> Result<Finished> {
        let (sender, mut lines) = mpsc::channel(BUFFERED_LINES);
        let forward = async {
            while let Some(line) = lines.recv().await {
                context.events.emit(Line::event(line, tool)).await;
            }
        };
        // The sender goes with the command, which ends the forwarding.
        let (finished, ()) = tokio::join!(self.stream(context, sender), forward);
        finished
    }

    /// Waits for the child's end, which `stop` brings about. Whether it did comes second.
    async fn supervise(
        &self,
        child: &mut Child,
        group: Option<Pid>,
        stop: &CancellationToken,
    ) -> Result<(ExitStatus, bool)> {
        let failed = |error: io::Error| self.failed().source(&error);
        tokio::select! {
            status = child.wait() => return Ok((status.map_err(failed)?, false)),
            () = stop.cancelled() => signal(group, Signal::SIGINT),
        }
        let status = match tokio::time::timeout(self.grace, child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                signal(group, Signal::SIGKILL);
                child.wait().await
            }
        };
        Ok((status.map_err(failed)?, true))
    }

    /// As [`Command::run`], and a child that ends with a failure is an error with its last lines.
    ///
    /// # Errors
    /// Those of [`Command::run`], and every end but success.
    pub async fn succeed(&self, context: &Context, on_line: impl FnMut(&Line)) -> Result<Finished> {
        self.checked(self.run(context, on_line).await?)
    }

    /// A child of this command that ended with a failure is an error with its last lines.
    ///
    /// # Errors
    /// Every end but success.
    pub fn checked(&self, finished: Finished) -> Result<Finished> {
        if finished.status.success() {
            return Ok(finished);
        }
        Err(self.failed().cause(describe_end(finished.status)).cause(finished.tail.join("\n").trim()))
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
                _ => Error::missing(codes::COMMAND_NOT_FOUND, "start", &program),
            };
            return missing.cause(format!("{program} is not on this machine")).hint("Run `hactl doctor`");
        }
        Error::failed("command-not-started", "start", program).source(error)
    }
}

/// How a process ended, in words.
#[must_use]
pub fn describe_end(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
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

/// Passes the output on until its end, and after the child's end as far as it was written by then. Time that the
/// reader of the lines takes does not count as waiting. The last lines are the result.
async fn forward(
    mut output: mpsc::Receiver<Line>,
    lines: &mpsc::Sender<Line>,
    ended: &CancellationToken,
) -> Vec<String> {
    let mut tail = VecDeque::new();
    let mut left = AFTER_THE_END;
    loop {
        let line = if ended.is_cancelled() {
            if left.is_zero() {
                output.close();
            }
            let waiting = Instant::now();
            let line = tokio::time::timeout(left, output.recv()).await.unwrap_or(None);
            left = left.saturating_sub(waiting.elapsed());
            line
        } else {
            tokio::select! {
                line = output.recv() => line,
                () = ended.cancelled() => continue,
            }
        };
        let Some(line) = line else { break };
        if tail.len() == QUOTED_LINES {
            tail.pop_front();
        }
        tail.push_back(line.text.clone());
        // A reader that has gone needs no more lines.
        let _ = lines.send(line).await;
    }
    tail.into()
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

impl Command {
    /// The program and its subcommand, as a user knows them: `terraform apply`.
    fn title(&self) -> String {
        let program = self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy();
        let subcommand = self.args.first().filter(|arg| arg.chars().all(|c| c.is_ascii_lowercase()));
        subcommand.map_or_else(|| program.to_string(), |subcommand| format!("{program} {subcommand}"))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shell_word(&self.program.display().to_string()))?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", shell_word(arg)))
    }
}

/// `text` as a shell takes it for one word, without changing it: no shell runs the command.
fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")).into(),
    }
}
