//! The records of a cluster on real files, with and without a state that runs elsewhere share.

use std::{collections::BTreeMap, fs};

use super::{
    pull::on_no_machine,
    secrets_file::Secrets,
    shared_record::{Sealed, SharedRecord, belongs, is_sealed, read, text},
    state_location::StateLocation,
    *,
};
use crate::{
    context::{Context, Dirs},
    event::Events,
    fleet::{Fleet, Outputs},
    model::{Backend, InstanceKey, ProvedRestore},
    secrets::{HostKeys, Vault},
};

const THREE: &str = "instances: {b: {}, c: {}, d: {}}\n";

/// A directory with the file of cluster `pg`, and its secrets.
struct Desk {
    dir: tempfile::TempDir,
    context: Context,
}

impl Desk {
    fn new(text: &str) -> Self {
        Self::of(&format!("backend: pg\n{text}"))
    }

    fn of(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env = BTreeMap::new();
        let dirs = Dirs::new(dir.path(), &env);
        let context = Context { dirs, env, events: Events::channel().0, stop: Default::default() };
        let desk = Self { dir, context };
        desk.write(text);
        desk
    }

    fn write(&self, text: &str) {
        fs::write(self.dir.path().join("pg.yaml"), text).unwrap();
    }

    fn cluster(&self) -> Cluster {
        Cluster::open("pg", &self.context.dirs).unwrap()
    }

    fn deployment(&self) -> Deployment {
        Deployment::open(self.cluster())
    }

    async fn vault(&self) -> Vault {
        let mut deployment = self.deployment();
        deployment.open_to_change(&self.context).await.unwrap();
        match deployment.secrets {
            Some(Secrets::Open { vault, .. }) => *vault,
            _ => panic!("the secrets are not open"),
        }
    }

    fn location(&self) -> StateLocation {
        self.cluster().state_location().unwrap()
    }
}

fn outputs(keys: &[&str]) -> Outputs {
    let machine =
        |key: &str| serde_json::from_value(serde_json::json!({"id": key, "name": key, "ipv4": "10.89.0.10"})).unwrap();
    keys.iter().map(|key| (key.parse().unwrap(), machine(key))).collect()
}

#[tokio::test]
async fn voters_and_addresses_chosen_elsewhere_are_kept() {
    let desk = Desk::new(THREE);
    let text = record(&desk.cluster(), &desk.vault().await, None);
    let (left, sealed) = read(&text, &desk.location()).unwrap();
    is_sealed(&sealed, &desk.vault().await, &desk.location()).unwrap();

    // Four data nodes, and the first by name would be picked.
    desk.write("backend: pg\ninstances: {a: {}, b: {}, c: {}, d: {}}\n");
    let mut cluster = desk.cluster();
    assert!(cluster.plan.nodes["a".parse::<InstanceKey>().as_ref().unwrap()].is_voter());
    cluster.choose(&left.nodes, left.settled.clone()).unwrap();
    let voters: Vec<&str> =
        cluster.plan.nodes.values().filter(|node| node.is_voter()).map(|node| node.key.as_str()).collect();
    assert_eq!(voters, ["b", "c", "d"]);
    let indexes: Vec<u8> = cluster.plan.nodes.values().map(|node| node.address_index).collect();
    assert_eq!(indexes, [13, 10, 11, 12], "the new one gets a new place");

    let fleet = Fleet::known(&cluster.plan, &left.nodes, &outputs(&["b", "c"]));
    assert_eq!(fleet.nodes.keys().map(InstanceKey::as_str).collect::<Vec<_>>(), ["b", "c"]);
    assert!(fleet.nodes.values().all(|node| node.node.is_voter()));
}

