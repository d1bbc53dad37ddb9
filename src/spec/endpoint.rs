//! The section `endpoint` -> the entry point, checked against the rest of the file.

use std::collections::BTreeMap;

use super::{Instance, checker::Checker, file::EndpointFile};
use crate::model::{EntryPoint, InstanceKey, Postgres, default_max_connections};

const DEFAULT_PORT: u16 = 6432;
const DEFAULT_CLIENTS: u32 = 1000;
/// Ports of the other services of a machine.
const TAKEN: [(u16, &str); 6] =
    [(2379, "etcd"), (2380, "etcd"), (5000, "the proxy"), (5001, "the proxy"), (5432, "PostgreSQL"), (8008, "Patroni")];

/// The entry point that the file asks for.
pub(super) fn endpoint(
    checker: &mut Checker<'_, '_>,
    written: &EndpointFile,
    postgres: &Postgres,
    instances: Option<&BTreeMap<InstanceKey, Instance>>,
) -> EntryPoint {
    let pooler = written.pooler.as_ref();
    let entry = EntryPoint {
        port: pooler.and_then(|pooler| pooler.port).unwrap_or(DEFAULT_PORT),
        pool_mode: pooler.and_then(|pooler| pooler.pool_mode).unwrap_or_default(),
        max_client_connections: pooler.and_then(|pooler| pooler.max_client_connections).unwrap_or(DEFAULT_CLIENTS),
        replicas: written.replicas.unwrap_or_default(),
    };
    if let Some((_, owner)) = TAKEN.iter().find(|(port, _)| *port == entry.port) {
        let message = format!("port {} is that of {owner} on the same machine", entry.port);
        checker.meant(&["endpoint", "pooler", "port"], message, Some(DEFAULT_PORT.to_string()));
    }
    names(checker, &entry, postgres);
    let Some(instances) = instances else { return entry };
    let poolers: Vec<&Instance> = instances.values().filter(|instance| instance.is_data_node()).collect();
    if poolers.is_empty() {
        checker.say(&["endpoint"], "needs a data node: the poolers run beside PostgreSQL");
    }
    if entry.replicas && poolers.len() == 1 {
        checker.say(&["endpoint", "replicas"], "the cluster has one data node, and so no replica to read from");
    }
    pools(checker, &entry, postgres, &poolers);
    entry
}

/// Databases and owners whose names the poolers use for something else.
fn names(checker: &mut Checker<'_, '_>, entry: &EntryPoint, postgres: &Postgres) {
    for (database, owner) in &postgres.databases {
        let path = ["postgres", "databases", database.as_str()];
        if database.as_str() == EntryPoint::CONSOLE {
            let message = format!("database `{database}` is the console of the poolers: choose another name");
            checker.say(&path, message);
        }
        if owner.as_str() == EntryPoint::CONSOLE {
            let message = format!("role `{owner}` is the user of the poolers' console: choose another role");
            checker.say(&path, message);
        }
        let stem = database.as_str().strip_suffix(EntryPoint::REPLICAS);
        let other = stem.and_then(|stem| postgres.databases.keys().find(|known| known.as_str() == stem));
        if let Some(other) = other.filter(|_| entry.replicas) {
            let message = format!("with `endpoint.replicas`, `{database}` is the name of the replicas of `{other}`");
            checker.say(&path, message);
        }
    }
}

/// Whether each pooler gets a connection to each database.
fn pools(checker: &mut Checker<'_, '_>, entry: &EntryPoint, postgres: &Postgres, poolers: &[&Instance]) {
    let memory = poolers.iter().map(|one| one.memory_mib).min();
    let derived = default_max_connections(postgres.memory_mib.or(memory).unwrap_or_default());
    let given = postgres.parameters.contains_key("max_connections");
    let connections = postgres.count("max_connections", derived).unwrap_or(derived);
    let (poolers, databases) = (poolers.len(), postgres.databases.len());
    if poolers == 0 || entry.pool_size(connections, poolers, databases) > 0 {
        return;
    }
    let reserve = EntryPoint::reserve(connections);
    let enough = (connections..).step_by(10).find(|more| entry.pool_size(*more, poolers, databases) > 0);
    let message = format!(
        "`max_connections` is {connections}, of which {reserve} stay for others: too few for a connection of each of \
         {poolers} poolers to each of {databases} databases"
    );
    let written = ["postgres", "parameters", "max_connections"];
    let (path, field) = if given { (&written[..], "") } else { (&["endpoint"][..], "max_connections: ") };
    checker.meant(path, message, enough.map(|enough| format!("{field}{enough}")));
}
