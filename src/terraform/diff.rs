//! Before + after -> the attributes that a change sets to other values. Pure.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::shown::Change;

/// What stands for a value that Terraform keeps secret.
const SENSITIVE: &str = "(sensitive)";

/// What stands for a value that only the apply gives.
const UNKNOWN: &str = "(known after apply)";

/// What the change of an attribute costs the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cost {
    /// The machine keeps running.
    Nothing,
    /// The machine keeps running with the old value until its next restart.
    NextRestart,
    /// The machine keeps running, but loses a device for a moment.
    Interrupts,
    /// The provider restarts the machine.
    Restarts,
    /// The provider stops the machine.
    Stops,
    /// Terraform replaces the resource.
    Replaces,
    /// hactl does not know what the provider does.
    Unknown,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "costs nothing",
            Self::NextRestart => "takes effect at the next restart",
            Self::Interrupts => "interrupts the network of the machine",
            Self::Restarts => "restarts the machine",
            Self::Stops => "stops the machine",
            Self::Replaces => "replaces the resource",
            Self::Unknown => "may stop the machine",
        })
    }
}

/// An attribute that changes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, JsonSchema)]
pub struct AttributeChange {
    /// Where the attribute is in the resource: `memory[0].dedicated`.
    pub path: String,
    /// The value in the state, or `(sensitive)`.
    pub before: Json,
    /// The planned value, `(sensitive)`, or `(known after apply)`.
    pub after: Json,
    /// What the change costs the machine.
    pub cost: Cost,
}

impl fmt::Display for AttributeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |value: &Json| match value {
            Json::String(text) if text == SENSITIVE || text == UNKNOWN => text.clone(),
            value => value.to_string(),
        };
        write!(f, "{}: {} -> {}", self.path, word(&self.before), word(&self.after))?;
        if self.cost == Cost::Nothing { Ok(()) } else { write!(f, " ({})", self.cost) }
    }
}

impl AttributeChange {
    /// The name by which a user allows the change: the path without indexes, `memory.dedicated`.
    pub(super) fn name(&self) -> String {
        let mut name = String::new();
        let mut inside = false;
        for letter in self.path.chars() {
            match letter {
                '[' => inside = true,
                ']' => inside = false,
                letter if !inside => name.push(letter),
                _ => {}
            }
        }
        name
    }

    /// Whether only the apply gives the value.
    pub(super) fn is_unknown(&self) -> bool {
        self.after == UNKNOWN
    }

    /// Whether the value is a number that grows.
    pub(super) fn grows(&self) -> bool {
        matches!((self.before.as_f64(), self.after.as_f64()), (Some(before), Some(after)) if after > before)
    }
}

/// The attributes that `change` sets to other values, in the order of their paths. `cost` says what each one costs.
pub(super) fn differences(change: &Change, cost: impl Fn(&AttributeChange) -> Cost) -> Vec<AttributeChange> {
    let mut found = Vec::new();
    let place = Place {
        before: &change.before,
        after: &change.after,
        unknown: &change.after_unknown,
        secret_before: &change.before_sensitive,
        secret_after: &change.after_sensitive,
    };
    place.walk("", &mut found);
    for attribute in &mut found {
        let forces = |path: &Json| covers(&text(path), &attribute.path);
        attribute.cost = match change.replace_paths.iter().any(forces) {
            true => Cost::Replaces,
            false => cost(attribute),
        };
    }
    found
}

