//! The private keys that open machines: hactl's own, a file of the user's, or those of the agent.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::host_key::kind;
use crate::{
    env,
    error::{Error, Result},
    model::Secret,
};

/// The keys for the machines, and for the bastions in front of them.
#[derive(Clone, Debug)]
pub struct SshKeys {
    pub machine: PrivateKey,
    /// Tried in this order on a bastion.
    pub bastion: Vec<PrivateKey>,
}

/// A key that opens machines.
#[derive(Clone, Debug)]
pub enum PrivateKey {
    /// In OpenSSH's form.
    Given(Arc<Secret<String>>),
    /// Those of the user's SSH agent.
    Agent,
}

impl From<Secret<String>> for PrivateKey {
    fn from(key: Secret<String>) -> Self {
        Self::Given(Arc::new(key))
    }
}

impl From<Secret<String>> for SshKeys {
    fn from(key: Secret<String>) -> Self {
        PrivateKey::from(key).into()
    }
}

impl From<PrivateKey> for SshKeys {
    fn from(key: PrivateKey) -> Self {
        Self { bastion: vec![key.clone()], machine: key }
    }
}

impl SshKeys {
    /// `machine` for the machines. A bastion is the user's own, so theirs are tried there after it.
    #[must_use]
    pub fn new(machine: PrivateKey, env: &BTreeMap<String, String>) -> Self {
        let mut bastion = vec![machine.clone()];
        if has_agent(env) && !matches!(machine, PrivateKey::Agent) {
            bastion.push(PrivateKey::Agent);
        }
        // hactl cannot use a key that it cannot read, or that has a passphrase.
        bastion.extend(user_key_files(env).iter().filter_map(|path| PrivateKey::read(path).ok()));
        Self { machine, bastion }
    }
}

/// Whether the user's SSH agent runs.
#[must_use]
pub fn has_agent(env: &BTreeMap<String, String>) -> bool {
    env.get(env::SSH_AUTH_SOCK).is_some_and(|socket| !socket.is_empty())
}

/// The user's own keys that ssh itself would try.
#[must_use]
pub fn user_key_files(env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let dir = home(env).join(".ssh");
    let files = ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| dir.join(name));
    files.into_iter().filter(|path| path.is_file()).collect()
}

/// `path` with the home directory for a leading `~`.
#[must_use]
pub fn expanded(path: &Path, env: &BTreeMap<String, String>) -> PathBuf {
    path.strip_prefix("~").map_or_else(|_| path.to_owned(), |below| home(env).join(below))
}

/// The user's home directory.
#[must_use]
pub fn home(env: &BTreeMap<String, String>) -> PathBuf {
    PathBuf::from(env.get(env::HOME).map_or("/", String::as_str))
}

