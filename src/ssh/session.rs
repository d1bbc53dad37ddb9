//! Connecting to a node, and the handle that asynchronous code holds.

use std::{
    fmt,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use ssh2::Session;
use tokio::sync::oneshot;

use super::{
    SshKeys,
    connect::{ATTEMPT, Again, Door, Failure, Opened, dial, enter},
    mux::{self, Request},
};
use crate::{
    error::{Error, Result},
    fleet::{Hop, SshTarget},
};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// A finished command on a node.
#[derive(Clone, Debug)]
pub struct Finished {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

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
    ) -> Result<Self> {
        let label = label.to_string();
        if target.host_key.is_none() {
            let error = Error::failed("ssh", "reach by SSH", &label);
            return Err(error.cause(unpinned(&format!("{}:{}", target.host, target.port))).hint(RECORDS));
        }
        let (remote, _) = Self::enter(label, target, keys, patience, false, async |_| ()).await?;
        Ok(remote)
    }

    /// As [`Remote::connect`], for a machine that may just have come up: where no host key is pinned, it may show any.
    /// Gives the one that it showed; `saw` is told what is seen meanwhile, each time that it is something else. Of one
    /// that is `fresh`, also the user and the key are waited for that its first boot brings.
    ///
    /// # Errors
    /// Says what was last seen.
    pub async fn arrive(
        label: impl fmt::Display,
        target: &SshTarget,
        keys: &SshKeys,
        patience: Duration,
        fresh: bool,
        saw: impl AsyncFnMut(&str),
    ) -> Result<(Self, String)> {
        Self::enter(label.to_string(), target, keys, patience, fresh, saw).await
    }

    async fn enter(
        label: String,
        target: &SshTarget,
        keys: &SshKeys,
        patience: Duration,
        fresh: bool,
        mut saw: impl AsyncFnMut(&str),
    ) -> Result<(Self, String)> {
        let started = Instant::now();
        let (mut attempts, mut before) = (0_u32, String::new());
        loop {
            attempts += 1;
            let Failure { code, again, seen, hint } = match attempt(&label, target, keys).await {
                Ok(Opened { session, socket, host_key }) => {
                    return Ok((Self::start(label, target.sudo, session, socket)?, host_key));
                }
                Err(failure) => failure,
            };
            let error = Error::failed(code, "reach by SSH", &label).cause(&seen);
            let waits = again == Again::Always || fresh && again == Again::WhenFresh;
            let error = match waits {
                true if started.elapsed() + PAUSE < patience => {
                    if seen != before {
                        saw(&seen).await;
                        before = seen;
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                true => error.cause(format!("last seen after {attempts} attempts in {} s", patience.as_secs())),
                false => error,
            };
            let hint = if fresh && again == Again::WhenFresh { Some(NOT_LET_IN.to_owned()) } else { hint };
            return Err(error.hint(hint.unwrap_or_else(|| "is the machine running, and the address right?".to_owned())));
        }
    }

    fn start(label: String, sudo: bool, session: Session, socket: OwnedFd) -> Result<Self> {
        let failed = |error: std::io::Error| Error::failed("ssh", "start the SSH session of", &label).source(&error);
        let (wake, woken) = UnixStream::pair().map_err(failed)?;
        wake.set_nonblocking(true).map_err(failed)?;
        woken.set_nonblocking(true).map_err(failed)?;
        let (requests, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name(format!("ssh {label}"))
            .spawn(move || mux::run(&session, &socket, &receiver, &woken))
            .map_err(failed)?;
        Ok(Self { label, sudo, requests, wake: Arc::new(wake) })
    }

    /// Runs `command` as root, with `input` on its standard input: in the login shell where root logs in, else by sudo.
    ///
    /// # Errors
    /// When the session is broken or `patience` runs out. A failing command is not an error.
    pub async fn run(&self, command: &str, input: &[u8], patience: Duration) -> Result<Finished> {
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
    pub async fn run_as_user(&self, command: &str, input: &[u8], patience: Duration) -> Result<Finished> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Run { command: command.to_owned(), input: input.to_vec(), reply });
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(Ok(finished))) => Ok(finished),
            Ok(Ok(Err(seen))) => Err(self.failed("run a command on").cause(seen)),
            Ok(Err(_)) => Err(self.failed("run a command on").cause("the SSH session ended")),
            Err(_) => Err(self.failed("run a command on").cause(format!("no answer within {} s", patience.as_secs()))),
        }
    }

    /// A byte stream to `host:port` as the node itself reaches it.
    ///
    /// # Errors
    /// When nothing listens there, or the session is broken.
    pub async fn tunnel(&self, host: &str, port: u16, patience: Duration) -> Result<tokio::net::UnixStream> {
        let what = || self.failed(format!("reach port {port} of"));
        let (ours, theirs) = UnixStream::pair().map_err(|error| what().source(&error))?;
        ours.set_nonblocking(true).map_err(|error| what().source(&error))?;
        theirs.set_nonblocking(true).map_err(|error| what().source(&error))?;
        let (reply, answer) = oneshot::channel();
        self.send(Request::Tunnel { host: host.to_owned(), port, stream: theirs, reply });
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(Ok(()))) => tokio::net::UnixStream::from_std(ours).map_err(|error| what().source(&error)),
            Ok(Ok(Err(seen))) => Err(what().cause(seen)),
            Ok(Err(_)) => Err(what().cause("the SSH session ended")),
            Err(_) => Err(what().cause(format!("no answer within {} s", patience.as_secs()))),
        }
    }

    fn send(&self, request: Request) {
        use std::io::Write;
        // A mux that has ended drops the request, and with it the reply's sender.
        let _ = self.requests.send(request);
        // A full pipe means that the mux is about to wake up anyway.
        let _ = (&*self.wake).write(&[1]);
    }

    fn failed(&self, what: impl Into<String>) -> Error {
        Error::failed("ssh", what, &self.label)
    }
}

