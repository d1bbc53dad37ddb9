//! Values as Ansible's formats write them.
//!
//! Ansible reads a value of an INI inventory as a Python literal if it is one, else as text; on a host's line it first
//! splits words like a shell. It also reads every text as a template. The functions here quote a value so that Ansible
//! reads it unchanged.

use serde_json::Value;

/// Escapes a text that Ansible would read as a template.
pub(super) fn no_templates(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains("{{") || text.contains("{%") || text.contains("{#") => {
            let mut escaped = String::with_capacity(text.len() + 16);
            let mut rest = text.as_str();
            while let Some(at) = ["{{", "{%", "{#"].iter().filter_map(|mark| rest.find(mark)).min() {
                escaped.push_str(&rest[..at]);
                escaped.push_str(&format!("{{{{ '{}' }}}}", &rest[at..at + 2]));
                rest = &rest[at + 2..];
            }
            escaped.push_str(rest);
            Value::String(escaped)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(no_templates).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, no_templates(value))).collect()),
        other => other,
    }
}

/// The value after `NAME=` in a `[GROUP:vars]` section.
pub(super) fn ini(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        other => python(other),
    }
}

/// The value after `NAME=` on a host's line.
pub(super) fn ini_word(value: &Value) -> String {
    shell_word(&ini(value))
}

/// A text that needs no quotes: Python does not read it as a literal, and no reader splits it.
fn is_plain(text: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_./:@-".contains(c);
    let address = text.parse::<std::net::Ipv4Addr>().is_ok();
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '.');
    let digits_only = text.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit());
    text.chars().all(safe) && !matches!(text, "True" | "False" | "None") && (address || (word && !digits_only))
}

/// A Python literal. JSON's strings and numbers are Python literals as well.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), python(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// One word for a shell, and for programs that split words like a shell.
pub(super) fn shell_word(text: &str) -> String {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_./:@%+=,-".contains(c)) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\"'\"'"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ini_value_is_a_python_literal_or_a_plain_word() {
        let table = [
            (json!("node1"), "node1"),
            (json!("10.0.0.1"), "10.0.0.1"),
            (json!("3.6"), "\"3.6\""),
            (json!("3.6.16"), "\"3.6.16\""),
            (json!("True"), "\"True\""),
            (json!("a b # c"), "\"a b # c\""),
            (json!(""), "\"\""),
            (json!(22), "22"),
            (json!(true), "True"),
            (json!({"a": [null, "x"]}), "{\"a\": [None, \"x\"]}"),
        ];
        for (value, expected) in table {
            assert_eq!(ini(&value), expected);
        }
        assert_eq!(ini_word(&json!("it's")), "'\"it'\"'\"'s\"'");
    }

    #[test]
    fn template_markers_in_text_are_escaped() {
        assert_eq!(no_templates(json!("a{{b}}")), json!("a{{ '{{' }}b}}"));
        assert_eq!(no_templates(json!(["{%", "{"])), json!(["{{ '{%' }}", "{"]));
    }
}
