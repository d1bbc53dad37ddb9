//! Scenarios of `down`.

use super::scenario::{play, played};

#[test]
fn down_of_machines_that_stay_stops_replicas_then_primary_then_etcd() {
    play("down-machines-stay");
}

#[test]
fn down_of_machines_that_go_only_destroys_them() {
    play("down-machines-go");
}

#[test]
fn down_interrupted_while_services_stop_removes_no_data_and_releases_both_locks() {
    let text = played(
        ": the machines stay\n: after hactl up pg --no-verify\n: Ctrl-C when one stops patroni.service\n\
         $ hactl down pg --yes --wipe-data\n",
    );
    let (_, after) = text.split_once("Ctrl-C\n").unwrap();
    assert!(after.ends_with("exit 130\n") && !after.contains("left locked"), "{text}");
    for step in ["stopping etcd", "removing configuration and data", "/var/lib/postgresql/15/pg: removed"] {
        assert!(!after.contains(step), "{step}:\n{text}");
    }
}
