//! The variables of the role `pgbackrest`: what is set of roles/pgbackrest/meta/argument_specs.yml.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    component::{
        definition::Variables,
        material::{Lookup, RoleVars, role_vars},
    },
    fleet::Fleet,
    model::{Account, ClusterName, PostgresMajor, RepositorySecret, Secret},
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
    /// The major version and Patroni's scope: they make the path of the data.
    pgbackrest_postgresql_version: PostgresMajor,
    pgbackrest_postgresql_scope: &'a ClusterName,
    /// The bucket, the store that has it, and the directory in it.
    pgbackrest_s3_bucket: &'a str,
    pgbackrest_s3_host: &'a str,
    pgbackrest_s3_port: u16,
    pgbackrest_s3_region: &'a str,
    pgbackrest_s3_path: &'a str,
    /// Whether the bucket is a part of the path.
    pgbackrest_s3_path_style: bool,
    /// The authority of the store's certificate, PEM; empty for those that the machine trusts.
    pgbackrest_s3_ca: &'a str,
    /// How many full backups stay at least, and for how many days.
    pgbackrest_retention_full: u32,
    pgbackrest_retention_days: u32,
    /// Seconds between backups of each kind.
    pgbackrest_schedule: BTreeMap<&'static str, u32>,
}

fn cluster(plan: &Plan, _: &Fleet) -> RoleVars {
    let Some(backup) = &plan.backup else { return RoleVars::new() };
    let Some(s3) = backup.repositories.values().next() else { return RoleVars::new() };
    role_vars(&Cluster {
        pgbackrest_postgresql_version: plan.postgres.major,
        pgbackrest_postgresql_scope: &plan.cluster,
        pgbackrest_s3_bucket: &s3.bucket,
        pgbackrest_s3_host: &s3.host,
        pgbackrest_s3_port: s3.port,
        pgbackrest_s3_region: &s3.region,
        pgbackrest_s3_path: &s3.path,
        pgbackrest_s3_path_style: s3.path_style,
        pgbackrest_s3_ca: s3.ca.as_deref().unwrap_or_default(),
        pgbackrest_retention_full: backup.retention.full,
        pgbackrest_retention_days: backup.retention.days,
        pgbackrest_schedule: backup
            .schedule
            .map(|schedule| schedule.kinds().map(|(kind, period)| (kind, period.seconds())).collect())
            .unwrap_or_default(),
    })
}

#[derive(Serialize)]
struct Secrets<'a> {
    /// The name of the cluster in the repository. No secret: it is here because its default has the cluster's UUID.
    pgbackrest_stanza: String,
    /// The access key of the store, and what encrypts backups and WAL.
    pgbackrest_s3_key: Option<&'a Secret>,
    pgbackrest_s3_key_secret: Option<&'a Secret>,
    pgbackrest_passphrase: Option<&'a Secret>,
}

fn secrets(plan: &Plan, lookup: &mut Lookup<'_>) -> RoleVars {
    let Some(backup) = &plan.backup else { return RoleVars::new() };
    let Some(name) = backup.repositories.keys().next() else { return RoleVars::new() };
    let stanza = backup.stanza_of(&plan.cluster, lookup.uuid());
    let mut secret = |what| lookup.password(&Account::Repository(name.clone(), what));
    role_vars(&Secrets {
        pgbackrest_stanza: stanza,
        pgbackrest_s3_key: secret(RepositorySecret::Key),
        pgbackrest_s3_key_secret: secret(RepositorySecret::Secret),
        pgbackrest_passphrase: secret(RepositorySecret::Passphrase),
    })
}
