//! The vault as the pipeline uses it, on real files; certificates are judged by the openssl binary.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use jiff::{Span, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::{
    context::{Context, Dirs},
    error::{Kind, Result},
    event::Events,
    exec::Command,
    fleet::{Fleet, FleetNode, Hop, SshTarget},
    model::{Account, ClusterName, DatabaseName, HostName, InstanceKey, Role},
    plan::Node,
};

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
        Vault::open_or_create(&self.context, &cluster(), &self.paths, now()).await
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
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn secrets_of_machines_that_are_there_are_never_made_anew() {
    let site = Site::new();
    let fleet = site.context.dirs.cluster(&cluster()).fleet();
    fs::create_dir_all(fleet.parent().unwrap()).unwrap();
    fs::write(&fleet, "{}").unwrap();
    let error = site.vault().await.unwrap_err();
    assert_eq!((error.code, error.kind.exit_code()), ("secrets-missing", 3));
    assert!(error.hint.unwrap().contains("bring it back") && !site.paths.file.exists());
    // Those that only look send nobody to `up` first, which would say the same.
    let error = Vault::open(&site.context, &cluster(), &site.paths).await.unwrap_err();
    assert_eq!(error.code, "secrets-missing");
    assert!(error.hint.unwrap().contains("bring it back"));
    fs::remove_file(&fleet).unwrap();
    site.vault().await.unwrap();
}

