//! The present source has every name of the release before that something outside the code knows: scripts, cluster files,
//! Terraform's states, machines, runs of other versions. It may have new ones. README.md says how the lists were made.

mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use hactl::{
    error::{Kind, codes},
    fleet::Fleet,
    model::ClusterName,
    platform::{adopted::AdoptedRecord, local},
    spec::Record,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use self::source::Source;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside_names").join(name)
}

/// The release from which the lists are taken again: a checkout with its own `target/debug/hactl`.
fn release() -> Option<Source> {
    let tree = PathBuf::from(env::var_os("HACTL_TEST_RELEASE")?);
    Some(Source { binary: tree.join("target/debug/hactl"), tree })
}

/// Asserts that `names` of the present source has every name of the list.
fn has_all_of(list: &str, names: impl Fn(&Source) -> BTreeSet<String>) {
    if let Some(release) = release() {
        let names: Vec<String> = names(&release).into_iter().map(|name| name + "\n").collect();
        fs::write(file(list), names.concat()).unwrap();
    }
    let present = names(&Source::present());
    let listed = fs::read_to_string(file(list)).unwrap();
    let gone: Vec<&str> = listed.lines().filter(|name| !present.contains(*name)).collect();
    assert!(listed.lines().count() > 20, "{list} is not the list");
    assert!(gone.is_empty(), "names of {list} are gone or changed: {gone:#?}");
}

#[test]
fn commands_and_flags_of_the_release_are_kept() {
    has_all_of("commands.txt", Source::commands);
}

#[test]
fn keys_of_the_cluster_file_and_json_fields_of_the_release_are_kept() {
    has_all_of("json.txt", Source::json);
}

#[test]
fn terraform_addresses_variables_outputs_and_attributes_of_the_release_are_kept() {
    has_all_of("terraform.txt", Source::terraform);
}

#[test]
fn codes_of_the_release_are_kept() {
    let known: BTreeSet<&str> =
        [codes::ERRORS, codes::WARNINGS, codes::PROBLEMS].into_iter().flatten().map(|(code, _)| *code).collect();
    let listed = fs::read_to_string(file("codes.txt")).unwrap();
    let gone: Vec<&str> = listed.lines().filter(|code| !known.contains(code)).collect();
    assert!(gone.is_empty(), "codes are gone or changed: {gone:?}");
    let kinds = [Kind::Failed, Kind::Usage, Kind::Missing, Kind::Unproved, Kind::Interrupted, Kind::Terminated];
    assert_eq!(kinds.map(Kind::exit_code), [1, 2, 3, 4, 130, 143]);
}

/// Labels, paths, units, keys of etcd, databases: names that neither a schema nor a help text shows.
#[test]
fn texts_of_the_release_are_in_the_source() {
    let list = fs::read_to_string(file("texts.txt")).unwrap();
    let entries = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entries: Vec<(&str, &str)> = entries.map(|line| line.split_once(' ').unwrap()).collect();
    for source in [Source::present()].into_iter().chain(release()) {
        let trees: BTreeSet<&str> = entries.iter().map(|(tree, _)| *tree).collect();
        let trees: BTreeMap<&str, String> = trees.into_iter().map(|tree| (tree, source.product(tree))).collect();
        let gone: Vec<_> = entries.iter().filter(|(tree, text)| !trees[tree].contains(*text)).collect();
        assert!(gone.is_empty(), "not in {}: {gone:#?}", source.tree.display());
    }
}

/// A file that the release wrote keeps all its keys when the present source reads and writes it.
#[test]
fn keys_of_stored_files_of_the_release_are_kept() {
    rewritten::<Record>("local/.hactl/t-takeover/cluster.json");
    rewritten::<Record>("hosts/.hactl/t-takeover-hosts/cluster.json");
    rewritten::<Fleet>("local/.hactl/t-takeover/fleet.json");
    rewritten::<Fleet>("hosts/.hactl/t-takeover-hosts/fleet.json");
    rewritten::<AdoptedRecord>("adopted/.hactl/t-takeover-adopted/adopted.json");
}

fn rewritten<T: Serialize + DeserializeOwned>(fixture: &str) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/takeover/fixture").join(fixture));
    let before: Value = serde_json::from_str(&text.unwrap()).unwrap();
    let value: T = serde_json::from_value(before.clone()).unwrap();
    let after = serde_json::to_value(value).unwrap();
    assert!(has_keys_of(&after, &before), "{fixture}: keys are gone or changed: {before:#}\nbecomes {after:#}");
}

fn has_keys_of(value: &Value, other: &Value) -> bool {
    let mut entries = other.as_object().into_iter().flatten();
    entries.all(|(key, other)| value.get(key).is_some_and(|value| has_keys_of(value, other)))
}

#[test]
fn names_of_objects_are_those_of_the_release() {
    let cluster: ClusterName = "pg".parse().unwrap();
    let (key, uuid) = ("node1".parse().unwrap(), Uuid::nil());
    let network = local::NetworkRequest { cluster: cluster.clone(), uuid, subnet: None };
    let node = local::node_name(&cluster, &key);
    let volume = local::VolumeRequest { cluster: cluster.clone(), uuid, key, disk_gb: None };
    assert_eq!([network.name(), node, volume.name()], ["hactl-pg", "pg-node1", "pg-node1-pgdata"]);
}
