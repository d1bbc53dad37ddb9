//! A fault of the catalogue -> what it is on one node.

use super::{
    bulk_load, disk, leaf, memory, network, node_fault::NodeFault, patroni, process, rest, target::FaultTarget, unit,
};
use crate::{component::postgres, fleet::FleetNode, verify::catalogue::Fault};

/// The fault on one node; none for the faults that are not done on the node itself.
pub(super) fn on_node(fault: Fault, node: &FleetNode, cluster: &FaultTarget<'_>) -> Option<NodeFault> {
    let others = network::Others::of(node, cluster);
    Some(match fault {
        Fault::KillPostgres | Fault::KillNewPrimary => process::kill_postgres(node),
        Fault::KillPatroni => unit::kill_patroni(node),
        Fault::StopPatroniForGood => unit::stop_patroni_for_good(node),
        Fault::HangPatroni => process::hang_patroni(node),
        Fault::KillEtcd => unit::stop_etcd_for_good(node),
        Fault::KillPooler => unit::kill_pooler(),
        Fault::KillProxy => unit::kill_proxy(),
        Fault::StopGuard => unit::stop_guard(),
        Fault::Isolate => network::isolate(&others),
        Fault::CutFromEtcd => network::cut_from_etcd(postgres::user(node), &others),
        Fault::LosePackets => network::lose(&others),
        Fault::DelayPackets => network::delay(&others),
        Fault::CutReplication => network::cut_replication(),
        Fault::Asynchronous => patroni::asynchronous(&cluster.plan.patroni.durability.synchronous()),
        // Only machines with Patroni ask etcd.
        Fault::SlowEtcd if node.node.is_data_node() => network::slow_etcd(postgres::user(node), &others),
        Fault::FreezeEtcd if node.node.is_voter() => process::freeze_etcd(node),
        Fault::ExpireCertificates => leaf::expire(node, cluster),
        Fault::ExhaustRest => rest::exhaust(node),
        Fault::BulkLoad => bulk_load::load(node),
        Fault::FillDisk => disk::fill(node),
        Fault::ExhaustMemory => memory::exhaust(node),
        Fault::Switchover | Fault::PowerOff | Fault::HoldPool | Fault::SlowEtcd | Fault::FreezeEtcd => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Scene, *};
    use crate::verify::catalogue::CATALOGUE;

    #[test]
    fn fault_has_an_undo_if_the_catalogue_says_so() {
        let scene = Scene::new("instances: {node1: {}, node2: {}, node3: {}}");
        let cluster = scene.cluster();
        for drill in CATALOGUE {
            let node = cluster.members().next().unwrap();
            let Some(fault) = on_node(drill.fault, node, &cluster) else { continue };
            assert_eq!(fault.revert.is_empty(), drill.undo == "nothing to revert", "{}", drill.title());
            // Each goes between other lines.
            assert!(fault.revert.is_empty() || fault.revert.ends_with('\n'), "{}", drill.title());
        }
    }
}
