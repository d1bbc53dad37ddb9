//! Scenarios of `up`.

use super::scenario::play;

#[test]
fn up_on_bare_machines_runs_every_stage_and_the_second_up_changes_nothing() {
    play("up-on-bare-machines");
}

#[test]
fn up_with_a_failed_apply_stops_before_the_machines_and_resumes() {
    play("up-terraform-apply-fails");
}

#[test]
fn up_with_a_failed_playbook_does_not_check_health() {
    play("up-ansible-fails");
}

#[test]
fn up_interrupted_during_apply_waits_for_terraform_and_exits_130() {
    play("up-ctrl-c-in-terraform");
}

#[test]
fn up_interrupted_during_the_playbook_releases_the_lock_and_exits_130() {
    play("up-ctrl-c-in-ansible");
}

#[test]
fn up_with_a_refused_plan_or_restart_applies_nothing() {
    play("up-refuses");
}
