//! The undo on a node: a transient timer of its own systemd, set before the fault. It needs neither hactl
//! nor the network. Its script is in `/run` until it has run, so each such script means a fault that is not reverted
//! yet. A reboot empties `/run`, and reverts every fault itself.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::{join_all, try_join_all};

use super::{node_fault::NodeFault, power, shell, target::FaultTarget};
use crate::{
    component,
    error::{Error, Result},
    fleet::FleetNode,
    model::InstanceKey,
};

/// When a canary's undo is due, in milliseconds.
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
    format!("set -e\n{}{}", set(&unit, CANARY_MS, ""), include_str!("canary.sh").replace("@UNIT@", &unit))
}

/// Sets the undo on every node, after a canary has run on all of them.
pub(super) async fn arm(
    id: &str,
    faults: &BTreeMap<InstanceKey, NodeFault>,
    deadline: Duration,
    cluster: &FaultTarget<'_>,
) -> Result<()> {
    let faults: BTreeMap<_, _> = faults.iter().filter(|(_, fault)| !fault.revert.is_empty()).collect();
    let test = canary(id);
    let tested = faults.keys().map(|key| shell::succeed(cluster, key, "test the undo timer", &test));
    try_join_all(tested).await?;
    let unit = format!("hactl-undo-{id}");
    let armed = faults.iter().map(async |(key, fault)| {
        shell::succeed(cluster, key, "set the undo timer", &set(&unit, deadline.as_millis(), &fault.revert)).await
    });
    // If a node fails, the undos of the others do nothing: no fault was injected.
    try_join_all(armed).await.map(drop)
}

/// Disarms the undo timer, and does what the undo does, whether it has run or not.
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
        .map(async |(key, fault)| shell::succeed(cluster, key, "revert the fault", &now(id, &fault.revert)).await);
    try_join_all(undone).await.map(drop)
}

/// Whether the timer of any node no longer waits.
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

/// `script` for the units of one node.
fn of_units(node: &FleetNode, script: &str) -> String {
    script.replace("@UNITS@", &component::units(node).collect::<Vec<_>>().join(" "))
}

/// What an earlier run that was killed has left, as `node1: hactl-undo-x.timer`. A node that does not
/// answer is left out.
///
/// # Errors
/// When the container engine does not answer, on the local platform.
pub async fn leftovers(cluster: &FaultTarget<'_>) -> Result<Vec<String>> {
    let mut found: Vec<String> = power::off(cluster).await?.iter().map(|key| format!("{key}: powered off")).collect();
    let asked = cluster.members().map(async |node| {
        let said =
            shell::succeed(cluster, node.key(), "look for leftover faults", &of_units(node, include_str!("list.sh")))
                .await;
        let said = said.unwrap_or_default();
        said.lines().map(|line| format!("{}: {line}", node.key())).collect::<Vec<_>>()
    });
    found.extend(join_all(asked).await.into_iter().flatten());
    Ok(found)
}

/// Reverts what [`leftovers`] finds.
///
/// # Errors
/// If a node does not answer, or a fault cannot be reverted.
pub async fn sweep(cluster: &FaultTarget<'_>) -> Result<()> {
    power::on(cluster).await?;
    let swept = cluster.members().map(async |node| {
        shell::succeed(cluster, node.key(), "revert leftover faults", &of_units(node, include_str!("sweep.sh"))).await
    });
    try_join_all(swept).await.map(drop).map_err(|error: Error| {
        error.hint(format!("Reboot the machine, which reverts every fault; then {}", cluster.next_step()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undo_timer_runs_the_script_and_removes_it_after_success() {
        assert_eq!(
            set("hactl-undo-0000002a", 90_000, "mend it\n"),
            "cat >/run/hactl-undo-0000002a <<'END'\nset -e\nmend it\nrm /run/hactl-undo-0000002a\nEND\n\
             systemd-run --quiet --unit=hactl-undo-0000002a --service-type=oneshot --on-active=90000ms \
             --timer-property=AccuracySec=100ms --property=TimeoutStartSec=60 /bin/sh /run/hactl-undo-0000002a\n"
        );
    }

    #[test]
    fn requested_undo_stops_its_timer_first() {
        assert_eq!(
            now("0000002a", "mend it\n"),
            "systemctl stop hactl-undo-0000002a.timer 2>/dev/null\nset -e\nmend it\n\
             rm -f /run/hactl-undo-0000002a\nsystemctl reset-failed hactl-undo-0000002a.service 2>/dev/null || :\n"
        );
    }
}
