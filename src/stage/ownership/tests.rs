//! What is found on machines, and the problems that hactl reports.

use super::*;
use crate::{fleet::SshTarget, model::Role};

fn node(roles: &[Role]) -> FleetNode {
    let key: InstanceKey = "node1".parse().unwrap();
    let node = crate::plan::PlannedInstance {
        key,
        pooler_port: None,
        hostname: "pg-node1".parse().unwrap(),
        roles: roles.iter().copied().collect(),
        memory_mib: 1024,
        cores: 1,
        disk_gb: None,
        address_index: 0,
    };
    let ssh = SshTarget {
        host: String::new(),
        port: 22,
        user: "root".to_owned(),
        sudo: false,
        host_key: None,
        bastion: None,
    };
    FleetNode { node, address: std::net::Ipv4Addr::LOCALHOST, machine_id: None, ssh, data_device: None, found: None }
}

fn ours() -> OwnershipMarker {
    OwnershipMarker { cluster: "pg".to_owned(), uuid: Uuid::from_u128(1) }
}

fn problems(text: &str, roles: &[Role]) -> Vec<String> {
    let here = std::env::consts::ARCH;
    MachineFacts::read(&format!("release debian:12\narch {here}\nmemory 1000\n{text}")).problems(
        &node(roles),
        &ours(),
        Distribution::Debian12,
    )
}

#[test]
fn bare_or_own_machine_is_accepted() {
    let both = [Role::Etcd, Role::Patroni];
    assert_eq!(problems("", &both), Vec::<String>::new());
    let mark = serde_json::to_string(&ours()).unwrap();
    // What a killed run has left.
    let text = format!(
        "mark {mark}\nfound postgres data data of PostgreSQL 15 in /var/lib/postgresql/15/pg\n\
         found patroni process a Patroni that runs\n"
    );
    assert_eq!(problems(&text, &both), Vec::<String>::new());
}

#[test]
fn ownership_script_reports_leftovers_and_running_processes() {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("var/lib/postgresql/15/pg/PG_VERSION", "15\n"),
        ("var/lib/etcd/member/wal", ""),
        ("etc/patroni/patroni.yml", "scope: other\nname: node1\n"),
        ("proc/7/comm", "etcd\n"),
        ("proc/8/comm", "a b\n"),
        ("proc/9/status", ""),
    ] {
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let one = node(&[Role::Etcd]);
    let fleet = Fleet { cluster: "pg".parse().unwrap(), nodes: [(one.key().clone(), one.clone())].into() };
    let place = root.path().display().to_string();
    let mut text = script(&fleet, &one);
    for dir in ["/var/", "/etc/", "/proc/["] {
        text = text.replace(dir, &format!("{place}{dir}"));
    }
    let ss = r#"ss() {
      case $2 in "( sport = :2379 or sport = :2380 or sport = :8008 or sport = :5432 "*) ;; *) return ;; esac
      echo 'LISTEN 0 4096 0.0.0.0:8008 0.0.0.0:* users:(("nginx",pid=1,fd=3))'
    }"#;
    let ran = std::process::Command::new("sh").args(["-c", &format!("{ss}\n{text}")]).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let found = MachineFacts::read(&String::from_utf8(ran.stdout).unwrap().replace(&place, ""));
    assert_eq!((found.release.as_str(), found.mark), ("unknown:", None));
    let said = found.things.iter().map(|thing| (thing.owner.as_str(), thing.is_data, thing.words.as_str()));
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            ("postgres", true, "data of PostgreSQL 15 in /var/lib/postgresql/15/pg"),
            ("patroni", false, "Patroni's configuration /etc/patroni/patroni.yml, of the cluster other"),
            ("etcd", false, "an etcd that runs"),
            ("etcd", true, "data of etcd in /var/lib/etcd"),
            ("nginx", false, "a process that listens on 0.0.0.0:8008: nginx"),
        ]
    );
}

#[test]
fn foreign_data_and_services_are_reported() {
    let both = [Role::Etcd, Role::Patroni];
    let text = "found postgres data data of PostgreSQL 15 in /var/lib/postgresql/15/main\n\
                found etcd process an etcd that runs\nlistens 0.0.0.0:8008 nginx\n";
    assert_eq!(
        problems(text, &both),
        [
            "found data of PostgreSQL 15 in /var/lib/postgresql/15/main",
            "found an etcd that runs",
            "found a process that listens on 0.0.0.0:8008: nginx"
        ]
    );
    // etcd of another cluster may run on a machine that gets no etcd member.
    assert_eq!(problems(text, &[Role::Patroni]).len(), 2);
    let mark = |name: &str, id: u128| {
        let mark = OwnershipMarker { cluster: name.to_owned(), uuid: Uuid::from_u128(id) };
        problems(&format!("mark {}\n{text}", serde_json::to_string(&mark).unwrap()), &both)
    };
    let uuid = Uuid::from_u128(2);
    assert_eq!(mark("other", 2), [format!("it carries the ownership marker of the hactl cluster other ({uuid})")]);
    assert_eq!(
        mark("pg", 2),
        [format!("it carries the ownership marker of another hactl cluster with the same name, pg ({uuid})")]
    );
    assert_eq!(problems("mark {", &both).len(), 1);
}

