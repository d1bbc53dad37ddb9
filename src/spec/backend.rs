//! `backend` of the file -> one of Terraform's backends, for this cluster only, locked and without a secret.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Instance,
    checker::Checker,
    file::{BackendFile, ConsulFile, HttpFile, PgFile, S3File},
};
use crate::model::{BACKENDS, Backend, BackendKind, ClusterName, ConnStr, Dns, InstanceKey, Platform};

/// PostgreSQL truncates longer names, so two clusters could share one.
const LONGEST_SCHEMA: usize = 63;

/// What the state must not be kept on.
pub(super) struct Site<'a> {
    pub(super) platform: &'a Platform,
    pub(super) instances: &'a BTreeMap<InstanceKey, Instance>,
    pub(super) dns: Option<&'a Dns>,
}

/// Checks the section; a problem with one setting does not hide problems with the others.
pub(super) fn backend(
    checker: &mut Checker<'_, '_>,
    written: BackendFile,
    name: &ClusterName,
    site: &Site<'_>,
) -> Option<Backend> {
    if site.platform.is_adopted() {
        checker.say(
            &["backend"],
            "not allowed with `adopted: true`: hactl makes nothing there, so Terraform has no state",
        );
    }
    if site.platform.own_module().is_some() {
        checker.say(
            &["backend"],
            "not allowed on platform terraform: the module's own `backend` block says where its state is",
        );
    }
    let given = [written.pg.is_some(), written.s3.is_some(), written.http.is_some(), written.consul.is_some()];
    let given: Vec<&str> = BACKENDS.into_iter().zip(given).filter(|(_, given)| *given).map(|(word, _)| word).collect();
    if given.len() != 1 {
        let message = match given.len() {
            0 => format!("expected exactly one backend: one of {}", BACKENDS.join(", ")),
            count => format!("expected exactly one backend, found {count}: {}", given.join(" and ")),
        };
        checker.say(&["backend"], message);
        return None;
    }
    let BackendFile { pg, s3, http, consul } = written;
    let backend = pg
        .map(|written| pg_settings(checker, written, name))
        .or_else(|| s3.map(|written| s3_settings(checker, written, name)))
        .or_else(|| http.map(|written| http_settings(checker, written)))
        .or_else(|| consul.map(|written| consul_settings(written, name)))?;
    elsewhere(checker, &backend, site);
    Some(backend)
}

/// The settings of the file, by Terraform's names.
fn settings(written: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(written) {
        Ok(Value::Object(settings)) => settings,
        // The types are sections of plain fields.
        _ => Map::new(),
    }
}

fn pg_settings(checker: &mut Checker<'_, '_>, mut written: PgFile, name: &ClusterName) -> Backend {
    let secret = written.conn_str.as_deref().is_some_and(|text| ConnStr::parse(text).password.is_some());
    if secret {
        let message = "a password does not belong in the cluster file: set the environment variable PGPASSWORD, or \
                       PG_CONN_STR for the whole connection string";
        checker.say(&["backend", "pg", "conn_str"], message);
        written.conn_str = None;
    }
    let schema = written.schema_name.get_or_insert_with(|| format!("hactl_{}", name.as_str().replace('-', "_")));
    if schema.len() > LONGEST_SCHEMA {
        let message =
            format!("`{schema}` is longer than PostgreSQL's limit of {LONGEST_SCHEMA} characters: set `schema_name`");
        checker.say(&["backend", "pg"], message);
    }
    Backend { kind: BackendKind::Pg, settings: settings(&written) }
}

fn s3_settings(checker: &mut Checker<'_, '_>, mut written: S3File, name: &ClusterName) -> Backend {
    written.key.get_or_insert_with(|| format!("hactl/{name}/terraform.tfstate"));
    written.encrypt.get_or_insert(true);
    match (written.use_lockfile, &written.dynamodb_table) {
        (Some(false), None) => {
            let message = "without a lock, two runs at once would overwrite each other's state: set `use_lockfile: \
                           true` or `dynamodb_table`";
            checker.say(&["backend", "s3", "use_lockfile"], message);
        }
        (None, None) => written.use_lockfile = Some(true),
        _ => {}
    }
    Backend { kind: BackendKind::S3, settings: settings(&written) }
}

fn http_settings(checker: &mut Checker<'_, '_>, mut written: HttpFile) -> Backend {
    let path = |field: &'static str| ["backend", "http", field];
    let addresses = [
        ("address", &mut written.address),
        ("lock_address", &mut written.lock_address),
        ("unlock_address", &mut written.unlock_address),
    ];
    for (field, address) in addresses {
        let Some(text) = address.as_deref() else { continue };
        let rest = ["https://", "http://"].iter().find_map(|start| text.strip_prefix(start));
        let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
        if authority.is_some_and(|authority| authority.contains('@')) {
            let message = "a user and a password do not belong in the address: set `username`, and the environment \
                           variable TF_HTTP_PASSWORD";
            checker.say(&path(field), message);
            *address = None;
        } else if text.contains('?') {
            let message =
                "the address must not have a query: put a token into the environment variable TF_HTTP_PASSWORD";
            checker.say(&path(field), message);
            *address = None;
        } else if authority.is_none_or(str::is_empty) {
            checker.say(&path(field), "expected an http:// or https:// address");
        }
    }
    if let Some(address) = &written.address {
        // Without a lock address Terraform does not lock at all.
        written.lock_address.get_or_insert_with(|| format!("{}/lock", address.trim_end_matches('/')));
    }
    if written.unlock_address.is_none() {
        written.unlock_address.clone_from(&written.lock_address);
    }
    written.lock_method.get_or_insert_with(|| "POST".to_owned());
    written.unlock_method.get_or_insert_with(|| "DELETE".to_owned());
    Backend { kind: BackendKind::Http, settings: settings(&written) }
}

fn consul_settings(mut written: ConsulFile, name: &ClusterName) -> Backend {
    written.path.get_or_insert_with(|| format!("hactl/{name}/terraform"));
    let mut settings = settings(&written);
    // Terraform's default, written out because runs rely on the lock.
    settings.insert("lock".to_owned(), json!(true));
    Backend { kind: BackendKind::Consul, settings }
}

/// The state describes the machines: on one of them it would be lost with that machine, and Terraform could not replace
/// it.
fn elsewhere(checker: &mut Checker<'_, '_>, backend: &Backend, site: &Site<'_>) {
    let hosts = backend.hosts(&BTreeMap::new());
    for (key, instance) in site.instances {
        let own = own_names(key, instance, site);
        if let Some(host) = hosts.iter().find(|host| own.iter().any(|name| name.eq_ignore_ascii_case(host))) {
            let message = format!("{host} is {key}, a machine of this cluster: keep the state on another machine");
            checker.say(&["backend", backend.kind.as_str()], message);
        }
    }
}

/// Every name and address that the file gives to a machine.
fn own_names(key: &InstanceKey, instance: &Instance, site: &Site<'_>) -> Vec<String> {
    let mut names = vec![instance.hostname.to_string()];
    if let Some(dns) = site.dns {
        names.push(dns.fqdn(instance.hostname.as_str()).trim_end_matches('.').to_owned());
    }
    names.extend(site.platform.addresses(key));
    names
}
