//! The secrets of one cluster: opened or created, completed for its nodes and databases, saved.
//!
//! hactl never replaces an existing file by a new one, whatever is wrong with it: the keys of a running
//! cluster would be lost. A save replaces the old file only when the new one is whole on disk and opens again.

mod recipients;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac, digest::Key};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    authority::{self, Holder, Leaf, Made},
    contents::{Contents, HostKeys, SshKey, VERSION, password},
    encrypted::{count_recipients, encrypt, not_opened, open, parse, read},
    given::{self, Sources},
    identity::{self, Identity, KEY_COMMAND, KEY_FILE},
    short::ShortLeaves,
    store::{self, Existing},
};
use crate::{
    context::{Context, Dirs},
    error::{Error, Result},
    model::{Account, Authority, Certificate, ClusterName, HostName, InstanceKey, Purpose, Secret},
};

/// Where the secrets of one cluster lie.
#[derive(Clone, Debug)]
pub struct SecretsPaths {
    /// `NAME.secrets.age`.
    pub file: PathBuf,
    /// `.hactl/NAME/age.key`.
    pub key: PathBuf,
}

impl SecretsPaths {
    /// Beside the cluster file, or in the working directory for a built-in blueprint.
    #[must_use]
    pub fn new(dirs: &Dirs, cluster: &ClusterName, cluster_file: Option<&Path>) -> Self {
        let file = dirs.beside(cluster_file).join(format!("{cluster}.secrets.age"));
        Self { file, key: dirs.cluster(cluster).age_key() }
    }
}

/// A public key for which the file is encrypted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, JsonSchema)]
pub struct Recipient {
    /// The key as it was added, with its comment.
    pub key: String,
    /// Whether it belongs to the private key that hactl opened the file with.
    pub own: bool,
}

/// The opened secrets of one cluster.
#[derive(Debug)]
pub struct Vault {
    file: PathBuf,
    identity: Identity,
    contents: Contents,
    /// Passwords from outside, which are never saved.
    given: BTreeMap<Account, Secret>,
    /// The file's digest as it was read or written last.
    on_disk: [u8; 32],
    /// How many recipients the file had that it does not record.
    unrecorded: usize,
    /// Written since it was opened.
    saved: bool,
}

impl Vault {
    /// Opens the secrets of `cluster`.
    ///
    /// # Errors
    /// When there is no file, no identity, the wrong one, or the file is broken; each names the file and
    /// what to do.
    pub async fn open(context: &Context, cluster: &ClusterName, paths: &SecretsPaths) -> Result<Self> {
        match read(&paths.file)? {
            Some(bytes) => Self::decrypt(context, cluster, paths, &bytes).await,
            None => Err(Error::missing("secrets-missing", "open the secrets file", paths.file.display())
                .cause("it does not exist")
                .hint(format!(
                    "Run the command in the directory of {cluster}.secrets.age, or restore the file from the \
                     repository or a backup; for a new cluster, run `hactl up {cluster}` to create it"
                ))),
        }
    }

    /// Opens the secrets of `cluster`, or makes and saves them where there is no file: passwords of `accounts`, authorities
    /// and clients of `certificates`.
    ///
    /// # Errors
    /// Those of [`Vault::open`], the first only where the machines have been made already; and when the new files
    /// cannot be written.
    pub async fn open_or_create(
        context: &Context,
        cluster: &ClusterName,
        paths: &SecretsPaths,
        accounts: &[Account],
        certificates: &[Certificate],
        now: Timestamp,
    ) -> Result<Self> {
        if let Some(bytes) = read(&paths.file)? {
            return Self::decrypt(context, cluster, paths, &bytes).await;
        }
        // New secrets would be another cluster's: Terraform would replace every machine for them.
        if context.dirs.cluster(cluster).fleet().exists() {
            return Err(Error::missing("secrets-missing", "open the secrets file", paths.file.display())
                .cause(format!("it does not exist, but the machines of {cluster} were created with it"))
                .hint(format!(
                    "Restore the file from the repository or a backup; without it, the cluster continues to run, but only \
                     `hactl down {cluster}` works"
                )));
        }
        let identity = match Identity::find(context, &paths.key).await? {
            Some(identity) => identity,
            None => Identity::generate(&paths.key)?,
        };
        let contents = Contents {
            version: VERSION,
            cluster: cluster.clone(),
            uuid: Uuid::new_v4(),
            recipients: identity.recipients().into_iter().collect(),
            ssh: SshKey::generate(cluster)?,
            authorities: BTreeMap::new(),
            passwords: BTreeMap::new(),
            clients: BTreeMap::new(),
            nodes: BTreeMap::new(),
            host_keys: HostKeys::default(),
        };
        let mut vault = Self {
            file: paths.file.clone(),
            identity,
            contents,
            given: BTreeMap::new(),
            on_disk: [0; 32],
            unrecorded: 0,
            saved: false,
        };
        vault.ensure_passwords(accounts)?;
        vault.ensure_certificates(certificates, &[], now)?;
        vault.write(Existing::Keep)?;
        Ok(vault)
    }

