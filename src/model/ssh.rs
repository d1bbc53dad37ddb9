//! How hactl reaches machines by SSH: as which user, with which key, and through which bastion.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

/// SSH's own port.
pub const SSH_PORT: u16 = 22;

/// How hactl reaches the machines of a cluster that have no settings of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ssh {
    /// A user other than root needs sudo without a password.
    pub user: String,
    pub port: u16,
    pub key: SshKeySource,
    /// The machine to connect through, if the machines cannot be reached directly.
    pub bastion: Option<Bastion>,
}

impl Default for Ssh {
    fn default() -> Self {
        Self { user: "root".to_owned(), port: SSH_PORT, key: SshKeySource::Vault, bastion: None }
    }
}

impl Ssh {
    /// Whether commands need sudo there.
    #[must_use]
    pub fn sudo(&self) -> bool {
        needs_sudo(&self.user)
    }
}

/// Whether commands of `user` need sudo.
#[must_use]
pub fn needs_sudo(user: &str) -> bool {
    user != "root"
}

/// Which private key opens the machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SshKeySource {
    /// hactl's own, from `NAME.secrets.age`.
    #[default]
    Vault,
    /// The keys that ssh itself would use: the agent's or, if no agent runs, the first of the user's own in `~/.ssh`.
    User,
    /// Those of the user's SSH agent.
    Agent,
    /// A file of the user's, without a passphrase; `~/` is the home directory.
    File(PathBuf),
}

/// A machine to connect through: `user@host` or `user@host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bastion {
    pub user: String,
    pub host: String,
    pub port: u16,
}

impl FromStr for Bastion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted =
            || format!("`{text}` is not a bastion: expected USER@HOST or USER@HOST:PORT, such as me@bastion:22");
        let (user, place) = text.split_once('@').ok_or_else(wanted)?;
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(wanted)?),
            None => (place, SSH_PORT),
        };
        // These become arguments and configuration of ssh, where a leading dash would begin an option.
        let word = |text: &str, also: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
        };
        if word(user, "._-") && word(host, ".-") {
            Ok(Self { user: user.to_owned(), host: host.to_owned(), port })
        } else {
            Err(wanted())
        }
    }
}

impl TryFrom<String> for Bastion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Bastion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)
    }
}

impl From<Bastion> for String {
    fn from(bastion: Bastion) -> Self {
        bastion.to_string()
    }
}

/// The SSH endpoint of a machine, and its host key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshTarget {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// Whether commands need sudo: the user is not root.
    #[serde(default)]
    pub sudo: bool,
    /// `ssh-ed25519 AAAA...`; none before the first contact.
    pub host_key: Option<String>,
    /// The machine to connect through; host and port are valid from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bastion: Option<Hop>,
}

/// A machine on the way to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    pub user: String,
    pub host: String,
    pub port: u16,
    /// `ssh-ed25519 AAAA...`; none before the first contact.
    pub host_key: Option<String>,
}

impl From<Bastion> for Hop {
    fn from(Bastion { user, host, port }: Bastion) -> Self {
        Self { user, host, port, host_key: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bastion_is_parsed_from_user_host_and_port() {
        for (text, expected) in [
            ("me@bastion.example.org", "me@bastion.example.org:22"),
            ("me@bastion:2222", "me@bastion:2222"),
            ("ops_1@10.0.0.1:22", "ops_1@10.0.0.1:22"),
        ] {
            assert_eq!(text.parse::<Bastion>().unwrap().to_string(), expected);
        }
        for text in ["bastion", "bastion:22", "@bastion", "me@", "me@-oProxyCommand=x", "me@a b", "me@b:0", "me@b:x"] {
            let said = text.parse::<Bastion>().unwrap_err();
            assert!(said.contains(text) && said.contains("USER@HOST:PORT"), "{said}");
        }
    }
}
