//! Text -> Spec, or all of its problems at once.

use std::path::Path;

use serde_json::Value;

use super::{
    Spec, check,
    file::{ClusterFile, PLATFORMS},
    problem::{Collector, Problems},
    shape,
    yaml::{self, Position},
};
use crate::model::BACKENDS;

/// Far above the size of any real cluster file; only a wrong file exceeds it.
const LARGEST_BYTES: usize = 4 * 1024 * 1024;

/// Reads a cluster file. `file` is the name that messages use, `fallback` the cluster's name where
/// the text has none. Paths in it are relative to the working directory.
///
/// # Errors
/// All problems of the text, each with its place.
pub fn load(file: &str, bytes: &[u8], fallback: &str) -> Result<Spec, Problems> {
    load_from(Path::new(""), file, bytes, fallback)
}

/// As [`load`], with paths relative to `dir`.
pub(super) fn load_from(dir: &Path, file: &str, bytes: &[u8], fallback: &str) -> Result<Spec, Problems> {
    let mut problems = Collector { file, dir, found: Vec::new() };
    let spec = read(bytes, fallback, &mut problems);
    match spec {
        Some(spec) if problems.found.is_empty() => Ok(spec),
        _ => Err(Problems::new(problems.found)),
    }
}

fn read(bytes: &[u8], fallback: &str, problems: &mut Collector<'_>) -> Option<Spec> {
    let none: &[&str] = &[];
    if bytes.len() > LARGEST_BYTES {
        let message = format!("the file has {} MiB: a cluster file has at most 4 MiB", bytes.len() / 1024 / 1024);
        problems.add(Position::START, none, message, None);
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            // The text before it is valid, so its characters give the column.
            let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
            problems.add(Position { line, column }, none, "not UTF-8 text", None);
            return None;
        }
    };
    let (root, flaws) = yaml::parse(text);
    for flaw in flaws {
        problems.add(flaw.at, &flaw.path, flaw.message, None);
    }
    let Some(root) = root else {
        if problems.found.is_empty() {
            problems.add(Position::START, none, "the file is empty: it needs at least `instances`", None);
        }
        return None;
    };
    let mut value = root.to_json();
    if !value.is_object() {
        let message = if value.is_null() {
            "the file is empty: it needs at least `instances`"
        } else {
            "a cluster file is a map of `key: value` lines, with at least `instances`"
        };
        problems.add(Position::START, none, message, None);
        return None;
    }

    if let Value::Object(map) = &mut value {
        // `platform: hosts` means `platform: {hosts: {}}`, and the same for a backend's word, so that missing fields
        // are reported.
        for (field, words) in [("platform", &PLATFORMS[..]), ("backend", &BACKENDS)] {
            if let Some(Value::String(word)) = map.get(field)
                && words.contains(&word.as_str())
            {
                let section = serde_json::json!({word: {}});
                map.insert(field.to_owned(), section);
            }
        }
    }

    // Parts with the wrong shape are reported and removed, so that the rest can be checked as well.
    let mut countable = true;
    for misfit in shape::misfits(&value.clone(), |path| root.written(path).map(str::to_owned)) {
        let at = match root.find(&misfit.path) {
            Some((_, key_at)) if misfit.at_key => key_at,
            _ => root.position(&misfit.path),
        };
        if misfit.path.is_empty() || misfit.path[0] == "instances" {
            // Counts of machines or roles are wrong now.
            countable = false;
        }
        problems.add(at, &misfit.path, misfit.message, misfit.suggestion);
        shape::take_out(&mut value, &misfit.path);
    }
    match serde_json::from_value::<ClusterFile>(value) {
        Ok(file) => check::check(file, &root, fallback, countable, problems),
        Err(error) => {
            // The schema comes from the same types, so serde alone rarely refuses a value; it must not panic then.
            if problems.found.is_empty() {
                problems.add(Position::START, none, error.to_string(), None);
            }
            None
        }
    }
}
