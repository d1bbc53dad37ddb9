//! From an address to a session that lets hactl in, and what was seen where none does.

use std::{
    fmt, io,
    net::{TcpStream, ToSocketAddrs},
    os::fd::OwnedFd,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ssh2::{ErrorCode, MethodType, Session};

use super::{PrivateKey, host_key::fingerprint};

/// How long one attempt to connect, and one answer during the handshake, may take.
pub(super) const ATTEMPT: Duration = Duration::from_secs(5);

/// Kinds of host keys, in the order in which OpenSSH prefers them.
pub(super) const KINDS: [&str; 3] = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"];

/// `LIBSSH2_ERROR_TIMEOUT`.
pub(super) const SILENT: ErrorCode = ErrorCode::Session(-9);

/// The code of an error about a host key that is not the pinned one.
pub const OTHER_HOST_KEY: &str = "host-key";

/// The code of an error about a user or a key that is not let in.
pub const KEY_REFUSED: &str = "ssh-key-refused";

/// Whether another attempt may end otherwise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Again {
    /// The machine may still be booting.
    Always,
    /// On a machine that was just made: its first boot may not have come so far.
    WhenFresh,
    Never,
}

/// An attempt that failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The error's word for scripts.
    pub(super) code: &'static str,
    pub(super) again: Again,
    /// What was seen, with the place where it was.
    pub(super) seen: String,
    pub(super) hint: Option<String>,
}

impl Failure {
    pub(super) fn new(again: Again, seen: impl Into<String>) -> Self {
        Self { code: "ssh", again, seen: seen.into(), hint: None }
    }

    /// Another than the one that was pinned answers.
    fn stranger(seen: String) -> Self {
        let hint = "something else answers at this address, or it was made anew: do not go on before you know which";
        Self { code: OTHER_HOST_KEY, ..Self::new(Again::Never, seen).hint(hint) }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Who is asked for, as whom, and by which host key they are known.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    /// None lets anybody answer.
    pub(super) pinned: Option<String>,
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A session that let us in.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) socket: OwnedFd,
    /// The host key that was shown: `ssh-ed25519 AAAA...`.
    pub(super) host_key: String,
}

/// A connection to the first address of `host` that takes one.
pub(super) fn dial(host: &str, port: u16) -> Result<OwnedFd, Failure> {
    let again = |said: String| Failure::new(Again::Always, format!("{host}:{port}: {said}"));
    let addresses = (host, port).to_socket_addrs().map_err(|error| {
        again(format!("the name has no address ({error})"))
            .hint("is the name right, and known to this machine's resolver?")
    })?;
    let mut last = again("the name has no address".to_owned());
    for address in addresses {
        match TcpStream::connect_timeout(&address, ATTEMPT) {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(|error| again(error.to_string()))?;
                return Ok(socket.into());
            }
            Err(error) => last = not_connected(host, port, &error),
        }
    }
    Err(last)
}

fn not_connected(host: &str, port: u16, error: &io::Error) -> Failure {
    let (said, hint) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            "connection refused: the machine is there, and no SSH server listens on this port".to_owned(),
            "is sshd running there, and is the port right?",
        ),
        io::ErrorKind::TimedOut => (
            format!("no answer within {} s", ATTEMPT.as_secs()),
            "is the machine running, the address right, and does its firewall let SSH through?",
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => (
            format!("no route to it ({error})"),
            "is the machine running, and is its network reached from here? Where only another machine reaches it, \
             `ssh: {bastion: USER@HOST}` goes by way of that one",
        ),
        _ => (error.to_string(), "is the machine running, and the address right?"),
    };
    Failure::new(Again::Always, format!("{host}:{port}: {said}")).hint(hint)
}

/// A session on `socket`, before its handshake.
pub(super) fn begin(socket: &OwnedFd) -> io::Result<Session> {
    let mut session = Session::new()?;
    session.set_timeout(u32::try_from(ATTEMPT.as_millis()).unwrap_or(u32::MAX));
    session.set_tcp_stream(socket.try_clone()?);
    Ok(session)
}

