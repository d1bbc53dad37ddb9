//! Plans, and what Terraform would change, for tests.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::changes::{Action, Changes, ResourceChange};
use crate::{model::InstanceKey, plan::Plan};

/// A plan of local nodes that are all voters.
pub(super) fn plan_of(keys: &[&str]) -> Plan {
    let nodes: Map<String, Json> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| {
            let node = json!({"key": key, "hostname": format!("pg-prod-{key}"), "roles": ["etcd", "patroni"],
                "memory_mib": 1024, "cores": 1, "slot": 10 + index});
            ((*key).to_owned(), node)
        })
        .collect();
    serde_json::from_value(json!({
        "cluster": "pg", "app": "pg", "env": "prod",
        "platform": {"local": {"base_image": "debian:12", "release": "debian:12", "subnet": null}},
        "nodes": nodes, "etcd": "3.6.5",
        "postgres": {"major": 15, "packages": [], "pgdg_suite": null, "parameters": {}, "databases": {}, "access": []},
        "patroni": {"version": "4.1.4", "durability": "async", "timers":
            {"ttl": 20, "loop_wait": 3, "retry_timeout": 7, "primary_start_timeout": 30, "primary_stop_timeout": 30},
            "failsafe": true},
        "dcs": {"etcd": {"leader_key": null, "outside": []}},
        "bounds": [], "fencing": "", "warnings": [], "disposable": true
    }))
    .unwrap()
}

/// A plan on Proxmox of the file's part `text`.
pub(super) fn on_proxmox(text: &str) -> Plan {
    let text = format!("name: pg\n{text}");
    let spec = crate::spec::load("pg.yaml", text.as_bytes(), "pg").unwrap();
    crate::plan::decide(&spec, &crate::model::Choices::default()).unwrap()
}

/// One resource of a plan.
pub(super) fn change(kind: &str, node: &str, action: Action) -> ResourceChange {
    ResourceChange {
        address: format!("module.nodes.{kind}.this[\"{node}\"]"),
        kind: kind.to_owned(),
        node: node.parse().ok(),
        action,
        unfinished: false,
        restarts: false,
        protected: false,
        lost_disks: Vec::new(),
    }
}

/// A plan of Terraform with these resources.
pub(super) fn changes(resources: Vec<ResourceChange>) -> Changes {
    Changes { resources, ..Changes::default() }
}

/// Keys of instances.
pub(super) fn keys(keys: &[&str]) -> BTreeSet<InstanceKey> {
    keys.iter().map(|key| key.parse().unwrap()).collect()
}
