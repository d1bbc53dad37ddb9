//! Processes that are killed or stopped, while their unit stays as it is.

use super::{node_fault::NodeFault, postmaster::postmaster, unit};
use crate::{
    component::{etcd, patroni},
    fleet::FleetNode,
};

/// The unit of the bursts; its directory in `/run` has the same name.
const FREEZER: &str = "hactl-slow-bursts";

/// SIGKILL to the postmaster: its children end by themselves, and Patroni starts it again.
pub(super) fn kill_postgres(node: &FleetNode) -> NodeFault {
    let postmaster = postmaster(node);
    NodeFault {
        possible: String::new(),
        inject: format!("{postmaster}kill -KILL \"$postmaster\"\necho \"$postmaster\"\n"),
        effect: "[ ! -e \"/proc/$noted\" ] || grep -q '^State:.Z' \"/proc/$noted/status\"\n".to_owned(),
        revert: String::new(),
    }
}

/// SIGSTOP to Patroni and to those of its children that run the same Python. The postmaster, which is
/// also in the unit's control group, is left alone. SIGCONT to the whole group is harmless.
pub(super) fn hang_patroni(node: &FleetNode) -> NodeFault {
    let unit = patroni::unit(node);
    NodeFault {
        inject: unit::main(unit) + include_str!("hang_patroni.sh"),
        effect: "grep -q '^State:.T' \"/proc/$noted/status\"\n".to_owned(),
        revert: format!("systemctl kill --kill-who=all -s CONT {unit}\n"),
        ..unit::kill(unit)
    }
}

/// SIGSTOP and SIGCONT to etcd, again and again.
pub(super) fn freeze_etcd(node: &FleetNode) -> NodeFault {
    let script = include_str!("freeze_etcd.sh").replace("@UNIT@", etcd::unit(node)).replace("@FREEZER@", FREEZER);
    NodeFault::of_steps(&script)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fault::tests::{code, node};

    #[test]
    fn postmaster_to_kill_is_found_by_its_pid_file() {
        assert_eq!(
            kill_postgres(&node()).inject,
            r#"data=$(sed -n 's/^ *data_dir: "\(.*\)"$/\1/p' /etc/patroni/patroni.yml)
read -r postmaster <"$data/postmaster.pid"
[ "$(cat "/proc/$postmaster/comm")" = postgres ] || { echo "no postmaster is running on $data" >&2; exit 1; }
kill -KILL "$postmaster"
echo "$postmaster"
"#
        );
    }

    #[test]
    fn hang_fault_stops_patroni_but_not_the_postmaster() {
        let fault = hang_patroni(&node());
        assert_eq!(
            code(&fault.inject),
            r#"main=$(systemctl show -p MainPID --value patroni)
[ "$main" -gt 0 ] || { echo 'patroni is not running' >&2; exit 1; }
kill -STOP "${main:?}"
for child in $(cat "/proc/$main/task/"*/children); do
  [ "$(readlink "/proc/$child/exe")" != "$(readlink "/proc/$main/exe")" ] || kill -STOP "$child" || :
done
echo "$main"
"#
        );
        assert_eq!(fault.effect(7), "noted=7\ngrep -q '^State:.T' \"/proc/$noted/status\"\n");
        assert_eq!(fault.revert, "systemctl kill --kill-who=all -s CONT patroni\n");
    }

    #[test]
    fn bursts_name_the_unit_of_etcd_and_continue_it_however_they_end() {
        let fault = freeze_etcd(&node());
        for (script, step) in [
            (&fault.possible, "possible"),
            (&fault.inject, "inject"),
            (&fault.effect, "effect"),
            (&fault.revert, "revert"),
        ] {
            assert!(script.contains(&format!("step='{step}'\n")) && script.contains("unit='etcd'\n"), "{script}");
            assert!(!script.contains('@'), "{script}");
        }
        let end = "--property=ExecStopPost=\"-systemctl kill --kill-who=main -s CONT $unit\"";
        assert!(fault.inject.contains(end), "{}", fault.inject);
        // The undo timer is written as a here document.
        assert!(!fault.revert.lines().any(|line| line == "END"), "{}", fault.revert);
    }
}
