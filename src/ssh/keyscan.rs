//! The host key that a machine shows before one is pinned; the user's own known_hosts file may have it already.

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ssh2::{CheckResult, KnownHostFileKind, MethodType};

use super::{
    connect::{TIMEOUT, dial, new_session},
    error::{Seen, SshError, SshFailure},
    host_key::{KINDS, fingerprint, signatures},
};

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

/// Asks a server for its host key. One that differs from what `known_hosts` has for the server is an error.
///
/// # Errors
/// When nothing answers within a few seconds, or another key than the known one is shown.
pub async fn scan_host_key(host: &str, port: u16, known_hosts: &Path) -> Result<HostKey, SshError> {
    const WHAT: &str = "read the host key of";
    let (host, known_hosts) = (host.to_owned(), known_hosts.to_owned());
    let place = format!("{host}:{port}");
    match tokio::task::spawn_blocking(move || scan(&host, port, &known_hosts)).await {
        Ok(scanned) => scanned.map_err(|seen| seen.or_default_hint().into_error(WHAT, &place)),
        Err(panic) => Err(SshError::local(WHAT, &place, &panic)),
    }
}

fn scan(host: &str, port: u16, file: &Path) -> Result<HostKey, Seen> {
    let mut first: Option<HostKey> = None;
    let mut other = false;
    let mut last = Seen::new(SshFailure::Unreachable, format!("{host}:{port} offered no host key"));
    let text = read(file);
    // The user's file may know the machine by any kind of key.
    for kind in KINDS {
        let socket = dial(host, port)?;
        let seen = |failure, error: &dyn std::fmt::Display| Seen::new(failure, format!("{host}:{port}: {error}"));
        let mut session = new_session(&socket).map_err(|error| seen(SshFailure::Unreachable, &error))?;
        let shaken = session.method_pref(MethodType::HostKey, signatures(kind)).and_then(|()| session.handshake());
        if let Err(error) = shaken {
            // A silent server is silent for every kind.
            if error.code() == TIMEOUT {
                return Err(seen(SshFailure::Silent, &error));
            }
            last = seen(SshFailure::Unreachable, &error);
            continue;
        }
        let Some((bytes, _)) = session.host_key() else { continue };
        let key = format!("{kind} {}", BASE64_STANDARD.encode(bytes));
        if is_revoked(&text, &key) {
            let shown = fingerprint(&key);
            let words = format!("{host}:{port} shows a host key ({shown}) that {} marks as revoked", file.display());
            return Err(Seen::new(SshFailure::OtherHostKey, words).hint(
                "Replace the host key of the machine: someone else may have it. Then remove its `@revoked` line if you \
                 added it by mistake",
            ));
        }
        let mut key = HostKey { fingerprint: fingerprint(&key), key, known: false };
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
        Some(key) if other => {
            let words = format!(
                "{host}:{port} shows another host key ({}) than the one in {}",
                key.fingerprint,
                file.display()
            );
            let hint = format!(
                "Find out what answers at this address before you continue; if you recreated the machine, run \
                 `ssh-keygen -R {}`",
                if port == 22 { host.to_owned() } else { format!("'[{host}]:{port}'") }
            );
            Err(Seen::new(SshFailure::OtherHostKey, words).hint(hint))
        }
        Some(key) => Ok(key),
        None => Err(last),
    }
}

/// A file of known hosts. Without one no key is known; a comment that is not UTF-8 hides no line of it.
fn read(file: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned()
}

/// Whether a file of known hosts has the key in a line with `@revoked`, for any host: the key is the same everywhere.
fn is_revoked(known_hosts: &str, key: &str) -> bool {
    known_hosts.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("@revoked") && words.nth(2) == key.split_whitespace().nth(1)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::ssh::connect::ATTEMPT;

    #[test]
    fn file_with_a_comment_that_is_not_utf8_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        std::fs::write(&file, b"# serveur \xe9crit\n@revoked * ssh-ed25519 AAAAC3\n").unwrap();
        assert!(is_revoked(&read(&file), "ssh-ed25519 AAAAC3"));
        assert_eq!(read(&dir.path().join("none")), "");
    }

    #[tokio::test]
    async fn silent_server_is_asked_once() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let began = Instant::now();
        let scanned = scan_host_key("127.0.0.1", silent.local_addr().unwrap().port(), Path::new("none")).await;
        assert_eq!(scanned.unwrap_err().failure, SshFailure::Silent);
        assert!(began.elapsed() < ATTEMPT * 2);
    }
}
