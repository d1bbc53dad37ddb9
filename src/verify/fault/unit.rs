//! Units that are killed, and units that are kept from coming back.

use std::collections::BTreeSet;

use super::{node_fault::NodeFault, postmaster::postmaster, target::FaultTarget};
use crate::{
    component::{
        Observed, Reached,
        etcd::{self, EtcdView},
        patroni::{self, LEASE_GUARD},
        reach,
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
        inject: format!("{}systemctl kill --kill-who=main -s KILL {unit}\necho \"$main\"\n", main(unit)),
        effect: format!("[ \"$(systemctl show -p MainPID --value {unit})\" != \"$noted\" ]\n"),
        revert: String::new(),
    }
}

/// Sets `$main` to the unit's main process.
pub(super) fn main(unit: &str) -> String {
    format!(
        "main=$(systemctl show -p MainPID --value {unit})\n\
         [ \"$main\" -gt 0 ] || {{ echo '{unit} is not running' >&2; exit 1; }}\n"
    )
}

/// Patroni dies, and its unit has to start it again.
pub(super) fn kill_patroni(node: &FleetNode) -> NodeFault {
    let unit = patroni::unit(node);
    let fault = kill(unit);
    let restarts = format!(
        "[ \"$(systemctl show -p Restart --value {unit})\" != no ] ||\n  \
         {{ echo 'unit {unit} does not restart Patroni (Restart=no)'; exit 1; }}\n"
    );
    NodeFault { possible: fault.possible + &restarts, ..fault }
}

/// Patroni dies and stays dead; PostgreSQL lives on.
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

/// etcd dies and stays dead.
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

/// A mask in `/run` would do nothing: the unit's file in `/etc` comes before it. A drop-in counts, and
/// is gone after a reboot. Its condition keeps every other program from starting the unit.
fn stop_for_good(unit: &str) -> String {
    let dir = format!("/run/systemd/system/{unit}.service.d");
    format!(
        "mkdir -p {dir}\n\
         printf '[Unit]\\nConditionPathExists=!{dir}/hactl-drill.conf\\n[Service]\\nRestart=no\\n' \
         >{dir}/hactl-drill.conf\n\
         systemctl daemon-reload\n\
         systemctl kill --kill-who=main -s KILL {unit}\n"
    )
}

/// Does not wait for the unit: etcd is ready only with a quorum, whose other members start in their turn.
fn allow_again(unit: &str) -> String {
    let dir = format!("/run/systemd/system/{unit}.service.d");
    format!(
        "rm -f {dir}/hactl-drill.conf\nrmdir {dir} 2>/dev/null || :\n\
         systemctl daemon-reload\nsystemctl start --no-block {unit}\n"
    )
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
    use crate::verify::fault::tests::node;

    #[test]
    fn unit_stopped_for_good_is_killed_only_when_it_cannot_start_again() {
        assert_eq!(
            stop_etcd_for_good(&node()).inject,
            "mkdir -p /run/systemd/system/etcd.service.d\n\
             printf '[Unit]\\nConditionPathExists=!/run/systemd/system/etcd.service.d/hactl-drill.conf\\n\
             [Service]\\nRestart=no\\n' >/run/systemd/system/etcd.service.d/hactl-drill.conf\n\
             systemctl daemon-reload\n\
             systemctl kill --kill-who=main -s KILL etcd\n"
        );
        assert_eq!(
            stop_patroni_for_good(&node()).revert,
            "rm -f /run/systemd/system/patroni.service.d/hactl-drill.conf\n\
             rmdir /run/systemd/system/patroni.service.d 2>/dev/null || :\n\
             systemctl daemon-reload\nsystemctl start --no-block patroni\n"
        );
    }
}
