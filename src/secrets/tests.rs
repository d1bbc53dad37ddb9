//! The vault as its callers use it, on real files.

mod certificates;
mod client;
mod given;
mod version;

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::{
    context::{Context, Dirs},
    error::{Kind, Result},
    event::Events,
    exec::Command,
    model::{Account, Authority, Certificate, ClusterName, DatabaseName, HostName, InstanceKey},
};

/// Certificates of every authority and purpose.
const KINDS: &[Certificate] = &[
    Certificate::ETCD_PEER,
    Certificate::ETCD_SERVER,
    Certificate::PATRONI,
    Certificate::POSTGRESQL,
    Certificate::CONTROLLER,
];

struct Site {
    dir: TempDir,
    context: Context,
    paths: SecretsPaths,
}

fn cluster() -> ClusterName {
    ClusterName::new("pg").unwrap()
}

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn nodes() -> Vec<(InstanceKey, HostName, Ipv4Addr)> {
    (1..=2_u8)
        .map(|n| {
            let key = InstanceKey::new(format!("node{n}")).unwrap();
            (key, HostName::new(format!("pg-prod-node{n}")).unwrap(), Ipv4Addr::new(10, 0, 0, n))
        })
        .collect()
}

impl Site {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let env = BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").unwrap())]);
        let context =
            Context { dirs: Dirs::new(dir.path(), &env), env, events: Events::channel().0, stop: Default::default() };
        let paths = SecretsPaths::new(&context.dirs, &cluster(), None);
        Self { dir, context, paths }
    }

    async fn vault(&self) -> Result<Vault> {
        let (accounts, certificates) = (Account::of_every_cluster(), KINDS);
        Vault::open_or_create(&self.context, &cluster(), &self.paths, &accounts, certificates, now()).await
    }

    /// Opening fails, names the file, gives a hint and leaves the file alone.
    async fn refuses(&self, expected: &str) {
        let before = fs::read(&self.paths.file).unwrap();
        let error = self.vault().await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("pg.secrets.age") && error.hint.is_some(), "{text}");
        assert_eq!(fs::read(&self.paths.file).unwrap(), before);
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    async fn openssl(&self, args: &[&str]) -> String {
        let done = Command::new("openssl").args(args.iter().copied()).run(&self.context, |_| ()).await.unwrap();
        assert!(done.status.success(), "openssl {args:?}: {:?}", done.tail);
        done.stdout
    }

    /// Runs a program as root, by `sudo` where the test does not.
    async fn as_root(&self, program: &str, args: &[&str]) {
        let command = match nix::unistd::getuid().is_root() {
            true => Command::new(program),
            false => Command::new("sudo").args(["-n", program]),
        };
        command.args(args.iter().copied()).succeed(&self.context, |_| ()).await.unwrap();
    }
}

/// The account of the owner `app`.
fn app() -> Account {
    Account::Owner(DatabaseName::new("app").unwrap())
}

/// A certificate of an instance, PEM.
fn leaf(vault: &Vault, key: &InstanceKey, kind: Certificate) -> Option<String> {
    Some(vault.node_leaves().get(key)?.get(kind.name)?.certificate.clone())
}

