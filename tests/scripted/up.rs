//! Scenarios of `up`.

use super::scenario::{play, played};

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

#[test]
fn commands_with_an_unreadable_fleet_file_name_it_and_change_nothing() {
    let commands = [
        "up pg --no-verify",
        "up pg --no-verify --allow-restart one",
        "provision pg",
        "verify pg --yes --drill switchover",
        "down pg --yes",
    ];
    let commands = commands.map(|words| format!(": fleet.json is unreadable\n$ hactl {words}\n\n")).concat();
    let text = played(&format!(": the module takes no record\n: after hactl up pg --no-verify\n{commands}"));
    let mut wrong = String::new();
    for transcript in text.split("$ hactl ").skip(1) {
        let is_named = transcript.contains("error ") && transcript.contains("@/.hactl/pg/fleet.json");
        let changes =
            ["terraform         plan", "terraform         apply", "ansible-playbook", "left locked", "exit 0"];
        if !is_named || changes.iter().any(|change| transcript.contains(change)) {
            wrong += transcript;
        }
    }
    assert!(wrong.is_empty(), "these do not stop with an error that names fleet.json:\n{wrong}");
}
