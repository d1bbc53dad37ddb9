//! What runs on adopted machines -> the plan of the cluster as it is. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Dcs, Durability, Plan, Timers, Warning, bounds, decide};
use crate::model::{InstanceKey, Role};

/// A running cluster: Patroni's configuration, and what each machine is.
#[derive(Clone, Debug)]
pub struct Running {
    /// Patroni's dynamic configuration, as `GET /config` gives it.
    pub config: Value,
    pub patroni_version: String,
    pub dcs: Dcs,
    pub roles: BTreeMap<InstanceKey, BTreeSet<Role>>,
    /// By data node.
    pub watchdogs: BTreeMap<InstanceKey, Watchdog>,
}

/// A machine's watchdog, according to Patroni's configuration there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Watchdog {
    /// Not used, or the device is missing.
    None,
    /// Used if the device works.
    Automatic,
    /// A member without a working device does not become primary.
    Required,
    /// No watchdog; hactl's lease guard runs instead.
    Guard,
}

/// Patroni's defaults (`GlobalConfig`, docs/dynamic_configuration.rst), for settings missing in its configuration.
const DEFAULTS: Timers =
    Timers { ttl: 30, loop_wait: 10, retry_timeout: 10, primary_start_timeout: 300, primary_stop_timeout: 0 };

/// The plan of the cluster as it runs, with its real roles, timers, durability and bounds.
#[must_use]
pub fn adopt(plan: &Plan, running: &Running) -> Plan {
    let mut plan = plan.clone();
    for node in plan.nodes.values_mut() {
        if let Some(roles) = running.roles.get(&node.key) {
            node.roles.clone_from(roles);
        }
    }
    let timers = timers(&running.config);
    let durability = durability(&running.config);
    plan.patroni.version.clone_from(&running.patroni_version);
    plan.patroni.timers = timers;
    plan.patroni.durability = durability;
    plan.patroni.synchronous_nodes = synchronous_nodes(&running.config);
    plan.patroni.failsafe = is_on(&running.config["failsafe_mode"]);
    plan.dcs = running.dcs.clone();
    let data_nodes = plan.data_nodes().count();
    plan.bounds = bounds::bounds(&timers, plan.patroni.durability, data_nodes, plan.voter_count());
    plan.fencing = fencing(&running.watchdogs);
    plan.warnings = warnings(&plan, &running.config);
    plan
}

fn timers(config: &Value) -> Timers {
    let number = |names: &[&str], default: u32| {
        let given = names.iter().find_map(|name| config[*name].as_f64());
        given.map_or(default, |seconds| seconds.max(0.0).round() as u32)
    };
    Timers {
        ttl: number(&["ttl"], DEFAULTS.ttl),
        loop_wait: number(&["loop_wait"], DEFAULTS.loop_wait),
        retry_timeout: number(&["retry_timeout"], DEFAULTS.retry_timeout),
        // Patroni still accepts the old names, and knew no others before version 3.
        primary_start_timeout: number(
            &["primary_start_timeout", "master_start_timeout"],
            DEFAULTS.primary_start_timeout,
        ),
        primary_stop_timeout: number(&["primary_stop_timeout", "master_stop_timeout"], DEFAULTS.primary_stop_timeout),
    }
}

fn durability(config: &Value) -> Durability {
    let mode = match &config["synchronous_mode"] {
        Value::String(word) if word.eq_ignore_ascii_case("quorum") => "quorum",
        other if is_on(other) => "on",
        _ => "off",
    };
    Durability::of(mode, is_on(&config["synchronous_mode_strict"]))
}

