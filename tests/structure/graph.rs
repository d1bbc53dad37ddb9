//! Source files in, edges out: which file names what, and where that is defined.

use std::collections::BTreeSet;

use syn::visit::Visit;

use super::{
    tree::{self, FileId, Read, Tree},
    walk::Walk,
};

/// One place where a file names an item of the crate.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Naming {
    pub(crate) from: FileId,
    pub(crate) to: FileId,
    /// `Type::Variant` for a variant, else the item's name.
    pub(crate) name: String,
    /// The code is compiled for tests only.
    pub(crate) test: bool,
}

/// A path into another crate, in full: `std::process::Command`, or `std::process::*` for a glob.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Foreign {
    pub(crate) from: FileId,
    pub(crate) path: String,
    pub(crate) test: bool,
}

pub(crate) struct Graph {
    pub(crate) tree: Tree,
    pub(crate) namings: BTreeSet<Naming>,
    pub(crate) foreign: BTreeSet<Foreign>,
    /// Paths from `crate`, `self` or `super` whose end was not found: a gap in the graph.
    pub(crate) unresolved: BTreeSet<String>,
}

impl Graph {
    /// Reads a crate whose files `read` gives.
    pub(crate) fn read(read: Read<'_>) -> Result<Self, String> {
        let (tree, syntax) = tree::read(read)?;
        let mut graph = Self { tree, namings: BTreeSet::new(), foreign: BTreeSet::new(), unresolved: BTreeSet::new() };
        for (file, syntax) in syntax.iter().enumerate() {
            Walk::new(&mut graph, file).visit_file(syntax);
        }
        Ok(graph)
    }

    pub(crate) fn path(&self, file: FileId) -> &str {
        &self.tree.sources[file].path
    }

    /// The top-level module that a file belongs to; a root of the crate has none.
    pub(crate) fn top_level(&self, file: FileId) -> Option<&str> {
        let mut module = self.tree.sources[file].module;
        let mut below = None;
        while let Some(parent) = self.tree.modules[module].parent {
            below = Some((parent, module));
            module = parent;
        }
        let (root, top) = below?;
        self.tree.modules[root].children.iter().find(|(_, child)| **child == top).map(|(name, _)| name.as_str())
    }

    /// The files with a path into another crate that `is` accepts, those of tests only if `tests` is set.
    pub(crate) fn foreign_uses(&self, is: impl Fn(&str) -> bool, tests: bool) -> BTreeSet<String> {
        let found = self.foreign.iter().filter(|foreign| (tests || !foreign.test) && is(&foreign.path));
        found.map(|foreign| self.path(foreign.from).to_owned()).collect()
    }
}
