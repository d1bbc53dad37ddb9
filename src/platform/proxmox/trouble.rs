//! The reason of a failed request -> its error: one message per cause, with what to do.

use std::{error::Error as StdError, io, time::Duration};

use jiff::Timestamp;
use rustls::CertificateError;
use rustls_pki_types::UnixTime;

use super::{
    TOKEN_VARIABLE,
    server::{ANSWERED_WITHIN, CONNECTED_WITHIN, Server},
};
use crate::error::Error;

/// Why a question has no answer, as far as it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server's name has no address.
    Unknown(String),
    /// Nothing accepts the connection.
    Down(String),
    /// The connection, or the answer, did not come in this time.
    Silent(Duration),
    /// No trusted authority signed the certificate, or it is otherwise refused.
    Untrusted(String),
    /// The certificate is another server's.
    OtherName(String),
    /// Before or after the certificate's time.
    OutOfTime(String),
    /// The server does not speak TLS, HTTP or Proxmox's API.
    NotProxmox(String),
    /// The token is refused.
    Unauthorized(String),
    /// The token is known and may not do this.
    Forbidden(String),
    /// Proxmox could not do it; its words.
    Failed(String),
}

impl Trouble {
    /// Reads what a request failed with.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Silent(if error.is_connect() { CONNECTED_WITHIN } else { ANSWERED_WITHIN });
        }
        let chain = chain(error);
        if let Some(tls) = chain.iter().find_map(|error| error.downcast_ref::<rustls::Error>()) {
            return Self::of_tls(tls);
        }
        let last = chain.last().map(ToString::to_string).unwrap_or_default();
        if chain.iter().any(|error| error.to_string().starts_with("dns error")) {
            return Self::Unknown(last);
        }
        // A server that closes the connection during the handshake does not speak TLS.
        let kind = chain.iter().find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
        match kind {
            Some(kind) if error.is_connect() && kind != io::ErrorKind::UnexpectedEof => Self::Down(last),
            _ => Self::NotProxmox(last),
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        use CertificateError as Bad;
        match error {
            rustls::Error::InvalidCertificate(bad) => match bad {
                Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Self::OtherName(bad.to_string()),
                Bad::ExpiredContext { not_after, .. } => {
                    Self::OutOfTime(format!("it was valid until {}", date(*not_after)))
                }
                Bad::NotValidYetContext { not_before, .. } => {
                    Self::OutOfTime(format!("it is valid from {}", date(*not_before)))
                }
                Bad::Expired | Bad::NotValidYet => Self::OutOfTime(bad.to_string()),
                bad => Self::Untrusted(bad.to_string()),
            },
            // The answer is not TLS.
            rustls::Error::InvalidMessage(_) => Self::NotProxmox("it does not speak TLS".to_owned()),
            error => Self::NotProxmox(error.to_string()),
        }
    }

    /// The words for a part of the answer that is missing, where the rest is there.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Silent(patience) => format!("no answer within {} s", patience.as_secs()),
            Self::Unknown(said)
            | Self::Down(said)
            | Self::Untrusted(said)
            | Self::OtherName(said)
            | Self::OutOfTime(said)
            | Self::NotProxmox(said)
            | Self::Unauthorized(said)
            | Self::Forbidden(said)
            | Self::Failed(said) => said.clone(),
        }
    }

    /// The error of failing to do `what`.
    pub(super) fn explain(&self, server: &Server, what: &str) -> Error {
        let (endpoint, address) = (&server.endpoint, server.endpoint.address());
        let failed = |code: &'static str| Error::failed(code, what, endpoint);
        match self {
            Self::Unknown(said) => failed("proxmox-unknown")
                .cause(format!("the name {} could not be resolved: {said}", endpoint.host()))
                .hint("Set `endpoint` to the hypervisor's IP address, or make its name resolvable on this machine"),
            Self::Down(said) => {
                let port =
                    if endpoint.has_port() { "" } else { "; the endpoint has no port, and Proxmox listens on 8006" };
                failed("proxmox-down").cause(format!("nothing accepts connections at {address}: {said}{port}")).hint(
                    "Check that the hypervisor is up and that `systemctl status pveproxy` there is good, or set \
                     `endpoint` to another hypervisor of the Proxmox cluster",
                )
            }
            Self::Silent(patience) => failed("proxmox-silent")
                .cause(format!("{address} did not answer within {} s", patience.as_secs()))
                .hint(
                    "Check that no firewall blocks the connection; if the hypervisor hangs, run `systemctl restart \
                     pveproxy` there, or set `endpoint` to another hypervisor of the Proxmox cluster",
                ),
            Self::Untrusted(said) => {
                let (error, hint) = match &server.ca_cert {
                    None => (
                        failed("proxmox-untrusted")
                            .cause("this machine does not trust the CA of its certificate"),
                        "Copy /etc/pve/pve-root-ca.pem from a hypervisor, and set `ca_cert` under `platform.proxmox` \
                         to the path of the copy",
                    ),
                    Some(path) => (
                        failed("proxmox-untrusted").cause(format!(
                            "its certificate is signed neither by the CA in {} nor by one that this machine trusts",
                            path.display()
                        )),
                        "Set `ca_cert` to the CA's certificate, not to the hypervisor's: \
                         /etc/pve/pve-root-ca.pem of this Proxmox cluster, or the issuer's if the hypervisor has \
                         another one (/etc/pve/local/pveproxy-ssl.pem)",
                    ),
                };
                error.cause(said).hint(hint)
            }
            Self::OtherName(said) => failed("proxmox-certificate-name")
                .cause(format!("its certificate is not for {}: {said}", endpoint.host()))
                .hint("Set `endpoint` to a name or an address of the certificate"),
            Self::OutOfTime(said) => failed("proxmox-certificate-time")
                .cause(format!("its certificate is not valid at this time: {said}"))
                .hint(
                    "Check the clocks of both machines, or run `pvecm updatecerts --force` on the hypervisor to renew \
                     the certificate",
                ),
            Self::NotProxmox(said) => failed("proxmox-other")
                .cause(format!("the server at {address} is not Proxmox VE: {said}"))
                .hint("Set `endpoint` to the address of a hypervisor's web interface, https://NODE:8006/"),
            Self::Unauthorized(said) => {
                let said = if said.is_empty() { String::new() } else { format!(" ({said})") };
                failed("proxmox-token").cause(format!("Proxmox refused the token {}{said}", server.token)).hint(
                    format!(
                        "Run `pveum user token list {}` on a hypervisor to see its tokens; check that the user is \
                         enabled, that neither user nor token has expired, and that {TOKEN_VARIABLE} is what `pveum \
                         user token add` printed",
                        user(&server.token.to_string())
                    ),
                )
            }
            Self::Forbidden(said) => failed("proxmox-privileges")
                .cause(format!("the token {} has no privilege for this request: {said}", server.token))
                .hint("Grant the token the privileges that docs/proxmox.md lists"),
            Self::Failed(said) => failed("proxmox-failed")
                .cause(format!("Proxmox answered: {said}"))
                .hint("Check `journalctl -u pveproxy -u pvedaemon` on the hypervisor, then run the same command again"),
        }
    }
}