/// A path of Terraform as hactl writes it.
fn text(path: &Json) -> String {
    path.as_array().into_iter().flatten().fold(String::new(), |path, step| match step {
        Json::String(name) => below(&path, name),
        index => format!("{path}[{index}]"),
    })
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Whether `inner` is `outer` or below it, or `outer` is below `inner`.
fn covers(outer: &str, inner: &str) -> bool {
    let within = |whole: &str, part: &str| {
        part.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    within(outer, inner) || within(inner, outer)
}

/// A value, and what Terraform says of it in objects of the same shape.
#[derive(Clone, Copy)]
struct Place<'a> {
    before: &'a Json,
    after: &'a Json,
    unknown: &'a Json,
    secret_before: &'a Json,
    secret_after: &'a Json,
}

impl<'a> Place<'a> {
    fn map(self, part: impl Fn(&'a Json) -> &'a Json) -> Self {
        // A mark on the whole value holds for its parts.
        let mark = |mark: &'a Json| if mark == &Json::Bool(true) { mark } else { part(mark) };
        Self {
            before: part(self.before),
            after: part(self.after),
            unknown: mark(self.unknown),
            secret_before: mark(self.secret_before),
            secret_after: mark(self.secret_after),
        }
    }

    fn walk(self, path: &str, found: &mut Vec<AttributeChange>) {
        let is_object = |value: &Json| value.is_object() || value.is_null();
        let has_names = [self.before, self.after, self.unknown].iter().any(|value| value.is_object());
        let has_items = [self.before, self.after, self.unknown].iter().any(|value| holds_objects(value));
        let both = |fits: fn(&Json) -> bool| fits(self.before) && fits(self.after);
        // A whole block that comes or goes is one change.
        let whole = !path.is_empty() && (self.before.is_null() || self.after.is_null() && self.unknown.is_null());
        if has_names && !whole && is_object(self.before) && is_object(self.after) {
            let names = |value: &'a Json| value.as_object().into_iter().flat_map(Map::keys);
            let names: std::collections::BTreeSet<&String> =
                names(self.before).chain(names(self.after)).chain(names(self.unknown)).collect();
            for name in names {
                self.map(|value| &value[name.as_str()]).walk(&below(path, name), found);
            }
        } else if has_items && both(|value| value.is_array() || value.is_null()) {
            let count = |value: &Json| value.as_array().map_or(0, Vec::len);
            for index in 0..count(self.before).max(count(self.after)).max(count(self.unknown)) {
                self.map(|value| &value[index]).walk(&format!("{path}[{index}]"), found);
            }
        } else if self.unknown == &Json::Bool(true) {
            let before = masked(self.before, self.secret_before);
            found.push(AttributeChange { path: path.into(), before, after: UNKNOWN.into(), cost: Cost::Nothing });
        } else if self.before != self.after && !(is_empty(self.before) && is_empty(self.after)) {
            let secret = self.secret_before == &Json::Bool(true) || self.secret_after == &Json::Bool(true);
            let shown = |value: &Json, marks: &Json| match secret && !value.is_null() {
                true => SENSITIVE.into(),
                false => masked(value, marks),
            };
            found.push(AttributeChange {
                path: path.into(),
                before: shown(self.before, self.secret_before),
                after: shown(self.after, self.secret_after),
                cost: Cost::Nothing,
            });
        }
    }
}

fn holds_objects(value: &Json) -> bool {
    value.as_array().is_some_and(|items| items.iter().any(Json::is_object))
}

/// Providers of the older library do not tell these apart.
fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// The value without what `marks` calls sensitive.
fn masked(value: &Json, marks: &Json) -> Json {
    match (value, marks) {
        (Json::Null, _) => Json::Null,
        (_, Json::Bool(true)) => SENSITIVE.into(),
        (Json::Object(fields), _) => {
            fields.iter().map(|(name, value)| (name.clone(), masked(value, &marks[name.as_str()]))).collect()
        }
        (Json::Array(items), _) => {
            items.iter().enumerate().map(|(index, item)| masked(item, &marks[index])).collect::<Vec<_>>().into()
        }
        (value, _) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(change: Json) -> Vec<String> {
        let change: Change = serde_json::from_value(change).unwrap();
        differences(&change, |_| Cost::Nothing).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn changed_attributes_are_listed_with_before_and_after() {
        let before = json!({"name": "a", "bios": "ovmf", "memory": [{"dedicated": 2048, "floating": 0}], "tags": ["a"],
            "efi_disk": [{"type": "4m"}], "network_device": [{"bridge": "vmbr0"}], "machine": null, "same": {"x": [1]}});
        let after = json!({"name": "a", "bios": "seabios", "memory": [{"dedicated": 4096, "floating": 0}],
            "tags": ["a", "b"], "efi_disk": [], "network_device": [{"bridge": "vmbr1"}, {"bridge": "vmbr2"}],
            "machine": "", "same": {"x": [1]}});
        assert_eq!(
            lines(json!({"actions": ["update"], "before": before, "after": after})),
            [
                "bios: \"ovmf\" -> \"seabios\"",
                "efi_disk[0]: {\"type\":\"4m\"} -> null",
                "memory[0].dedicated: 2048 -> 4096",
                "network_device[0].bridge: \"vmbr0\" -> \"vmbr1\"",
                "network_device[1]: null -> {\"bridge\":\"vmbr2\"}",
                "tags: [\"a\"] -> [\"a\",\"b\"]",
            ]
        );
    }

    #[test]
    fn sensitive_and_unknown_values_are_not_shown() {
        let change = json!({"actions": ["update"],
            "before": {"password": "old", "user": [{"name": "a", "key": "k1"}], "ip": "1.2.3.4", "list": [{"p": "x"}], "id": "7"},
            "after": {"password": "new", "user": [{"name": "a", "key": "k2"}], "list": []},
            "after_unknown": {"ip": true, "id": true},
            "before_sensitive": {"password": true, "user": [{"key": true}], "list": [{"p": true}]},
            "after_sensitive": {"password": true, "user": [{"key": true}]}});
        let lines = lines(change);
        assert_eq!(
            lines,
            [
                "id: \"7\" -> (known after apply)",
                "ip: \"1.2.3.4\" -> (known after apply)",
                "list[0]: {\"p\":\"(sensitive)\"} -> null",
                "password: (sensitive) -> (sensitive)",
                "user[0].key: (sensitive) -> (sensitive)",
            ]
        );
    }

    #[test]
    fn attribute_that_forces_a_replacement_says_so() {
        let change = json!({"actions": ["delete", "create"], "before": {"a": 1, "d": [{"s": 1}]},
            "after": {"a": 2, "d": [{"s": 2}]}, "replace_paths": [["d", 0, "s"]]});
        assert_eq!(lines(change), ["a: 1 -> 2", "d[0].s: 1 -> 2 (replaces the resource)"]);
    }

    #[test]
    fn name_of_an_attribute_has_no_indexes() {
        let name = |path: &str| {
            let (before, after) = (Json::Null, Json::Null);
            AttributeChange { path: path.to_owned(), before, after, cost: Cost::Nothing }.name()
        };
        assert_eq!((name("memory[0].dedicated").as_str(), name("bios").as_str()), ("memory.dedicated", "bios"));
    }
}
