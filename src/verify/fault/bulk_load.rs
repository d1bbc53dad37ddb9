//! A COPY on the primary, while its replicas receive nothing: they fall behind the WAL position that the primary writes to the
//! DCS. Patroni compares a candidate with that position, so this shows whether a replica that is far behind, but has every
//! acknowledged commit, takes over.

use super::{node_fault::NodeFault, postmaster::data_dir, target::FaultTarget};
use crate::{
    component::{patroni, postgres},
    fleet::FleetNode,
    model::{InstanceKey, reserved},
};

/// The unit that loads the rows.
const UNIT: &str = "hactl-bulk-load";

/// How far every replica must be behind, in bytes: four times the lag that Patroni allows by default.
const BEHIND: u64 = 4 << 20;

pub(super) fn load(node: &FleetNode) -> NodeFault {
    let connect = node.found.as_ref().map(|found| format!("-p {}", found.postgres.port));
    let script = include_str!("bulk_load.sh")
        .replace("@DATA@", &data_dir(node))
        .replace("@USER@", postgres::user(node))
        .replace("@UNIT@", UNIT)
        .replace("@DATABASE@", reserved::DRILLS)
        .replace("@CONNECT@", &connect.unwrap_or_default());
    // It ends with the machine, or by itself.
    NodeFault { revert: String::new(), ..NodeFault::of_steps(&script) }
}

/// Whether every replica is far behind the position that Patroni knows of `primary`.
pub(super) async fn replicas_are_behind(primary: &[InstanceKey], cluster: &FaultTarget<'_>) -> bool {
    let Some(node) = primary.first().and_then(|key| cluster.node(key).ok()) else { return false };
    let Ok(members) = patroni::members(cluster.access, node).await else { return false };
    let mut replicas = members.iter().filter(|member| !member.is_leader()).peekable();
    replicas.peek().is_some() && replicas.all(|replica| replica.lag_bytes().is_some_and(|lag| lag > BEHIND))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fault::tests::{code, node};

    #[test]
    fn bulk_load_never_commits_and_ends_by_itself() {
        let fault = load(&node());
        for script in [&fault.possible, &fault.inject, &fault.effect] {
            assert!(!script.contains('@'), "{script}");
        }
        let script = code(&fault.inject);
        assert!(script.contains("--property=RuntimeMaxSec=\"$longest\""), "{script}");
        let statements = "-d hactl_verify -c BEGIN -c 'CREATE TABLE public.bulk_load (row text)' \
                          -c 'COPY public.bulk_load FROM STDIN' -c ROLLBACK";
        assert!(script.contains(statements), "{script}");
        assert!(fault.revert.is_empty());
    }
}
