//! From an address to a session that is logged in, and why that failed.

use std::{
    fmt, io,
    net::{TcpStream, ToSocketAddrs},
    os::fd::OwnedFd,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ssh2::{ErrorCode, MethodType, Session};

use super::{
    error::{Seen, SshFailure},
    host_key::{KINDS, fingerprint, kind, signatures},
    keys::PrivateKey,
};

/// How long one attempt to connect, and one answer during the handshake, may take.
pub(super) const ATTEMPT: Duration = Duration::from_secs(5);

/// `LIBSSH2_ERROR_TIMEOUT`.
pub(super) const TIMEOUT: ErrorCode = ErrorCode::Session(-9);

/// An SSH server, the user to log in as, and the host key that the server must show.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    /// None accepts any.
    pub(super) pinned: Option<String>,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A session that is logged in.
pub(super) struct LoggedIn {
    pub(super) session: Session,
    pub(super) socket: OwnedFd,
    /// The host key that was shown: `ssh-ed25519 AAAA...`.
    pub(super) host_key: String,
}

/// A connection to the first address of `host` that takes one.
pub(super) fn dial(host: &str, port: u16) -> Result<OwnedFd, Seen> {
    let unreachable = |said: String| Seen::new(SshFailure::Unreachable, format!("{host}:{port}: {said}"));
    let addresses = (host, port).to_socket_addrs().map_err(|error| {
        unreachable(format!("could not resolve the host name ({error})"))
            .hint("Check the host name, and that this machine can resolve it")
    })?;
    let mut last = unreachable("the host name has no address".to_owned());
    for address in addresses {
        match TcpStream::connect_timeout(&address, ATTEMPT) {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
                return Ok(socket.into());
            }
            Err(error) => last = not_connected(host, port, &error),
        }
    }
    Err(last)
}

fn not_connected(host: &str, port: u16, error: &io::Error) -> Seen {
    let (said, hint) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            "connection refused: the machine answers, but no SSH server listens on this port".to_owned(),
            "Check that sshd runs on the machine and that the port is right",
        ),
        io::ErrorKind::TimedOut => (
            format!("no answer within {} s", ATTEMPT.as_secs()),
            "Check that the machine is running, that the address is right, and that its firewall allows SSH",
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => (
            format!("no route to the host ({error})"),
            "Check that the machine is running and that its network is reachable from here; if only another machine \
             reaches it, set `ssh: {bastion: USER@HOST}`",
        ),
        _ => (error.to_string(), "Check that the machine is running and that the address is right"),
    };
    Seen::new(SshFailure::Unreachable, format!("{host}:{port}: {said}")).hint(hint)
}

/// A session on `socket`, before its handshake.
pub(super) fn new_session(socket: &OwnedFd) -> io::Result<Session> {
    let mut session = Session::new()?;
    session.set_timeout(u32::try_from(ATTEMPT.as_millis()).unwrap_or(u32::MAX));
    session.set_tcp_stream(socket.try_clone()?);
    Ok(session)
}

/// Shakes hands on `socket`, checks the host key, and logs in with the first of `keys` that the server accepts. The
/// first `skipped` keys, each of an agent's counted, are not offered.
pub(super) fn log_in(socket: OwnedFd, server: &Server, keys: &[PrivateKey], skipped: usize) -> Result<LoggedIn, Seen> {
    let broken = |error: &dyn fmt::Display| Seen::new(SshFailure::Unreachable, format!("{server}: {error}"));
    let mut session = new_session(&socket).map_err(|error| broken(&error))?;
    let pinned = server.pinned.as_deref().map(|key| key.split_whitespace().take(2).collect::<Vec<_>>());
    let kinds = match pinned.as_deref() {
        Some([kind, ..]) => signatures(kind).to_owned(),
        _ => KINDS.map(signatures).join(","),
    };
    session.method_pref(MethodType::HostKey, &kinds).map_err(|error| broken(&error))?;
    session.handshake().map_err(|error| no_handshake(server, &error, &kinds))?;
    let Some((blob, _)) = session.host_key() else { return Err(broken(&"the server offered no host key")) };
    let shown = format!("{} {}", kind(blob), BASE64_STANDARD.encode(blob));
    if let Some(pinned) = pinned
        && pinned.get(1) != shown.split_whitespace().nth(1).as_ref()
    {
        let words = format!("{server} shows another host key ({}) than the pinned one", fingerprint(&shown));
        return Err(other_host_key(words));
    }
    let mut offers = Offers { skipped, ..Offers::default() };
    let mut refused = String::new();
    let (mut ended, mut others) = (false, keys.iter());
    for key in others.by_ref() {
        let tried = match key {
            PrivateKey::Given(key) => {
                offers.known += 1;
                offers.offer(|| session.userauth_pubkey_memory(&server.user, None, key.expose(), None))
            }
            PrivateKey::Agent => by_agent(&session, &server.user, &mut offers),
        };
        match tried {
            Ok(true) => return Ok(LoggedIn { session, socket, host_key: shown }),
            Ok(false) => {}
            Err(error) => {
                refused = error.to_string();
                ended = ended_by_server(&error);
            }
        }
        if ended {
            break;
        }
    }
    let banner = session.banner().unwrap_or("an SSH server");
    let Offers { seen, known, .. } = offers;
    let more = ended && (seen < known || others.len() > 0);
    let keys = match (known, more) {
        (0 | 1, false) => "the SSH key".to_owned(),
        (_, false) => format!("all {known} SSH keys"),
        (_, true) => format!("{seen} of {} SSH keys, and ended the session", known + others.len()),
    };
    let words = format!("{server}: {banner} refused {keys} for user {}: {refused}", server.user);
    let hint = match known {
        0 | 1 => "Check the user, the key, and that the machine was created with this NAME.secrets.age",
        _ => {
            "Set `ssh: {key: FILE}` of the platform in the cluster file to the right key, or remove other keys from \
              the SSH agent"
        }
    };
    let mut refusal = Seen::new(SshFailure::KeyRefused, words).hint(hint);
    refusal.keys_from = more.then_some(seen);
    Err(refusal)
}

