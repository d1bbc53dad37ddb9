//! The variables of the role `etcd`: what is set of roles/etcd/meta/argument_specs.yml.

use std::net::Ipv4Addr;

use serde::Serialize;

use crate::{
    component::{
        definition::Variables,
        material::{Lookup, RoleVars, role_vars},
    },
    fleet::{Fleet, FleetNode},
    model::{Authority, Certificate, ClusterName, EtcdVersion, InstanceKey, Secret},
    plan::Plan,
};

pub(super) const VARIABLES: Variables = Variables { install, cluster, host, secrets, host_secrets };

#[derive(Serialize)]
struct Install {
    /// The version of the programs in `etcd_binaries_dir`.
    etcd_version: EtcdVersion,
}

fn install(plan: &Plan) -> RoleVars {
    role_vars(&Install { etcd_version: plan.etcd })
}

#[derive(Serialize)]
struct Cluster<'a> {
    /// Keeps members of different clusters apart.
    etcd_cluster_token: &'a ClusterName,
}

fn cluster(plan: &Plan, _: &Fleet) -> RoleVars {
    role_vars(&Cluster { etcd_cluster_token: &plan.cluster })
}

#[derive(Serialize)]
struct Host<'a> {
    /// The name of the member.
    etcd_name: &'a InstanceKey,
    /// The IPv4 address of the member.
    etcd_address: Ipv4Addr,
}

fn host(node: &FleetNode) -> RoleVars {
    role_vars(&Host { etcd_name: node.key(), etcd_address: node.address })
}

#[derive(Serialize)]
struct Secrets<'a> {
    /// The CA of the members among each other, PEM.
    etcd_peer_ca: Option<&'a str>,
    /// The CA of etcd's clients and of its server certificates, PEM.
    etcd_control_ca: Option<&'a str>,
}

fn secrets(_: &Plan, lookup: &mut Lookup<'_>) -> RoleVars {
    role_vars(&Secrets {
        etcd_peer_ca: lookup.authority(Authority::ETCD_PEER),
        etcd_control_ca: lookup.authority(Authority::CONTROL),
    })
}

#[derive(Serialize)]
struct HostSecrets<'a> {
    /// The member's certificate for its peers, PEM, and its key.
    etcd_peer_certificate: Option<&'a str>,
    etcd_peer_key: Option<&'a Secret>,
    /// The member's server certificate, PEM, and its key.
    etcd_server_certificate: Option<&'a str>,
    etcd_server_key: Option<&'a Secret>,
}

fn host_secrets(node: &InstanceKey, lookup: &mut Lookup<'_>) -> RoleVars {
    let (etcd_peer_certificate, etcd_peer_key) = lookup.certificate(node, Certificate::ETCD_PEER);
    let (etcd_server_certificate, etcd_server_key) = lookup.certificate(node, Certificate::ETCD_SERVER);
    role_vars(&HostSecrets { etcd_peer_certificate, etcd_peer_key, etcd_server_certificate, etcd_server_key })
}
