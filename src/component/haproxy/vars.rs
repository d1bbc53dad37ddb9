//! The variables of the role `haproxy`: what is set of roles/haproxy/meta/argument_specs.yml.

use std::net::Ipv4Addr;

use serde::Serialize;

use crate::{
    component::{
        definition::Variables,
        material::{Lookup, RoleVars, role_vars},
        patroni, pgbouncer, postgres,
    },
    fleet::Fleet,
    model::{Authority, HostName, InstanceKey},
    plan::Plan,
};

pub(super) const VARIABLES: Variables = Variables {
    install: |_| RoleVars::new(),
    cluster,
    host: |_| RoleVars::new(),
    secrets,
    host_secrets: |_, _| RoleVars::new(),
};

#[derive(Serialize)]
struct Cluster<'a> {
    /// The servers of the cluster.
    haproxy_servers: Vec<Server<'a>>,
    /// Whether the proxy leads to the replicas, too.
    haproxy_replicas: bool,
    /// The connections that the pooler beside it may open.
    haproxy_max_connections: u32,
}

#[derive(Serialize)]
struct Server<'a> {
    name: &'a InstanceKey,
    /// The name in the certificate of its Patroni.
    hostname: &'a HostName,
    address: Ipv4Addr,
    /// The ports of PostgreSQL and of Patroni's REST API.
    port: u16,
    check_port: u16,
}

fn cluster(plan: &Plan, fleet: &Fleet) -> RoleVars {
    let Some(entry) = &plan.endpoint else { return RoleVars::new() };
    let servers = fleet.data_nodes().map(|node| Server {
        name: node.key(),
        hostname: node.hostname(),
        address: node.address,
        port: postgres::PORT,
        check_port: patroni::PORT,
    });
    role_vars(&Cluster {
        haproxy_servers: servers.collect(),
        haproxy_replicas: entry.replicas,
        haproxy_max_connections: pgbouncer::connections(plan, entry),
    })
}

#[derive(Serialize)]
struct Secrets<'a> {
    /// The CA of Patroni's REST API, PEM.
    haproxy_control_ca: Option<&'a str>,
}

fn secrets(plan: &Plan, lookup: &mut Lookup<'_>) -> RoleVars {
    if plan.endpoint.is_none() {
        return RoleVars::new();
    }
    role_vars(&Secrets { haproxy_control_ca: lookup.authority(Authority::CONTROL) })
}
