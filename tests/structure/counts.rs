//! The files that the next component or platform would touch, and other counts of files.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Checkout,
    graph::{Graph, Naming},
};

/// The longest that a file may be without a reason.
const LONGEST: usize = 500;
/// How the reason starts, within the head of the file.
pub(crate) const REASON: &str = "//! Long because";

/// A count: what is counted, and the files.
pub(crate) struct Count {
    pub(crate) what: String,
    pub(crate) files: BTreeSet<String>,
}

pub(crate) fn counts(checkout: &Checkout) -> Vec<Count> {
    let graph = &checkout.graph;
    let mut counts = Vec::new();
    let mut add = |what: &str, files| counts.push(Count { what: what.to_owned(), files });
    let components = components(checkout);
    let roles: Vec<String> =
        components.iter().map(|name| format!("Role::{}{}", name[..1].to_uppercase(), &name[1..])).collect();
    for role in &roles {
        add(
            &format!("files outside of src/component that name {role}"),
            namers(graph, "src/component/", |naming| naming.name == *role),
        );
    }
    add(
        "files outside of src/component that name any of these",
        namers(graph, "src/component/", |naming| roles.contains(&naming.name)),
    );
    for folder in components.iter().map(|name| format!("src/component/{name}/")) {
        add(
            &format!("files outside of src/component that name an item of {folder}"),
            namers(graph, "src/component/", |naming| graph.path(naming.to).starts_with(&folder)),
        );
    }
    add(
        "files outside of src/platform that name a variant of Platform",
        namers(graph, "src/platform/", |naming| naming.name.starts_with("Platform::")),
    );
    add(
        &format!("files over {LONGEST} lines without a reason"),
        long_files(checkout).into_iter().map(|(path, lines)| format!("{path}: {lines} lines")).collect(),
    );
    let unbounded = |path: &str| path.ends_with("::unbounded_channel") || path == "std::sync::mpsc::channel";
    add("files with an unbounded channel", graph.foreign_uses(unbounded, false));
    counts
}

/// The components: the folders of `src/component`, which variants of `Role` are called by.
fn components(checkout: &Checkout) -> Vec<&str> {
    let paths = checkout.texts.keys();
    paths.filter_map(|path| path.strip_prefix("src/component/")?.strip_suffix("/mod.rs")).collect()
}

/// The files outside of `folder` whose code, apart from tests, names what `is` says.
fn namers(graph: &Graph, folder: &str, is: impl Fn(&Naming) -> bool) -> BTreeSet<String> {
    let found = graph.namings.iter().filter(|naming| !naming.test && is(naming));
    found.map(|naming| graph.path(naming.from).to_owned()).filter(|path| !path.starts_with(folder)).collect()
}

/// The files that are too long and give no reason in their head, with their lines.
pub(crate) fn long_files(checkout: &Checkout) -> BTreeMap<String, usize> {
    let lines = checkout.texts.iter().filter(|(_, text)| !has_reason(text));
    lines.map(|(path, text)| (path.clone(), text.lines().count())).filter(|(_, lines)| *lines > LONGEST).collect()
}

/// The files that give a reason and are not too long.
#[cfg(test)]
pub(crate) fn needless_reasons(checkout: &Checkout) -> Vec<String> {
    let short = checkout.texts.iter().filter(|(_, text)| has_reason(text) && text.lines().count() <= LONGEST);
    short.map(|(path, _)| path.clone()).collect()
}

fn has_reason(text: &str) -> bool {
    text.lines().take_while(|line| line.starts_with("//!")).any(|line| line.starts_with(REASON))
}
