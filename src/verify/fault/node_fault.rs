//! What a fault is on one node, as shell text. All values in it are of checked types.

use super::{Ground, disk, network, patroni, process, unit};
use crate::{component::postgres, fleet::FleetNode, verify::catalogue::Fault};

/// A fault on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeFault {
    /// Ends with an error and a reason where this cannot be done.
    pub(super) possible: String,
    /// Does the damage and prints the number of the process that it struck, if it is one.
    pub(super) strike: String,
    /// Succeeds while the damage is seen; `$noted` is the number that `strike` printed.
    pub(super) effect: String,
    /// Takes it back, also when it was never done, under `set -e`; empty where there is nothing to take back.
    pub(super) undo: String,
}

impl NodeFault {
    /// None for the faults that are not done on the node itself.
    pub(super) fn new(fault: Fault, node: &FleetNode, ground: &Ground<'_>) -> Option<Self> {
        let others = network::Others::of(node, ground);
        Some(match fault {
            Fault::KillPostgres => process::kill_postgres(node),
            Fault::KillPatroni => unit::kill_patroni(node),
            Fault::BuryPatroni => unit::bury_patroni(node),
            Fault::StopPatroni => process::stop_patroni(node),
            Fault::KillEtcd => unit::bury_etcd(node),
            Fault::StopGuard => unit::stop_guard(),
            Fault::Isolate => network::isolate(&others),
            Fault::CutFromEtcd => network::cut_from_etcd(postgres::user(node), &others),
            Fault::LosePackets => network::lose(&others),
            Fault::DelayPackets => network::delay(&others),
            Fault::CutReplication => network::cut_replication(),
            Fault::Asynchronous => patroni::asynchronous(&ground.plan.patroni.durability.synchronous()),
            Fault::FillDisk => disk::fill(node),
            Fault::Switchover | Fault::PowerOff => return None,
        })
    }

    /// The whole test whether this can be done.
    pub(super) fn obstacle(&self) -> String {
        let systemd = "[ -d /run/systemd/system ] || { echo 'systemd does not run'; exit 1; }\n";
        format!("{systemd}{}", self.possible)
    }

    /// The whole strike. What has an undo is done only while that is set: should the undo come amid the
    /// strike, the strike itself takes back what the undo may have come too early for.
    pub(super) fn strike(&self, id: &str) -> String {
        let (strike, undo) = (&self.strike, &self.undo);
        if undo.is_empty() {
            return format!("set -e\n{strike}");
        }
        format!(
            "set -e\n\
             armed() {{\n  \
             [ \"$(systemctl show -p SubState --value hactl-undo-{id}.timer)\" = waiting ] ||\n    \
             {{ echo 'its undo is not set any more' >&2; return 1; }}\n}}\n\
             armed\n{strike}if ! armed; then\n{undo}exit 1\nfi\n"
        )
    }

    pub(super) fn effect(&self, noted: u32) -> String {
        format!("noted={noted}\n{}", self.effect)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Scene, *};
    use crate::verify::catalogue::CATALOGUE;

    #[test]
    fn what_the_catalogue_says_is_taken_back_has_an_undo() {
        let scene = Scene::new("instances: {node1: {}, node2: {}, node3: {}}");
        let ground = scene.ground();
        for drill in CATALOGUE {
            let node = ground.members().next().unwrap();
            let Some(blow) = NodeFault::new(drill.fault, node, &ground) else { continue };
            assert_eq!(blow.undo.is_empty(), drill.undo == "nothing to take back", "{}", drill.title());
            // Each goes between other lines.
            assert!(blow.undo.is_empty() || blow.undo.ends_with('\n'), "{}", drill.title());
        }
    }

    #[test]
    fn nobody_strikes_without_an_undo_that_waits() {
        let blow = NodeFault {
            possible: String::new(),
            strike: "break it\n".into(),
            effect: String::new(),
            undo: "mend it\n".into(),
        };
        assert_eq!(
            blow.strike("0000002a"),
            r#"set -e
armed() {
  [ "$(systemctl show -p SubState --value hactl-undo-0000002a.timer)" = waiting ] ||
    { echo 'its undo is not set any more' >&2; return 1; }
}
armed
break it
if ! armed; then
mend it
exit 1
fi
"#
        );
        assert_eq!(NodeFault { undo: String::new(), ..blow }.strike("0000002a"), "set -e\nbreak it\n");
    }
}