/// An error and its sources, and what an I/O error wraps, which is not among its sources.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut found: Vec<&'a (dyn StdError + 'static)> = vec![error];
    while let Some(&last) = found.last() {
        let wrapped = last.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let next = wrapped.map(|inner| inner as &'a (dyn StdError + 'static)).or_else(|| last.source());
        let Some(next) = next else { break };
        found.push(next);
    }
    found
}

fn date(time: UnixTime) -> String {
    let second = i64::try_from(time.as_secs()).ok().and_then(|second| Timestamp::from_second(second).ok());
    second.map_or_else(|| format!("second {}", time.as_secs()), |time| time.strftime("%Y-%m-%d").to_string())
}

/// The user whose token it is.
fn user(token: &str) -> &str {
    token.split('!').next().unwrap_or(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::proxmox::{ApiEndpoint, Token};

    #[test]
    fn every_proxmox_failure_has_a_unique_code_and_a_hint() {
        let env = [(TOKEN_VARIABLE, "hactl@pve!t=4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let endpoint = ApiEndpoint::find(Some("https://pve1/"), &env).unwrap();
        let server = Server { endpoint, token: Token::from_env(&env).unwrap(), ca_cert: None };
        let said = || "x".to_owned();
        let troubles = [
            Trouble::Unknown(said()),
            Trouble::Down(said()),
            Trouble::Silent(ANSWERED_WITHIN),
            Trouble::Untrusted(said()),
            Trouble::OtherName(said()),
            Trouble::OutOfTime(said()),
            Trouble::NotProxmox(said()),
            Trouble::Unauthorized(said()),
            Trouble::Forbidden(said()),
            Trouble::Failed(said()),
        ];
        let mut codes = Vec::new();
        for trouble in troubles {
            let error = trouble.explain(&server, "use Proxmox at");
            assert!(error.hint.is_some() && error.to_string().contains("pve1"), "{error}");
            assert!(!error.to_string().contains("52a3"), "{error}");
            codes.push(error.code);
        }
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), 10);
        let error = Trouble::Down(said()).explain(&server, "x").to_string();
        assert!(error.contains("8006"), "{error}");
        let error = Trouble::Unauthorized(said()).explain(&server, "x").to_string();
        assert!(error.contains("pveum user token list hactl@pve`"), "{error}");
    }
}