    async fn decrypt(context: &Context, cluster: &ClusterName, paths: &SecretsPaths, bytes: &[u8]) -> Result<Self> {
        let file = &paths.file;
        let Some(identity) = Identity::find(context, &paths.key).await? else {
            return Err(Error::missing("secrets-identity-missing", "open the secrets file", file.display())
                .cause(format!("its key is not in {}", paths.key.display()))
                .hint(format!(
                    "Copy age.key from the machine where the cluster was created, or set {KEY_FILE} or {KEY_COMMAND} \
                     to a key that the file is encrypted for"
                )));
        };
        let plain = open(&identity, bytes).map_err(|error| not_opened(file, &identity, &error))?;
        let contents = parse(&plain, file)?;
        if contents.cluster != *cluster {
            return Err(Error::failed("secrets-cluster", "use the secrets file", file.display())
                .cause(format!("it holds the secrets of the cluster {}, not of {cluster}", contents.cluster))
                .hint("Move the file away, or rename the cluster back: two clusters must not share secrets"));
        }
        let unrecorded = count_recipients(bytes).saturating_sub(contents.recipients.len());
        Ok(Self {
            file: file.clone(),
            identity,
            contents,
            given: BTreeMap::new(),
            on_disk: Sha256::digest(bytes).into(),
            unrecorded,
            saved: false,
        })
    }

    /// Writes the secrets over the file that they were read from.
    ///
    /// # Errors
    /// When another process changed the file meanwhile, when saving would lock a recipient out, or when the
    /// file cannot be written. The old file then stays as it was.
    pub fn save(&mut self) -> Result<()> {
        let not_saved =
            |cause: String| Error::failed("secrets-save", "save the secrets file", self.file.display()).cause(cause);
        match read(&self.file)? {
            Some(bytes) if <[u8; 32]>::from(Sha256::digest(&bytes)) == self.on_disk => {}
            Some(_) => {
                return Err(not_saved("another process changed it since it was read".into())
                    .hint("Run the same command again to read the new file"));
            }
            None => {
                return Err(not_saved("it was removed since it was read".into())
                    .hint("Restore it (`git checkout` or a copy), then run the same command again"));
            }
        }
        if self.unrecorded > 0 {
            return Err(not_saved(format!(
                "it is encrypted for {} recipients that it does not list: they could not open the saved file",
                self.unrecorded,
            ))
            .hint("Restore the version that hactl wrote: another tool has re-encrypted the file"));
        }
        self.write(Existing::Replace)
    }

    fn write(&mut self, existing: Existing) -> Result<()> {
        let failed = || Error::failed("secrets-save", "save the secrets file", self.file.display());
        let plain = Zeroizing::new(serde_json::to_vec(&self.contents).map_err(|error| failed().source(&error))?);
        let recipients: Vec<_> =
            self.contents.recipients.iter().map(|text| identity::recipient(text)).collect::<Result<_>>()?;
        let encrypted = encrypt(recipients.iter().map(|recipient| recipient.key.as_ref()), &plain)
            .map_err(|error| failed().source(error.as_ref()))?;
        // Before the old file goes: what would replace it must open with the key at hand.
        open(&self.identity, &encrypted).map_err(|error| {
            failed().cause(format!("the key in {} could not open the new file: {error}", self.identity.origin))
        })?;
        store::write(&self.file, &encrypted, 0o600, existing).map_err(|error| {
            let error = failed().source(&error);
            match existing {
                Existing::Keep => {
                    error.hint("Free disk space or grant write access there, then run the same command again")
                }
                Existing::Replace => {
                    error.hint("Free disk space, then run the same command again; the old file is unchanged")
                }
            }
        })?;
        self.on_disk = Sha256::digest(&encrypted).into();
        self.unrecorded = 0;
        self.saved = true;
        Ok(())
    }

