//! Inventory -> the JSON that Ansible takes from a dynamic inventory.

use serde_json::{Map, Value, json};

use super::{Inventory, Vars};

/// The reader of the inventory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reader {
    /// Users and files: without secrets.
    Anyone,
    /// Ansible itself, through a pipe: with secrets.
    Ansible,
}

/// The inventory as `ansible-inventory --list` would print it, with `_meta.hostvars`.
#[must_use]
pub fn json(inventory: &Inventory, reader: Reader) -> Value {
    let secret = |vars: Option<&Vars>| match reader {
        Reader::Anyone => Vars::new(),
        Reader::Ansible => vars.cloned().unwrap_or_default(),
    };
    let hostvars: Map<String, Value> = inventory
        .hosts
        .iter()
        .map(|(key, vars)| {
            let mut vars = vars.clone();
            vars.extend(secret(inventory.host_secrets().get(key)));
            (key.to_string(), json!(vars))
        })
        .collect();
    let mut vars = inventory.vars.clone();
    vars.extend(secret(Some(inventory.secrets())));
    let mut list = Map::new();
    list.insert("_meta".into(), json!({"hostvars": hostvars}));
    list.insert("all".into(), json!({"hosts": inventory.hosts.keys().collect::<Vec<_>>(), "vars": vars}));
    list.extend(inventory.groups.iter().map(|(name, hosts)| (name.clone(), json!({"hosts": hosts}))));
    Value::Object(list)
}
