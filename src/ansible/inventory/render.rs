//! Inventory -> the text of an INI or YAML inventory, by the templates of the assets. No secrets.

use serde_json::Value;
use tera::Tera;

use super::{Group, Host, Inventory, Readable, Var, Vars, literal};
use crate::error::{Error, Result};

/// The inventory in Ansible's INI format.
///
/// # Errors
/// When the template does not fit, which only a changed template can cause.
pub fn ini(inventory: &Inventory) -> Result<String> {
    render("patroni-cluster.ini.tera", inventory, literal::ini_word, literal::ini)
}

/// The inventory in Ansible's YAML format.
///
/// # Errors
/// When the template does not fit, which only a changed template can cause.
pub fn yaml(inventory: &Inventory) -> Result<String> {
    // JSON is YAML, and its types are unambiguous.
    render("patroni-cluster.yml.tera", inventory, Value::to_string, Value::to_string)
}

fn render(
    name: &str,
    inventory: &Inventory,
    host_value: fn(&Value) -> String,
    cluster_value: fn(&Value) -> String,
) -> Result<String> {
    let path = format!("inventory-templates/{name}");
    let failed = || Error::failed("inventory-template", "render the inventory template", inventory.assets.place(&path));
    let template = inventory.assets.text(&path).ok_or_else(|| failed().cause("the template does not exist"))?;
    let readable = Readable {
        cluster: &inventory.cluster,
        groups: inventory
            .groups
            .iter()
            .map(|(name, hosts)| Group { name, hosts: hosts.iter().map(|host| host.as_str()).collect() })
            .collect(),
        hosts: inventory
            .hosts
            .iter()
            .map(|(key, vars)| Host { name: key.as_str(), vars: list(vars, host_value) })
            .collect(),
        vars: list(&inventory.vars, cluster_value),
    };
    let context = tera::Context::from_serialize(readable).map_err(|error| failed().source(&error))?;
    Tera::one_off(template, &context, false).map_err(|error| failed().source(&error))
}

fn list(vars: &Vars, value: fn(&Value) -> String) -> Vec<Var<'_>> {
    vars.iter().map(|(name, given)| Var { name, value: value(given) }).collect()
}