#[test]
fn machine_with_another_address_than_the_cluster_file_is_refused() {
    let one = [Role::Patroni];
    let mut elsewhere = node(&one);
    elsewhere.address = Ipv4Addr::new(10, 0, 0, 2);
    elsewhere.ssh.host = "nat".to_owned();
    let found = MachineFacts::read("addresses 127.0.0.1 10.0.0.1 \n");
    assert_eq!(
        found.misplaced(&elsewhere).unwrap(),
        "SSH to nat:22 reaches a machine with the address 10.0.0.1, not 10.0.0.2, which the other machines would use"
    );
    elsewhere.address = Ipv4Addr::new(10, 0, 0, 1);
    assert_eq!(found.misplaced(&elsewhere), None);
    let found =
        MachineFacts::read("addresses 10.0.0.1 192.168.0.1\nfrom 10.0.0.1 to 10.0.0.3\nfrom 192.168.0.1 to 10.9.0.2\n");
    assert_eq!(
        found.misplaced(&elsewhere).unwrap(),
        "it connects to 10.9.0.2 from 192.168.0.1, not from 10.0.0.1, the only address that etcd there accepts"
    );
    // A machine without the `ip` command reports no addresses.
    assert_eq!(MachineFacts::default().misplaced(&elsewhere), None);
}

/// Machines of one cluster, each with what is on it.
fn together(
    machines: &[(&str, &[Role], &str)],
    judge: fn(&[(&FleetNode, &MachineFacts)]) -> Vec<String>,
) -> Vec<String> {
    let machines: Vec<_> = machines
        .iter()
        .map(|(key, roles, text)| {
            let mut node = node(roles);
            node.node.key = key.parse().unwrap();
            (node, MachineFacts::read(text))
        })
        .collect();
    judge(&machines.iter().map(|(node, found)| (node, found)).collect::<Vec<_>>())
}

#[test]
fn two_instances_on_the_same_machine_are_refused() {
    let both: &[Role] = &[Role::Etcd, Role::Patroni];
    let (one, two) = (("one", both, "ports-of a net:[1]\n"), ("two", both, "ports-of a net:[2]\n"));
    assert_eq!(together(&[one, two, ("old", both, ""), ("older", both, "")], same_machine), Vec::<String>::new());
    let three = ("three", both, "ports-of a net:[1]\n");
    assert_eq!(together(&[one, two, three], same_machine), ["three: it is the same machine as one"]);
}

#[test]
fn data_left_by_a_teardown_is_refused() {
    let (both, data): (&[Role], &[Role]) = (&[Role::Etcd, Role::Patroni], &[Role::Patroni]);
    let marked = "mark {}\nfound postgres data data of PostgreSQL 15 in /var/lib/postgresql/15/pg\n\
                  found etcd data data of etcd in /var/lib/etcd\n";
    let left = |machines: &[(&str, &[Role], &str)]| together(machines, left_over);
    let said = left(&[("one", both, ""), ("two", both, marked), ("three", both, "")]);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("two: found data of PostgreSQL 15 in /var/lib/postgresql/15/pg of this cluster"));
    let of_postgres = "mark {}\nfound postgres data data of PostgreSQL 15 in /var/lib/postgresql/15/pg\n";
    assert_eq!(left(&[("one", both, ""), ("two", data, of_postgres)]).len(), 1);
    // A machine that was replaced, and one that is new, join those that have the majority.
    assert!(left(&[("one", both, marked), ("two", both, marked), ("three", both, ""), ("four", data, "")]).is_empty());
    // A first run that was killed has marked all of them; one that could not write a mark has made nothing.
    assert!(left(&[("one", both, marked), ("two", both, "mark {}\n"), ("three", both, "mark {}\n")]).is_empty());
    assert!(left(&[("one", both, "mark {}\n"), ("two", both, ""), ("three", both, "")]).is_empty());
}

#[test]
fn unexpected_release_or_architecture_is_reported_with_the_requested_value() {
    let found = MachineFacts::read("release ubuntu:24.04\narch s390x\nmemory 1\n");
    let said = found.problems(&node(&[Role::Patroni]), &ours(), Distribution::Debian12);
    assert_eq!(said[0], "it runs ubuntu:24.04, but the cluster file says `release: debian:12`");
    assert!(said[1].contains("s390x"), "{said:?}");
    assert!(
        MachineFacts { release: "debian:12.7".into(), arch: std::env::consts::ARCH.into(), ..found }
            .problems(&node(&[]), &ours(), Distribution::Debian12)
            .is_empty()
    );
}
