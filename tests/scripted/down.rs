//! Scenarios of `down`.

use super::scenario::play;

#[test]
fn down_of_machines_that_stay_stops_replicas_then_primary_then_etcd() {
    play("down-machines-stay");
}

#[test]
fn down_of_machines_that_go_only_destroys_them() {
    play("down-machines-go");
}