/// The keys that were offered to a server.
#[derive(Default)]
struct Offers {
    /// Keys that sessions before this one offered.
    skipped: usize,
    /// Keys that the server has seen, in this session and before.
    seen: usize,
    /// Keys that are there.
    known: usize,
}

impl Offers {
    /// Offers the next key; false if it is to be skipped.
    fn offer(&mut self, offer: impl FnOnce() -> Result<(), ssh2::Error>) -> Result<bool, ssh2::Error> {
        self.seen += 1;
        if self.seen <= self.skipped { Ok(false) } else { offer().map(|()| true) }
    }
}

/// Whether the server ended the session instead of answering, as it does after MaxAuthTries keys.
fn ended_by_server(error: &ssh2::Error) -> bool {
    /// `LIBSSH2_ERROR_SOCKET_SEND`, `_SOCKET_DISCONNECT`, `_PUBLICKEY_UNVERIFIED` and `_SOCKET_RECV`.
    const SEND: ErrorCode = ErrorCode::Session(-7);
    const CLOSED: ErrorCode = ErrorCode::Session(-13);
    const UNVERIFIED: ErrorCode = ErrorCode::Session(-19);
    const RESET: ErrorCode = ErrorCode::Session(-43);
    // libssh2 tells a missing answer from a refused key by this constant text alone.
    const NO_ANSWER: &str = "Waiting for USERAUTH response";
    match error.code() {
        SEND | CLOSED | RESET => true,
        UNVERIFIED => error.message() == NO_ANSWER,
        _ => false,
    }
}

fn other_host_key(words: String) -> Seen {
    Seen::new(SshFailure::OtherHostKey, words)
        .hint("Find out whether another machine has this address, or the machine was recreated, before you continue")
}

fn no_handshake(server: &Server, error: &ssh2::Error, kinds: &str) -> Seen {
    /// `LIBSSH2_ERROR_BANNER_RECV`, `_KEX_FAILURE`, `_SOCKET_DISCONNECT` and `_SOCKET_RECV`: the last of a reset.
    const NO_BANNER: ErrorCode = ErrorCode::Session(-2);
    const NO_COMMON: ErrorCode = ErrorCode::Session(-5);
    const CLOSED: ErrorCode = ErrorCode::Session(-13);
    const RESET: ErrorCode = ErrorCode::Session(-43);
    match error.code() {
        NO_BANNER | CLOSED | RESET => {
            let words = format!("{server}: the port accepted the connection, but no SSH server answered ({error})");
            Seen::new(SshFailure::Unreachable, words)
                .hint("Wait until sshd has started, or check that no other program listens on this port")
        }
        TIMEOUT => {
            let seconds = ATTEMPT.as_secs();
            let words =
                format!("{server}: the port accepted the connection, but no SSH server answered within {seconds} s");
            Seen::new(SshFailure::Silent, words)
                .hint("Check the machine's console: the machine hangs, or it or its network is overloaded")
        }
        // The pinned kind alone is asked for.
        NO_COMMON if server.pinned.is_some() => {
            other_host_key(format!("{server} has no host key of the pinned type ({kinds})"))
        }
        _ => Seen::new(SshFailure::Unreachable, format!("{server}: {error}")),
    }
}

/// Offers every key of the agent; false if all of them are to be skipped.
fn by_agent(session: &Session, user: &str, offers: &mut Offers) -> Result<bool, ssh2::Error> {
    let mut agent = session.agent()?;
    agent.connect()?;
    agent.list_identities()?;
    let identities = agent.identities()?;
    if identities.is_empty() {
        return Err(ssh2::Error::new(ErrorCode::Session(-42), "the SSH agent has no key"));
    }
    offers.known += identities.len();
    let mut last = Ok(false);
    for identity in identities {
        last = offers.offer(|| agent.userauth(user, &identity));
        match &last {
            Ok(true) => break,
            Err(error) if ended_by_server(error) => break,
            _ => {}
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_connection_error_names_the_kind_of_failure() {
        let said = |kind: io::ErrorKind| not_connected("10.0.0.1", 22, &kind.into()).words;
        assert!(said(io::ErrorKind::ConnectionRefused).contains("10.0.0.1:22: connection refused"));
        assert!(said(io::ErrorKind::TimedOut).contains("no answer within 5 s"));
        assert!(said(io::ErrorKind::HostUnreachable).contains("no route"));
        assert_eq!(dial("no.such.host.invalid", 22).unwrap_err().failure, SshFailure::Unreachable);
    }
}