impl PrivateKey {
    /// What ssh itself would take: the agent's keys, and where none runs the first of the user's own in `~/.ssh`.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn of_the_user(env: &BTreeMap<String, String>) -> Result<Self> {
        if has_agent(env) {
            return Ok(Self::Agent);
        }
        match user_key_files(env).first() {
            Some(path) => Self::read(path),
            None => Err(Error::missing("ssh-key", "find an SSH key in", home(env).join(".ssh").display())
                .cause("no SSH agent runs, and the directory has no id_ed25519, id_ecdsa or id_rsa")
                .hint("Set `ssh.key` of the platform in the cluster file, or start an SSH agent")),
        }
    }

    /// The key in a file of the user's.
    ///
    /// # Errors
    /// When it cannot be read, is no private key, or is protected by a passphrase.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = || Error::missing("ssh-key", "read the SSH key", path.display());
        let hint = "Check `ssh.key` in the cluster file";
        let text = std::fs::read_to_string(path).map_err(|error| failed().source(&error).hint(hint))?;
        if !text.trim_start().starts_with("-----BEGIN ") {
            let public = text.starts_with("ssh-") || text.starts_with("ecdsa-");
            let cause = if public {
                "it is a public key; the private key is the file without .pub"
            } else {
                "it is not a private key"
            };
            return Err(failed().cause(cause).hint(hint));
        }
        if text.contains("ENCRYPTED") || ssh_key::PrivateKey::from_openssh(&text).is_ok_and(|key| key.is_encrypted()) {
            let error = failed().cause("it has a passphrase, and hactl does not ask for passphrases");
            return Err(error.hint("Add it to the SSH agent with `ssh-add`, and set `ssh: {key: agent}`"));
        }
        Ok(Secret::new(text).into())
    }

    /// The public keys, for the machines.
    ///
    /// # Errors
    /// When the agent does not answer, or has no key.
    pub fn public(&self) -> Result<Vec<String>> {
        match self {
            Self::Given(text) => {
                let key = ssh_key::PrivateKey::from_openssh(text.expose());
                let public = key.and_then(|key| key.public_key().to_openssh());
                Ok(vec![public.map_err(|error| {
                    Error::failed("ssh-key", "derive the public key from", "the SSH private key")
                        .source(&error)
                        .hint("Convert it to OpenSSH's format (BEGIN OPENSSH PRIVATE KEY) with `ssh-keygen -p -f FILE`")
                })?])
            }
            Self::Agent => agent_keys(),
        }
    }
}

fn agent_keys() -> Result<Vec<String>> {
    let failed = || Error::missing("ssh-agent", "list the keys of", "the SSH agent");
    let list = || {
        let mut agent = ssh2::Session::new()?.agent()?;
        agent.connect()?;
        agent.list_identities()?;
        agent.identities()
    };
    let keys = list()
        .map_err(|error| failed().source(&error).hint("Check that an SSH agent runs: `ssh-add -l` lists its keys"))?;
    let keys: Vec<String> = keys
        .iter()
        .map(|key| format!("{} {} {}", kind(key.blob()), BASE64_STANDARD.encode(key.blob()), key.comment()))
        .collect();
    if keys.is_empty() {
        return Err(failed().cause("the agent has no keys").hint("Add a key with `ssh-add`"));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bastion_keys_are_the_machine_key_then_the_user_keys() {
        let dir = tempfile::tempdir().unwrap();
        let mut env = BTreeMap::from([("HOME".to_owned(), dir.path().display().to_string())]);
        std::fs::create_dir(dir.path().join(".ssh")).unwrap();
        std::fs::write(dir.path().join(".ssh/id_rsa"), "-----BEGIN RSA PRIVATE KEY-----\n").unwrap();
        std::fs::write(dir.path().join(".ssh/id_ecdsa"), "-----BEGIN ENCRYPTED PRIVATE KEY-----\n").unwrap();
        let count = |env: &_| SshKeys::new(Secret::new(String::new()).into(), env).bastion.len();
        assert_eq!(count(&env), 2);
        env.insert("SSH_AUTH_SOCK".to_owned(), "/run/agent".to_owned());
        assert_eq!(count(&env), 3);
        assert_eq!(SshKeys::new(PrivateKey::Agent, &env).bastion.len(), 2);
    }

    #[test]
    fn unusable_key_file_fails_with_its_reason_and_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let said = |text: &str| {
            std::fs::write(&path, text).unwrap();
            PrivateKey::read(&path).unwrap_err().to_string()
        };
        assert!(said("ssh-ed25519 AAAA me").contains("it is a public key; the private key is the file without .pub"));
        assert!(said("hello").contains("it is not a private key"));
        assert!(said("-----BEGIN ENCRYPTED PRIVATE KEY-----\n").contains("passphrase"));
        std::fs::remove_file(&path).unwrap();
        assert!(PrivateKey::read(&path).unwrap_err().to_string().contains("ssh.key"));
        assert_eq!(expanded(Path::new("~/k"), &BTreeMap::from([("HOME".into(), "/h".into())])), Path::new("/h/k"));
    }
}
