//! The variables of the role `pgbouncer`: what is set of roles/pgbouncer/meta/argument_specs.yml.

use ipnet::IpNet;
use serde::Serialize;

use crate::{
    component::{
        definition::Variables,
        material::{Lookup, RoleVars, role_vars},
        postgres,
    },
    fleet::Fleet,
    model::{Authority, Certificate, DatabaseName, EntryPoint, InstanceKey, PoolMode, RESERVED_ROLES, Secret},
    plan::Plan,
};

pub(super) const VARIABLES: Variables =
    Variables { install: |_| RoleVars::new(), cluster, host: |_| RoleVars::new(), secrets, host_secrets };

/// How much longer than a failover a client waits for a server, in seconds.
const BEYOND_BOUND: u32 = 30;

#[derive(Serialize)]
struct Cluster<'a> {
    pgbouncer_port: u16,
    pgbouncer_pool_mode: PoolMode,
    pgbouncer_max_client_connections: u32,
    /// How many connections it opens to each database.
    pgbouncer_pool_size: u32,
    /// How long a client waits for a server, in seconds.
    pgbouncer_query_wait_timeout: u32,
    /// The databases, each with the name that clients use, the database of the server and the proxy's port.
    pgbouncer_databases: Vec<Database>,
    /// The roles that may log in: those of the cluster file.
    pgbouncer_users: Vec<&'a DatabaseName>,
    /// The roles that may not.
    pgbouncer_refused_users: &'static [&'static str],
    /// The networks that may connect.
    pgbouncer_access: Vec<IpNet>,
}

#[derive(Serialize)]
struct Database {
    name: String,
    database: String,
    port: u16,
}

/// The ports of the proxy that lead to the primary and to the replicas.
const PROXY_PORTS: [u16; 2] = [5000, 5001];

fn cluster(plan: &Plan, fleet: &Fleet) -> RoleVars {
    let Some(entry) = &plan.endpoint else { return RoleVars::new() };
    let databases = plan.postgres.databases.keys();
    let [primary, replicas] = PROXY_PORTS;
    let databases = databases.flat_map(|name| {
        let of = |alias: String, port: u16| Database { name: alias, database: name.to_string(), port };
        let readers = entry.replicas.then(|| of(EntryPoint::of_replicas(name.as_str()), replicas));
        [of(name.to_string(), primary)].into_iter().chain(readers)
    });
    let mut users: Vec<&DatabaseName> = plan.postgres.databases.values().collect();
    users.sort();
    users.dedup();
    let members = fleet.nodes.values().filter(|node| !node.node.roles.is_empty()).flat_map(|node| node.addresses());
    let mut access: Vec<IpNet> = members.map(|address| IpNet::from(std::net::IpAddr::V4(address))).collect();
    access.extend(postgres::access(plan, fleet));
    role_vars(&Cluster {
        pgbouncer_port: entry.port,
        pgbouncer_pool_mode: entry.pool_mode,
        pgbouncer_max_client_connections: entry.max_client_connections,
        pgbouncer_pool_size: pool_size(plan, entry),
        pgbouncer_query_wait_timeout: query_wait_timeout(plan),
        pgbouncer_databases: databases.collect(),
        pgbouncer_users: users,
        pgbouncer_refused_users: RESERVED_ROLES,
        pgbouncer_access: access,
    })
}

/// The connections that one pooler may open to one database by one of its names.
pub(crate) fn pool_size(plan: &Plan, entry: &EntryPoint) -> u32 {
    let connections = plan.postgres.count("max_connections", 0).unwrap_or_default();
    entry.pool_size(connections, plan.data_nodes().count(), plan.postgres.databases.len()).max(1)
}

/// The connections that one pooler may open.
pub(in crate::component) fn connections(plan: &Plan, entry: &EntryPoint) -> u32 {
    let databases = u32::try_from(plan.postgres.databases.len()).unwrap_or(u32::MAX);
    pool_size(plan, entry).saturating_mul(databases).saturating_mul(entry.doors())
}

/// Clients wait longer than the loss of a node takes, and than a switchover may hold them back.
fn query_wait_timeout(plan: &Plan) -> u32 {
    let hold = EntryPoint::longest_hold(&plan.patroni.timers);
    let longest = plan.bounds.iter().map(|bound| bound.seconds).fold(f64::from(hold), f64::max);
    (hold..u32::from(u16::MAX)).find(|seconds| f64::from(*seconds) >= longest).unwrap_or(hold) + BEYOND_BOUND
}

#[derive(Serialize)]
struct Secrets<'a> {
    /// The CA of PostgreSQL's certificates, PEM.
    pgbouncer_postgresql_ca: Option<&'a str>,
}

fn secrets(plan: &Plan, lookup: &mut Lookup<'_>) -> RoleVars {
    if plan.endpoint.is_none() {
        return RoleVars::new();
    }
    role_vars(&Secrets { pgbouncer_postgresql_ca: lookup.authority(Authority::POSTGRESQL) })
}

#[derive(Serialize)]
struct HostSecrets<'a> {
    /// The certificate that clients see, PEM, and its key.
    pgbouncer_certificate: Option<&'a str>,
    pgbouncer_key: Option<&'a Secret>,
}

fn host_secrets(node: &InstanceKey, lookup: &mut Lookup<'_>) -> RoleVars {
    let (pgbouncer_certificate, pgbouncer_key) = lookup.certificate(node, Certificate::POSTGRESQL);
    role_vars(&HostSecrets { pgbouncer_certificate, pgbouncer_key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan, spec};

    #[test]
    fn clients_wait_longer_than_the_longest_bound_and_pools_fit_the_server() {
        let file = "instances: {a: {}, b: {}, c: {}}\nendpoint: {replicas: true}\n";
        let plan = plan::decide(&spec::load("t", file.as_bytes(), "t").unwrap(), &plan::Choices::default()).unwrap();
        assert!(plan.bounds.iter().all(|bound| f64::from(query_wait_timeout(&plan)) >= bound.seconds + 30.0));
        let entry = plan.endpoint.as_ref().unwrap();
        assert_eq!((pool_size(&plan, entry), connections(&plan, entry)), (13, 26));
        assert!(plan.nodes.values().all(|node| node.pooler_port == Some(6432)));
    }
}
