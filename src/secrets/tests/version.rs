//! Versions of the secrets file. `tests/fixture/secrets-v1` is of version 1, and the release before wrote it.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Map, Value, json};

use super::*;
use crate::secrets::{encrypted, identity};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixture/secrets-v1");

/// What a newer hactl of the same version may have put into the maps.
const UNKNOWN: Account = Account::Named(std::borrow::Cow::Borrowed("of_a_newer_hactl"));

/// The passwords in the fixture.
const PASSWORDS: [(&str, &str); 6] = [
    ("superuser", "XZreHZKuqsfu0u2aXOfcWXxPSXd2ul1K"),
    ("replication", "57hPOL47pBICjBpFAaznXVnLfFxotKVj"),
    ("rewind", "TDcTulIUXahU2Od1oyfoIp4vuxR5FvEl"),
    ("restapi", "ksrzqBMNUYnaSPquD23Mdv58EUZ6MCAY"),
    ("owners.app", "7w7BlQTM8AyRGVP0u7W7uZ7rZkUonjlk"),
    ("owners.shop_owner", "7Ngz9Xzt8ppVDQtWCjDnLW4tMh0lLMew"),
];

/// The certificates in the fixture.
const CERTIFICATES: [Certificate; 5] = [
    Certificate::ETCD_PEER,
    Certificate::ETCD_SERVER,
    Certificate::PATRONI,
    Certificate::POSTGRESQL,
    Certificate::CONTROLLER,
];

