//! Units that are killed, and units that are kept from coming back.

use std::collections::BTreeSet;

use super::{Armed, blow::Blow, process::POSTMASTER};
use crate::{
    health,
    model::{InstanceKey, Role},
    verify::catalogue::Target,
};

/// SIGKILL to the unit's main process; the unit's own settings decide what comes next.
pub(super) fn kill(unit: &str) -> Blow {
    Blow {
        possible: String::new(),
        strike: format!(
            "main=$(systemctl show -p MainPID --value {unit})\n\
             [ \"$main\" -gt 0 ] || {{ echo '{unit} does not run' >&2; exit 1; }}\n\
             systemctl kill --kill-who=main -s KILL {unit}\n\
             echo \"$main\"\n"
        ),
        effect: format!("[ \"$(systemctl show -p MainPID --value {unit})\" != \"$noted\" ]\n"),
        undo: String::new(),
    }
}

/// Patroni dies and stays dead; PostgreSQL lives on.
pub(super) fn bury_patroni() -> Blow {
    Blow {
        strike: format!("{POSTMASTER}{}echo \"$postmaster\"\n", bury("patroni")),
        effect: "! systemctl is-active --quiet patroni && [ \"$(cat /proc/\"$noted\"/comm)\" = postgres ]\n".to_owned(),
        undo: unbury("patroni"),
        ..kill("patroni")
    }
}

/// etcd dies and stays dead.
pub(super) fn bury_etcd() -> Blow {
    Blow {
        strike: bury("etcd"),
        effect: "! systemctl is-active --quiet etcd\n".to_owned(),
        undo: unbury("etcd"),
        ..kill("etcd")
    }
}

/// What stops an orphaned primary does not.
pub(super) fn stop_guard() -> Blow {
    let unit = "hactl-lease-guard";
    Blow {
        possible: format!("systemctl is-active --quiet {unit} || {{ echo '{unit} does not run'; exit 1; }}\n"),
        strike: format!("systemctl stop {unit}\n"),
        effect: format!("! systemctl is-active --quiet {unit}\n"),
        undo: format!("systemctl start --no-block {unit}\n"),
    }
}

/// A mask in `/run` would do nothing: the unit's file in `/etc` comes before it. A drop-in counts, and
/// is gone after a reboot. Its condition keeps everybody else from starting the unit.
fn bury(unit: &str) -> String {
    let dir = format!("/run/systemd/system/{unit}.service.d");
    format!(
        "mkdir -p {dir}\n\
         printf '[Unit]\\nConditionPathExists=!{dir}/hactl-drill.conf\\n[Service]\\nRestart=no\\n' \
         >{dir}/hactl-drill.conf\n\
         systemctl daemon-reload\n\
         systemctl kill --kill-who=main -s KILL {unit}\n"
    )
}

/// Nobody waits for the unit: etcd is ready only with a quorum, whose other members come in their turn.
fn unbury(unit: &str) -> String {
    let dir = format!("/run/systemd/system/{unit}.service.d");
    format!(
        "rm -f {dir}/hactl-drill.conf\nrmdir {dir} 2>/dev/null || :\n\
         systemctl daemon-reload\nsystemctl start --no-block {unit}\n"
    )
}

/// Whether those voters of etcd that live have noticed: they follow another leader, or serve no more.
pub(super) async fn etcd_noticed(armed: &Armed<'_>) -> bool {
    let struck: BTreeSet<&InstanceKey> = armed.targets.iter().collect();
    let living = armed.ground.fleet.with_role(Role::Etcd).filter(|node| !struck.contains(node.key()));
    let asked = living.map(|node| health::ask_etcd(node, armed.ground.access));
    let views: Vec<_> = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
    if armed.drill.target == Target::EtcdMajority {
        return !views.iter().any(|view| view.serving);
    }
    views.iter().any(|view| {
        let leader = view.members.iter().find(|member| member.id == view.leader);
        leader.is_some_and(|member| !struck.iter().any(|key| key.as_str() == member.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buried_unit_is_killed_only_when_it_cannot_come_back() {
        assert_eq!(
            bury_etcd().strike,
            "mkdir -p /run/systemd/system/etcd.service.d\n\
             printf '[Unit]\\nConditionPathExists=!/run/systemd/system/etcd.service.d/hactl-drill.conf\\n\
             [Service]\\nRestart=no\\n' >/run/systemd/system/etcd.service.d/hactl-drill.conf\n\
             systemctl daemon-reload\n\
             systemctl kill --kill-who=main -s KILL etcd\n"
        );
        assert_eq!(
            bury_patroni().undo,
            "rm -f /run/systemd/system/patroni.service.d/hactl-drill.conf\n\
             rmdir /run/systemd/system/patroni.service.d 2>/dev/null || :\n\
             systemctl daemon-reload\nsystemctl start --no-block patroni\n"
        );
    }
}
