//! The host key of a machine of the user's, which their own file of known hosts may have.

use std::path::Path;

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use sha2::{Digest, Sha256};
use ssh2::{CheckResult, KnownHostFileKind, MethodType};

use super::connect::{Again, Failure, KINDS, OTHER_HOST_KEY, SILENT, begin, dial, signatures};
use crate::error::{Error, Result};

/// The SHA-256 of a host key (`ssh-ed25519 AAAA...`), as OpenSSH prints it.
#[must_use]
pub fn fingerprint(key: &str) -> String {
    let blob = key.split_whitespace().nth(1).and_then(|text| BASE64_STANDARD.decode(text).ok()).unwrap_or_default();
    format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(blob)))
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
    let error = |code| Error::failed(code, "learn the host key of", &place);
    match asked.await {
        Ok(Ok(key)) => Ok(key),
        Ok(Err(Failure { code, seen, hint, .. })) => {
            let hint = hint.unwrap_or_else(|| "is the machine running, and the address right?".to_owned());
            Err(error(code).cause(seen).hint(hint))
        }
        Err(panic) => Err(error("ssh").source(&panic)),
    }
}

fn shown(host: &str, port: u16, file: &Path) -> std::result::Result<HostKey, Failure> {
    let mut first: Option<HostKey> = None;
    let mut other = false;
    let mut last = Failure::new(Again::Always, format!("{host}:{port} shows no host key"));
    // Without a file nobody is known.
    let text = std::fs::read_to_string(file).unwrap_or_default();
    // The user's file may know the machine by any kind of key.
    for kind in KINDS {
        let socket = dial(host, port)?;
        let said = |error: &dyn std::fmt::Display| Failure::new(Again::Always, format!("{host}:{port}: {error}"));
        let mut session = begin(&socket).map_err(|error| said(&error))?;
        let met = session.method_pref(MethodType::HostKey, signatures(kind)).and_then(|()| session.handshake());
        if let Err(error) = met {
            last = said(&error);
            // One that is silent is so for every kind.
            if error.code() == SILENT {
                return Err(last);
            }
            continue;
        }
        let Some((bytes, _)) = session.host_key() else { continue };
        let key = format!("{kind} {}", BASE64_STANDARD.encode(bytes));
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
            let seen =
                format!("{host}:{port} shows another host key ({}) than {} has", key.fingerprint, file.display());
            let hint = format!(
                "something else answers at this address; do not go on before you know what. If you made it anew: \
                 `ssh-keygen -R {}`",
                if port == 22 { host.to_owned() } else { format!("'[{host}]:{port}'") }
            );
            Err(Failure { code: OTHER_HOST_KEY, ..Failure::new(Again::Never, seen).hint(hint) })
        }
        Some(key) => Ok(key),
        None => Err(last),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::ssh::connect::ATTEMPT;

    #[tokio::test]
    async fn one_that_says_nothing_is_asked_once() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let began = Instant::now();
        let asked = first_contact("127.0.0.1", silent.local_addr().unwrap().port(), Path::new("none")).await;
        assert!(asked.is_err() && began.elapsed() < ATTEMPT * 2);
    }
}
