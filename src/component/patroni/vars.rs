//! The variables of the role `patroni` about Patroni itself: what is set of roles/patroni/meta/argument_specs.yml.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::Serialize;

use crate::{
    component::{
        definition::Variables,
        material::{Lookup, RoleVars, role_vars},
    },
    fleet::{Fleet, FleetNode},
    model::{Account, Authority, Certificate, ClusterName, HostName, IgnoredSlot, InstanceKey, Secret, Slot},
    plan::Plan,
};

pub(super) const VARIABLES: Variables = Variables { install, cluster, host, secrets, host_secrets };

#[derive(Serialize)]
struct Install<'a> {
    /// The version of Patroni in `patroni_wheels_dir`.
    patroni_version: &'a str,
}

fn install(plan: &Plan) -> RoleVars {
    role_vars(&Install { patroni_version: &plan.patroni.version })
}

#[derive(Serialize)]
struct Cluster<'a> {
    /// Patroni's name of the cluster.
    patroni_scope: &'a ClusterName,
    /// How long the leader key lives, in seconds.
    patroni_ttl: u32,
    /// The pause between two rounds, in seconds.
    patroni_loop_wait: u32,
    /// How long Patroni tries to reach etcd and PostgreSQL, in seconds.
    patroni_retry_timeout: u32,
    /// How long a primary may take to recover before another one takes over, in seconds.
    patroni_primary_start_timeout: u32,
    /// How long a primary may take to stop, in seconds.
    patroni_primary_stop_timeout: u32,
    /// How commits wait for replicas: `off`, `on` or `quorum`.
    patroni_synchronous_mode: &'static str,
    /// Whether writes wait where no replica is synchronous.
    patroni_synchronous_mode_strict: bool,
    /// How many replicas are synchronous.
    patroni_synchronous_node_count: u32,
    /// Whether a primary that reaches all members, but not etcd, keeps running.
    patroni_failsafe_mode: bool,
    /// Whether a replica must be on the leader's timeline to take over.
    patroni_check_timeline: bool,
    /// Whether the data of a member that cannot be brought back is deleted.
    patroni_remove_diverged_data: bool,
    /// How long the slot of an absent member is kept.
    patroni_member_slots_ttl: &'static str,
    /// Whether Patroni uses a watchdog device.
    #[serde(skip_serializing_if = "Option::is_none")]
    patroni_watchdog_mode: Option<&'static str>,
    /// Slots that every member has.
    #[serde(skip_serializing_if = "Option::is_none")]
    patroni_slots: Option<&'a BTreeMap<String, Slot>>,
    /// Slots that Patroni leaves alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    patroni_ignore_slots: Option<&'a [IgnoredSlot]>,
}

fn cluster(plan: &Plan, _: &Fleet) -> RoleVars {
    let timers = plan.patroni.timers;
    let synchronous = plan.patroni.durability.synchronous();
    role_vars(&Cluster {
        patroni_scope: &plan.cluster,
        patroni_ttl: timers.ttl,
        patroni_loop_wait: timers.loop_wait,
        patroni_retry_timeout: timers.retry_timeout,
        patroni_primary_start_timeout: timers.primary_start_timeout,
        patroni_primary_stop_timeout: timers.primary_stop_timeout,
        patroni_synchronous_mode: synchronous.mode,
        patroni_synchronous_mode_strict: synchronous.strict,
        patroni_synchronous_node_count: plan.patroni.synchronous_nodes,
        patroni_failsafe_mode: true,
        patroni_check_timeline: true,
        patroni_remove_diverged_data: plan.disposable,
        patroni_member_slots_ttl: slots_ttl(plan),
        patroni_watchdog_mode: plan.watchdog.then_some("automatic"),
        patroni_slots: plan.patroni.slots.as_ref(),
        patroni_ignore_slots: plan.patroni.ignore_slots.as_deref(),
    })
}

/// How long the slot of an absent member is kept.
pub(super) const fn slots_ttl(plan: &Plan) -> &'static str {
    if plan.patroni.slots_are_bounded { "24h" } else { "30min" }
}

/// The role's `patroni_maximum_lag_on_failover` in bytes: without synchronous replication, and with it, where it is no limit.
pub(super) const MAXIMUM_LAG: u64 = 1 << 20;
pub(super) const NO_MAXIMUM_LAG: u64 = 1 << 40;

#[derive(Serialize)]
struct Host<'a> {
    /// The name of the member.
    patroni_name: &'a InstanceKey,
    /// The IPv4 address of the member.
    patroni_address: Ipv4Addr,
    /// The host name of the machine.
    patroni_hostname: &'a HostName,
}

fn host(node: &FleetNode) -> RoleVars {
    role_vars(&Host { patroni_name: node.key(), patroni_address: node.address, patroni_hostname: node.hostname() })
}

#[derive(Serialize)]
struct Secrets<'a> {
    /// The CA of etcd's clients and of Patroni's REST API, PEM.
    patroni_control_ca: Option<&'a str>,
    /// The password of the REST API.
    patroni_restapi_password: Option<&'a Secret>,
}

fn secrets(_: &Plan, lookup: &mut Lookup<'_>) -> RoleVars {
    role_vars(&Secrets {
        patroni_control_ca: lookup.authority(Authority::CONTROL),
        patroni_restapi_password: lookup.password(&Account::RESTAPI),
    })
}

#[derive(Serialize)]
struct HostSecrets<'a> {
    /// The certificate of the REST API, which is also that for requests to etcd and to other members, PEM, and its key.
    patroni_certificate: Option<&'a str>,
    patroni_key: Option<&'a Secret>,
}

fn host_secrets(node: &InstanceKey, lookup: &mut Lookup<'_>) -> RoleVars {
    let (patroni_certificate, patroni_key) = lookup.certificate(node, Certificate::PATRONI);
    role_vars(&HostSecrets { patroni_certificate, patroni_key })
}
