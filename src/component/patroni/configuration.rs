//! The configuration that the members share in etcd, against the one that the roles write there: pure. Someone may have changed
//! it with `patronictl edit-config`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::vars::{MAXIMUM_LAG, NO_MAXIMUM_LAG, slots_ttl};
use crate::{component::postgres::differs, plan::Plan};

/// PostgreSQL's parameters that the role `patroni` sets on every server, as text: `__patroni_base_parameters` of its variables.
const BASE: [(&str, &str); 26] = [
    ("ssl", "on"),
    ("ssl_ca_file", "/etc/patroni/tls/postgresql-ca.crt"),
    ("ssl_cert_file", "/etc/patroni/tls/postgresql.crt"),
    ("ssl_key_file", "/etc/patroni/tls/postgresql.key"),
    ("ssl_min_protocol_version", "TLSv1.2"),
    ("password_encryption", "scram-sha-256"),
    ("unix_socket_directories", "/var/run/postgresql"),
    ("wal_level", "replica"),
    ("hot_standby", "on"),
    ("wal_log_hints", "on"),
    ("max_wal_senders", "10"),
    ("max_replication_slots", "10"),
    ("max_slot_wal_keep_size", "4GB"),
    ("wal_keep_size", "128MB"),
    ("wal_sender_timeout", "15s"),
    ("wal_receiver_timeout", "15s"),
    ("wal_receiver_status_interval", "1s"),
    ("wal_retrieve_retry_interval", "1s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("log_destination", "stderr"),
    ("logging_collector", "off"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
    ("log_checkpoints", "on"),
    ("log_lock_waits", "on"),
];

/// What the roles write, without PostgreSQL's parameters: `__patroni_dynamic_config` and `__patroni_dynamic_slots`.
fn settings(plan: &Plan) -> Value {
    let timers = plan.patroni.timers;
    let synchronous = plan.patroni.durability.synchronous();
    let mode = match synchronous.mode {
        "on" => json!(true),
        "off" => json!(false),
        mode => json!(mode),
    };
    let mut settings = json!({
        "ttl": timers.ttl,
        "loop_wait": timers.loop_wait,
        "retry_timeout": timers.retry_timeout,
        "primary_start_timeout": timers.primary_start_timeout,
        "primary_stop_timeout": timers.primary_stop_timeout,
        "maximum_lag_on_failover": if synchronous.mode == "off" { MAXIMUM_LAG } else { NO_MAXIMUM_LAG },
        "check_timeline": true,
        "failsafe_mode": true,
        "synchronous_mode": mode,
        "synchronous_mode_strict": synchronous.strict,
        "synchronous_node_count": plan.patroni.synchronous_nodes,
        "member_slots_ttl": slots_ttl(plan),
        "postgresql": {
            "use_pg_rewind": true,
            "use_slots": true,
            "remove_data_directory_on_rewind_failure": plan.disposable,
            "remove_data_directory_on_diverged_timelines": plan.disposable,
        },
    });
    if let Some(slots) = &plan.patroni.slots {
        settings["slots"] = json!(slots);
    }
    if let Some(slots) = &plan.patroni.ignore_slots {
        settings["ignore_slots"] = json!(slots);
    }
    settings
}

/// The parameters that the roles write, each as text or as a value of the plan.
fn parameters(plan: &Plan) -> BTreeMap<&str, Value> {
    let base = BASE.map(|(name, value)| (name, json!(value)));
    let own = plan.postgres.parameters.iter().map(|(name, value)| (name.as_str(), value.clone()));
    base.into_iter().chain(own).collect()
}

/// What differs between `found` and what the roles of `plan` write, each as the setting with both values.
pub(super) fn differences(plan: &Plan, found: &Map<String, Value>) -> Vec<String> {
    let mut differ = Vec::new();
    compare("", &settings(plan), &json!(found), &mut differ);
    let none = Map::new();
    let server = found.get("postgresql").and_then(|server| server.get("parameters")?.as_object()).unwrap_or(&none);
    let wanted = parameters(plan);
    let names: BTreeSet<&str> = wanted.keys().copied().chain(server.keys().map(String::as_str)).collect();
    for name in names {
        match (wanted.get(name), server.get(name)) {
            (Some(wanted), Some(found)) if !differs(wanted, found) => {}
            (wanted, found) => differ.push(difference(&format!("postgresql.parameters.{name}"), wanted, found)),
        }
    }
    differ
}

/// Compares the settings below `path`; those that `wanted` does not have may have any value.
fn compare(path: &str, wanted: &Value, found: &Value, differ: &mut Vec<String>) {
    for (name, wanted) in wanted.as_object().into_iter().flatten() {
        let (path, found) = (format!("{path}{name}"), found.get(name));
        match found {
            Some(found) if wanted == found => {}
            Some(found) if wanted.is_object() && found.is_object() && name == "postgresql" => {
                compare(&format!("{path}."), wanted, found, differ);
            }
            found => differ.push(difference(&path, Some(wanted), found)),
        }
    }
}

fn difference(name: &str, wanted: Option<&Value>, found: Option<&Value>) -> String {
    match (wanted, found) {
        (Some(wanted), Some(found)) => format!("{name} is {found} instead of {wanted}"),
        (Some(wanted), None) => format!("{name} is not set instead of {wanted}"),
        (None, found) => format!("{name} is set to {}", found.unwrap_or(&Value::Null)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Choices, plan::decide, spec};

    fn plan(text: &str) -> Plan {
        let text = format!("instances: {{node1: {{}}, node2: {{}}, node3: {{}}}}\n{text}");
        decide(&spec::load("t.yaml", text.as_bytes(), "t").unwrap(), &Choices::default()).unwrap()
    }

    /// What the roles write for `plan`.
    fn written(plan: &Plan) -> Map<String, Value> {
        let mut found = settings(plan);
        found["postgresql"]["parameters"] = json!(parameters(plan));
        found.as_object().unwrap().clone()
    }

    /// The lines of a block of the role's variables, without their indentation.
    fn block(name: &str) -> Vec<&'static str> {
        let text = include_str!("../../../roles/patroni/vars/main.yml");
        let (_, block) = text.split_once(&format!("\n{name}:\n")).unwrap();
        block.lines().take_while(|line| line.starts_with("  ")).map(|line| &line[2..]).collect()
    }

    #[test]
    fn settings_and_base_parameters_are_those_of_the_role() {
        let base = block("__patroni_base_parameters").into_iter().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name, value.trim_matches('"').replace("{{ __patroni_tls_dir }}", "/etc/patroni/tls"))
        });
        let base: Vec<(&str, String)> = base.collect();
        assert_eq!(base, BASE.map(|(name, value)| (name, value.to_owned())));
        let names: BTreeSet<&str> = block("__patroni_dynamic_config")
            .into_iter()
            .map(|line| line.trim_start().split_once(':').unwrap().0)
            .filter(|name| *name != "parameters")
            .collect();
        let settings = settings(&plan(""));
        let server = settings["postgresql"].as_object().unwrap().keys();
        assert_eq!(
            settings.as_object().unwrap().keys().chain(server).map(String::as_str).collect::<BTreeSet<_>>(),
            names
        );
        let defaults = include_str!("../../../roles/patroni/defaults/main.yml");
        assert!(defaults.contains(&format!("\"{{{{ {MAXIMUM_LAG} if patroni_synchronous_mode")));
        assert!(defaults.contains(&format!("else {NO_MAXIMUM_LAG} }}}}\"")));
    }

    #[test]
    fn setting_that_was_changed_by_hand_is_named_with_both_values() {
        let slots = "patroni: {slots: {feed: {type: physical}}}";
        for text in ["", slots, "patroni: {durability: async}", "postgres: {parameters: {work_mem: 8MB}}"] {
            let plan = plan(text);
            assert_eq!(differences(&plan, &written(&plan)), [""; 0], "{text}");
        }
        let plan = plan(slots);
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut found = Value::Object(written(&plan));
            change(&mut found);
            differences(&plan, found.as_object().unwrap()).join("; ")
        };
        assert_eq!(changed(&|found| found["ttl"] = json!(30)), "ttl is 30 instead of 20");
        assert_eq!(
            changed(&|found| found["synchronous_mode"] = json!(false)),
            r#"synchronous_mode is false instead of "quorum""#
        );
        let unset = changed(&|found| drop(found.as_object_mut().unwrap().remove("loop_wait")));
        assert_eq!(unset, "loop_wait is not set instead of 3");
        let server = changed(&|found| found["postgresql"]["use_slots"] = json!(false));
        assert_eq!(server, "postgresql.use_slots is false instead of true");
        let slot = changed(&|found| found["slots"]["other"] = json!({"type": "physical"}));
        assert!(slot.starts_with("slots is ") && slot.contains("other"), "{slot}");
        let added = changed(&|found| found["postgresql"]["parameters"]["log_temp_files"] = json!("0"));
        assert_eq!(added, r#"postgresql.parameters.log_temp_files is set to "0""#);
        let base = changed(&|found| found["postgresql"]["parameters"]["max_wal_senders"] = json!(20));
        assert_eq!(base, r#"postgresql.parameters.max_wal_senders is 20 instead of "10""#);
        // What the roles do not write is not theirs, and a number is the same as its text.
        assert_eq!(changed(&|found| found["standby_cluster"] = json!({})), "");
        assert_eq!(changed(&|found| found["postgresql"]["parameters"]["max_wal_senders"] = json!(10)), "");
    }
}