#[tokio::test]
async fn version_that_runs_is_recorded_here_and_in_the_state_and_another_major_is_refused_with_its_place() {
    let desk = Desk::new(THREE);
    let cluster = desk.cluster();
    assert_eq!((cluster.settled(), desk.cluster().can_move().is_ok()), (None, true));
    cluster.note_settled().unwrap();
    assert_eq!(desk.cluster().settled(), Some(&cluster.plan.settled()));
    // Later notes of the same record keep it.
    desk.cluster().note_choices().unwrap();
    desk.cluster().note().unwrap();
    assert_eq!(desk.cluster().settled(), Some(&cluster.plan.settled()));

    let vault = desk.vault().await;
    let fleet = Fleet::known(&cluster.plan, &cluster.plan.nodes, &outputs(&["b", "c", "d"]));
    let (before, _) = read(&record(&cluster, &vault, Some(&fleet)), &desk.location()).unwrap();
    let (after, sealed) = read(&settled_record(&cluster, &vault, &fleet), &desk.location()).unwrap();
    is_sealed(&sealed, &vault, &desk.location()).unwrap();
    assert_eq!((before.settled, after.settled), (None, Some(cluster.plan.settled())));
    // As an earlier release wrote it.
    assert!(!text(&SharedRecord::of(&cluster, &vault, None)).contains("settled"));

    desk.write(&format!("backend: pg\n{THREE}postgres:\n  version: 16\n"));
    let error = desk.cluster().can_move().unwrap_err();
    assert_eq!(error.code, "version-refused");
    let location = &error.locations[0];
    assert_eq!((location.file.as_str(), location.line, location.column), ("pg.yaml", 4, 12), "{error}");
    assert!(
        error.causes[0].starts_with("pg.yaml:4:12: postgres.version: the cluster has data of PostgreSQL 15"),
        "{error}"
    );
    // The plan itself stays usable: `down` and `status` need it.
    assert_eq!(desk.cluster().plan.postgres.major.number(), 16);
}

#[tokio::test]
async fn sealed_host_key_is_trusted_only_for_its_machine() {
    let file = "platform: {terraform: {dir: infra, pass: [record]}}\n";
    let desk = Desk::of(&format!("{file}{THREE}"));
    let (cluster, mut vault) = (desk.cluster(), desk.vault().await);
    let mut outputs = outputs(&["b", "c", "d"]);
    let known = |outputs: &Outputs| Fleet::known(&cluster.plan, &cluster.plan.nodes, outputs);
    let mut fleet = known(&outputs);
    for (key, node) in &mut fleet.nodes {
        node.ssh.host_key = Some(format!("ssh-ed25519 {key}"));
    }
    let pinned = HostKeys {
        machines: BTreeMap::from([("b".parse().unwrap(), "ssh-ed25519 b".to_owned())]),
        ..HostKeys::default()
    };
    vault.set_host_keys(pinned);
    let record = SharedRecord::of(&cluster, &vault, Some(&fleet));

    // Someone with write access to the state has changed the keys, and d was replaced.
    for machine in outputs.values_mut() {
        machine.host_key = Some("ssh-ed25519 other".to_owned());
    }
    outputs.get_mut(&"d".parse().unwrap()).unwrap().id = "another".to_owned();
    let mut fleet = known(&outputs);
    record.tell(&vault, &mut fleet);
    let told: Vec<_> = fleet.nodes.values().map(|node| node.ssh.host_key.as_deref()).collect();
    assert_eq!(told, [Some("ssh-ed25519 b"), Some("ssh-ed25519 c"), None]);
}

#[tokio::test]
async fn state_of_another_cluster_or_platform_is_refused() {
    let (desk, other) = (Desk::new(THREE), Desk::new(THREE));
    let (vault, foreign) = (desk.vault().await, other.vault().await);
    let code = |record: &SharedRecord, vault| {
        belongs(record, &desk.cluster(), vault, &desk.location()).err().map(|error| error.code)
    };
    let own = SharedRecord::of(&desk.cluster(), &vault, None);
    assert_eq!(code(&own, Some(&vault)), None);
    assert_eq!(code(&own, None), None);
    assert_eq!(code(&SharedRecord::of(&desk.cluster(), &foreign, None), Some(&vault)), Some("state-of-another"));
    let mut renamed = own.clone();
    renamed.cluster = "pg2".parse().unwrap();
    assert_eq!(code(&renamed, None), Some("state-of-another"));
    let mut moved = own;
    moved.platform = "proxmox, kind vm".to_owned();
    assert_eq!(code(&moved, Some(&vault)), Some("platform-changed"));
}

