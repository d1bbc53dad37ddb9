//! Scenarios of `verify`.

use super::scenario::{play, played};

#[test]
fn verify_with_a_refused_switchover_stops_and_releases_both_locks() {
    play("verify-refused-switchover");
}

#[test]
#[ignore = "waits for 60 s: `make test-long` runs it"]
fn verify_of_an_unhealthy_cluster_starts_no_drill_and_exits_4() {
    play("verify-unhealthy");
}

#[test]
fn verify_and_down_read_the_state_again_once_they_hold_the_lock() {
    let text = played(
        ": after hactl up pg --no-verify\n$ hactl verify pg --yes --drill switchover\n\n$ hactl down pg --yes\n",
    );
    let wrong = text.split("$ hactl ").skip(1).filter(|transcript| {
        let (_, after) = transcript.split_once("/hactl/pg/lock is written\n").unwrap();
        let first = after.lines().find(|line| line.starts_with("terraform") && !line.ends_with("version -json"));
        first.is_none_or(|line| !line.contains(" output -json"))
    });
    let wrong: String = wrong.collect();
    assert!(wrong.is_empty(), "no `terraform output` after the lock:\n{wrong}");
}
