//! JSON value -> messages about the parts that do not match the schema; and the value without these parts, so that the
//! rest can be checked for its meaning at once.

use std::sync::LazyLock;

use jsonschema::{
    ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::Value;

use super::file;
use crate::model::{BackendKind, DatabaseName, InstanceKey, RepositoryName, nearest};

/// One part of the file that has the wrong shape.
pub(super) struct Misfit {
    /// The offending value; for an unknown or badly named key that key.
    pub(super) path: Vec<String>,
    /// Whether to point at the key and not at the value.
    pub(super) at_key: bool,
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
    /// Whether the field takes text and has something else.
    wants_text: bool,
    /// What that text must be.
    rule: Option<String>,
}

impl Misfit {
    /// At the value of `path`.
    const fn at(path: Vec<String>) -> Self {
        Self { path, at_key: false, message: String::new(), suggestion: None, wants_text: false, rule: None }
    }
}

static SCHEMA: LazyLock<(Value, Validator)> = LazyLock::new(|| {
    let schema = file::schema();
    let validator = jsonschema::validator_for(&schema).expect("the schema of our own types is valid: a test loads it");
    (schema, validator)
});

const SECTION: &str = "a section (`key: value` lines)";

/// All misfits of `value`, whose scalars `written` gives as the file has them.
pub(super) fn misfits(value: &Value, written: impl Fn(&[String]) -> Option<String>) -> Vec<Misfit> {
    let mut found = explained(value);
    for misfit in found.iter_mut().filter(|misfit| misfit.wants_text && !misfit.at_key) {
        let Some(text) = written(&misfit.path) else { continue };
        if is_valid(value, &misfit.path, Value::String(text.clone())) {
            misfit.suggestion = Some(format!("\"{text}\" in quotes"));
        } else if let Some(rule) = &misfit.rule {
            misfit.message = misfit.message.replacen("text", &format!("text ({rule})"), 1);
        }
    }
    found.extend(floats(value, &mut Vec::new()).into_iter().filter_map(|(path, number)| {
        // A field that takes no fraction takes whole numbers only.
        let is_whole =
            !is_valid(value, &path, Value::from(number + 0.5)) && is_valid(value, &path, Value::from(number));
        let text = written(&path).unwrap_or_else(|| number.to_string());
        is_whole.then(|| Misfit {
            message: format!("{text} is not written as a whole number"),
            suggestion: Some(format!("{number:.0}")),
            ..Misfit::at(path)
        })
    }));
    found
}

/// Whether the value at `path` would be valid if it was `other`.
fn is_valid(value: &Value, path: &[String], other: Value) -> bool {
    let pointer: String = path.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect();
    let mut changed = value.clone();
    let Some(there) = changed.pointer_mut(&pointer) else { return false };
    *there = other;
    !explained(&changed).iter().any(|misfit| misfit.path == path)
}

fn explained(value: &Value) -> Vec<Misfit> {
    let mut found = Vec::new();
    for error in SCHEMA.1.iter_errors(value) {
        explain(&error, &mut found);
    }
    found
}

/// Numbers without a fraction that are written as floats (`15.0`, `2e3`): the schema's integers accept them, and the
/// types of the fields do not.
fn floats(value: &Value, path: &mut Vec<String>) -> Vec<(Vec<String>, f64)> {
    let mut below = |step: String, value: &Value| {
        path.push(step);
        let found = floats(value, path);
        path.pop();
        found
    };
    match value {
        Value::Object(map) => map.iter().flat_map(|(key, value)| below(key.clone(), value)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(index, value)| below(index.to_string(), value)).collect()
        }
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().filter(|number| number.fract() == 0.0);
            number.map(|number| (path.clone(), number)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn explain(error: &ValidationError<'_>, found: &mut Vec<Misfit>) {
    let path = steps(error.instance_path().as_str());
    let mut say = |message: String, suggestion| {
        found.push(Misfit { message, suggestion, ..Misfit::at(path.clone()) });
    };
    match error.kind() {
        // Optional sections are `anyOf: [section, null]`: what the section itself says is meant.
        ValidationErrorKind::AnyOf { context } => {
            let branch = context.iter().find(|branch| !is_other_type(branch, error));
            match branch {
                Some(branch) => branch.iter().for_each(|error| explain(error, found)),
                None => found.push(other_type(error, context.iter().flatten(), path)),
            }
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = known_keys(error);
            for key in unexpected {
                let mut path = path.clone();
                path.push(key.clone());
                let suggestion = nearest(key, known.iter().map(String::as_str));
                let (message, suggestion) = match (bad_name(&path), suggestion) {
                    (Some(message), suggestion) => (message, suggestion.filter(|_| path[0] != "backend")),
                    (None, Some(meant)) => ("unknown key".to_owned(), Some(meant)),
                    (None, None) => (format!("unknown key: expected {}", one_of(&known)), None),
                };
                found.push(Misfit { at_key: true, message, suggestion, ..Misfit::at(path) });
            }
        }
        ValidationErrorKind::PropertyNames { error: inner } => {
            let key = inner.instance().as_str().unwrap_or_default().to_owned();
            let mut path = path.clone();
            path.push(key.clone());
            let rule = rule_at(inner).or_else(|| rule_at(error)).unwrap_or_else(|| inner.to_string());
            let message = format!("`{key}` is not a valid key: {rule}");
            found.push(Misfit { at_key: true, message, ..Misfit::at(path) });
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<String> =
                options.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            say_choice(error, &options, &mut say);
        }
        // Documented choices are `oneOf: [{const}, ...]`.
        ValidationErrorKind::OneOfNotValid { .. } => {
            let options: Vec<String> = schema_around(error)
                .and_then(|schema| schema.get("oneOf")?.as_array())
                .into_iter()
                .flatten()
                .filter_map(|option| option.get("const")?.as_str())
                .map(str::to_owned)
                .collect();
            say_choice(error, &options, &mut say);
        }
        ValidationErrorKind::Constant { expected_value } => say(format!("expected {expected_value}"), None),
        ValidationErrorKind::Type { .. } => {
            let misfit = other_type(error, std::iter::once(error), path);
            found.push(Misfit { suggestion: unquoted(error), ..misfit });
        }
        ValidationErrorKind::Minimum { limit } => {
            say(format!("{} is too small: expected at least {limit}", error.instance()), None);
        }
        ValidationErrorKind::Maximum { limit } => {
            say(format!("{} is too large: expected at most {limit}", error.instance()), None);
        }
        ValidationErrorKind::Pattern { .. } => {
            let rule = rule_at(error).unwrap_or_else(|| error.to_string());
            let text = error.instance().as_str().unwrap_or_default();
            say(format!("`{text}` is not valid: expected {rule}"), None);
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            say(format!("`{name}` is missing"), None);
        }
        _ => say(error.to_string(), None),
    }
}

/// The problem with a key that is a name and not a misspelt field.
fn bad_name(path: &[String]) -> Option<String> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path[..] {
        ["backend", kind, setting] => BackendKind::secret_variable(kind, setting).map(|variable| {
            format!("a secret does not belong in the cluster file: set the environment variable {variable}, which Terraform reads")
        }),
        ["instances", key] => InstanceKey::new(key).err().map(|error| error.to_string()),
        ["postgres", "databases", name] | ["secrets", "owners", name] => {
            DatabaseName::new(name).err().map(|error| error.to_string())
        }
        ["backup", "repositories", name] | ["secrets", "backup", name] => {
            RepositoryName::new(name).err().map(|error| error.to_string())
        }
        _ => None,
    }
}

/// Whether a branch of `anyOf` cannot have been meant: it needs another type than the value has.
fn is_other_type(branch: &[ValidationError<'_>], parent: &ValidationError<'_>) -> bool {
    branch.iter().any(|error| {
        error.instance_path() == parent.instance_path() && matches!(error.kind(), ValidationErrorKind::Type { .. })
    })
}

fn say_choice(error: &ValidationError<'_>, options: &[String], say: &mut impl FnMut(String, Option<String>)) {
    let text = match error.instance().as_ref() {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    say(format!("`{text}` is not one of {}", list(options)), nearest(&text, options.iter().map(String::as_str)));
}

fn expected_type(error: &ValidationError<'_>, expected: &str) -> String {
    let found = match error.instance().as_ref() {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text `{text}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a section".to_owned(),
    };
    format!("expected {expected}, found {found}")
}

/// Suggests a number for a number in quotes, and a truth value for a word that YAML 1.1 takes for one.
fn unquoted(error: &ValidationError<'_>) -> Option<String> {
    let ValidationErrorKind::Type { kind } = error.kind() else { return None };
    let takes_truth = match kind {
        TypeKind::Single(kind) => kind.to_string() == "boolean",
        TypeKind::Multiple(kinds) => kinds.iter().any(|kind| kind.to_string() == "boolean"),
    };
    let text = error.instance().as_str()?;
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" if takes_truth => Some("true".to_owned()),
        "false" | "no" | "off" | "n" if takes_truth => Some("false".to_owned()),
        _ => text.parse::<u64>().is_ok().then(|| format!("{text} without quotes")),
    }
}

/// The value at `path` has none of the types that `errors` want.
fn other_type<'a>(
    error: &ValidationError<'_>,
    errors: impl Iterator<Item = &'a ValidationError<'a>>,
    path: Vec<String>,
) -> Misfit {
    let mut names: Vec<String> = Vec::new();
    let mut rule = None;
    for error in errors {
        rule = rule.or_else(|| rule_at(error));
        let wanted: Vec<String> = match error.kind() {
            ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => vec![kind.to_string()],
            ValidationErrorKind::Type { kind: TypeKind::Multiple(kinds) } => {
                kinds.iter().map(|kind| kind.to_string()).collect()
            }
            _ => Vec::new(),
        };
        for name in wanted {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let is_scalar = error.instance().is_number() || error.instance().is_boolean();
    let wants_text = is_scalar && names.iter().any(|name| name == "string");
    Misfit { message: expected_type(error, &words(&names)), wants_text, rule, ..Misfit::at(path) }
}

fn words(names: &[String]) -> String {
    let names: Vec<&str> = names
        .iter()
        .filter(|name| *name != "null")
        .map(|name| match name.as_str() {
            "integer" => "a whole number",
            "number" => "a number",
            "string" => "text",
            "boolean" => "true or false",
            "array" => "a list",
            "object" => SECTION,
            other => other,
        })
        .collect();
    names.join(" or ")
}

fn one_of(words: &[String]) -> String {
    if words.len() == 1 { format!("`{}`", words[0]) } else { format!("one of {}", list(words)) }
}

fn list(words: &[String]) -> String {
    words.join(", ")
}

/// The schema that holds the keyword which failed.
fn schema_around(error: &ValidationError<'_>) -> Option<&'static Value> {
    let pointer = error.schema_path().as_str();
    SCHEMA.0.pointer(&pointer[..pointer.rfind('/')?])
}

fn known_keys(error: &ValidationError<'_>) -> Vec<String> {
    schema_around(error)
        .and_then(|schema| schema.get("properties")?.as_object())
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default()
}

fn rule_at(error: &ValidationError<'_>) -> Option<String> {
    Some(schema_around(error)?.get("patternErrorMessage")?.as_str()?.to_owned())
}

fn steps(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

/// Removes the part at `path` from `value`, so that its default applies. Returns whether it could.
pub(super) fn take_out(value: &mut Value, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    let mut parent = &mut *value;
    for step in parents {
        let next = match parent {
            Value::Object(map) => map.get_mut(step),
            Value::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            _ => None,
        };
        match next {
            Some(next) => parent = next,
            // An enclosing part is removed already.
            None => return true,
        }
    }
    match parent {
        Value::Object(map) => {
            // A machine stays in the map, even with wrong properties.
            if parents == ["instances"] && map.get(last).is_some_and(|_| InstanceKey::new(last).is_ok()) {
                map.insert(last.clone(), Value::Null);
            } else {
                map.shift_remove(last);
            }
            true
        }
        Value::Array(_) => take_out(value, parents),
        _ => true,
    }
}
