//! The variables of the role `patroni` about PostgreSQL: what is set of roles/patroni/meta/argument_specs.yml.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net};
use serde::Serialize;
use serde_json::Value;

use crate::{
    component::{
        definition::Variables,
        material::{Lookup, RoleVars, role_vars},
    },
    fleet::{Fleet, FleetNode},
    model::{Account, Authority, Certificate, DatabaseName, InstanceKey, Locale, PostgresMajor, Secret},
    plan::Plan,
};

pub(super) const VARIABLES: Variables =
    Variables { install, cluster, host: |_| RoleVars::new(), secrets, host_secrets };

#[derive(Serialize)]
struct Install<'a> {
    /// The major version.
    patroni_postgresql_version: PostgresMajor,
    /// The packages that bring it.
    patroni_postgresql_packages: &'a [String],
    /// Whether the packages come from the repository of the PostgreSQL project.
    patroni_postgresql_repository: bool,
    /// The suite of that repository; empty without it.
    patroni_postgresql_repository_suite: &'a str,
}

fn install(plan: &Plan) -> RoleVars {
    role_vars(&Install {
        patroni_postgresql_version: plan.postgres.major,
        patroni_postgresql_packages: &plan.postgres.packages,
        patroni_postgresql_repository: plan.postgres.pgdg_suite.is_some(),
        patroni_postgresql_repository_suite: plan.postgres.pgdg_suite.as_deref().unwrap_or_default(),
    })
}

#[derive(Serialize)]
struct Cluster<'a> {
    /// The parameters that Patroni sets on every server.
    patroni_postgresql_parameters: &'a BTreeMap<String, Value>,
    /// Those of them that the cluster file sets: they are tried before a cluster begins.
    patroni_postgresql_parameters_given: &'a [String],
    /// Kernel settings of the machine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    patroni_kernel: &'a BTreeMap<String, u64>,
    /// The networks that may connect.
    patroni_access: Vec<IpNet>,
    /// The locale of the cluster, and what implements it.
    patroni_locale: &'a str,
    patroni_locale_provider: &'static str,
    /// The databases, each with its owner.
    patroni_databases: BTreeMap<&'a DatabaseName, Database<'a>>,
}

#[derive(Serialize)]
struct Database<'a> {
    owner: &'a DatabaseName,
    #[serde(skip_serializing_if = "Option::is_none")]
    icu_locale: Option<&'a str>,
}

fn cluster(plan: &Plan, fleet: &Fleet) -> RoleVars {
    let earlier = Locale::of_earlier_releases();
    let locale = plan.postgres.locale.as_ref().unwrap_or(&earlier);
    let icu_locale = |name: &DatabaseName| plan.postgres.icu_locales.get(name).map(String::as_str);
    let databases = plan.postgres.databases.iter();
    role_vars(&Cluster {
        patroni_locale: &locale.name,
        patroni_locale_provider: locale.provider.as_str(),
        patroni_postgresql_parameters: &plan.postgres.parameters,
        patroni_postgresql_parameters_given: &plan.postgres.given,
        patroni_kernel: &plan.kernel,
        patroni_access: access(plan, fleet),
        patroni_databases: databases
            .map(|(name, owner)| (name, Database { owner, icu_locale: icu_locale(name) }))
            .collect(),
    })
}

/// The networks that may connect: the machines' own where those may, then those of the file.
pub(crate) fn access(plan: &Plan, fleet: &Fleet) -> Vec<IpNet> {
    let mut given = plan.postgres.access.clone();
    given.extend(plan.postgres.load_balancers.iter().filter(|net| !plan.postgres.access.contains(net)));
    if !plan.postgres.own_network {
        return given;
    }
    let own = |node: &FleetNode| -> Option<Ipv4Net> {
        let known = plan.platform.network(node.key());
        // The local platform makes networks of this size where the file says nothing, and most networks are of it.
        known.or_else(|| Ipv4Net::new(node.address, 24).ok())
    };
    let mut own: Vec<IpNet> = fleet.nodes.values().filter_map(own).map(|net| IpNet::from(net.trunc())).collect();
    own.sort();
    own.dedup();
    given.retain(|net| !own.contains(net));
    own.extend(given);
    own
}

#[derive(Serialize)]
struct Secrets<'a> {
    /// The CA of PostgreSQL's server certificates, PEM.
    patroni_postgresql_ca: Option<&'a str>,
    /// The passwords of the superuser, of the role by which replicas stream, and of that by which `pg_rewind` reads.
    patroni_superuser_password: Option<&'a Secret>,
    patroni_replication_password: Option<&'a Secret>,
    patroni_rewind_password: Option<&'a Secret>,
    /// The passwords of the databases' owners, by their names.
    patroni_database_passwords: BTreeMap<&'a DatabaseName, Option<&'a Secret>>,
}

fn secrets(plan: &Plan, lookup: &mut Lookup<'_>) -> RoleVars {
    let owners = plan.postgres.databases.values();
    let passwords = owners.map(|owner| (owner, lookup.password(&Account::Owner(owner.clone())))).collect();
    role_vars(&Secrets {
        patroni_postgresql_ca: lookup.authority(Authority::POSTGRESQL),
        patroni_superuser_password: lookup.password(&Account::SUPERUSER),
        patroni_replication_password: lookup.password(&Account::REPLICATION),
        patroni_rewind_password: lookup.password(&Account::REWIND),
        patroni_database_passwords: passwords,
    })
}

#[derive(Serialize)]
struct HostSecrets<'a> {
    /// The server's certificate, PEM, and its key.
    patroni_postgresql_certificate: Option<&'a str>,
    patroni_postgresql_key: Option<&'a Secret>,
}

fn host_secrets(node: &InstanceKey, lookup: &mut Lookup<'_>) -> RoleVars {
    let (patroni_postgresql_certificate, patroni_postgresql_key) = lookup.certificate(node, Certificate::POSTGRESQL);
    role_vars(&HostSecrets { patroni_postgresql_certificate, patroni_postgresql_key })
}
