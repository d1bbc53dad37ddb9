//! Connecting to a node, and the handle that asynchronous code holds.

use std::{
    fmt,
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ssh2::{CheckResult, ErrorCode, HashType, KnownHostFileKind, MethodType, Session};
use tokio::sync::oneshot;

use super::pump::{self, Request};
use crate::{
    error::{Error, Result},
    fleet::SshTarget,
    model::Secret,
};

/// How long one attempt to connect, and one answer during the handshake, may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// What opens the nodes.
#[derive(Clone, Debug)]
pub enum PrivateKey {
    /// A key in OpenSSH's form.
    Given(Arc<Secret<String>>),
    /// Those of the user's SSH agent.
    Agent,
}

impl From<Secret<String>> for PrivateKey {
    fn from(key: Secret<String>) -> Self {
        Self::Given(Arc::new(key))
    }
}

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
        key: &PrivateKey,
        patience: Duration,
    ) -> Result<Self> {
        let label = label.to_string();
        let deadline = Instant::now() + patience;
        let mut attempts = 0_u32;
        loop {
            attempts += 1;
            let sudo = target.sudo;
            let (target, key) = (target.clone(), key.clone());
            let attempt = tokio::task::spawn_blocking(move || handshake(&target, &key));
            let failure = match attempt.await {
                Ok(Ok((session, socket))) => return Self::start(label, sudo, session, socket),
                Ok(Err(failure)) => failure,
                Err(panic) => Failure::Final(panic.to_string(), None),
            };
            let error = |seen: String| Error::failed("ssh", "reach by SSH", &label).cause(seen);
            match failure {
                Failure::Final(seen, hint) => {
                    let error = error(seen);
                    return Err(match hint {
                        Some(hint) => error.hint(hint),
                        None => error,
                    });
                }
                Failure::Again(seen) if Instant::now() + PAUSE >= deadline => {
                    return Err(error(seen)
                        .cause(format!("last seen after {attempts} attempts in {} s", patience.as_secs()))
                        .hint("is the machine running, and does its firewall let SSH through?"));
                }
                Failure::Again(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn start(label: String, sudo: bool, session: Session, socket: TcpStream) -> Result<Self> {
        let failed = |error: std::io::Error| Error::failed("ssh", "start the SSH session of", &label).source(&error);
        let (wake, woken) = UnixStream::pair().map_err(failed)?;
        wake.set_nonblocking(true).map_err(failed)?;
        woken.set_nonblocking(true).map_err(failed)?;
        let (requests, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name(format!("ssh {label}"))
            .spawn(move || pump::run(&session, &socket, &receiver, &woken))
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

    async fn run_as_user(&self, command: &str, input: &[u8], patience: Duration) -> Result<Finished> {
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
        // A pump that has ended drops the request, and with it the reply's sender.
        let _ = self.requests.send(request);
        // A full pipe means that the pump is about to wake up anyway.
        let _ = (&*self.wake).write(&[1]);
    }

    fn failed(&self, what: impl Into<String>) -> Error {
        Error::failed("ssh", what, &self.label)
    }
}

enum Failure {
    /// Worth another attempt: the machine may still be booting.
    Again(String),
    /// Another attempt would end the same way.
    Final(String, Option<String>),
}

/// A session before its handshake.
fn open(host: &str, port: u16) -> std::result::Result<(Session, TcpStream), String> {
    let place = format!("{host}:{port}");
    let said = |error: &dyn fmt::Display| format!("{place}: {error}");
    let address = (host, port)
        .to_socket_addrs()
        .map_err(|error| said(&error))?
        .next()
        .ok_or_else(|| said(&"the name has no address"))?;
    let socket = TcpStream::connect_timeout(&address, ATTEMPT).map_err(|error| said(&error))?;
    socket.set_nodelay(true).map_err(|error| said(&error))?;
    let mut session = Session::new().map_err(|error| said(&error))?;
    session.set_timeout(u32::try_from(ATTEMPT.as_millis()).unwrap_or(u32::MAX));
    session.set_tcp_stream(socket.try_clone().map_err(|error| said(&error))?);
    Ok((session, socket))
}

fn handshake(target: &SshTarget, key: &PrivateKey) -> std::result::Result<(Session, TcpStream), Failure> {
    let place = format!("{}:{}", target.host, target.port);
    let again = |error: &dyn fmt::Display| Failure::Again(format!("{place}: {error}"));
    let (mut session, socket) = open(&target.host, target.port).map_err(Failure::Again)?;
    let pinned = target.host_key.as_deref().ok_or_else(|| {
        Failure::Final(format!("no host key is known for {place}"), Some("run `hactl up`: it records it".to_owned()))
    })?;
    if let Some(algorithm) = pinned.split_whitespace().next() {
        session.method_pref(MethodType::HostKey, signatures(algorithm)).map_err(|error| again(&error))?;
    }
    session.handshake().map_err(|error| again(&error))?;
    let shown = session.host_key().map(|(bytes, _)| BASE64_STANDARD.encode(bytes));
    if shown.as_deref() != pinned.split_whitespace().nth(1) {
        let hash = session.host_key_hash(HashType::Sha256).map(|hash| BASE64_STANDARD.encode(hash)).unwrap_or_default();
        return Err(Failure::Final(
            format!("{place} shows another host key (SHA256:{hash}) than the one that was pinned"),
            Some("something else answers at this address; do not go on before you know what".to_owned()),
        ));
    }
    match key {
        PrivateKey::Given(key) => session.userauth_pubkey_memory(&target.user, None, key.expose(), None),
        PrivateKey::Agent => by_agent(&session, &target.user),
    }
    .map_err(|error| {
        Failure::Final(
            format!("{place} refused the key for user {}: {error}", target.user),
            Some("was the machine made with another NAME.secrets.age, or is the key another's?".to_owned()),
        )
    })?;
    Ok((session, socket))
}

/// Tries every key of the agent.
fn by_agent(session: &Session, user: &str) -> std::result::Result<(), ssh2::Error> {
    let mut agent = session.agent()?;
    agent.connect()?;
    agent.list_identities()?;
    let mut refused = ssh2::Error::new(ErrorCode::Session(-42), "the SSH agent has no key");
    for identity in agent.identities()? {
        match agent.userauth(user, &identity) {
            Ok(()) => return Ok(()),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// The signatures that a host key of this kind gives: those of RSA have names of their own.
fn signatures(kind: &str) -> &str {
    if kind == "ssh-rsa" { "rsa-sha2-512,rsa-sha2-256,ssh-rsa" } else { kind }
}

/// A host key as it was shown at first contact.
#[derive(Clone, Debug)]
pub struct HostKey {
    /// `ssh-ed25519 AAAA...`, to be pinned.
    pub key: String,
    /// Its SHA-256, as OpenSSH prints it.
    pub fingerprint: String,
    /// Whether the user's own file of known hosts has it.
    pub known: bool,
}

/// The host key of a machine whose key is not pinned yet. One that `known_hosts` names otherwise is an error.
///
/// # Errors
/// When nothing answers within a few seconds, or another key than the known one is shown.
pub async fn first_contact(host: &str, port: u16, known_hosts: &Path) -> Result<HostKey> {
    let (host, known_hosts) = (host.to_owned(), known_hosts.to_owned());
    let place = format!("{host}:{port}");
    let asked = tokio::task::spawn_blocking(move || shown(&host, port, &known_hosts));
    let error = || Error::failed("ssh", "learn the host key of", &place);
    match asked.await {
        Ok(Ok(key)) => Ok(key),
        Ok(Err(Failure::Again(seen))) => {
            Err(error().cause(seen).hint("is the machine running, and the address right?"))
        }
        Ok(Err(Failure::Final(seen, hint))) => Err(error().cause(seen).hint(hint.unwrap_or_default())),
        Err(panic) => Err(error().source(&panic)),
    }
}

/// Kinds of host keys, in the order in which OpenSSH prefers them.
const KINDS: [&str; 3] = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"];

fn shown(host: &str, port: u16, file: &Path) -> std::result::Result<HostKey, Failure> {
    let mut first: Option<HostKey> = None;
    let mut other = false;
    let mut seen = String::new();
    // Without a file nobody is known.
    let text = std::fs::read_to_string(file).unwrap_or_default();
    // The user's file may know the machine by any kind of key.
    for kind in KINDS {
        let (mut session, _socket) = open(host, port).map_err(Failure::Again)?;
        let met = session.method_pref(MethodType::HostKey, signatures(kind)).and_then(|()| session.handshake());
        if let Err(error) = met {
            seen = format!("{host}:{port}: {error}");
            continue;
        }
        let Some((bytes, _)) = session.host_key() else { continue };
        let hash = session.host_key_hash(HashType::Sha256).map(|hash| BASE64_STANDARD.encode(hash)).unwrap_or_default();
        let fingerprint = format!("SHA256:{}", hash.trim_end_matches('='));
        let mut key = HostKey { key: format!("{kind} {}", BASE64_STANDARD.encode(bytes)), fingerprint, known: false };
        let known = session.known_hosts().map(|mut hosts| {
            for line in text.lines() {
                // Lines of kinds that are not understood here say nothing about the others.
                let _ = hosts.read_str(line, KnownHostFileKind::OpenSSH);
            }
            hosts.check_port(host, port, bytes)
        });
        match known {
            Ok(CheckResult::Match) => {
                key.known = true;
                return Ok(key);
            }
            Ok(CheckResult::Mismatch) => other = true,
            _ => {}
        }
        first.get_or_insert(key);
    }
    match first {
        Some(key) if other => Err(Failure::Final(
            format!("{host}:{port} shows another host key ({}) than {} has", key.fingerprint, file.display()),
            Some("something else answers at this address; do not go on before you know what".to_owned()),
        )),
        Some(key) => Ok(key),
        None => Err(Failure::Again(seen)),
    }
}