#[tokio::test]
async fn what_was_made_once_is_read_again() {
    let site = Site::new();
    let mut vault = site.vault().await.unwrap();
    let owner = DatabaseName::new("app").unwrap();
    assert!(vault.ensure_owners(std::slice::from_ref(&owner)).unwrap());
    assert!(!vault.ensure_owners(std::slice::from_ref(&owner)).unwrap());
    assert!(vault.ensure_leaves(&nodes(), now()).unwrap());
    vault.save().unwrap();

    assert_eq!(mode(&site.paths.key), 0o600);
    assert_eq!(mode(site.paths.key.parent().unwrap()), 0o700);
    let text = fs::read_to_string(&site.paths.file).unwrap();
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"), "{text}");

    let again = Vault::open(&site.context, &cluster(), &site.paths).await.unwrap();
    assert_eq!(again.uuid(), vault.uuid());
    assert_eq!(again.passwords().owners[&owner], vault.passwords().owners[&owner]);
    assert_eq!(again.ssh_key().private, vault.ssh_key().private);
    let key = &nodes()[0].0;
    assert_eq!(
        again.leaf(key, LeafKind::Patroni).unwrap().certificate,
        vault.leaf(key, LeafKind::Patroni).unwrap().certificate
    );
    let passwords = again.passwords();
    let password = passwords.superuser.expose();
    assert!(password.len() == 32 && password.bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_ne!(password, passwords.replication.expose());

    let shown = format!("{again:?}");
    assert!(!shown.contains("PRIVATE KEY") && !shown.contains(password) && !shown.contains("AGE-SECRET"), "{shown}");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_an_error_and_stays() {
    let site = Site::new();
    site.vault().await.unwrap();
    let good = fs::read_to_string(&site.paths.file).unwrap();

    let middle = good.len() / 2;
    let other = if good.as_bytes()[middle] == b'A' { "B" } else { "A" };
    for broken in [format!("{}{other}{}", &good[..middle], &good[middle + 1..]), good[..middle].into(), String::new()] {
        fs::write(&site.paths.file, broken).unwrap();
        site.refuses("the file is broken").await;
    }

    fs::write(&site.paths.file, &good).unwrap();
    fs::rename(&site.paths.key, site.dir.path().join("saved.key")).unwrap();
    site.refuses("the key that opens it is not in").await;
    assert!(!site.paths.key.exists(), "no new key is made while the file exists");
    assert_eq!(site.vault().await.unwrap_err().kind, Kind::Missing);

    // The key of another cluster.
    let stranger = Site::new();
    stranger.vault().await.unwrap();
    fs::copy(&stranger.paths.key, &site.paths.key).unwrap();
    site.refuses("it is not encrypted for the key in").await;

    fs::rename(site.dir.path().join("saved.key"), &site.paths.key).unwrap();
    site.vault().await.unwrap();
}

#[tokio::test]
async fn the_file_of_another_cluster_is_refused() {
    let site = Site::new();
    site.vault().await.unwrap();
    let name = ClusterName::new("other").unwrap();
    let error = Vault::open(&site.context, &name, &site.paths).await.unwrap_err();
    assert!(error.to_string().contains("secrets of the cluster pg, not of other"), "{error}");
}

#[tokio::test]
async fn a_broken_key_file_is_never_quoted() {
    let site = Site::new();
    fs::create_dir_all(site.paths.key.parent().unwrap()).unwrap();
    fs::write(&site.paths.key, "hunter2\n").unwrap();
    let error = site.vault().await.unwrap_err().to_string();
    assert!(error.contains("age.key") && !error.contains("hunter2"), "{error}");
    assert!(!site.paths.file.exists());
}

#[tokio::test]
async fn an_ssh_key_or_a_command_opens_the_file() {
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

fn words(command: &str) -> Vec<String> {
    ["sh", "-c", command].map(str::to_owned).into()
}

impl Site {
    /// The vault with passwords from the environment and from `commands`.
    async fn given(&self, commands: &[(Account, Vec<String>)]) -> Result<Vault> {
        let mut vault = self.vault().await?;
        let commands: Vec<_> = commands.iter().map(|(account, words)| (account, words.as_slice())).collect();
        let owners = [DatabaseName::new("app").unwrap()];
        let sources = Sources { commands: &commands, dir: self.dir.path(), owners: &owners };
        vault.take_given(&self.context, &sources).await?;
        vault.ensure_owners(&owners)?;
        Ok(vault)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.context.env.insert(name.to_owned(), value.to_owned());
    }
}

#[tokio::test]
async fn a_given_password_takes_the_place_of_the_files_and_is_never_saved() {
    let mut site = Site::new();
    let app = Account::Owner(DatabaseName::new("app").unwrap());
    site.set("HACTL_SECRET_SUPERUSER", "of the environment");
    site.file("password", "of a file\n");
    let commands = [
        (Account::Superuser, words("touch ran; echo of a command")),
        (Account::RestApi, words("cat password")),
        (app.clone(), words("printf 'a:b\\\\c'")),
    ];
    let mut vault = site.given(&commands).await.unwrap();
    let passwords = vault.passwords();
    assert_eq!(passwords.superuser.expose(), "of the environment");
    assert_eq!(passwords.restapi.expose(), "of a file");
    let owner = DatabaseName::new("app").unwrap();
    assert_eq!(passwords.owners[&owner].expose(), r"a:b\c");
    assert_eq!(passwords.replication.expose().len(), 32, "the file's own");
    assert!(!site.dir.path().join("ran").exists(), "a variable goes first");
    vault.save().unwrap();

    site.context.env.remove("HACTL_SECRET_SUPERUSER");
    let own = site.vault().await.unwrap().passwords();
    assert!(own.superuser.expose().len() == 32 && own.owners.is_empty());
    assert_eq!(own.replication, passwords.replication);
}

#[tokio::test]
async fn what_is_no_password_is_refused_and_never_quoted() {
    let mut site = Site::new();
    for (name, value, expected) in [
        ("HACTL_SECRET_SUPERUSR", "hunter2", "did you mean HACTL_SECRET_SUPERUSER?"),
        ("HACTL_SECRET_OWNER_AP", "hunter2", "did you mean HACTL_SECRET_OWNER_APP?"),
        ("HACTL_SECRET_REWIND", "", "is empty"),
        ("HACTL_SECRET_REPLICATION", "hunter2\nx", "more than one line"),
        ("HACTL_SECRET_RESTAPI", "hunter2\u{e9}", "not printable ASCII"),
    ] {
        site.set(name, value);
        let error = site.given(&[]).await.unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(expected) && !error.contains("hunter2"), "{error}");
    }
    let error = site.given(&[]).await.unwrap_err();
    assert_eq!((error.causes.len(), error.kind), (5, Kind::Usage), "all at once");

    site.context.env.retain(|name, _| !name.starts_with(Account::PREFIX));
    for (command, expected) in [
        ("echo hunter2; echo the store is locked >&2; exit 4", "the store is locked"),
        ("true", "is empty"),
        ("echo hunter2; echo", "more than one line"),
        ("printf 'hunter2\\000'", "not printable ASCII"),
    ] {
        let error = site.given(&[(Account::Rewind, words(command))]).await.unwrap_err();
        assert!(error.object.contains("secrets.rewind") && error.hint.is_some(), "{error}");
        let causes = error.causes.join(" ");
        assert!(causes.contains(expected) && !causes.contains("hunter2"), "{causes}");
    }
}

#[tokio::test]
async fn a_save_keeps_every_recipient() {
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
async fn recipients_come_and_go_but_never_the_last_one_of_the_key_at_hand() {
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

    // With the friend's key the other one can go; it then opens nothing any more.
    let path = site.file("friend", friend.private.expose());
    site.context.env.insert(KEY_FILE.into(), path.display().to_string());
    let mut vault = site.vault().await.unwrap();
    vault.remove_recipient(&own[0].key).unwrap();
    assert!(vault.remove_recipient(without_comment).is_err(), "the last one of all");
    vault.save().unwrap();
    site.context.env.remove(KEY_FILE);
    site.refuses("it is not encrypted for the key in").await;
}

#[tokio::test]
async fn a_private_key_as_recipient_is_never_shown() {
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
        assert!(error.hint.as_ref().unwrap().contains("expected age1..., ssh-ed25519"), "{error}");
        let error = error.to_string();
        assert!(error.contains(expected) && !error.contains("AGE-SECRET"), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_is_not_overwritten() {
    let site = Site::new();
    let mut vault = site.vault().await.unwrap();
    site.vault().await.unwrap().save().unwrap();
    let error = vault.save().unwrap_err();
    assert!(error.to_string().contains("another process changed it"), "{error}");
}

#[tokio::test]
async fn certificates_are_renewed_when_due_moved_or_gone() {
    let site = Site::new();
    let mut vault = site.vault().await.unwrap();
    let mut nodes = nodes();
    assert!(vault.ensure_leaves(&nodes, now()).unwrap());
    assert!(!vault.ensure_leaves(&nodes, now()).unwrap());
    let months = |count| (now().to_zoned(jiff::tz::TimeZone::UTC) + Span::new().months(count)).timestamp();
    assert!(!vault.ensure_leaves(&nodes, months(15)).unwrap());
    assert!(vault.ensure_leaves(&nodes, months(17)).unwrap());
    assert!(!vault.ensure_leaves(&nodes, months(17)).unwrap());
    assert!(vault.ensure_leaves(&nodes, months(-2)).unwrap(), "a clock that was wrong when they were made");

    let kept = vault.leaf(&nodes[1].0, LeafKind::EtcdPeer).unwrap().certificate.clone();
    nodes[0].2 = Ipv4Addr::new(10, 0, 0, 9);
    assert!(vault.ensure_leaves(&nodes, months(-2)).unwrap());
    assert_eq!(vault.leaf(&nodes[1].0, LeafKind::EtcdPeer).unwrap().certificate, kept);
    let gone = nodes.remove(0).0;
    assert!(vault.ensure_leaves(&nodes, months(-2)).unwrap());
    assert!(vault.leaf(&gone, LeafKind::EtcdPeer).is_none());
}

#[tokio::test]
async fn openssl_accepts_every_chain_for_its_purpose_and_no_other() {
    let site = Site::new();
    let mut vault = site.vault().await.unwrap();
    vault.ensure_leaves(&nodes(), now()).unwrap();
    let at = now().as_second().to_string();
    let all = [AuthorityKind::EtcdPeer, AuthorityKind::Control, AuthorityKind::Postgresql];
    let key = &nodes()[0].0;
    for kind in LeafKind::ALL {
        let leaf = vault.leaf(key, kind).unwrap();
        let certificate = site.file("leaf.pem", &leaf.certificate).display().to_string();
        let private = site.file("leaf.key", leaf.key.expose()).display().to_string();
        let ca = site.file("ca.pem", vault.authority(kind.authority())).display().to_string();
        let server: &[&str] = &["-purpose", "sslserver", "-verify_ip", "10.0.0.1", "-verify_hostname", "pg-prod-node1"];
        let client: &[&str] = &["-purpose", "sslclient", "-verify_ip", "127.0.0.1", "-verify_hostname", "localhost"];
        let verify = |how: &[&str], ca: &str| {
            let args = [&["verify", "-x509_strict", "-attime", &at, "-CAfile", ca], how, &[&certificate]].concat();
            Command::new("openssl").args(args)
        };
        let done = verify(server, &ca).run(&site.context, |_| ()).await.unwrap();
        assert!(done.status.success(), "{kind:?}: {:?}", done.tail);
        let done = verify(client, &ca).run(&site.context, |_| ()).await.unwrap();
        assert_eq!(done.status.success(), kind != LeafKind::Postgresql, "{kind:?}: {:?}", done.tail);
        for other in all.into_iter().filter(|other| *other != kind.authority()) {
            let ca = site.file("other.pem", vault.authority(other)).display().to_string();
            let done = verify(server, &ca).run(&site.context, |_| ()).await.unwrap();
            assert!(!done.status.success(), "{kind:?} verifies against {other:?}");
        }
        let public = site.openssl(&["pkey", "-in", &private, "-pubout"]).await;
        assert_eq!(site.openssl(&["x509", "-in", &certificate, "-noout", "-pubkey"]).await, public);
        assert!(site.openssl(&["x509", "-in", &certificate, "-noout", "-text"]).await.contains("prime256v1"));
    }
    let client = site.file("client.pem", &vault.client().certificate).display().to_string();
    let ca = site.file("ca.pem", vault.authority(AuthorityKind::Control)).display().to_string();
    let base = ["verify", "-x509_strict", "-attime", &at, "-CAfile", &ca, "-purpose", "sslclient", &client];
    site.openssl(&base).await;
}

#[tokio::test]
async fn client_files_are_private_and_complete() {
    let site = Site::new();
    let mut vault = site.vault().await.unwrap();
    let app = DatabaseName::new("app").unwrap();
    let databases = BTreeMap::from([(app.clone(), app.clone())]);
    let nodes = nodes().into_iter().zip([22, 2201]).map(|((key, hostname, address), port)| {
        let node = Node {
            key: key.clone(),
            hostname,
            // The other one is a plain machine.
            roles: if port == 22 { [Role::Patroni].into() } else { Default::default() },
            memory_mib: 1,
            cores: 1,
            disk_gb: None,
            address_index: 10,
        };
        let host = "127.0.0.1".to_owned();
        let ssh = SshTarget {
            host,
            port,
            user: "root".into(),
            sudo: false,
            host_key: Some(format!("ssh-ed25519 AAAA{port}")),
            bastion: None,
        };
        (key, FleetNode { node, address, machine_id: None, ssh, found: None })
    });
    let mut fleet = Fleet { cluster: cluster(), nodes: nodes.collect() };
    let dir = site.context.dirs.cluster(&cluster());
    write_client_files(&dir, &vault, &fleet, &databases, &SshIdentities::default()).unwrap();
    let passfile = dir.client().join(ClientFiles::PASSFILE);
    assert_eq!(fs::read_to_string(passfile).unwrap(), "", "the owner of a database that is not made yet");
    vault.ensure_owners(std::slice::from_ref(&app)).unwrap();
    write_client_files(&dir, &vault, &fleet, &databases, &SshIdentities::default()).unwrap();

    assert_eq!(mode(&dir.client()), 0o700);
    for name in [ClientFiles::KEY, ClientFiles::SSH_KEY, ClientFiles::PASSFILE] {
        assert_eq!(mode(&dir.client().join(name)), 0o600, "{name}");
    }
    let read = |name| fs::read_to_string(dir.client().join(name)).unwrap();
    assert_eq!(read(ClientFiles::KNOWN_HOSTS), "127.0.0.1 ssh-ed25519 AAAA22\n[127.0.0.1]:2201 ssh-ed25519 AAAA2201\n");
    let passwords = vault.passwords();
    let password = passwords.owners[&app].expose();
    let lines = format!("10.0.0.1:5432:*:app:{password}\npg-prod-node1:5432:*:app:{password}\n");
    assert_eq!(read(ClientFiles::PASSFILE), lines);
    let key = dir.client().join(ClientFiles::SSH_KEY).display().to_string();
    let public = Command::new("ssh-keygen").args(["-y", "-f", &key]).succeed(&site.context, |_| ()).await.unwrap();
    assert_eq!(public.stdout.trim(), vault.ssh_key().public);

    let mut escaped = site.vault().await.unwrap();
    let command = words(r"printf 'a:b\\c'");
    let sources = Sources { commands: &[(&Account::Owner(app.clone()), &command)], dir: site.dir.path(), owners: &[] };
    escaped.take_given(&site.context, &sources).await.unwrap();
    write_client_files(&dir, &escaped, &fleet, &databases, &SshIdentities::default()).unwrap();
    assert!(read(ClientFiles::PASSFILE).starts_with("10.0.0.1:5432:*:app:a\\:b\\\\c\n"));
    write_client_files(&dir, &vault, &fleet, &databases, &SshIdentities::default()).unwrap();

    let config = dir.client().join(ClientFiles::SSH_CONFIG);
    let asked = async |node: &str| {
        let config = config.display().to_string();
        Command::new("ssh").args(["-G", "-F", &config, node]).succeed(&site.context, |_| ()).await.unwrap().stdout
    };
    let seen = asked("node2").await;
    let known_hosts = dir.client().join(ClientFiles::KNOWN_HOSTS).display().to_string();
    for line in ["user root", "hostname 127.0.0.1", "port 2201", "stricthostkeychecking true", "identitiesonly no"] {
        assert!(seen.lines().any(|other| other == line), "{line}: {seen}");
    }
    assert!(seen.contains(&format!("userknownhostsfile {known_hosts}")) && !seen.contains("proxycommand"), "{seen}");

    let bastion = Hop { user: "me".into(), host: "bastion".into(), port: 22, host_key: Some("ssh-rsa BBBB".into()) };
    for node in fleet.nodes.values_mut() {
        node.ssh.bastion = Some(bastion.clone());
        node.ssh.host = node.address.to_string();
    }
    let identities = SshIdentities { machine: Some("/a b/key".into()), bastion: vec!["/home/me/id".into()] };
    write_client_files(&dir, &vault, &fleet, &databases, &identities).unwrap();
    assert_eq!(read(ClientFiles::KNOWN_HOSTS).lines().last(), Some("bastion ssh-rsa BBBB"));
    // What Ansible says: the address, and the user besides.
    for word in ["node2", "10.0.0.2"] {
        let seen = asked(word).await;
        let way = format!("proxycommand ssh -F '{}' -W '[%h]:%p' bastion.1", config.display());
        assert!(seen.lines().any(|line| line == way), "{seen}");
        assert!(seen.contains("identitiesonly yes") && seen.contains("identityfile /a b/key"), "{seen}");
    }
    let seen = asked("bastion.1").await;
    for line in ["user me", "hostname bastion", "identitiesonly no", "identityfile /home/me/id"] {
        assert!(seen.lines().any(|other| other == line), "{line}: {seen}");
    }
    assert!(!seen.contains("proxycommand"), "{seen}");
    fleet.nodes.values_mut().for_each(|node| node.ssh.host_key = None);
    write_client_files(&dir, &vault, &fleet, &databases, &identities).unwrap();
    let seen = asked("node2").await;
    assert!(seen.contains("stricthostkeychecking ask") && seen.contains("/.ssh/known_hosts"), "{seen}");
    // Through it, psql connects to a port of this machine.
    assert!(read(ClientFiles::PASSFILE).starts_with(&format!("10.0.0.1:*:*:app:{password}\n")));

    let path = dir.client().join(ClientFiles::PASSFILE);
    write_client_files(&dir, &vault, &fleet, &databases, &SshIdentities::default()).unwrap();
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    write_client_files(&dir, &vault, &fleet, &databases, &SshIdentities::default()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
}

/// Needs root for a small tmpfs; says so and passes where it cannot have one.
#[tokio::test]
async fn a_full_disk_leaves_the_old_file() {
    let site = Site::new();
    let target = site.dir.path().display().to_string();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs", &target]);
    if !nix::unistd::geteuid().is_root() || mount.succeed(&site.context, |_| ()).await.is_err() {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("skipped: no tmpfs can be mounted here");
        }
        return;
    }
    let result = async {
        let mut vault = site.vault().await.unwrap();
        let before = fs::read(&site.paths.file).unwrap();
        vault.ensure_leaves(&nodes(), now()).unwrap();
        let filler = vec![0; 128 * 1024];
        let full = fs::write(site.dir.path().join("filler"), filler).is_err();
        let saved = vault.save();
        let names: Vec<_> = fs::read_dir(site.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        (full, saved, before == fs::read(&site.paths.file).unwrap(), names.len())
    }
    .await;
    Command::new("umount").args(["-l", &target]).succeed(&site.context, |_| ()).await.unwrap();
    let (full, saved, same, names) = result;
    assert!(full && same);
    let error = saved.unwrap_err();
    assert!(error.to_string().contains("No space left") && error.hint.is_some(), "{error}");
    assert_eq!(names, 3, "secrets file, .hactl and the filler; no temporary file stays");
}

#[tokio::test]
async fn pinned_host_keys_are_kept_and_forgotten_by_name() {
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
fn keys_that_others_noted_fill_what_is_missing_and_bring_nothing_back() {
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
    // Another key than the forgotten one was met elsewhere.
    let mut newer = noted();
    newer.machines.insert("node1".parse().unwrap(), "ssh-ed25519 DDDD".to_owned());
    newer.prefer(&own);
    assert_eq!(newer.machines[&"node1".parse().unwrap()], "ssh-ed25519 DDDD");
    assert!(own.known().forgotten.is_empty());
}

#[tokio::test]
async fn a_seal_is_the_same_for_whoever_can_open_the_secrets_and_for_nobody_else() {
    let site = Site::new();
    let seal = site.vault().await.unwrap().seal("text");
    assert_eq!(site.vault().await.unwrap().seal("text"), seal);
    assert_ne!(site.vault().await.unwrap().seal("texts"), seal);
    assert_ne!(Site::new().vault().await.unwrap().seal("text"), seal);
}
