//! Scenarios of `verify`.

use super::scenario::play;

#[test]
fn verify_with_a_refused_switchover_stops_and_releases_both_locks() {
    play("verify-refused-switchover");
}

#[test]
#[ignore = "waits for 60 s: `make test-long` runs it"]
fn verify_of_an_unhealthy_cluster_starts_no_drill_and_exits_4() {
    play("verify-unhealthy");
}
