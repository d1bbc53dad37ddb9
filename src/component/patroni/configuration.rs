//! The configuration that the members share in etcd, against the one that the roles write there: pure. Someone may have changed
//! it with `patronictl edit-config`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde_json::{Map, Value, json};

use super::vars::{MAXIMUM_LAG, NO_MAXIMUM_LAG, slots_ttl};
use crate::{component::postgres::differs, plan::Plan};

/// The variables of the role `patroni`, as they are built in.
const ROLE: &str = include_str!("../../../roles/patroni/vars/main.yml");

/// PostgreSQL's parameters that the role sets on every server, as text: `__patroni_base_parameters` of its variables.
static BASE: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(|| {
    let parameters = block("__patroni_base_parameters").filter_map(|line| line.split_once(": "));
    let plain = |value: &str| value.trim_matches('"').replace("{{ __patroni_tls_dir }}", "/etc/patroni/tls");
    parameters.map(|(name, value)| (name, plain(value))).collect()
});

/// The lines of one of the role's variables, without their indentation and without comments.
fn block(name: &str) -> impl Iterator<Item = &'static str> {
    let lines = ROLE.lines().skip_while(move |line| line.strip_suffix(':') != Some(name)).skip(1);
    lines.map_while(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with('#'))
}

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
    let base = BASE.iter().map(|(name, value)| (*name, json!(value)));
    let own = plan.postgres.parameters.iter().map(|(name, value)| (name.as_str(), value.clone()));
    base.chain(own).collect()
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
    use crate::{
        model::{Choices, Settled},
        plan::{archives, birth_of, decide},
        spec,
    };

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

    #[test]
    fn settings_and_base_parameters_are_those_of_the_role() {
        assert_eq!((BASE.len(), BASE["max_wal_senders"].as_str()), (26, "10"));
        assert_eq!(BASE["ssl_ca_file"], "/etc/patroni/tls/postgresql-ca.crt");
        assert_eq!(BASE["log_line_prefix"], "%m [%p] %q%u@%d ");
        let names: BTreeSet<&str> = block("__patroni_dynamic_config")
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
    fn cluster_keeps_the_parameters_that_it_began_with() {
        let text = "instances: {node1: {}, node2: {}, node3: {}}";
        let decide = |settled: Option<Settled>| {
            let choices = Choices { settled, ..Choices::default() };
            decide(&spec::load("t.yaml", text.as_bytes(), "t").unwrap(), &choices).unwrap()
        };
        let newest = decide(None);
        // What earlier releases wrote: sets 2 and 1 without the newest parameters, and set 0 without all of them.
        let sets: [(u32, &[&str]); 3] = [
            (2, &["idle_in_transaction_session_timeout"]),
            (1, &["max_standby_streaming_delay", "idle_in_transaction_session_timeout"]),
            (
                0,
                &[
                    "idle_in_transaction_session_timeout",
                    "max_standby_streaming_delay",
                    "archive_mode",
                    "archive_command",
                    "shared_preload_libraries",
                    "track_io_timing",
                ],
            ),
        ];
        for (set, lacks) in sets {
            let mut found = written(&newest);
            let parameters = found["postgresql"]["parameters"].as_object_mut().unwrap();
            parameters.retain(|name, _| !lacks.contains(&name.as_str()));
            let birth = birth_of(&parameters.clone().into_iter().collect());
            assert_eq!(birth, set);
            let archives = archives(&parameters.clone().into_iter().collect());
            let plan = decide(Some(Settled { birth, archives, ..newest.settled() }));
            assert_eq!(differences(&plan, &found), [""; 0], "set {set}");
            assert_eq!(differences(&newest, &found).len(), lacks.len(), "set {set}");
        }
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
