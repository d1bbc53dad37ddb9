//! Units that are killed, and units that are kept from coming back.

use std::collections::BTreeSet;

use super::{node_fault::NodeFault, postmaster::postmaster, target::FaultTarget};
use crate::{
    component::{
        Observed, Reached,
        etcd::{self, EtcdView},
        haproxy,
        patroni::{self, LEASE_GUARD},
        pgbouncer, reach,
    },
    fleet::FleetNode,
    model::InstanceKey,
    verify::catalogue::Target,
};

/// SIGKILL to the unit's main process; the unit's own settings decide what comes next.
pub(super) fn kill(unit: &str) -> NodeFault {
    NodeFault {
        possible: format!(
            "systemctl is-active --quiet {unit} || {{ echo 'the systemd unit {unit} is not running'; exit 1; }}\n"
        ),
        inject: sigkill(unit, "main"),
        effect: format!("[ \"$(systemctl show -p MainPID --value {unit})\" != \"$noted\" ]\n"),
        revert: String::new(),
    }
}

/// Kills the unit's processes of this kind, `main` or `all`, and prints the ID of the main process.
fn sigkill(unit: &str, who: &str) -> String {
    format!("{}systemctl kill --kill-who={who} -s KILL {unit}\necho \"$main\"\n", main(unit))
}

/// Sets `$main` to the unit's main process.
pub(super) fn main(unit: &str) -> String {
    format!(
        "main=$(systemctl show -p MainPID --value {unit})\n\
         [ \"$main\" -gt 0 ] || {{ echo '{unit} is not running' >&2; exit 1; }}\n"
    )
}

/// Patroni is killed, and its unit has to start it again.
pub(super) fn kill_patroni(node: &FleetNode) -> NodeFault {
    kill_what_restarts(patroni::unit(node), "Patroni")
}

/// The same for any program.
fn kill_what_restarts(unit: &str, program: &str) -> NodeFault {
    let fault = kill(unit);
    let restarts = format!(
        "[ \"$(systemctl show -p Restart --value {unit})\" != no ] ||\n  \
         {{ echo 'unit {unit} does not restart {program} (Restart=no)'; exit 1; }}\n"
    );
    NodeFault { possible: fault.possible + &restarts, ..fault }
}

/// PgBouncer is killed, and its unit has to start it again.
pub(super) fn kill_pooler() -> NodeFault {
    comes_back(pgbouncer::UNIT, "PgBouncer", "main")
}

/// HAProxy is killed, and its unit has to start it again. Its main process only supervises the one that has the connections.
pub(super) fn kill_proxy() -> NodeFault {
    comes_back(haproxy::UNIT, "HAProxy", "all")
}

/// The effect shows only when the unit runs again by itself. Where it does not, the undo starts it.
fn comes_back(unit: &str, program: &str, who: &str) -> NodeFault {
    NodeFault {
        inject: sigkill(unit, who),
        effect: format!(
            "main=$(systemctl show -p MainPID --value {unit})\n\
             systemctl is-active --quiet {unit} && [ \"$main\" -gt 0 ] && [ \"$main\" != \"$noted\" ]\n"
        ),
        revert: format!("systemctl start {unit}\n"),
        ..kill_what_restarts(unit, program)
    }
}

/// Patroni is killed and does not start again; PostgreSQL continues to run.
pub(super) fn stop_patroni_for_good(node: &FleetNode) -> NodeFault {
    let unit = patroni::unit(node);
    let fault = kill(unit);
    let spares = format!(
        "mode=$(systemctl show -p KillMode --value {unit})\n\
         [ \"$mode\" = process ] || [ \"$mode\" = none ] ||\n  \
         {{ echo \"unit {unit} stops PostgreSQL together with Patroni (KillMode=$mode)\"; exit 1; }}\n"
    );
    NodeFault {
        possible: fault.possible + &spares,
        inject: format!("{}{}echo \"$postmaster\"\n", postmaster(node), stop_for_good(unit)),
        effect: format!("! systemctl is-active --quiet {unit} && [ \"$(cat /proc/\"$noted\"/comm)\" = postgres ]\n"),
        revert: allow_again(unit),
    }
}