    /// Whether the file is another one than when it was opened, or was made.
    #[must_use]
    pub const fn was_saved(&self) -> bool {
        self.saved
    }

    /// Takes passwords from the environment and from commands, for as long as this value lives.
    ///
    /// # Errors
    /// When a variable gives none of the cluster's passwords, a command fails, or what they give is no
    /// password.
    pub async fn take_given(&mut self, context: &Context, sources: &Sources<'_>) -> Result<()> {
        self.given = given::given(context, sources).await?;
        Ok(())
    }

    /// Makes a password for every account that has none and is given none, except for those from outside; those of others
    /// stay. True when any was made.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn ensure_passwords(&mut self, accounts: &[Account]) -> Result<bool> {
        let mut changed = false;
        for account in accounts.iter().filter(|account| !account.is_from_outside()) {
            if !self.given.contains_key(account) && !self.contents.passwords.contains_key(account) {
                self.contents.passwords.insert(account.clone(), password()?);
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Keeps the secret of an account.
    ///
    /// # Errors
    /// When it has characters that it must not have.
    pub fn set_password(&mut self, account: &Account, secret: Secret) -> Result<bool> {
        let secret = given::checked(account, secret)?;
        Ok(self.contents.passwords.insert(account.clone(), secret.clone()).as_ref() != Some(&secret))
    }

    /// Makes those of `certificates` that are missing, due for renewal, or made out to another name or address, and their
    /// authorities where these are missing; those of nodes not in `nodes` go. True when anything changed.
    ///
    /// # Errors
    /// When a certificate cannot be made.
    pub fn ensure_certificates(
        &mut self,
        certificates: &[Certificate],
        nodes: &[(InstanceKey, HostName, Ipv4Addr)],
        now: Timestamp,
    ) -> Result<bool> {
        let Contents { cluster, authorities, clients, nodes: known, .. } = &mut self.contents;
        let before = known.len();
        known.retain(|key, _| nodes.iter().any(|(node, ..)| node == key));
        let mut changed = known.len() != before;
        for certificate in certificates {
            let authority = match authorities.entry(certificate.authority.name.to_owned()) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(missing) => {
                    changed = true;
                    missing.insert(authority::generate(cluster, certificate.authority, now)?)
                }
            };
            if certificate.purpose == Purpose::Controller {
                if clients.get(certificate.name).is_none_or(|leaf| leaf.is_due(now)) {
                    let leaf = authority::sign_client(authority, cluster, *certificate, now)?;
                    clients.insert(certificate.name.to_owned(), leaf);
                    changed = true;
                }
                continue;
            }
            for (position, (key, hostname, address)) in nodes.iter().enumerate() {
                let holder = Holder { key, hostname, address: *address };
                let leaves = known.entry(key.clone()).or_default();
                if leaves.get(certificate.name).is_none_or(|leaf| leaf.is_due(now) || !leaf.is_for(&holder)) {
                    let leaf =
                        authority::sign_instance(authority, cluster, *certificate, &holder, Made { now, position })?;
                    leaves.insert(certificate.name.to_owned(), leaf);
                    changed = true;
                }
            }
        }
        Ok(changed)
    }

    /// The next [`Vault::ensure_certificates`] makes new certificates of the node, or hactl's own.
    pub fn forget_certificates(&mut self, node: Option<&InstanceKey>) {
        match node {
            Some(node) => drop(self.contents.nodes.remove(node)),
            None => self.contents.clients.clear(),
        }
    }

    /// What signs the short-lived certificates of a drill.
    pub fn short_leaves(&self) -> ShortLeaves {
        ShortLeaves::new(self.cluster(), &self.contents.authorities)
    }

    /// A seal of `text`: only a program that has opened the secrets can make it.
    #[must_use]
    pub fn seal(&self, text: &str) -> String {
        let secret = Zeroizing::new(["hactl seal\n", self.contents.ssh.private.expose()].concat());
        let mut key = Key::<Hmac<Sha256>>::default();
        key[..32].copy_from_slice(&Sha256::digest(secret.as_bytes()));
        let mut seal = Hmac::<Sha256>::new(&key);
        seal.update(text.as_bytes());
        BASE64_STANDARD.encode(seal.finalize().into_bytes())
    }

    /// The cluster's identity, on everything that is made for it.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        self.contents.uuid
    }

