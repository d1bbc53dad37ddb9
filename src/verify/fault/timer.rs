//! The undo on a node: a transient timer of its own systemd, set before the fault. It needs neither hactl
//! nor the network. Its text lies in `/run` until it has worked, so that whatever is there is a fault that
//! is not taken back yet, and nothing is there after a reboot, which takes every fault back itself.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::{join_all, try_join_all};

use super::{node_fault::NodeFault, power, shell, target::FaultTarget};
use crate::{
    component,
    error::{Error, Result},
    fleet::FleetNode,
    model::InstanceKey,
};

/// How soon a canary's undo comes, in milliseconds.
const CANARY_MS: u128 = 300;

/// Sets a timer that runs `script` in `delay_ms`. An accuracy is given, since systemd's own is a minute.
/// The text is in a file, since systemd, when it is reloaded, reads its own notes of an argument wrongly.
fn set(unit: &str, delay_ms: u128, script: &str) -> String {
    format!(
        "cat >/run/{unit} <<'END'\nset -e\n{script}rm /run/{unit}\nEND\n\
         systemd-run --quiet --unit={unit} --service-type=oneshot --on-active={delay_ms}ms \
         --timer-property=AccuracySec=100ms --property=TimeoutStartSec=60 /bin/sh /run/{unit}\n"
    )
}

/// The same mechanism without a fault: what must be seen is that its file goes away.
fn canary(id: &str) -> String {
    let unit = format!("hactl-canary-{id}");
    format!(
        "set -e\n{}\
         for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do\n  \
         [ -e /run/{unit} ] || exit 0\n  sleep 0.1\ndone\n\
         rm /run/{unit}\necho 'a timer of systemd was set and did not come' >&2\nexit 1\n",
        set(&unit, CANARY_MS, "")
    )
}

/// Sets the undo on every node, after a canary has come on all of them.
pub(super) async fn arm(
    id: &str,
    faults: &BTreeMap<InstanceKey, NodeFault>,
    deadline: Duration,
    cluster: &FaultTarget<'_>,
) -> Result<()> {
    let faults: BTreeMap<_, _> = faults.iter().filter(|(_, fault)| !fault.revert.is_empty()).collect();
    let test = canary(id);
    let tested = faults.keys().map(|key| shell::succeed(cluster, key, "test the undo", &test));
    try_join_all(tested).await?;
    let unit = format!("hactl-undo-{id}");
    let armed = faults.iter().map(async |(key, fault)| {
        shell::succeed(cluster, key, "set the undo", &set(&unit, deadline.as_millis(), &fault.revert)).await
    });
    // What was set before another node failed comes to nothing: nobody has struck.
    try_join_all(armed).await.map(drop)
}

/// Disarms, and does what the undo does, whether it has come or not.
fn now(id: &str, undo: &str) -> String {
    format!(
        "systemctl stop hactl-undo-{id}.timer 2>/dev/null\nset -e\n{undo}rm -f /run/hactl-undo-{id}\n\
         systemctl reset-failed hactl-undo-{id}.service 2>/dev/null || :\n"
    )
}

pub(super) async fn revert(
    id: &str,
    faults: &BTreeMap<InstanceKey, NodeFault>,
    cluster: &FaultTarget<'_>,
) -> Result<()> {
    let undone = faults
        .iter()
        .filter(|(_, fault)| !fault.revert.is_empty())
        .map(async |(key, fault)| shell::succeed(cluster, key, "take the fault back", &now(id, &fault.revert)).await);
    try_join_all(undone).await.map(drop)
}

/// Whether the timer of any node waits no more.
pub(super) async fn fired(
    id: &str,
    faults: &BTreeMap<InstanceKey, NodeFault>,
    cluster: &FaultTarget<'_>,
) -> Result<bool> {
    let test = format!("[ \"$(systemctl show -p SubState --value hactl-undo-{id}.timer)\" != waiting ]\n");
    let asked = faults.iter().filter(|(_, fault)| !fault.revert.is_empty());
    let asked = asked.map(|(key, _)| shell::holds(cluster, key, &test));
    Ok(try_join_all(asked).await?.into_iter().any(|fired| fired))
}

