//! Machines as they tell of themselves, and who they are then.

use std::{collections::BTreeSet, net::Ipv4Addr};

use super::{
    AdoptedRecord,
    ask::{MachineReport, Patroni},
    config,
    decide::{Answers, Decided, decide},
    too_old,
};
use crate::{
    component::{etcd, patroni, postgres},
    fleet::SshTarget,
    model::{Choices, Dcs, InstanceKey, Role},
    plan::{self, Plan, Watchdog},
    spec,
};

const FILE: &str = "adopted: true\nplatform: hosts\ninstances:\n  a: {address: 10.0.0.1}\n  b: {address: 10.0.0.2}\n  \
                    c: {address: 10.0.0.3}\n";

fn planned(file: &str) -> Plan {
    plan::decide(&spec::load("t.yaml", file.as_bytes(), "t").unwrap(), &Choices::default()).unwrap()
}

fn key(name: &str) -> InstanceKey {
    InstanceKey::new(name).unwrap()
}

fn patroni(member: &str, address: &str, dcs: &str) -> Patroni {
    let file = format!(
        "scope: main\nname: {member}\n{dcs}\nrestapi: {{connect_address: '{address}:8010'}}\n\
         postgresql: {{connect_address: 'db-{member}:5433', data_dir: /srv/pg}}\n"
    );
    Patroni {
        unit: "patroni@main".into(),
        user: "pg".into(),
        local: config::read(&[file], &[]).unwrap(),
        resolved: vec![(format!("db-{member}"), address.parse().unwrap())],
        watchdog: true,
        guard: false,
        etcd_client: None,
        ctl_client: None,
    }
}

fn told(address: &str, patroni: Option<Patroni>, etcd: bool) -> Result<MachineReport, String> {
    let etcd_unit = etcd.then(|| "etcd".to_owned());
    Ok(MachineReport { addresses: vec![address.parse().unwrap()], patroni, etcd_unit })
}

fn answers(all: [(&str, Result<MachineReport, String>); 3]) -> Answers {
    let target = |host: &str| SshTarget {
        host: host.to_owned(),
        port: 22,
        user: "root".into(),
        sudo: false,
        host_key: Some("ssh-ed25519 AAAA".into()),
        bastion: None,
    };
    let hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    all.into_iter().zip(hosts).map(|((name, told), host)| (key(name), (target(host), told))).collect()
}

const ETCD: &str = "etcd3: {hosts: ['10.0.0.1:2379', '10.0.0.2:2379', '10.0.0.3:2379']}";

fn three(dcs: &str) -> Answers {
    answers([
        ("a", told("10.0.0.1", Some(patroni("one", "10.0.0.1", dcs)), true)),
        ("b", told("10.0.0.2", Some(patroni("two", "10.0.0.2", dcs)), true)),
        ("c", told("10.0.0.3", Some(patroni("three", "10.0.0.3", dcs)), true)),
    ])
}

fn decided(answers: &Answers) -> Decided {
    decide(&planned(FILE), answers, None).unwrap()
}

fn known(decided: Decided) -> AdoptedRecord {
    AdoptedRecord { plan: planned(FILE), fleet: decided.fleet }
}

#[test]
fn machines_get_members_and_endpoints_from_their_processes() {
    let decided = decided(&three(ETCD));
    let node = &decided.fleet.nodes[&key("b")];
    assert_eq!((node.member(), patroni::unit(node), postgres::user(node)), ("two", "patroni@main", "pg"));
    assert_eq!(node.address, Ipv4Addr::new(10, 0, 0, 2));
    assert_eq!((patroni::endpoint(node).to_string(), patroni::endpoint(node).tls), ("10.0.0.2:8010".to_owned(), false));
    assert_eq!(postgres::endpoint(node).to_string(), "db-two:5433");
    assert_eq!(etcd::endpoint(node).to_string(), "10.0.0.2:2379");
    assert_eq!(decided.fleet.nodes[&key("b")].node.roles, BTreeSet::from([Role::Etcd, Role::Patroni]));
    assert_eq!(decided.watchdogs[&key("a")], Watchdog::Automatic);
    assert_eq!(decided.fleet.key_of("three"), "c");
    let leader_key = Some("/service/main/leader".to_owned());
    assert_eq!(decided.dcs, Dcs::Etcd { leader_key, outside: Vec::new() });
}

