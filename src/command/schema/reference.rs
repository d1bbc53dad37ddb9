//! JSON Schemas -> the page that describes every field that hactl writes as JSON, for docs/json.md. A field without a
//! description, its own or its type's, fails the test; so does a page that is not this.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{PAGE, schema};

const HEAD: &str = "\
# JSON that hactl writes

<!-- Generated from the types that are written: HACTL_BLESS=1 cargo test --lib schema writes it. -->

`--output json` turns every command's output into JSON: an object for a query, one event per line for a command that acts. Results
go to stdout, progress to stderr. `hactl schema status` prints the JSON Schema of the first shape on this page, and so on;
`hactl schema` alone prints that of [the cluster file](cluster-file.md):

```sh
hactl schema status >status.schema.json
hactl status pg-dev --output json
```

Newer releases of hactl add fields; within one `version` no field is removed or changed. Ignore fields that you do not know. A field
that may be null is always present; a field that may be absent can be missing. `[]` means the elements of a list, `KEY` the keys of a map.

`hactl inventory NAME --format json` has the form of a dynamic inventory, which Ansible defines. Exit codes are in
[the README](../README.md#exit-codes).
";

/// The page, in Markdown, and the fields without a description.
fn reference() -> (String, Vec<String>) {
    let (mut page, mut bare) = (HEAD.to_owned(), Vec::new());
    for &(shape, title, from, note) in PAGE {
        let root = schema(shape);
        let note = if note.is_empty() { String::new() } else { format!("\n{note}\n") };
        write!(page, "\n## {title}\n\n{from}\n{note}").unwrap();
        let mut table = Table { root: &root, rows: String::new(), bare: Vec::new() };
        let items = &root["items"];
        let (top, prefix) = if items.is_null() { (&root, "") } else { (table.resolved(items), "[].") };
        table.fields(top, prefix);
        page.push_str(&table.take());
        for variant in top["oneOf"].as_array().into_iter().flatten() {
            let name = text(&variant["properties"]["type"]["const"]);
            let said = table.meaning(variant, name);
            write!(page, "\n### {title}: {name}\n\n{said}\n").unwrap();
            table.fields(variant, "");
            page.push_str(&table.take());
        }
        bare.extend(table.bare.into_iter().map(|field| format!("{title}: {field}")));
    }
    (page, bare)
}

/// The rows of a table, one for each field.
struct Table<'a> {
    root: &'a Value,
    rows: String,
    bare: Vec<String>,
}

impl<'a> Table<'a> {
    /// Adds the fields of `schema`, and those of the sections in it.
    fn fields(&mut self, schema: &'a Value, prefix: &str) {
        let mut properties = Map::new();
        let mut required = Vec::new();
        // A variant may refer to a type of its own.
        for part in [schema, self.resolved(schema)] {
            properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
            required.extend(part["required"].as_array().into_iter().flatten().map(text));
        }
        let whole = self.root;
        for name in properties.keys() {
            let found = [schema, self.resolved(schema)].into_iter().find_map(|part| part["properties"].get(name));
            let written = found.unwrap_or(whole);
            if written.get("const").is_some() {
                continue;
            }
            let mut path = format!("{prefix}{name}");
            let absent = if required.contains(&name.as_str()) { "" } else { "; may be absent" };
            let (kind, meaning) = (self.kind(written), self.meaning(written, &path));
            self.rows.push_str(&format!("| `{path}` | {kind}{absent} | {meaning} |\n"));
            let mut inner = self.resolved(written);
            loop {
                if inner["items"].is_object() {
                    path.push_str("[]");
                    inner = self.resolved(&inner["items"]);
                } else if let Some(values) = values(inner) {
                    path.push_str(".KEY");
                    inner = self.resolved(values);
                } else {
                    break;
                }
            }
            if inner["properties"].is_object() {
                self.fields(inner, &format!("{path}."));
            }
        }
    }

