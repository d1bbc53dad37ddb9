//! Connecting to a node, and the handle that asynchronous code holds.

use std::{
    fmt,
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
    time::{Duration, Instant},
};

use ssh2::Session;
use tokio::sync::{mpsc, oneshot};

use super::{
    channel::{Finished, Request},
    connect::{ATTEMPT, LoggedIn, Server, dial, log_in},
    error::{Seen, SshError, SshFailure},
    keys::SshKeys,
    mux,
};
use crate::model::{Hop, SshTarget};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// Requests that may wait for the multiplexer of one session; further ones wait in their callers.
const QUEUE: usize = 64;

/// Marks where the output of a command begins: a login shell may print a greeting before it.
const BEGINS: &str = "hactl-output-begins";

/// Sessions in which keys are offered: a server ends a session after MaxAuthTries keys, 6 by default.
const LOGIN_SESSIONS: u32 = 5;

/// What connecting is called in errors.
const CONNECT: &str = "connect by SSH to";

/// What to do about a machine that came up and does not let its user in.
const NOT_LET_IN: &str = "Check that the user in `ssh` is the one that the template creates; if it is, run \
     `cloud-init status --long` on the machine's console and read /var/log/cloud-init-output.log: the first boot \
     should have added the user and the key";

/// An SSH session to one node. It ends when the last handle is dropped.
#[derive(Clone)]
pub struct Remote {
    label: String,
    /// Commands go through sudo: the user is another than root.
    sudo: bool,
    requests: mpsc::Sender<Request>,
    wake: Arc<UnixStream>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.label)
    }
}

impl Remote {
    /// Connects within `patience`, trying again while nothing answers. A host key that differs from
    /// the pinned one, or a refused login, ends the wait at once.
    ///
    /// # Errors
    /// Says what was last seen: refused, silent, another host key, or login refused.
    pub async fn connect(
        label: impl fmt::Display,
        target: &SshTarget,
        keys: &SshKeys,
        patience: Duration,
    ) -> Result<Self, SshError> {
        if target.host_key.is_none() {
            let place = format!("{}:{}", target.host, target.port);
            return Err(no_host_key(&place).into_error(CONNECT, label));
        }
        let (remote, _) = Self::first_connection(label, target, keys, patience, false, async |_| ()).await?;
        Ok(remote)
    }

