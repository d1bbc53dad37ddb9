//! JSON Schema -> the page that describes every field of the cluster file, for docs/cluster-file.md.

use serde_json::Value;

use super::{blueprints, file};

const HEAD: &str = "\
# The cluster file

<!-- Generated from the types in src/spec/file.rs: HACTL_BLESS=1 cargo test --lib spec writes it. -->

One YAML document describes one cluster. Every field but `instances` has a default, an empty section
is the same as a missing one, and an unknown key is an error. hactl reports all problems of a file at once, each as
`FILE:LINE:COLUMN: FIELD: what is wrong (did you mean ...?)`.

`hactl init NAME` writes a commented file to start from, and `hactl schema` prints the JSON Schema of this page for
editors. `NAME` on the command line is a path, a `NAME.yaml` in the working directory, a cluster recorded in
`.hactl`, or a built-in blueprint, in this order.

";

/// The reference page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let schema = file::schema();
    let mut page = HEAD.to_owned();
    let names: Vec<String> = blueprints().map(|(name, _)| format!("`{name}`")).collect();
    page.push_str(&format!("Built-in blueprints: {}.\n", names.join(", ")));
    page.push_str("\n## Fields\n\n| Field | Value | Default | Meaning |\n|---|---|---|---|\n");
    let mut choices = Vec::new();
    fields(&schema, &schema, "", &mut page, &mut choices);
    for (field, schema) in choices {
        page.push_str(&format!("\n## Values of `{field}`\n\n"));
        for choice in schema["oneOf"].as_array().into_iter().flatten() {
            page.push_str(&format!("- `{}`: {}\n", text(&choice["const"]), text(&choice["description"])));
        }
    }
    page
}

/// A row for each field of `schema`, and those of the sections in it.
fn fields<'a>(
    root: &'a Value,
    schema: &'a Value,
    prefix: &str,
    page: &mut String,
    choices: &mut Vec<(String, &'a Value)>,
) {
    for (name, written) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        let meant = resolved(root, written);
        // A row of a table is one line.
        let description = text(&written["description"]).replace('\n', " ");
        let default = match &written["default"] {
            Value::Null => String::new(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        page.push_str(&format!("| `{path}` | {} | {default} | {description} |\n", kind(root, meant)));
        let item = resolved(root, &meant["items"]);
        for choice in [meant, item] {
            if choice.get("oneOf").is_some() {
                choices.push((path.clone(), choice));
            }
        }
        fields(root, meant, &format!("{path}."), page, choices);
        // A map of sections: its keys are the user's.
        for section in meant["patternProperties"].as_object().into_iter().flat_map(|map| map.values()) {
            fields(root, resolved(root, section), &format!("{path}.KEY."), page, choices);
        }
    }
}

/// The schema behind a reference or an optional section.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let schema = schema["anyOf"].as_array().and_then(|options| options.first()).unwrap_or(schema);
    schema["$ref"].as_str().and_then(|name| root.pointer(name.trim_start_matches('#'))).unwrap_or(schema)
}

fn kind(root: &Value, schema: &Value) -> String {
    if schema.get("oneOf").is_some() {
        return "a word, see below".to_owned();
    }
    if let Some(rule) = schema["patternErrorMessage"].as_str() {
        return rule.to_owned();
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(text).collect::<Vec<_>>().join(", ");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        _ => Vec::new(),
    };
    let limit = |name: &str| schema[name].as_u64();
    let words: Vec<String> = types
        .into_iter()
        .map(|name| match name {
            "integer" => match (limit("minimum"), limit("maximum")) {
                (Some(least), Some(most)) => format!("{least} to {most}"),
                _ => "whole number".to_owned(),
            },
            "array" if resolved(root, &schema["items"]).get("oneOf").is_some() => "list of words, see below".to_owned(),
            "array" => "list".to_owned(),
            "object" if schema.get("properties").is_some() => "section".to_owned(),
            "object" => "map".to_owned(),
            "boolean" => "true or false".to_owned(),
            "string" => "text".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    words.join(" or ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