/// A command of the shell, as the cluster file has it.
fn words(command: &str) -> Vec<String> {
    ["sh", "-c", command].map(str::to_owned).into()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn secrets_file_missing_for_existing_machines_is_refused() {
    let site = Site::new();
    let fleet = site.context.dirs.cluster(&cluster()).fleet();
    fs::create_dir_all(fleet.parent().unwrap()).unwrap();
    fs::write(&fleet, "{}").unwrap();
    let error = site.vault().await.unwrap_err();
    assert_eq!((error.code, error.kind.exit_code()), ("secrets-missing", 3));
    assert!(error.hint.unwrap().contains("Restore the file") && !site.paths.file.exists());
    // A command that only reads does not advise `up` first, which would say the same.
    let error = Vault::open(&site.context, &cluster(), &site.paths).await.unwrap_err();
    assert_eq!(error.code, "secrets-missing");
    assert!(error.hint.unwrap().contains("restore the file"));
    fs::remove_file(&fleet).unwrap();
    site.vault().await.unwrap();
}

#[tokio::test]
async fn secrets_saved_and_opened_again_are_equal() {
    let site = Site::new();
    let mut vault = site.vault().await.unwrap();
    assert!(vault.ensure_passwords(&[app()]).unwrap());
    assert!(!vault.ensure_passwords(&[app()]).unwrap());
    assert!(vault.ensure_certificates(KINDS, &nodes(), now()).unwrap());
    vault.save().unwrap();

    assert_eq!(mode(&site.paths.key), 0o600);
    assert_eq!(mode(site.paths.key.parent().unwrap()), 0o700);
    let text = fs::read_to_string(&site.paths.file).unwrap();
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"), "{text}");

    let again = Vault::open(&site.context, &cluster(), &site.paths).await.unwrap();
    assert_eq!(again.uuid(), vault.uuid());
    assert_eq!(again.passwords(), vault.passwords());
    assert_eq!(again.ssh_key().private, vault.ssh_key().private);
    let key = &nodes()[0].0;
    assert_eq!(leaf(&again, key, Certificate::PATRONI), leaf(&vault, key, Certificate::PATRONI));
    let password = again.password(&Account::SUPERUSER).unwrap().expose();
    assert!(password.len() == 32 && password.bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_ne!(password, again.password(&Account::REPLICATION).unwrap().expose());

    let shown = format!("{again:?}");
    assert!(!shown.contains("PRIVATE KEY") && !shown.contains(password) && !shown.contains("AGE-SECRET"), "{shown}");
}

#[tokio::test]
async fn damaged_secrets_file_is_refused_and_kept() {
    let site = Site::new();
    site.vault().await.unwrap();
    let good = fs::read_to_string(&site.paths.file).unwrap();

    let middle = good.len() / 2;
    let other = if good.as_bytes()[middle] == b'A' { "B" } else { "A" };
    for broken in [format!("{}{other}{}", &good[..middle], &good[middle + 1..]), good[..middle].into(), String::new()] {
        fs::write(&site.paths.file, broken).unwrap();
        site.refuses("the file is damaged").await;
    }
    for short in ["", "hello\n"] {
        fs::write(&site.paths.file, short).unwrap();
        site.refuses("the file is damaged: it is empty, or ends too early").await;
    }

    fs::write(&site.paths.file, &good).unwrap();
    fs::rename(&site.paths.key, site.dir.path().join("saved.key")).unwrap();
    site.refuses("its key is not in").await;
    assert!(!site.paths.key.exists(), "no new key is made while the file exists");
    assert_eq!(site.vault().await.unwrap_err().kind, Kind::Missing);

    // The key of another cluster.
    let stranger = Site::new();
    stranger.vault().await.unwrap();
    fs::copy(&stranger.paths.key, &site.paths.key).unwrap();
    site.refuses("the file is not encrypted for the key in").await;

    fs::rename(site.dir.path().join("saved.key"), &site.paths.key).unwrap();
    site.vault().await.unwrap();
}

#[tokio::test]
async fn secrets_file_for_another_cluster_is_refused() {
    let site = Site::new();
    site.vault().await.unwrap();
    let name = ClusterName::new("other").unwrap();
    let error = Vault::open(&site.context, &name, &site.paths).await.unwrap_err();
    assert!(error.to_string().contains("secrets of the cluster pg, not of other"), "{error}");
}

#[tokio::test]
async fn invalid_key_file_is_refused_without_its_text() {
    let site = Site::new();
    fs::create_dir_all(site.paths.key.parent().unwrap()).unwrap();
    fs::write(&site.paths.key, "hunter2\n").unwrap();
    let error = site.vault().await.unwrap_err().to_string();
    assert!(error.contains("age.key") && !error.contains("hunter2"), "{error}");
    assert!(!site.paths.file.exists());
}

#[tokio::test]
async fn secrets_file_opens_with_an_ssh_key_or_a_command() {
    let mut site = Site::new();
    let key = contents::SshKey::generate(&cluster()).unwrap();
    let path = site.file("id", key.private.expose());
    site.context.env.insert(KEY_FILE.into(), path.display().to_string());
    let uuid = site.vault().await.unwrap().uuid();
    assert!(!site.paths.key.exists(), "no key of our own where the user gave one");

    site.context.env.remove(KEY_FILE);
    site.context.env.insert(KEY_COMMAND.into(), format!("cat '{}'", path.display()));
    assert_eq!(site.vault().await.unwrap().uuid(), uuid);

    site.context.env.insert(KEY_COMMAND.into(), "echo secret; echo no agent >&2; exit 7".into());
    let error = site.vault().await.unwrap_err().to_string();
    assert!(error.contains("status 7") && error.contains("no agent") && !error.contains("secret\n"), "{error}");
}

#[tokio::test]
async fn secrets_file_saved_again_keeps_every_recipient() {
    let mut site = Site::new();
    let mut vault = site.vault().await.unwrap();
    let friend = contents::SshKey::generate(&cluster()).unwrap();
    assert!(vault.add_recipient("age1nonsense").is_err());
    vault.add_recipient(&friend.public).unwrap();
    vault.save().unwrap();
    site.vault().await.unwrap().save().unwrap();

    let path = site.file("friend", friend.private.expose());
    site.context.env.insert(KEY_FILE.into(), path.display().to_string());
    site.vault().await.unwrap();
}

#[tokio::test]
async fn recipient_is_removed_only_if_the_current_key_still_opens_the_file() {
    let mut site = Site::new();
    let mut vault = site.vault().await.unwrap();
    let own = vault.recipients().unwrap();
    assert!(own.len() == 1 && own[0].own && own[0].key.starts_with("age1"), "{own:?}");

    let friend = contents::SshKey::generate(&cluster()).unwrap();
    assert!(vault.add_recipient(&format!(" {}\n", friend.public)).unwrap());
    let without_comment = friend.public.rsplit_once(' ').unwrap().0;
    assert!(!vault.add_recipient(without_comment).unwrap(), "the same key with another comment");
    assert_eq!(vault.recipients().unwrap()[1], Recipient { key: friend.public.clone(), own: false });

    let error = vault.remove_recipient(&own[0].key).unwrap_err();
    assert!(error.to_string().contains("could not open the file") && error.hint.is_some(), "{error}");
    let stranger = age::x25519::Identity::generate().to_public().to_string();
    let error = vault.remove_recipient(&stranger).unwrap_err();
    assert!(error.to_string().contains("is not encrypted for this key"), "{error}");
    vault.save().unwrap();

    // The second key can remove the first, which then no longer opens the file.
    let path = site.file("friend", friend.private.expose());
    site.context.env.insert(KEY_FILE.into(), path.display().to_string());
    let mut vault = site.vault().await.unwrap();
    vault.remove_recipient(&own[0].key).unwrap();
    assert!(vault.remove_recipient(without_comment).is_err(), "the last one of all");
    vault.save().unwrap();
    site.context.env.remove(KEY_FILE);
    site.refuses("the file is not encrypted for the key in").await;
}

#[tokio::test]
async fn recipient_that_is_not_a_public_key_is_refused_without_its_text() {
    use age::secrecy::ExposeSecret;
    let site = Site::new();
    let mut vault = site.vault().await.unwrap();
    let private = age::x25519::Identity::generate().to_string().expose_secret().to_owned();
    for (text, expected) in [
        (private.as_str(), "it is a private key"),
        ("age1nonsense", "cannot encrypt the secrets file for age1nonsense"),
        ("ssh-dss AAAA", "neither an age public key nor"),
        ("", "neither an age public key nor"),
    ] {
        let error = vault.add_recipient(text).unwrap_err();
        assert!(error.hint.as_ref().unwrap().contains("age1..., ssh-ed25519"), "{error}");
        let error = error.to_string();
        assert!(error.contains(expected) && !error.contains("AGE-SECRET"), "{error}");
    }
}

#[tokio::test]
async fn secrets_file_changed_by_another_process_is_not_overwritten() {
    let site = Site::new();
    let mut vault = site.vault().await.unwrap();
    site.vault().await.unwrap().save().unwrap();
    let error = vault.save().unwrap_err();
    assert!(error.to_string().contains("another process changed it"), "{error}");
}

/// Needs root for a small tmpfs; says so and passes where it cannot have one.
#[tokio::test]
#[ignore = "mounts a small file system as root: `make test` runs it"]
async fn secrets_file_on_a_full_disk_is_unchanged() {
    let site = Site::new();
    let target = site.dir.path().display().to_string();
    let options = format!("size=64k,uid={},gid={}", nix::unistd::getuid(), nix::unistd::getgid());
    site.as_root("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", &target]).await;
    let result = async {
        let mut vault = site.vault().await.unwrap();
        let before = fs::read(&site.paths.file).unwrap();
        vault.ensure_certificates(KINDS, &nodes(), now()).unwrap();
        let filler = vec![0; 128 * 1024];
        let full = fs::write(site.dir.path().join("filler"), filler).is_err();
        let saved = vault.save();
        let names: Vec<_> = fs::read_dir(site.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        (full, saved, before == fs::read(&site.paths.file).unwrap(), names.len())
    }
    .await;
    site.as_root("umount", &["-l", &target]).await;
    let (full, saved, same, names) = result;
    assert!(full && same);
    let error = saved.unwrap_err();
    assert!(error.to_string().contains("No space left") && error.hint.is_some(), "{error}");
    assert_eq!(names, 3, "secrets file, .hactl and the filler; no temporary file stays");
}

#[tokio::test]
async fn pinned_host_keys_are_saved_and_removed_by_name() {
    let site = Site::new();
    let mut vault = site.vault().await.unwrap();
    assert_eq!(vault.host_keys(), &HostKeys::default());
    let keys = HostKeys {
        machines: nodes().into_iter().map(|(key, ..)| (key, "ssh-ed25519 AAAA".to_owned())).collect(),
        bastions: BTreeMap::from([("bastion:22".to_owned(), "ssh-ed25519 BBBB".to_owned())]),
        ..HostKeys::default()
    };
    assert!(vault.set_host_keys(keys.clone()) && !vault.set_host_keys(keys.clone()));
    vault.save().unwrap();
    let mut kept = site.vault().await.unwrap().host_keys().clone();
    assert_eq!(kept, keys);
    assert!(kept.forget("node1") && !kept.forget("node1") && kept.forget("bastion:22"));
    assert_eq!(kept.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["node2"]);
}

#[test]
fn host_keys_from_elsewhere_fill_gaps_but_restore_no_removed_key() {
    let noted = || HostKeys {
        machines: nodes().into_iter().map(|(key, ..)| (key, "ssh-ed25519 AAAA".to_owned())).collect(),
        bastions: BTreeMap::from([("bastion:22".to_owned(), "ssh-ed25519 BBBB".to_owned())]),
        ..HostKeys::default()
    };
    let mut known = noted();
    known.prefer(&HostKeys::default());
    assert_eq!(known, noted());

    let mut own = noted();
    assert!(own.forget("node1") && own.forget("bastion:22"));
    own.machines.insert("node2".parse().unwrap(), "ssh-ed25519 CCCC".to_owned());
    known.prefer(&own);
    assert_eq!(known, own);
    // A run elsewhere recorded another key than the forgotten one.
    let mut newer = noted();
    newer.machines.insert("node1".parse().unwrap(), "ssh-ed25519 DDDD".to_owned());
    newer.prefer(&own);
    assert_eq!(newer.machines[&"node1".parse().unwrap()], "ssh-ed25519 DDDD");
    assert!(own.known().forgotten.is_empty());
}

#[tokio::test]
async fn seal_is_equal_only_for_equal_text_and_secrets() {
    let site = Site::new();
    let seal = site.vault().await.unwrap().seal("text");
    assert_eq!(site.vault().await.unwrap().seal("text"), seal);
    assert_ne!(site.vault().await.unwrap().seal("texts"), seal);
    assert_ne!(Site::new().vault().await.unwrap().seal("text"), seal);
}