/// Prints every trace of a fault on a node, one per line.
const LIST: &str = "\
ls /run | grep '^hactl-undo-'
systemctl list-units --all --plain --no-legend 'hactl-undo-*.timer' 'hactl-fill-*' 'hactl-slow-*' | cut -d ' ' -f 1
for unit in $units; do
  [ ! -e /run/systemd/system/$unit.service.d/hactl-drill.conf ] || echo \"$unit is kept from starting\"
done
if command -v nft >/dev/null && nft list table inet hactl_drill >/dev/null 2>&1; then echo 'table inet hactl_drill'; fi
";

/// Takes every trace back: the undos that wait know how, and the rest is what would be left without them.
const SWEEP: &str = "\
set -e
for undo in $(ls /run | grep '^hactl-undo-'); do
  systemctl stop \"$undo.timer\" 2>/dev/null || :
  /bin/sh \"/run/$undo\"
done
systemctl stop 'hactl-fill-*' 'hactl-slow-*'
systemctl reset-failed 'hactl-undo-*' 'hactl-fill-*' 'hactl-slow-*'
rm -rf /run/hactl-slow-*
for unit in $units; do
  if [ -e /run/systemd/system/$unit.service.d/hactl-drill.conf ]; then
    rm /run/systemd/system/$unit.service.d/hactl-drill.conf
    systemctl daemon-reload
    systemctl start --no-block $unit
  fi
done
if command -v nft >/dev/null; then nft add table inet hactl_drill '; delete table inet hactl_drill'; fi
";

/// `script` for the units of one node.
fn of_units(node: &FleetNode, script: &str) -> String {
    format!("units='{}'\n{script}", component::units(node).collect::<Vec<_>>().join(" "))
}

/// What an earlier run that was killed has left, as `node1: hactl-undo-x.timer`. A node that does not
/// answer has nothing to say.
///
/// # Errors
/// When the container engine does not answer, on the local platform.
pub async fn leftovers(cluster: &FaultTarget<'_>) -> Result<Vec<String>> {
    let mut found: Vec<String> = power::off(cluster).await?.iter().map(|key| format!("{key}: without power")).collect();
    let asked = cluster.members().map(async |node| {
        let said = shell::succeed(cluster, node.key(), "look for faults", &of_units(node, LIST)).await;
        let said = said.unwrap_or_default();
        said.lines().map(|line| format!("{}: {line}", node.key())).collect::<Vec<_>>()
    });
    found.extend(join_all(asked).await.into_iter().flatten());
    Ok(found)
}

/// Takes back what [`leftovers`] finds.
///
/// # Errors
/// When a node does not answer, or something cannot be taken back.
pub async fn sweep(cluster: &FaultTarget<'_>) -> Result<()> {
    power::on(cluster).await?;
    let swept = cluster
        .members()
        .map(async |node| shell::succeed(cluster, node.key(), "take back what was left", &of_units(node, SWEEP)).await);
    try_join_all(swept).await.map(drop).map_err(|error: Error| {
        error.hint(format!("a reboot of the node takes every fault back; then {}", cluster.next_step()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undo_is_a_timer_that_comes_on_time_and_text_that_goes_when_it_has_worked() {
        assert_eq!(
            set("hactl-undo-0000002a", 90_000, "mend it\n"),
            "cat >/run/hactl-undo-0000002a <<'END'\nset -e\nmend it\nrm /run/hactl-undo-0000002a\nEND\n\
             systemd-run --quiet --unit=hactl-undo-0000002a --service-type=oneshot --on-active=90000ms \
             --timer-property=AccuracySec=100ms --property=TimeoutStartSec=60 /bin/sh /run/hactl-undo-0000002a\n"
        );
    }

    #[test]
    fn an_undo_that_is_asked_for_disarms_first() {
        assert_eq!(
            now("0000002a", "mend it\n"),
            "systemctl stop hactl-undo-0000002a.timer 2>/dev/null\nset -e\nmend it\n\
             rm -f /run/hactl-undo-0000002a\nsystemctl reset-failed hactl-undo-0000002a.service 2>/dev/null || :\n"
        );
    }
}
