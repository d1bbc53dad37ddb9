//! Problems of a cluster file: the place, the field, and the word that was probably meant.

use std::{fmt, path::Path};

use serde::Serialize;

use super::yaml::Position;
use crate::error::{Error, SourceLocation};

/// One thing wrong in a cluster file.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct FileProblem {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The field, as in `instances.node1.memory` or `postgres.access[0]`; empty for the whole file.
    pub path: String,
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.text())
    }
}

impl FileProblem {
    /// The problem without its place.
    fn text(&self) -> String {
        let path = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        let meant = self.suggestion.as_ref().map(|word| format!(" (did you mean {word}?)")).unwrap_or_default();
        format!("{path}{}{meant}", self.message)
    }

    fn location(&self) -> SourceLocation {
        SourceLocation { file: self.file.clone(), line: self.line, column: self.column, message: self.text() }
    }
}

/// All problems of one file, at least one.
#[derive(Clone, Debug)]
pub struct Problems(Vec<FileProblem>);

impl Problems {
    /// Sorted by place, without duplicates.
    pub(super) fn new(mut problems: Vec<FileProblem>) -> Self {
        problems.sort_by(|a, b| (a.line, a.column, &a.path, &a.message).cmp(&(b.line, b.column, &b.path, &b.message)));
        problems.dedup();
        Self(problems)
    }

    /// The problems, in the order of their places.
    #[must_use]
    pub fn problems(&self) -> &[FileProblem] {
        &self.0
    }
}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        let file = problems.0.first().map_or("", |problem| problem.file.as_str()).to_owned();
        let error = Self::usage("cluster-file", "use cluster file", file);
        let mut error = problems.0.iter().fold(error, Self::cause);
        error.locations = problems.0.iter().map(FileProblem::location).collect();
        error.hint("Correct the file; `hactl schema` prints its JSON Schema, and `hactl init NAME` writes an example")
    }
}

/// Collects the problems of one file.
pub(super) struct Collector<'a> {
    pub(super) file: &'a str,
    /// The directory of the file, which its paths are relative to.
    pub(super) dir: &'a Path,
    pub(super) found: Vec<FileProblem>,
}

impl Collector<'_> {
    pub(super) fn add(
        &mut self,
        at: Position,
        path: &[impl AsRef<str>],
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.found.push(FileProblem {
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            path: dotted(path),
            message: message.into(),
            suggestion,
        });
    }
}

fn dotted(path: &[impl AsRef<str>]) -> String {
    let mut text = String::new();
    for step in path.iter().map(AsRef::as_ref) {
        if !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit()) {
            text.push_str(&format!("[{step}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(step);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_path_is_printed_with_dots_and_brackets() {
        assert_eq!(dotted(&["postgres", "access", "0"]), "postgres.access[0]");
    }
}
