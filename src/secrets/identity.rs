//! Who opens the secrets file: an age key of the cluster's own, or a key that the user names.
//!
//! In comes the environment and the path of `age.key`; out goes the identity with its public side.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use age::secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::{
    command,
    store::{self, Existing},
};
use crate::{
    context::Context,
    env,
    error::{Error, Result},
    exec::Command,
};

/// Names a file with an age identity or an unencrypted SSH private key (ed25519 or RSA).
pub const KEY_FILE: &str = env::HACTL_AGE_KEY_FILE;

/// A shell command that prints the same, for keys kept in a password store.
pub const KEY_COMMAND: &str = env::HACTL_AGE_KEY_COMMAND;

/// One or more private keys from one place.
pub(super) struct Identity {
    /// Where it came from, for messages.
    pub(super) origin: String,
    keys: Vec<Key>,
}

enum Key {
    Age(age::x25519::Identity),
    Ssh(age::ssh::Identity),
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({}, ***)", self.origin)
    }
}

impl Identity {
    /// The identity that the user named, else the one in `age_key`; none where neither is.
    pub(super) async fn find(context: &Context, age_key: &Path) -> Result<Option<Self>> {
        let set = |name: &str| context.env.get(name).filter(|value| !value.is_empty());
        match (set(KEY_FILE), set(KEY_COMMAND)) {
            (Some(_), Some(_)) => Err(Error::usage("secrets-identity", "choose", "the key of the secrets file")
                .cause(format!("{KEY_FILE} and {KEY_COMMAND} are both set"))
                .hint("Unset one of them")),
            (Some(file), None) => {
                let path = context.dirs.work.join(file);
                match read(&path)? {
                    Some(text) => Self::parse(&text, format!("{} ({KEY_FILE})", path.display())).map(Some),
                    None => Err(Error::missing("secrets-identity", "read the key of the secrets file", path.display())
                        .cause("the file does not exist")
                        .hint(format!("Set {KEY_FILE} to the file that holds the age or SSH key, or unset it"))),
                }
            }
            (None, Some(command)) => Self::from_command(context, command).await.map(Some),
            (None, None) => match read(age_key)? {
                Some(text) => {
                    warn_if_open(context, age_key).await;
                    Self::parse(&text, age_key.display().to_string()).map(Some)
                }
                None => Ok(None),
            },
        }
    }

    /// Makes a new age key in `age_key`, which must not exist.
    pub(super) fn generate(age_key: &Path) -> Result<Self> {
        let failed = |error: io::Error| {
            Error::failed("secrets-identity", "write the age key", age_key.display())
                .source(&error)
                .hint("Free disk space or grant write access there, then run the same command again")
        };
        let identity = age::x25519::Identity::generate();
        let text = Zeroizing::new(format!(
            "# The key of this cluster's secrets file. Keep a copy where the cluster's users keep secrets.\n\
             # public key: {}\n{}\n",
            identity.to_public(),
            identity.to_string().expose_secret(),
        ));
        store::private_dir(age_key.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        store::write(age_key, text.as_bytes(), 0o600, Existing::Keep).map_err(failed)?;
        Ok(Self { origin: age_key.display().to_string(), keys: vec![Key::Age(identity)] })
    }

    async fn from_command(context: &Context, text: &str) -> Result<Self> {
        // The user's own command, as they would type it; hactl adds nothing to it.
        let output = command::output(context, Command::new("sh").args(["-c", text]), || {
            Error::failed("secrets-identity", "get the key of the secrets file from", KEY_COMMAND)
                .hint(format!("Run the command of {KEY_COMMAND} by hand: it must print an age or SSH private key"))
        })
        .await?;
        Self::parse(&output, format!("the output of {KEY_COMMAND}"))
    }

    fn parse(text: &str, origin: String) -> Result<Self> {
        let unusable = |cause: String| {
            Error::failed("secrets-identity", "use the key in", &origin).cause(cause).hint(format!(
                "Put the age key (AGE-SECRET-KEY-1...) or an unencrypted SSH key there, or set {KEY_FILE} or {KEY_COMMAND}"
            ))
        };
        let keys = if text.trim_start().starts_with("-----BEGIN") {
            let key = age::ssh::Identity::from_buffer(text.as_bytes(), None)
                .map_err(|error| unusable(format!("it is not an SSH private key: {error}")))?;
            match key {
                age::ssh::Identity::Unencrypted(_) => vec![Key::Ssh(key)],
                age::ssh::Identity::Encrypted(_) => {
                    return Err(unusable(
                        "the SSH key has a passphrase, and hactl does not ask for passphrases".into(),
                    ));
                }
                age::ssh::Identity::Unsupported(_) => {
                    return Err(unusable("age supports ed25519 and RSA keys only".into()));
                }
            }
        } else {
            text.lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(|line| line.parse().map(Key::Age))
                .collect::<Result<_, _>>()
                // The message of age, which never quotes the line.
                .map_err(|error: &str| unusable(format!("it is not an age key: {error}")))?
        };
        if keys.is_empty() {
            return Err(unusable("it holds no key".into()));
        }
        Ok(Self { origin, keys })
    }

    /// The public keys, in the form in which users exchange them.
    pub(super) fn recipients(&self) -> Vec<String> {
        let public = |key: &Key| match key {
            Key::Age(key) => Some(key.to_public().to_string()),
            Key::Ssh(key) => age::ssh::Recipient::try_from(key.clone()).ok().map(|recipient| recipient.to_string()),
        };
        self.keys.iter().filter_map(public).collect()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys.iter().map(|key| match key {
            Key::Age(key) => key as &dyn age::Identity,
            Key::Ssh(key) => key as &dyn age::Identity,
        })
    }
}

/// A public key as people write it: `age1...`, `ssh-ed25519 AAAA...` or `ssh-rsa AAAA...`.
pub(super) struct Recipient {
    pub(super) key: Box<dyn age::Recipient>,
    /// The key without a comment: equal for equal keys.
    pub(super) canonical: String,
}

pub(super) fn recipient(text: &str) -> Result<Recipient> {
    let text = text.trim();
    if let Ok(key) = text.parse::<age::x25519::Recipient>() {
        return Ok(Recipient { canonical: key.to_string(), key: Box::new(key) });
    }
    if let Ok(key) = text.parse::<age::ssh::Recipient>() {
        return Ok(Recipient { canonical: key.to_string(), key: Box::new(key) });
    }
    // What is no public key may be a private one, given by mistake: it must not be shown.
    let is_public = ["age1", "ssh-"].iter().any(|start| text.starts_with(start));
    let object = if is_public { text } else { "the given key" };
    let cause = if text.contains("SECRET-KEY") || text.contains("PRIVATE KEY") {
        "it is a private key: give the public key"
    } else {
        "it is neither an age public key nor an ed25519 or RSA public key of SSH"
    };
    Err(Error::usage("secrets-recipient", "encrypt the secrets file for", object)
        .cause(cause)
        .hint("Give a key of the form age1..., ssh-ed25519 AAAA... or ssh-rsa AAAA..."))
}

/// hactl creates the key with mode 0600: a wider mode comes from a later change or a copy.
async fn warn_if_open(context: &Context, path: &Path) {
    if fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0) {
        let message = format!("other users of this machine can read {}", path.display());
        context.events.warn("age-key-open", message, Some(format!("Run `chmod 600 {}`", path.display()))).await;
    }
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Error::failed("secrets-identity", "read the key of the secrets file", path.display()).source(&error))
        }
    }
}