#[tokio::test]
async fn record_sealed_with_other_secrets_is_refused() {
    let desk = Desk::new(THREE);
    let vault = desk.vault().await;
    let forged = record(&desk.cluster(), &vault, None).replace("pg-prod-b", "pg-prod-x");
    let (_, sealed) = read(&forged, &desk.location()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(is_sealed(&sealed, &vault, &desk.location()).unwrap_err().code, "shared-record");
    let newer = text(&Sealed { record: r#"{"version":2}"#.to_owned(), seal: String::new() });
    assert!(read(&newer, &desk.location()).is_err_and(|error| error.to_string().contains("newer hactl")));
}

#[tokio::test]
async fn password_in_use_is_not_replaced() {
    let desk = Desk::new(THREE);
    let vault = desk.vault().await;
    let mut deployment = desk.deployment();
    deployment.vault(&desk.context).await.unwrap();
    let mut left = SharedRecord::of(&deployment.cluster, &vault, None);
    deployment.known.elsewhere = Some(left.clone());
    deployment.take_over().unwrap();
    // A run elsewhere has made one more database.
    left.owners.insert("shop".parse().unwrap());
    deployment.known.elsewhere = Some(left);
    let error = deployment.take_over().unwrap_err();
    assert_eq!((error.code, error.to_string().contains("no password for shop")), ("secrets-behind", true));
}

#[tokio::test]
async fn secrets_of_existing_machines_are_not_created_again() {
    let desk = Desk::new(THREE);
    assert!(desk.deployment().has_secrets().is_ok(), "there are no machines");
    let path = desk.cluster().dir().fleet();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Also where what is known of them cannot be read.
    for text in [r#"{"cluster": "pg", "nodes": {}}"#, "{"] {
        fs::write(&path, text).unwrap();
        assert_eq!(desk.deployment().has_secrets().unwrap_err().code, "secrets-missing");
    }
    assert!(!desk.cluster().secrets_file().exists());
}

#[tokio::test]
async fn backend_host_that_resolves_to_a_cluster_machine_is_refused() {
    let desk = Desk::new("instances: {b: {}}\n");
    let on = async |host: &str, address: &str| {
        let settings = serde_json::json!({"conn_str": format!("postgres://tf@{host}/x"), "schema_name": "s"});
        let backend =
            Backend { settings: settings.as_object().unwrap().clone(), ..desk.cluster().plan.backend.unwrap() };
        let mut outputs = outputs(&["b"]);
        outputs.values_mut().for_each(|machine| machine.ipv4 = Some(address.parse().unwrap()));
        on_no_machine(&desk.context, &desk.cluster(), &backend, &outputs).await.err().map(|error| error.code)
    };
    assert_eq!(on("192.0.2.1", "192.0.2.2").await, None);
    assert_eq!(on("192.0.2.1", "192.0.2.1").await, Some("backend-on-cluster"));
    assert_eq!(on("PG-prod-b", "192.0.2.1").await, Some("backend-on-cluster"));
    assert_eq!(on("localhost", "127.0.0.1").await, Some("backend-on-cluster"));
}

#[tokio::test]
async fn unreadable_fleet_fails_every_command_that_needs_it() {
    let desk = Desk::of(THREE);
    let path = desk.cluster().dir().fleet();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "{").unwrap();
    let known = desk.deployment().known;
    let errors = [known.fleet(&desk.cluster()).err(), known.fleet_if_any().err(), known.last_fleet().err()];
    for error in errors {
        assert_eq!(error.map(|error| error.code), Some("fleet-unreadable"));
    }
    fs::remove_file(&path).unwrap();
    let known = desk.deployment().known;
    assert_eq!(known.fleet(&desk.cluster()).unwrap_err().code, "not-provisioned");
    assert!(known.fleet_if_any().unwrap().is_none());
}

#[tokio::test]
async fn last_proof_that_backups_restore_is_recorded_here_and_in_the_state_and_said() {
    let backup = "backup: {repositories: {main: {s3: {bucket: b0b, endpoint: 'https://s3.example.org', region: r}}}}\n";
    assert_eq!(Desk::new(THREE).cluster().last_restore(), None);
    let desk = Desk::new(&format!("{THREE}{backup}"));
    let mut cluster = desk.cluster();
    assert!(cluster.last_restore().unwrap().starts_with("no `hactl backup verify` has proved"));
    let proved = ProvedRestore { at: "2026-11-30T10:34:36Z".parse().unwrap(), seconds: 41 };
    cluster.note_restored(proved).unwrap();
    // Later notes of the same record keep it.
    desk.cluster().note_choices().unwrap();
    assert_eq!(desk.cluster().restored(), Some(proved));
    assert!(desk.cluster().last_restore().unwrap().contains("at 2026-11-30 10:34:36Z"));

    let mut deployment = desk.deployment();
    deployment.create_vault(&desk.context).await.unwrap();
    let text = record(&desk.cluster(), deployment.opened().unwrap(), None);
    assert_eq!(read(&text, &desk.location()).unwrap().0.restored, Some(proved));
}
