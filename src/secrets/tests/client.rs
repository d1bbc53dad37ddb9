//! The files for clients, as ssh and ssh-keygen read them.

use super::*;
use crate::{
    fleet::{Fleet, FleetNode, Hop, SshTarget},
    model::Role,
    plan::PlannedInstance,
};

#[tokio::test]
async fn client_files_are_private_and_complete() {
    let site = Site::new();
    let mut vault = site.vault().await.unwrap();
    let name = DatabaseName::new("app").unwrap();
    let databases = BTreeMap::from([(name.clone(), name)]);
    let nodes = nodes().into_iter().zip([22, 2201]).map(|((key, hostname, address), port)| {
        let node = PlannedInstance {
            pooler_port: None,
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
        (key, FleetNode { node, address, machine_id: None, ssh, data_device: None, found: None })
    });
    let mut fleet = Fleet { cluster: cluster(), nodes: nodes.collect() };
    let dir = site.context.dirs.cluster(&cluster());
    write_client_files(&dir, &vault, &fleet, &databases, &SshIdentities::default()).unwrap();
    let passfile = dir.client().join(ClientFiles::PASSFILE);
    assert_eq!(fs::read_to_string(passfile).unwrap(), "", "the owner of a database that is not made yet");
    vault.ensure_passwords(&[app()]).unwrap();
    write_client_files(&dir, &vault, &fleet, &databases, &SshIdentities::default()).unwrap();

    assert_eq!(mode(&dir.client()), 0o700);
    for name in [ClientFiles::KEY, ClientFiles::SSH_KEY, ClientFiles::PASSFILE] {
        assert_eq!(mode(&dir.client().join(name)), 0o600, "{name}");
    }
    let read = |name| fs::read_to_string(dir.client().join(name)).unwrap();
    assert_eq!(read(ClientFiles::KNOWN_HOSTS), "127.0.0.1 ssh-ed25519 AAAA22\n[127.0.0.1]:2201 ssh-ed25519 AAAA2201\n");
    let passwords = vault.passwords();
    let password = passwords[&app()].expose();
    let lines = format!("10.0.0.1:5432:*:app:{password}\npg-prod-node1:5432:*:app:{password}\n");
    assert_eq!(read(ClientFiles::PASSFILE), lines);
    let key = dir.client().join(ClientFiles::SSH_KEY).display().to_string();
    let public = Command::new("ssh-keygen").args(["-y", "-f", &key]).succeed(&site.context, |_| ()).await.unwrap();
    assert_eq!(public.stdout.trim(), vault.ssh_key().public);

    let mut escaped = site.vault().await.unwrap();
    let command = words(r"printf 'a:b\\c'");
    let sources = Sources { commands: &[(&app(), &command)], dir: site.dir.path(), accounts: &[] };
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

    // An edit that is only planned takes no login away.
    let had = read(ClientFiles::PASSFILE);
    fleet.nodes.clear();
    write_client_files(&dir, &vault, &fleet, &BTreeMap::new(), &SshIdentities::default()).unwrap();
    assert_eq!(read(ClientFiles::PASSFILE), had);
}