    #[must_use]
    pub const fn cluster(&self) -> &ClusterName {
        &self.contents.cluster
    }

    /// The key pair that opens the nodes.
    #[must_use]
    pub const fn ssh_key(&self) -> &SshKey {
        &self.contents.ssh
    }

    /// The SSH host keys that are pinned.
    #[must_use]
    pub const fn host_keys(&self) -> &HostKeys {
        &self.contents.host_keys
    }

    /// Pins these host keys and no others. True when anything changed.
    pub fn set_host_keys(&mut self, host_keys: HostKeys) -> bool {
        let changed = self.contents.host_keys != host_keys;
        self.contents.host_keys = host_keys;
        changed
    }

    /// Pins these host keys and no others, in the file as well.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn pin_host_keys(&mut self, host_keys: HostKeys) -> Result<()> {
        if self.set_host_keys(host_keys) { self.save() } else { Ok(()) }
    }

    /// All passwords: those given from outside, and the file's own where none is given. Accounts are all that
    /// [`Vault::ensure_passwords`] was ever told of.
    #[must_use]
    pub fn passwords(&self) -> BTreeMap<Account, Secret> {
        let mut passwords = self.contents.passwords.clone();
        passwords.extend(self.given.clone());
        passwords
    }

    /// The password of an account.
    ///
    /// # Errors
    /// When the file is older than the account.
    pub fn password(&self, account: &Account) -> Result<&Secret> {
        let known = self.given.get(account).or_else(|| self.contents.passwords.get(account));
        known.ok_or_else(|| self.lacks(format!("the password of {account}")))
    }

    /// Every secret in it, the given ones too, for code that must not show any.
    pub fn all(&self) -> impl Iterator<Item = &Secret> {
        let Contents { ssh, authorities, passwords, clients, nodes, .. } = &self.contents;
        let leaves = authorities.values().chain(clients.values()).chain(nodes.values().flat_map(BTreeMap::values));
        [&ssh.private]
            .into_iter()
            .chain(passwords.values())
            .chain(self.given.values())
            .chain(leaves.map(|leaf| &leaf.key))
    }

    /// The certificates of all authorities by their names, PEM.
    #[must_use]
    pub fn authorities(&self) -> BTreeMap<String, String> {
        let authorities = self.contents.authorities.iter();
        authorities.map(|(name, leaf)| (name.clone(), leaf.certificate.clone())).collect()
    }

    /// The certificate of an authority, PEM.
    ///
    /// # Errors
    /// When the file is older than the authority.
    pub fn authority(&self, authority: Authority) -> Result<&str> {
        let leaf = self.contents.authorities.get(authority.name);
        leaf.map(|leaf| leaf.certificate.as_str())
            .ok_or_else(|| self.lacks(format!("the {} CA", authority.subject)))
    }

    /// A certificate of the controller.
    ///
    /// # Errors
    /// When the file is older than the certificate.
    pub fn client(&self, certificate: Certificate) -> Result<&Leaf> {
        let leaf = self.contents.clients.get(certificate.name);
        leaf.ok_or_else(|| self.lacks(format!("the {} certificate", certificate.name)))
    }

    /// The certificates of every node of the last [`Vault::ensure_certificates`], by their names.
    #[must_use]
    pub const fn node_leaves(&self) -> &BTreeMap<InstanceKey, BTreeMap<String, Leaf>> {
        &self.contents.nodes
    }

    /// What was looked for in a file that was written before hactl knew it.
    fn lacks(&self, what: String) -> Error {
        Error::failed("secrets-incomplete", "use the secrets file", self.file.display())
            .cause(format!("an earlier version of hactl wrote it: {what} is not in it"))
            .hint(format!("Run `hactl up {}` to create what is missing", self.cluster()))
    }
}