#[test]
fn voters_on_other_machines_are_outside_and_other_dcs_is_named() {
    let elsewhere = decided(&answers([
        ("a", told("10.0.0.1", Some(patroni("one", "10.0.0.1", "etcd3: {host: '10.9.9.9:2379'}")), false)),
        ("b", told("10.0.0.2", Some(patroni("two", "10.0.0.2", "etcd3: {host: '10.9.9.9:2379'}")), false)),
        ("c", told("10.0.0.3", Some(patroni("three", "10.0.0.3", "etcd3: {host: '10.9.9.9:2379'}")), false)),
    ]));
    assert!(matches!(&elsewhere.dcs, Dcs::Etcd { outside, .. } if outside == &["10.9.9.9:2379".parse().unwrap()]));
    assert_eq!(elsewhere.fleet.nodes[&key("a")].node.roles, BTreeSet::from([Role::Patroni]));
    let beside = decided(&three("etcd3: {host: '127.0.0.1:2379'}"));
    assert_eq!(etcd::endpoint(&beside.fleet.nodes[&key("c")]).to_string(), "127.0.0.1:2379");
    assert!(matches!(&beside.dcs, Dcs::Etcd { outside, .. } if outside.is_empty()));
    // An agent of Consul on every machine, beside an etcd that does not belong to this cluster.
    let consul = decided(&three("consul: {host: '127.0.0.1:8500'}"));
    assert_eq!(consul.dcs, Dcs::Other("consul".into()));
    assert_eq!(consul.fleet.nodes[&key("a")].node.roles, BTreeSet::from([Role::Patroni]));
}

#[test]
fn machine_with_only_an_etcd_voter_has_the_etcd_role() {
    let mut answers = three(ETCD);
    answers.get_mut(&key("c")).unwrap().1 = told("10.0.0.3", None, true);
    let decided = decided(&answers);
    assert_eq!(decided.fleet.nodes[&key("c")].node.roles, BTreeSet::from([Role::Etcd]));
}

#[test]
fn silent_machine_keeps_its_record_or_is_assumed_like_the_others() {
    let mut answers = three(ETCD);
    answers.get_mut(&key("b")).unwrap().1 = Err("no route".into());
    let guessed = decided(&answers);
    let node = &guessed.fleet.nodes[&key("b")];
    assert_eq!((node.member(), patroni::endpoint(node).to_string().as_str()), ("b", "10.0.0.2:8010"));
    let known = known(decided(&three(ETCD)));
    let kept = decide(&planned(FILE), &answers, Some(&known)).unwrap();
    assert_eq!(kept.fleet.nodes[&key("b")].member(), "two");
    // Where Patroni does not run now, too.
    answers.get_mut(&key("b")).unwrap().1 = told("10.0.0.2", None, true);
    let kept = decide(&planned(FILE), &answers, Some(&known)).unwrap();
    assert_eq!(kept.fleet.nodes[&key("b")].node.roles, BTreeSet::from([Role::Etcd, Role::Patroni]));
}

#[test]
fn machine_outside_the_cluster_is_refused_by_name() {
    let mut answers = three(ETCD);
    answers.get_mut(&key("c")).unwrap().1 = told("10.0.0.3", None, false);
    let without = answers;
    let mut answers = three("consul: {}");
    answers.get_mut(&key("c")).unwrap().1 = told("10.0.0.3", None, false);
    let problems = decide(&planned(FILE), &answers, None).unwrap_err();
    assert_eq!(problems, ["c: neither Patroni nor an etcd voter of the cluster runs there"]);
    // A configuration that names the instance as a voter decides.
    assert!(decide(&planned(FILE), &without, None).is_ok());
    let mut answers = three(ETCD);
    let mut other = patroni("two", "10.0.0.2", ETCD);
    other.local.scope = "other".into();
    answers.get_mut(&key("b")).unwrap().1 = told("10.0.0.2", Some(other), true);
    let problems = decide(&planned(FILE), &answers, None).unwrap_err();
    assert_eq!(
        problems,
        ["the instances belong to different clusters: a belongs to main, b belongs to other, c belongs to main"]
    );
}

#[test]
fn unit_name_with_shell_syntax_is_refused() {
    let mut answers = three(ETCD);
    let mut strange = patroni("two", "10.0.0.2", ETCD);
    strange.unit = "patroni$(reboot)".into();
    answers.get_mut(&key("b")).unwrap().1 = told("10.0.0.2", Some(strange), true);
    let problems = decide(&planned(FILE), &answers, None).unwrap_err();
    assert!(problems[0].starts_with("b: the unit or user name `patroni$(reboot)`"), "{problems:?}");
}

#[test]
fn old_patroni_or_postgresql_is_refused_with_its_version() {
    assert_eq!(too_old("4.1.5", 180_001), None);
    assert_eq!(too_old("3.0.2", 0), None);
    assert!(too_old("2.1.3", 140_000).unwrap().contains("Patroni 2.1.3"));
    assert!(too_old("3.3.0", 110_022).unwrap().contains("PostgreSQL 11"));
}