/// What to do where the host key is not known.
const RECORDS: &str = "run `hactl up`: it records it";

/// What to do about a machine that came up and does not let its user in.
const NOT_LET_IN: &str = "its first boot should have brought user and key: is the user of `ssh` the one that the template \
     makes? On the machine's console, `cloud-init status --long` and /var/log/cloud-init-output.log say more";

fn unpinned(place: &str) -> String {
    format!("no host key is known for {place}")
}

/// One attempt, by way of the bastion where there is one.
async fn attempt(label: &str, target: &SshTarget, keys: &SshKeys) -> Result<Opened, Failure> {
    let SshTarget { host, port, user, host_key, bastion, .. } = target.clone();
    let socket = match &bastion {
        None => {
            let host = host.clone();
            blocking(move || dial(&host, port)).await?
        }
        Some(hop) => through(label, hop, &host, port, keys).await?,
    };
    let (door, machine) = (Door { host, port, user, pinned: host_key }, keys.machine.clone());
    blocking(move || enter(socket, &door, &[machine])).await
}

/// A byte stream to `host:port` from the bastion. Its session ends with the stream, and serves no other: a machine
/// that does not answer cannot hold up the way to the others.
async fn through(label: &str, hop: &Hop, host: &str, port: u16, keys: &SshKeys) -> Result<OwnedFd, Failure> {
    let Hop { user, host: place, port: at, host_key } = hop.clone();
    let door = Door { host: place, port: at, user, pinned: host_key };
    let name = format!("bastion {door}");
    if door.pinned.is_none() {
        return Err(Failure::new(Again::Never, unpinned(&name)).hint(RECORDS));
    }
    let keys = keys.bastion.clone();
    let opened =
        blocking(move || enter(dial(&door.host, door.port)?, &door, &keys)).await.map_err(|failure| Failure {
            // It is not the bastion that was just made.
            again: if failure.again == Again::WhenFresh { Again::Never } else { failure.again },
            seen: format!("bastion {}", failure.seen),
            ..failure
        })?;
    let said = |error: &dyn fmt::Display| Failure::new(Again::Always, format!("{name}: {error}"));
    let session = Remote::start(format!("{name} of {label}"), false, opened.session, opened.socket);
    let session = session.map_err(|error| said(&error))?;
    let stream = session.tunnel(host, port, ATTEMPT).await.map_err(|error| not_through(&name, host, port, &error))?;
    Ok(stream.into_std().map_err(|error| said(&error))?.into())
}

fn not_through(name: &str, host: &str, port: u16, error: &Error) -> Failure {
    let causes = error.causes.join("; ");
    let seen = format!("{name} does not get through to {host}:{port}: {causes}");
    if causes.contains("prohibited") {
        let hint = "its sshd must allow forwarding to that address: AllowTcpForwarding and PermitOpen in sshd_config";
        return Failure::new(Again::Never, seen).hint(hint);
    }
    Failure::new(Again::Always, seen).hint("is the machine running, and is its address right as the bastion sees it?")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(Failure::new(Again::Never, panic.to_string())))
}
