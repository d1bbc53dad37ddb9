//! Where the checks of a cluster file note what is wrong.

use std::path::{Path, PathBuf};

use super::{problem::Collector, yaml::YamlNode};

/// What all checks share: the YAML tree for positions, and the list of problems.
pub(super) struct Checker<'a, 'b> {
    root: &'a YamlNode,
    problems: &'a mut Collector<'b>,
}

impl<'a, 'b> Checker<'a, 'b> {
    pub(super) const fn new(root: &'a YamlNode, problems: &'a mut Collector<'b>) -> Self {
        Self { root, problems }
    }

    /// The text of the file at `path`, as written.
    pub(super) fn written(&self, path: &[&str]) -> Option<&str> {
        self.root.written(path)
    }

    /// The directory that paths of the file are relative to.
    pub(super) fn dir(&self) -> &Path {
        self.problems.dir
    }

    /// Notes a problem.
    pub(super) fn say(&mut self, path: &[&str], message: impl Into<String>) {
        self.meant(path, message, None);
    }

    /// Whether the file has a value there.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        self.root.find(path).is_some()
    }

    /// Notes a problem, with what was probably meant.
    pub(super) fn meant(&mut self, path: &[&str], message: impl Into<String>, suggestion: Option<String>) {
        self.problems.add(self.root.position(path), path, message, suggestion);
    }

    /// A path of the file, relative to it; `~/` is expanded where the home directory is known.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        if path.starts_with("~/") { PathBuf::from(path) } else { self.problems.dir.join(path) }
    }
}
