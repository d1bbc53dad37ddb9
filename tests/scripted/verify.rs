//! Scenarios of `verify`.

use super::scenario::play;

#[test]
fn verify_with_a_refused_switchover_stops_and_releases_both_locks() {
    play("verify-refused-switchover");
}