/// The day after the fixture was made.
fn next_day() -> Timestamp {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

impl Site {
    fn of_version_1() -> Self {
        let site = Self::new();
        fs::create_dir_all(site.paths.key.parent().unwrap()).unwrap();
        fs::copy(format!("{FIXTURE}/age.key"), &site.paths.key).unwrap();
        fs::set_permissions(&site.paths.key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::copy(format!("{FIXTURE}/pg.secrets.age"), &site.paths.file).unwrap();
        site
    }

    async fn opened(&self) -> Result<Vault> {
        Vault::open(&self.context, &cluster(), &self.paths).await
    }

    /// What is in the file, as it is written.
    async fn written(&self) -> Value {
        let identity = identity::Identity::find(&self.context, &self.paths.key).await.unwrap().unwrap();
        let plain = encrypted::open(&identity, &fs::read(&self.paths.file).unwrap()).unwrap();
        serde_json::from_slice(&plain).unwrap()
    }

    /// Changes what is in the file.
    async fn edit(&self, change: impl FnOnce(&mut Map<String, Value>)) {
        let mut written = self.written().await;
        change(written.as_object_mut().unwrap());
        let recipient = identity::recipient(written["recipients"][0].as_str().unwrap()).unwrap();
        let plain = serde_json::to_vec(&written).unwrap();
        let bytes = encrypted::encrypt(std::iter::once(recipient.key.as_ref()), &plain).unwrap();
        fs::write(&self.paths.file, bytes).unwrap();
    }
}

#[tokio::test]
async fn secrets_file_of_version_1_opens_with_all_entries() {
    let site = Site::of_version_1();
    let written = site.written().await;
    assert_eq!(written["version"], 1);
    let vault = site.opened().await.unwrap();
    assert_eq!(vault.uuid().to_string(), "c76d5e65-d154-4f47-832c-0c726c817e63");
    assert_eq!(vault.ssh_key().public, written["ssh"]["public"].as_str().unwrap());
    assert_eq!(vault.recipients().unwrap().len(), 1);

    let passwords = vault.passwords();
    assert_eq!(passwords.len(), PASSWORDS.len());
    for (account, password) in PASSWORDS {
        assert_eq!(passwords[&Account::from(account.to_owned())].expose(), password, "{account}");
    }

    let text = |pointer: &str| written.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    for authority in [Authority::ETCD_PEER, Authority::CONTROL, Authority::POSTGRESQL] {
        let certificate = text(&format!("/authorities/{}/certificate", authority.name));
        assert_eq!(vault.authority(authority).unwrap(), certificate);
    }
    let client = vault.client(Certificate::CONTROLLER).unwrap();
    assert_eq!((&client.certificate, client.key.expose()), (&text("/client/certificate"), &text("/client/key")));
    let leaves = vault.node_leaves();
    assert_eq!(
        leaves.iter().map(|(key, leaves)| (key.as_str(), leaves.len())).collect::<Vec<_>>(),
        [("node1", 4), ("node2", 4)]
    );
    for (key, name, leaf) in leaves.iter().flat_map(|(key, leaves)| leaves.iter().map(move |(n, leaf)| (key, n, leaf)))
    {
        let part = |part| text(&format!("/nodes/{key}/{name}/{part}"));
        assert_eq!((&leaf.certificate, leaf.key.expose()), (&part("certificate"), &part("key")), "{key} {name}");
    }

    let host_keys = vault.host_keys();
    assert_eq!(host_keys.machines[&"node1".parse().unwrap()], text("/host_keys/machines/node1"));
    assert_eq!(host_keys.bastions["10.0.0.3:22"], text("/host_keys/bastions/10.0.0.3:22"));
    assert_eq!(host_keys.forgotten["node2"], text("/host_keys/forgotten/node2"));
    // 1 SSH key, 6 passwords, 3 authorities, 1 client, 8 certificates.
    assert_eq!(vault.all().count(), 19);
}

#[tokio::test]
async fn complete_secrets_file_of_version_1_is_not_rewritten() {
    let site = Site::of_version_1();
    let before = fs::read(&site.paths.file).unwrap();
    let mut vault = site.vault().await.unwrap();
    let accounts = PASSWORDS.map(|(account, _)| Account::from(account.to_owned()));
    assert!(!vault.ensure_passwords(&accounts).unwrap());
    assert!(!vault.ensure_certificates(&CERTIFICATES, &nodes(), next_day()).unwrap());
    vault.pin_host_keys(vault.host_keys().clone()).unwrap();
    assert!(!vault.was_saved());
    assert_eq!(fs::read(&site.paths.file).unwrap(), before);
}

#[tokio::test]
async fn saved_secrets_file_of_version_1_becomes_version_2_with_the_same_secrets() {
    let site = Site::of_version_1();
    let mut expected = site.written().await;
    let map = expected.as_object_mut().unwrap();
    map.insert("version".to_owned(), json!(2));
    let client = map.remove("client").unwrap();
    map.insert("clients".to_owned(), json!({"controller": client}));
    let passwords = map["passwords"].as_object_mut().unwrap();
    let owners = passwords.remove("owners").unwrap();
    for (owner, password) in owners.as_object().unwrap() {
        passwords.insert(format!("owners.{owner}"), password.clone());
    }

    let mut vault = site.opened().await.unwrap();
    vault.save().unwrap();
    assert_eq!(site.written().await, expected);
    let again = site.opened().await.unwrap();
    assert_eq!(again.passwords(), vault.passwords());
    assert_eq!(again.all().collect::<Vec<_>>(), vault.all().collect::<Vec<_>>());
    assert_eq!(again.host_keys(), vault.host_keys());
    assert_eq!(again.seal("text"), vault.seal("text"));
}

#[tokio::test]
async fn missing_entry_in_secrets_file_is_created_on_demand() {
    let site = Site::new();
    site.vault().await.unwrap();
    site.edit(|written| {
        written["passwords"].as_object_mut().unwrap().remove("rewind").unwrap();
        written["authorities"].as_object_mut().unwrap().remove("postgresql").unwrap();
        written["clients"].as_object_mut().unwrap().clear();
    })
    .await;
    let mut vault = site.opened().await.unwrap();
    let before = vault.passwords();
    for error in [
        vault.password(&Account::REWIND).unwrap_err(),
        vault.authority(Authority::POSTGRESQL).unwrap_err(),
        vault.client(Certificate::CONTROLLER).unwrap_err(),
    ] {
        assert_eq!(error.code, "secrets-incomplete");
        assert!(error.hint.is_some_and(|hint| hint.contains("`hactl up pg`")));
    }

    assert!(vault.ensure_passwords(&Account::of_every_cluster()).unwrap());
    assert!(vault.ensure_certificates(KINDS, &nodes(), now()).unwrap());
    vault.save().unwrap();
    let again = site.opened().await.unwrap();
    let mut after = again.passwords();
    assert_eq!(after.remove(&Account::REWIND).unwrap().expose().len(), 32);
    assert_eq!(after, before);
    assert!(again.authority(Authority::POSTGRESQL).is_ok() && again.client(Certificate::CONTROLLER).is_ok());
    assert!(leaf(&again, &nodes()[0].0, Certificate::POSTGRESQL).is_some());
}

#[tokio::test]
async fn unknown_entries_in_secrets_file_survive_saving() {
    let site = Site::new();
    site.vault().await.unwrap().save().unwrap();
    let unknown = json!({"certificate": "of a newer hactl", "key": "its key"});
    site.edit(|written| {
        written["passwords"]["of_a_newer_hactl"] = json!("its password");
        written["authorities"]["of_a_newer_hactl"] = unknown.clone();
        written["clients"]["of_a_newer_hactl"] = unknown.clone();
        written["nodes"]["node1"] = json!({"of_a_newer_hactl": unknown});
    })
    .await;
    let mut vault = site.opened().await.unwrap();
    assert!(!vault.ensure_passwords(&Account::of_every_cluster()).unwrap());
    assert!(vault.ensure_certificates(KINDS, &nodes(), now()).unwrap());
    vault.save().unwrap();

    let written = site.written().await;
    for place in ["/authorities", "/clients", "/nodes/node1"] {
        assert_eq!(written.pointer(&format!("{place}/of_a_newer_hactl")), Some(&unknown), "{place}");
    }
    let again = site.opened().await.unwrap();
    assert_eq!(again.password(&UNKNOWN).unwrap().expose(), "its password");
    assert!(again.all().any(|secret| secret.expose() == "its password"));
    assert!(again.all().any(|secret| secret.expose() == "its key"));
    assert!(!format!("{again:?}").contains("its password"));
}

#[tokio::test]
async fn secrets_file_of_a_newer_version_is_refused() {
    let site = Site::new();
    site.vault().await.unwrap();
    site.edit(|written| _ = written.insert("version".to_owned(), json!(3))).await;
    site.refuses("a newer hactl wrote it (format 3; this one reads up to 2)").await;
    assert_eq!(site.opened().await.unwrap_err().code, "secrets-version");
}