    /// The schema behind a reference, or behind a value that may be null.
    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let options = schema["anyOf"].as_array();
        let schema = options.and_then(|options| options.iter().find(|one| one["type"] != "null")).unwrap_or(schema);
        schema["$ref"].as_str().and_then(|name| self.root.pointer(name.trim_start_matches('#'))).unwrap_or(schema)
    }

    /// The description of a field, or else of its type.
    fn meaning(&mut self, schema: &'a Value, path: &str) -> String {
        let said = [schema, self.resolved(schema)].into_iter().find_map(|one| one["description"].as_str());
        if said.is_none() {
            self.bare.push(path.to_owned());
        }
        said.unwrap_or_default().replace('\n', " ").replace('|', "\\|")
    }

    /// The type in words.
    fn kind(&self, written: &'a Value) -> String {
        let schema = self.resolved(written);
        let null = written["anyOf"].as_array().is_some_and(|options| options.iter().any(|one| one["type"] == "null"))
            || written["type"].as_array().is_some_and(|types| types.iter().any(|one| one == "null"));
        let kind = match schema["type"].as_array().and_then(|types| types.first()).unwrap_or(&schema["type"]).as_str() {
            Some("array") if schema["prefixItems"].is_array() => "list of two".to_owned(),
            Some("array") => format!("list of {}", self.kind(&schema["items"])),
            Some("object") if schema["properties"].is_object() => "object".to_owned(),
            Some("object") => match values(schema) {
                Some(values) => format!("map of {}", self.kind(values)),
                None => "map".to_owned(),
            },
            Some("integer") => "whole number".to_owned(),
            Some("number") => "number".to_owned(),
            Some("boolean") => "true or false".to_owned(),
            Some("string") if words(schema).is_empty() => "text".to_owned(),
            _ if words(schema).is_empty() => "any value".to_owned(),
            _ => words(schema).join(", "),
        };
        if null { format!("{kind}, or null") } else { kind }
    }

    /// The table, and a new one begins.
    fn take(&mut self) -> String {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() { rows } else { format!("\n| Field | Value | Meaning |\n|---|---|---|\n{rows}") }
    }
}

/// What the values of a map are.
fn values(schema: &Value) -> Option<&Value> {
    let patterns = schema["patternProperties"].as_object().and_then(|map| map.values().next());
    patterns.or_else(|| schema.get("additionalProperties").filter(|values| values.is_object()))
}

/// The words of an enumeration; one with a value of its own is a map with that key.
fn words(schema: &Value) -> Vec<String> {
    let listed = schema["enum"].as_array().into_iter().flatten().map(|word| format!("`{}`", text(word)));
    let variants = schema["oneOf"].as_array().into_iter().flatten().flat_map(|one| {
        let key = one["properties"].as_object().and_then(|map| map.keys().next());
        let own = one["const"].as_str().map(|word| vec![format!("`{word}`")]);
        own.or_else(|| key.map(|key| vec![format!("an object with `{key}`")])).unwrap_or_else(|| words(one))
    });
    listed.chain(variants).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn every_json_field_has_a_description() {
    let (_, bare) = reference();
    assert!(bare.is_empty(), "fields without a comment in the source: {}", bare.join(", "));
}

#[test]
fn json_page_matches_the_types() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md");
    let (page, _) = reference();
    if std::env::var_os("HACTL_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == written, "docs/json.md is not what the types say: HACTL_BLESS=1 cargo test --lib schema");
}

#[test]
fn field_without_a_description_is_reported() {
    #[derive(schemars::JsonSchema)]
    #[expect(dead_code, reason = "only its schema is of interest")]
    struct Bare {
        /// Described.
        told: u8,
        untold: Vec<Option<String>>,
    }
    let root = super::written::<Bare>();
    let mut table = Table { root: &root, rows: String::new(), bare: Vec::new() };
    table.fields(&root, "");
    assert_eq!(table.bare, ["untold"]);
    assert_eq!(table.rows, "| `told` | whole number | Described. |\n| `untold` | list of text, or null |  |\n");
}
