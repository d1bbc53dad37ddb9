//! Plans, and what Terraform would change, for tests.

use std::collections::BTreeSet;

use super::changes::{Action, Changes, ResourceChange};
use crate::{model::InstanceKey, plan::Plan};

/// A plan of local nodes that are all voters.
pub(super) fn plan_of(keys: &[&str]) -> Plan {
    let instances: Vec<String> =
        keys.iter().map(|key| format!("{key}: {{roles: [etcd, patroni], cores: 1}}")).collect();
    decided(&format!("instances: {{{}}}", instances.join(", ")))
}

/// A plan on Proxmox of the file's part `text`.
pub(super) fn on_proxmox(text: &str) -> Plan {
    decided(text)
}

fn decided(text: &str) -> Plan {
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
        attributes: Vec::new(),
        moved_from: None,
        deposed: None,
        machine_id: None,
        pool: None,
        disks: None,
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
