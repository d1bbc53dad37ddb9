//! Rules about PostgreSQL parameters.

use serde_json::Value;

/// Parameters that a user must not set, and why.
const OWNED: &[(&str, &str)] = &[
    ("listen_addresses", "hactl sets it to the machine's address"),
    ("port", "hactl keeps it at 5432"),
    ("cluster_name", "Patroni sets it to the cluster's name"),
    ("hot_standby", "Patroni keeps it on"),
    ("primary_conninfo", "Patroni sets it"),
    ("primary_slot_name", "Patroni sets it"),
    ("recovery_min_apply_delay", "each replica would be so far behind when it has to take over"),
    ("promote_trigger_file", "Patroni promotes"),
    ("recovery_end_command", "a new primary stops if the command is not found or killed, and so would the next one"),
    ("synchronous_standby_names", "Patroni sets it according to patroni.durability"),
    ("wal_log_hints", "Patroni keeps it on"),
    ("data_directory", "hactl sets it"),
    ("unix_socket_directories", "hactl and Patroni connect by /var/run/postgresql"),
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
    let word = match value {
        Value::String(text) => text.trim().to_ascii_lowercase(),
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::Number(number) => number.as_f64().map_or_else(String::new, |number| number.to_string()),
        _ => String::new(),
    };
    match name {
        "synchronous_commit" if synchronous && (word == "local" || truth(&word) == Some(false)) => Some(
            "this value would acknowledge commits that only the primary has: to allow that, set `patroni.durability: \
             async`"
                .into(),
        ),
        "fsync" | "full_page_writes" if truth(&word) == Some(false) => {
            Some("a crash would damage the data, and drills would prove nothing".into())
        }
        "wal_level" if word == "minimal" => Some("replicas need `replica` or `logical`".into()),
        "default_transaction_read_only" if truth(&word) == Some(true) => Some(
            "every connection would be read-only: clients that look for the primary would find none. To stop the writes of \
             one role or database, use `ALTER ROLE ... SET` or `ALTER DATABASE ... SET`"
                .into(),
        ),
        _ if name.starts_with("recovery_target") => {
            Some("cannot be set in the cluster file: a replica would stop its replay there".into())
        }
        _ => None,
    }
}

/// What PostgreSQL reads as a boolean, also in short: `f`, `of`, `n`.
fn truth(word: &str) -> Option<bool> {
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(word);
    let on = begins("true", 1) || begins("yes", 1) || word == "on" || word == "1";
    let off = begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0";
    (on || off).then_some(on)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn value_that_endangers_the_cluster_is_refused_however_it_is_written() {
        let refused: [(&str, &[Value]); 7] = [
            (
                "fsync",
                &[
                    json!(false),
                    json!(0),
                    json!(0.0),
                    json!("off"),
                    json!("OF"),
                    json!("f"),
                    json!("n"),
                    json!(" fal "),
                ],
            ),
            ("full_page_writes", &[json!("of"), json!("No"), json!("0")]),
            ("synchronous_commit", &[json!("Local"), json!("F"), json!(false), json!("no")]),
            ("wal_level", &[json!("minimal"), json!("Minimal"), json!("MINIMAL")]),
            ("default_transaction_read_only", &[json!(true), json!("on"), json!("t"), json!("YE"), json!(1)]),
            ("recovery_end_command", &[json!("/bin/true"), json!("")]),
            ("recovery_target_time", &[json!("2030-01-01"), json!("")]),
        ];
        for (name, values) in refused {
            for value in values {
                assert!(refuse(name, value, true).is_some(), "{name}: {value}");
            }
        }
        let allowed = [
            ("fsync", json!("o")),
            ("fsync", json!("on")),
            ("fsync", json!(1.0)),
            ("full_page_writes", json!("t")),
            ("synchronous_commit", json!("remote_apply")),
            ("synchronous_commit", json!("remote_write")),
            ("wal_level", json!("logical")),
            ("default_transaction_read_only", json!("off")),
            ("restore_command", json!("false")),
        ];
        for (name, value) in allowed {
            assert_eq!(refuse(name, &value, true), None, "{name}: {value}");
        }
        assert_eq!(refuse("synchronous_commit", &json!("off"), false), None);
    }
}