/// Patroni sets one where its configuration says nothing.
fn synchronous_nodes(config: &Value) -> u32 {
    config["synchronous_node_count"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(1)
}

/// YAML's and PostgreSQL's words for true, since Patroni takes them all.
fn is_on(value: &Value) -> bool {
    match value {
        Value::Bool(value) => *value,
        Value::String(word) => matches!(word.to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1"),
        Value::Number(number) => number.as_i64() == Some(1),
        _ => false,
    }
}

fn fencing(watchdogs: &BTreeMap<InstanceKey, Watchdog>) -> String {
    let without: Vec<&str> =
        watchdogs.iter().filter(|(_, has)| **has == Watchdog::None).map(|(key, _)| key.as_str()).collect();
    if watchdogs.is_empty() {
        "unknown: no Patroni answers".to_owned()
    } else if watchdogs.values().all(|has| *has == Watchdog::Guard) {
        decide::fencing(watchdogs.len().max(2), false)
    } else if without.is_empty() {
        let required = watchdogs.values().all(|has| *has == Watchdog::Required);
        format!("watchdog{}", if required { ", required: a machine without one does not become primary" } else { "" })
    } else {
        format!(
            "nothing on {}: no watchdog is in use there, so a primary whose Patroni has died or hangs keeps accepting \
             direct connections until Patroni is back or the machine is stopped",
            without.join(", ")
        )
    }
}

fn warnings(plan: &Plan, config: &Value) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code: &str, message: String, hint: &str| {
        warnings.push(Warning { code: code.into(), message, hint: Some(hint.into()) });
    };
    let Timers { ttl, loop_wait, retry_timeout, primary_stop_timeout, .. } = plan.patroni.timers;
    let needed = loop_wait + 2 * retry_timeout;
    if needed > ttl {
        let message = format!(
            "loop_wait {loop_wait} + 2 * retry_timeout {retry_timeout} = {needed} is more than ttl {ttl}: \
             a primary may lose its key while it still tries to renew it"
        );
        warn("timers", message, "Run `patronictl edit-config` to change the timers");
    }
    if plan.patroni.durability == Durability::Async && plan.data_nodes().count() > 1 {
        let message = "synchronous_mode is off: a failover may lose acknowledged commits".to_owned();
        warn("async", message, "Set `synchronous_mode: quorum` (Patroni 4) or `on`, unless you accept the loss");
    }
    if !plan.patroni.failsafe {
        let message =
            "failsafe_mode is off: the primary stops accepting writes whenever it cannot reach the DCS".to_owned();
        warn(
            "failsafe-off",
            message,
            "Set `failsafe_mode: true`: the primary then continues while every member agrees",
        );
    }
    if !is_on(&config["check_timeline"]) {
        let message = "check_timeline is off: a replica on an older timeline may be promoted".to_owned();
        warn("check-timeline-off", message, "Set `check_timeline: true` to exclude such a replica");
    }
    if primary_stop_timeout == 0 {
        let message =
            "primary_stop_timeout is not set: a switchover takes as long as the primary needs to stop".to_owned();
        warn(
            "stop-timeout-unset",
            message,
            "Set `primary_stop_timeout`: Patroni then kills a slow primary, and hactl can compute a bound",
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{model::Choices, plan::decide, spec};

    fn planned() -> Plan {
        let file = "adopted: true\nplatform: hosts\n\
                    instances: {a: {address: 10.0.0.1}, b: {address: 10.0.0.2}, c: {address: 10.0.0.3}}\n";
        decide(&spec::load("t.yaml", file.as_bytes(), "t").unwrap(), &Choices::default()).unwrap()
    }

    fn adopted(config: Value) -> Plan {
        let keys = ["a", "b", "c"].map(|key| InstanceKey::new(key).unwrap());
        let both = BTreeSet::from([Role::Etcd, Role::Patroni]);
        let running = Running {
            config,
            patroni_version: "3.3.2".into(),
            dcs: Dcs::Etcd { leader_key: None, outside: Vec::new() },
            roles: keys.iter().map(|key| (key.clone(), both.clone())).collect(),
            watchdogs: keys.iter().map(|key| (key.clone(), Watchdog::None)).collect(),
        };
        adopt(&planned(), &running)
    }

    fn bound(plan: &Plan, fault: &str) -> Option<f64> {
        plan.bounds.iter().find(|bound| bound.fault == fault).map(|bound| bound.seconds)
    }

    #[test]
    fn adopted_cluster_is_not_disposable_and_gets_no_voters() {
        let plan = planned();
        assert!(!plan.disposable && plan.platform.is_adopted());
        assert_eq!(plan.voters().count(), 0);
    }

    #[test]
    fn adopted_cluster_with_own_timers_gets_bounds_from_them() {
        let plan = adopted(json!({"ttl": 45, "loop_wait": 5, "retry_timeout": 15, "master_start_timeout": 60}));
        let timers = plan.patroni.timers;
        assert_eq!((timers.ttl, timers.loop_wait, timers.primary_start_timeout), (45, 5, 60));
        assert_eq!(bound(&plan, "patroni-crash"), Some(57.0));
        assert_eq!(bound(&plan, "node-loss"), Some(60.0));
        // Without primary_stop_timeout a primary may take any time to stop.
        assert_eq!(bound(&plan, "switchover"), None);
        let plan = adopted(json!({"primary_stop_timeout": 20, "synchronous_mode": true}));
        assert_eq!(bound(&plan, "switchover"), Some(35.0));
        // Patroni applies the timeout in synchronous modes only.
        assert_eq!(bound(&adopted(json!({"primary_stop_timeout": 20})), "switchover"), None);
        assert_eq!(bound(&plan, "postgres-crash"), Some(337.0));
    }

    #[test]
    fn synchronous_settings_in_every_spelling_give_the_durability() {
        let of = |config| adopted(config).patroni.durability;
        assert_eq!(of(json!({})), Durability::Async);
        assert_eq!(of(json!({"synchronous_mode": false, "synchronous_mode_strict": true})), Durability::Async);
        assert_eq!(of(json!({"synchronous_mode": true})), Durability::Sync);
        assert_eq!(of(json!({"synchronous_mode": "on", "synchronous_mode_strict": "true"})), Durability::SyncStrict);
        assert_eq!(
            of(json!({"synchronous_mode": "quorum", "synchronous_mode_strict": true})),
            Durability::QuorumStrict
        );
        assert_eq!(of(json!({"synchronous_mode": "quorum"})), Durability::Quorum);
    }

    #[test]
    fn synchronous_nodes_are_those_of_the_configuration_or_one() {
        let of = |config| adopted(config).patroni.synchronous_nodes;
        assert_eq!((of(json!({})), of(json!({"synchronous_node_count": 2}))), (1, 2));
    }

    #[test]
    fn unsafe_setting_gives_a_warning() {
        let codes = |plan: &Plan| plan.warnings.iter().map(|warning| warning.code.clone()).collect::<Vec<_>>();
        let plan = adopted(json!({"ttl": 20}));
        assert_eq!(codes(&plan), ["timers", "async", "failsafe-off", "check-timeline-off", "stop-timeout-unset"]);
        assert!(plan.fencing.starts_with("nothing on a, b, c: "), "{}", plan.fencing);
        let plan = adopted(json!({
            "synchronous_mode": "quorum", "failsafe_mode": true, "check_timeline": true, "primary_stop_timeout": 15
        }));
        assert!(plan.warnings.is_empty() && plan.patroni.failsafe, "{:?}", plan.warnings);
    }
}
