//! Rules about PostgreSQL parameters, and about names that hactl reserves.

use serde_json::Value;

/// Parameters that a user must not set, and why.
const OWNED: &[(&str, &str)] = &[
    ("listen_addresses", "hactl sets it to the machine's address"),
    ("port", "hactl keeps it at 5432"),
    ("cluster_name", "Patroni sets it to the cluster's name"),
    ("hot_standby", "Patroni keeps it on"),
    ("primary_conninfo", "Patroni sets it"),
    ("primary_slot_name", "Patroni sets it"),
    ("recovery_target_timeline", "Patroni sets it"),
    ("promote_trigger_file", "Patroni promotes"),
    ("synchronous_standby_names", "Patroni sets it according to patroni.durability"),
    ("wal_log_hints", "Patroni keeps it on"),
    ("data_directory", "hactl sets it"),
    ("hba_file", "hactl writes it from postgres.access"),
    ("ident_file", "hactl sets it"),
    ("config_file", "Patroni sets it"),
    ("ssl", "TLS is always on"),
    ("ssl_ca_file", "hactl sets it"),
    ("ssl_cert_file", "hactl sets it"),
    ("ssl_key_file", "hactl sets it"),
    ("password_encryption", "hactl keeps it at scram-sha-256"),
];

/// Why a parameter may not have this value, if it may not.
pub(super) fn refuse(name: &str, value: &Value, synchronous: bool) -> Option<String> {
    if let Some((_, reason)) = OWNED.iter().find(|(owned, _)| *owned == name) {
        return Some(format!("cannot be set in the cluster file: {reason}"));
    }
    let off = match value {
        Value::Bool(value) => !value,
        Value::String(text) => matches!(text.to_ascii_lowercase().as_str(), "off" | "false" | "no" | "0"),
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    };
    let local = value.as_str().is_some_and(|text| matches!(text.to_ascii_lowercase().as_str(), "local"));
    match name {
        "synchronous_commit" if synchronous && (off || local) => Some(
            "this value would acknowledge commits that only the primary has: to allow that, set `patroni.durability: \
             async`"
                .into(),
        ),
        "fsync" | "full_page_writes" if off => {
            Some("a crash would damage the data, and drills would prove nothing".into())
        }
        "wal_level" if value.as_str() == Some("minimal") => Some("replicas need `replica` or `logical`".into()),
        _ => None,
    }
}

/// Databases that PostgreSQL or hactl has already.
pub(super) const RESERVED_DATABASES: &[&str] = &["postgres", "template0", "template1", "hactl"];

/// Roles that PostgreSQL or hactl has already.
pub(super) const RESERVED_ROLES: &[&str] =
    &["postgres", "replicator", "rewind", "rewind_user", "hactl", "public", "none", "current_user", "session_user"];