/// Shakes hands on `socket`, sees that the right machine answers, and logs in by the first of `keys` that opens.
pub(super) fn enter(socket: OwnedFd, door: &Door, keys: &[PrivateKey]) -> Result<Opened, Failure> {
    let broken = |error: &dyn fmt::Display| Failure::new(Again::Always, format!("{door}: {error}"));
    let mut session = begin(&socket).map_err(|error| broken(&error))?;
    let pinned = door.pinned.as_deref().map(|key| key.split_whitespace().take(2).collect::<Vec<_>>());
    let kinds = match pinned.as_deref() {
        Some([kind, ..]) => signatures(kind).to_owned(),
        _ => KINDS.map(signatures).join(","),
    };
    session.method_pref(MethodType::HostKey, &kinds).map_err(|error| broken(&error))?;
    session.handshake().map_err(|error| no_handshake(door, &error, &kinds))?;
    let Some((blob, _)) = session.host_key() else { return Err(broken(&"it shows no host key")) };
    let shown = format!("{} {}", kind(blob), BASE64_STANDARD.encode(blob));
    if let Some(pinned) = pinned
        && pinned.get(1) != shown.split_whitespace().nth(1).as_ref()
    {
        let seen = format!("{door} shows another host key ({}) than the one that was pinned", fingerprint(&shown));
        return Err(Failure::stranger(seen));
    }
    let mut refused = String::new();
    for key in keys {
        let tried = match key {
            PrivateKey::Given(key) => session.userauth_pubkey_memory(&door.user, None, key.expose(), None),
            PrivateKey::Agent => by_agent(&session, &door.user),
        };
        match tried {
            Ok(()) => return Ok(Opened { session, socket, host_key: shown }),
            Err(error) => refused = error.to_string(),
        }
    }
    let banner = session.banner().unwrap_or("an SSH server");
    let seen = format!("{door}: {banner} answers, and refused the key for user {}: {refused}", door.user);
    Err(Failure { code: KEY_REFUSED, ..Failure::new(Again::WhenFresh, seen) }
        .hint("is the user right, was the machine made with another NAME.secrets.age, or is the key another's?"))
}

fn no_handshake(door: &Door, error: &ssh2::Error, kinds: &str) -> Failure {
    /// `LIBSSH2_ERROR_BANNER_RECV`, `_KEX_FAILURE` and `_SOCKET_DISCONNECT`.
    const NO_BANNER: ErrorCode = ErrorCode::Session(-2);
    const NO_COMMON: ErrorCode = ErrorCode::Session(-5);
    const CLOSED: ErrorCode = ErrorCode::Session(-13);
    match error.code() {
        NO_BANNER | CLOSED => Failure::new(
            Again::Always,
            format!("{door}: the connection was taken, and no SSH server greeted ({error})"),
        )
        .hint("sshd may still be starting, or something else listens on this port"),
        SILENT => Failure::new(
            Again::Always,
            format!("{door}: the connection was taken, and then nothing came within {} s", ATTEMPT.as_secs()),
        )
        .hint("the machine hangs, or it or its network is busy beyond measure: its console says more"),
        // The pinned kind alone is asked for.
        NO_COMMON if door.pinned.is_some() => {
            Failure::stranger(format!("{door} has no host key of the kind that was pinned ({kinds})"))
        }
        _ => Failure::new(Again::Always, format!("{door}: {error}")),
    }
}

/// Tries every key of the agent.
fn by_agent(session: &Session, user: &str) -> Result<(), ssh2::Error> {
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
pub(super) fn signatures(kind: &str) -> &str {
    if kind == "ssh-rsa" { "rsa-sha2-512,rsa-sha2-256,ssh-rsa" } else { kind }
}

/// The kind of a key, which is the first text in it.
pub(super) fn kind(blob: &[u8]) -> String {
    let text = blob.split_first_chunk().and_then(|(length, rest)| rest.get(..u32::from_be_bytes(*length) as usize));
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_connection_from_coming_about_is_said_apart() {
        let said = |kind: io::ErrorKind| not_connected("10.0.0.1", 22, &kind.into()).seen;
        assert!(said(io::ErrorKind::ConnectionRefused).contains("10.0.0.1:22: connection refused"));
        assert!(said(io::ErrorKind::TimedOut).contains("no answer within 5 s"));
        assert!(said(io::ErrorKind::HostUnreachable).contains("no route"));
        assert_eq!(dial("no.such.host.invalid", 22).unwrap_err().again, Again::Always);
    }

    #[test]
    fn a_key_begins_with_its_kind() {
        let blob =
            BASE64_STANDARD.decode("AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f").unwrap();
        assert_eq!(kind(&blob), "ssh-ed25519");
        assert_eq!(kind(&[0, 0]), "");
        assert_eq!(kind(&[255, 0, 0, 0, 1]), "");
    }
}