/// etcd is killed and does not start again.
pub(super) fn stop_etcd_for_good(node: &FleetNode) -> NodeFault {
    let unit = etcd::unit(node);
    NodeFault {
        inject: stop_for_good(unit),
        effect: format!("! systemctl is-active --quiet {unit}\n"),
        revert: allow_again(unit),
        ..kill(unit)
    }
}

/// The lease guard, which stops an orphaned primary, is stopped.
pub(super) fn stop_guard() -> NodeFault {
    let unit = LEASE_GUARD;
    NodeFault {
        possible: format!("systemctl is-active --quiet {unit} || {{ echo '{unit} is not running'; exit 1; }}\n"),
        inject: format!("systemctl stop {unit}\n"),
        effect: format!("! systemctl is-active --quiet {unit}\n"),
        revert: format!("systemctl start --no-block {unit}\n"),
    }
}

/// The unit is killed. Its drop-in has a condition that keeps every other program from starting it.
fn stop_for_good(unit: &str) -> String {
    include_str!("stop_for_good.sh").replace("@UNIT@", unit)
}

fn allow_again(unit: &str) -> String {
    include_str!("allow_again.sh").replace("@UNIT@", unit)
}

async fn seen(node: &FleetNode, cluster: &FaultTarget<'_>) -> Observed<EtcdView> {
    let (access, fleet) = (cluster.access, cluster.fleet);
    let remote = &reach(access, node).await?;
    etcd::ask(Reached { remote, access, fleet, node }).await
}

/// Whether those voters of etcd that live have noticed: they follow another leader, or serve no more.
pub(super) async fn etcd_noticed(target: Target, stopped: &[InstanceKey], cluster: &FaultTarget<'_>) -> bool {
    let stopped: BTreeSet<&InstanceKey> = stopped.iter().collect();
    let living = cluster.fleet.voters().filter(|node| !stopped.contains(node.key()));
    let asked = living.map(|node| seen(node, cluster));
    let views: Vec<_> = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
    if target == Target::EtcdMajority {
        return !views.iter().any(|view| view.serving);
    }
    // By their numbers, since etcd may know its members by other names.
    views.iter().any(|view| views.iter().any(|other| other.member_id == view.leader))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fault::tests::{code, node};

    #[test]
    fn pooler_and_proxy_are_killed_and_must_come_back_by_themselves() {
        for (fault, unit, who) in [(kill_pooler(), "pgbouncer", "main"), (kill_proxy(), "haproxy", "all")] {
            let main = main(unit);
            assert_eq!(fault.inject, format!("{main}systemctl kill --kill-who={who} -s KILL {unit}\necho \"$main\"\n"));
            // Neither a unit that is down nor the old process is the effect.
            let active =
                format!("systemctl is-active --quiet {unit} && [ \"$main\" -gt 0 ] && [ \"$main\" != \"$noted\" ]\n");
            assert!(fault.effect.ends_with(&active), "{}", fault.effect);
            assert!(fault.possible.contains(&format!("systemctl show -p Restart --value {unit})\" != no")));
            assert_eq!(fault.revert, format!("systemctl start {unit}\n"));
        }
    }

    #[test]
    fn unit_stopped_for_good_is_killed_after_its_restart_is_blocked() {
        assert_eq!(
            code(&stop_etcd_for_good(&node()).inject),
            r#"unit='etcd'
dir=/run/systemd/system/$unit.service.d
mkdir -p "$dir"
printf '[Unit]\nConditionPathExists=!%s/hactl-drill.conf\n[Service]\nRestart=no\n' "$dir" >"$dir/hactl-drill.conf"
systemctl daemon-reload
systemctl kill --kill-who=main -s KILL "$unit"
"#
        );
        assert_eq!(
            code(&stop_patroni_for_good(&node()).revert),
            r#"unit='patroni'
dir=/run/systemd/system/$unit.service.d
rm -f "$dir/hactl-drill.conf"
rmdir "$dir" 2>/dev/null || :
systemctl daemon-reload
systemctl start --no-block "$unit"
"#
        );
    }
}