    /// As [`Remote::connect`], for a machine that may just have come up: where no host key is pinned, it may show any.
    /// Returns the one that it showed. `on_seen` is told what each attempt sees, when that differs from the one before.
    /// A machine that was `just_created` also gets time until its first boot has brought the user and the key.
    ///
    /// # Errors
    /// Says what was last seen.
    pub async fn first_connection(
        label: impl fmt::Display,
        target: &SshTarget,
        keys: &SshKeys,
        patience: Duration,
        just_created: bool,
        mut on_seen: impl AsyncFnMut(&str),
    ) -> Result<(Self, String), SshError> {
        let label = label.to_string();
        let started = Instant::now();
        let (mut attempts, mut before) = (0_u32, String::new());
        loop {
            attempts += 1;
            let seen = match attempt(&label, target, keys).await {
                Ok(LoggedIn { session, socket, host_key }) => {
                    return Ok((Self::start(label, target.sudo, session, socket)?, host_key));
                }
                Err(seen) => seen,
            };
            let may_pass = seen.may_pass(just_created);
            if may_pass && started.elapsed() + PAUSE < patience {
                if seen.words != before {
                    on_seen(&seen.words).await;
                    before = seen.words;
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let seen = if seen.awaits_first_boot(just_created) { seen.hint(NOT_LET_IN) } else { seen };
            let error = seen.or_default_hint().into_error(CONNECT, &label);
            return Err(match may_pass {
                true => error.cause(format!("gave up after {attempts} attempts in {} s", patience.as_secs())),
                false => error,
            });
        }
    }

    fn start(label: String, sudo: bool, session: Session, socket: OwnedFd) -> Result<Self, SshError> {
        let failed = |error: io::Error| SshError::local("start the SSH session of", &label, &error);
        let (wake, woken) = UnixStream::pair().map_err(failed)?;
        wake.set_nonblocking(true).map_err(failed)?;
        woken.set_nonblocking(true).map_err(failed)?;
        let (requests, receiver) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name(format!("ssh {label}"))
            .spawn(move || mux::run(&session, &socket, receiver, &woken))
            .map_err(failed)?;
        Ok(Self { label, sudo, requests, wake: Arc::new(wake) })
    }

    /// Runs `command` as root, with `input` on its standard input: in the login shell where root logs in, else by sudo.
    ///
    /// # Errors
    /// When the session is broken or `patience` runs out. A failing command is not an error.
    pub async fn run(&self, command: &str, input: &[u8], patience: Duration) -> Result<Finished, SshError> {
        if !self.sudo {
            return self.run_as_user(command, input, patience).await;
        }
        self.run_as_user(&format!("sudo -n -- /bin/sh -c {}", super::quoted(command)), input, patience).await
    }

    /// Whether the session still works.
    pub async fn is_alive(&self, patience: Duration) -> bool {
        self.run_as_user("true", b"", patience).await.is_ok()
    }

    /// The same as the user who logged in.
    ///
    /// # Errors
    /// Those of [`Remote::run`].
    pub async fn run_as_user(&self, command: &str, input: &[u8], patience: Duration) -> Result<Finished, SshError> {
        let (reply, answer) = oneshot::channel();
        // Every shell that a user may have knows `echo` and `;`.
        let command = format!("echo {BEGINS};{command}");
        let request = Request::Run { command, input: input.to_vec(), reply };
        let mut done = self.ask("run a command on", request, answer, patience).await?;
        done.stdout = own_output(done.stdout);
        Ok(done)
    }

    /// A byte stream to `host:port` as the node itself reaches it.
    ///
    /// # Errors
    /// When nothing listens there, or the session is broken.
    pub async fn tunnel(&self, host: &str, port: u16, patience: Duration) -> Result<tokio::net::UnixStream, SshError> {
        let what = format!("connect to port {port} of");
        let failed = |error: io::Error| SshError::local(&what, &self.label, &error);
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        theirs.set_nonblocking(true).map_err(failed)?;
        let (reply, answer) = oneshot::channel();
        let request = Request::Tunnel { host: host.to_owned(), port, stream: theirs, reply };
        self.ask(&what, request, answer, patience).await?;
        tokio::net::UnixStream::from_std(ours).map_err(failed)
    }

    async fn ask<T>(
        &self,
        what: &str,
        request: Request,
        answer: oneshot::Receiver<Result<T, Seen>>,
        patience: Duration,
    ) -> Result<T, SshError> {
        let answered = async {
            self.send(request).await;
            answer.await
        };
        let seen = match tokio::time::timeout(patience, answered).await {
            Ok(Ok(Ok(answer))) => return Ok(answer),
            Ok(Ok(Err(seen))) => seen,
            Ok(Err(_)) => Seen::new(SshFailure::SessionEnded, "the SSH session ended"),
            Err(_) => Seen::new(SshFailure::TimedOut, format!("no answer within {} s", patience.as_secs())),
        };
        Err(seen.into_error(what, &self.label))
    }

    async fn send(&self, request: Request) {
        // A multiplexer that has ended drops the request, and with it the reply's sender.
        let _ = self.requests.send(request).await;
        // A full pipe means that the multiplexer is about to wake up anyway.
        let _ = (&*self.wake).write(&[1]);
    }
}

/// What a command itself printed. Without the mark the shell did not run the command, and says why.
fn own_output(stdout: String) -> String {
    stdout.split_once(&format!("{BEGINS}\n")).map_or_else(|| stdout.clone(), |(_, own)| own.to_owned())
}

fn no_host_key(place: &str) -> Seen {
    Seen::new(SshFailure::UnknownHostKey, format!("no host key is recorded for {place}"))
        .hint("Run `hactl up` to record the host key")
}

/// The sessions of one login: further ones follow while the server ends each because of the keys that it was offered.
struct LoginSessions {
    left: u32,
    /// Keys that the server has refused.
    skipped: usize,
}

impl LoginSessions {
    const fn new() -> Self {
        Self { left: LOGIN_SESSIONS, skipped: 0 }
    }

    /// Whether another session can offer more keys than the one that ended with `seen`.
    fn continue_after(&mut self, seen: &Seen) -> bool {
        self.left -= 1;
        let Some(skipped) = seen.keys_from.filter(|_| self.left > 0) else { return false };
        self.skipped = skipped;
        true
    }
}

/// One attempt to connect, through the bastion if there is one.
async fn attempt(label: &str, target: &SshTarget, keys: &SshKeys) -> Result<LoggedIn, Seen> {
    let mut sessions = LoginSessions::new();
    loop {
        match one_session(label, target, keys, sessions.skipped).await {
            Err(seen) if sessions.continue_after(&seen) => {}
            done => return done,
        }
    }
}

/// The same without the first `skipped` keys, which the server refused in sessions before.
async fn one_session(label: &str, target: &SshTarget, keys: &SshKeys, skipped: usize) -> Result<LoggedIn, Seen> {
    let SshTarget { host, port, user, host_key, bastion, .. } = target.clone();
    let socket = match &bastion {
        None => {
            let host = host.clone();
            blocking(move || dial(&host, port)).await?
        }
        Some(hop) => dial_through(label, hop, &host, port, keys).await?,
    };
    let (server, machine) = (Server { host, port, user, pinned: host_key }, keys.machine.clone());
    blocking(move || log_in(socket, &server, &[machine], skipped)).await
}

/// A byte stream to `host:port` from the bastion. Its session ends with the stream, and serves no other: a machine
/// that does not answer cannot hold up the way to the others.
async fn dial_through(label: &str, hop: &Hop, host: &str, port: u16, keys: &SshKeys) -> Result<OwnedFd, Seen> {
    let Hop { user, host: bastion, port: at, host_key } = hop.clone();
    let server = Server { host: bastion, port: at, user, pinned: host_key };
    let place = server.to_string();
    let name = format!("bastion {place}");
    if server.pinned.is_none() {
        return Err(no_host_key(&name).on_bastion(&place));
    }
    let keys = keys.bastion.clone();
    let log_in = move || {
        let mut sessions = LoginSessions::new();
        loop {
            match log_in(dial(&server.host, server.port)?, &server, &keys, sessions.skipped) {
                Err(seen) if sessions.continue_after(&seen) => {}
                done => return done,
            }
        }
    };
    let opened = blocking(log_in).await.map_err(|mut seen| {
        seen.words.insert_str(0, "bastion ");
        seen.on_bastion(&place)
    })?;
    let failed =
        |error: &dyn fmt::Display| Seen::new(SshFailure::Unreachable, format!("{name}: {error}")).on_bastion(&place);
    let session = Remote::start(format!("{name} of {label}"), false, opened.session, opened.socket);
    let session = session.map_err(|error| failed(&error))?;
    let stream = session.tunnel(host, port, ATTEMPT).await.map_err(|error| {
        let words = format!("{name} could not connect to {host}:{port}: {}", error.causes().join("; "));
        match error.failure {
            SshFailure::TunnelProhibited => Seen::new(error.failure, words).on_bastion(&place).hint(
                "Allow forwarding to that address in the bastion's sshd_config: AllowTcpForwarding and PermitOpen",
            ),
            _ => Seen::new(SshFailure::Unreachable, words)
                .hint("Check that the machine is running and that its address is right as seen from the bastion"),
        }
    })?;
    Ok(stream.into_std().map_err(|error| failed(&error))?.into())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Seen> + Send + 'static) -> Result<T, Seen> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(Seen::new(SshFailure::Local, panic.to_string())))
}
