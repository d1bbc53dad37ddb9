//! The parameters that Patroni's configuration asks for, against those that PostgreSQL has: pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::client::FileSetting;

/// Patroni sets these itself, on each member or on standbys only, whatever its shared configuration says.
const PATRONIS: [&str; 6] =
    ["listen_addresses", "port", "cluster_name", "restore_command", "archive_cleanup_command", "promote_trigger_file"];

/// What differs, one sentence for each parameter.
pub(super) fn differences(asked: &BTreeMap<String, Value>, files: &BTreeMap<String, FileSetting>) -> Vec<String> {
    let asked = asked.iter().map(|(name, value)| (name.to_lowercase(), written(value)));
    let asked = asked.filter(|(name, _)| {
        !PATRONIS.contains(&name.as_str()) && !name.starts_with("recovery_") && !name.starts_with("primary_")
    });
    let differs = |(name, value): (String, String)| match files.get(&name) {
        None => Some(format!("Patroni did not give PostgreSQL the parameter {name}: it refuses the value `{value}`")),
        Some(FileSetting { error: Some(error), .. }) => {
            Some(format!("PostgreSQL refuses the parameter {name} = `{value}`: {error}. Its next start would fail"))
        }
        Some(file) if !same(&value, &file.value) => {
            let found = &file.value;
            Some(format!("the parameter {name} is `{found}`, and the cluster's configuration asks for `{value}`"))
        }
        Some(_) => None,
    };
    asked.filter_map(differs).collect()
}

/// Whether two values of a parameter differ, whichever way they are written.
pub(in crate::component) fn differs(asked: &Value, found: &Value) -> bool {
    !same(&written(asked), &written(found))
}

/// A value as Patroni writes it.
fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether two texts mean the same value.
fn same(asked: &str, found: &str) -> bool {
    let plain = |text: &str| match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" => "on".to_owned(),
        "off" | "false" | "no" => "off".to_owned(),
        other => other.to_owned(),
    };
    plain(asked) == plain(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameter_that_is_missing_refused_or_another_is_a_difference() {
        let file =
            |value: &str, error: Option<&str>| FileSetting { value: value.to_owned(), error: error.map(str::to_owned) };
        let files = BTreeMap::from([
            ("timezone".to_owned(), file("Europe/Berlim", Some("setting could not be applied"))),
            ("max_connections".to_owned(), file("100", None)),
            ("hot_standby".to_owned(), file("True", None)),
            ("autovacuum_naptime".to_owned(), file("2147483", None)),
        ]);
        let table: [(&str, Value, Option<&str>); 8] = [
            ("max_connections", json!("100"), None),
            ("MAX_connections", json!(100), None),
            ("hot_standby", json!("on"), None),
            ("hot_standby", json!(true), None),
            ("port", json!(1), None),
            ("work_mem", json!("16mb"), Some("refuses the value `16mb`")),
            ("TimeZone", json!("Europe/Berlim"), Some("setting could not be applied")),
            ("autovacuum_naptime", json!("9999999s"), Some("is `2147483`")),
        ];
        for (name, value, expected) in table {
            let found = differences(&BTreeMap::from([(name.to_owned(), value)]), &files);
            match expected {
                None => assert_eq!(found, [""; 0], "{name}"),
                Some(words) => assert!(found.len() == 1 && found[0].contains(words), "{name}: {found:?}"),
            }
        }
    }
}
