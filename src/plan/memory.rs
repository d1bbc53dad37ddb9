//! A machine's size -> the PostgreSQL parameters derived from it.
//!
//! Shares from PostgreSQL's manual, "Resource Consumption" (shared_buffers: a quarter of memory is a
//! reasonable start) and "Query Planning" (effective_cache_size: what the kernel and PostgreSQL cache
//! together), and the PostgreSQL wiki's "Tuning Your PostgreSQL Server" for the others.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::default_max_connections;

/// What etcd, Patroni and the system need beside PostgreSQL, in MiB.
const OTHERS_MIB: u32 = 256;

/// Parameters for a machine with `memory_mib` MiB and `cores`. Sizes in MB, as PostgreSQL counts (1024 based).
pub(super) fn parameters(memory_mib: u32, cores: u32) -> BTreeMap<String, Value> {
    let usable = memory_mib.saturating_sub(OTHERS_MIB).max(OTHERS_MIB);
    let shared_buffers = (usable / 4).max(64);
    let max_connections = default_max_connections(memory_mib);
    // A query may use it several times over, and not all sessions sort at once: a third of what is left.
    let work_mem = ((usable - shared_buffers) / (max_connections * 3)).clamp(4, 256);
    // One for each autovacuum worker and manual command; more than 2 GB brings no gain.
    let maintenance_work_mem = (usable / 16).clamp(32, 2048);
    let effective_cache_size = (usable / 4 * 3).max(shared_buffers);
    let workers = cores.clamp(2, 64);
    let megabytes = |size: u32| Value::String(format!("{size}MB"));
    [
        ("shared_buffers", megabytes(shared_buffers)),
        ("effective_cache_size", megabytes(effective_cache_size)),
        ("work_mem", megabytes(work_mem)),
        ("maintenance_work_mem", megabytes(maintenance_work_mem)),
        ("max_connections", max_connections.into()),
        ("max_worker_processes", workers.max(8).into()),
        ("max_parallel_workers", workers.into()),
        ("max_parallel_workers_per_gather", (cores / 2).clamp(1, 4).into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_parameters_scale_with_the_machine() {
        let table = [
            (512, "64MB", "192MB", "4MB", "32MB", 100),
            (1024, "192MB", "576MB", "4MB", "48MB", 100),
            (2048, "448MB", "1344MB", "4MB", "112MB", 100),
            (8192, "1984MB", "5952MB", "9MB", "496MB", 200),
            (65_536, "16320MB", "48960MB", "40MB", "2048MB", 400),
        ];
        for (memory, shared, cache, work, maintenance, connections) in table {
            let parameters = parameters(memory, 2);
            let got = ["shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem"]
                .map(|name| parameters[name].as_str().unwrap().to_owned());
            assert_eq!(got, [shared, cache, work, maintenance], "{memory} MiB");
            assert_eq!(parameters["max_connections"], connections, "{memory} MiB");
        }
    }

    #[test]
    fn memory_parameters_of_the_largest_machine_do_not_overflow() {
        parameters(u32::MAX, u32::MAX);
    }
}
