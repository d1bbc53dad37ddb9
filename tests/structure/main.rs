//! The rules of the source tree, read from the source itself: a module uses only modules before it in
//! [`ORDER`], one module starts processes, one module prints; messages and pages avoid the phrases in `voice`. The tests
//! enforce them; `.ci/structure` prints what they find. A package of its own: it builds in seconds, also while hactl does not.

mod circles;
mod counts;
mod graph;
#[cfg(test)]
mod messages;
mod names;
mod page;
#[cfg(test)]
mod resolution;
#[cfg(test)]
mod rules;
mod tokens;
mod tree;
#[cfg(test)]
mod voice;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use graph::Graph;

/// The top-level modules of `src`: each uses only those before it in this list, in its tests as well.
const ORDER: &[&str] = &[
    "env",
    "error",
    "model",
    "event",
    "file",
    "context",
    "exec",
    "assets",
    "fetch",
    "dns",
    "spec",
    "plan",
    "fleet",
    "secrets",
    "ssh",
    "access",
    "component",
    "firewall",
    "platform",
    "terraform",
    "ansible",
    "deployment",
    "health",
    "stage",
    "verify",
    "report",
    "operation",
    "query",
    "command",
    "app",
];

/// What may break a rule, each with its reason: files, or `file (tests)`. An exception that nothing needs is an error.
type Exceptions = &'static [(&'static str, &'static str)];

/// Uses of a later module, as `module -> module`.
const ORDER_EXCEPTIONS: Exceptions = &[];

/// Files outside of `exec` that start processes.
const PROCESS_EXCEPTIONS: Exceptions = &[
    ("src/component/served.rs (tests)", "they run the program that machines run"),
    ("src/stage/decommission.rs (tests)", "they run the shell text that machines run"),
    ("src/stage/ownership/tests.rs (tests)", "they run the shell text that machines run"),
    ("src/stage/enroll/tests.rs (tests)", "they start an SSH server"),
];

/// Files outside of `report` that print.
const PRINT_EXCEPTIONS: Exceptions = &[
    ("src/command/inventory.rs", "asks whether standard output is a terminal, to keep secrets off it"),
    ("src/terraform/provider/plugin.rs", "the handshake line is Terraform's plugin protocol"),
];

fn main() -> ExitCode {
    let root = env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    match Checkout::read(&root) {
        Ok(checkout) => {
            print!("{}", page::page(&checkout));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("could not read the source tree: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The source tree of one checkout.
pub(crate) struct Checkout {
    graph: Graph,
    /// The text of every Rust file, by its path.
    texts: BTreeMap<String, String>,
}

impl Checkout {
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let mut texts = BTreeMap::new();
        for folder in ["src", "tests", "benches"] {
            read_folder(root, &root.join(folder), &mut texts)?;
        }
        Self::of(texts)
    }

    fn of(texts: BTreeMap<String, String>) -> Result<Self, String> {
        let graph = Graph::read(&|path| texts.get(path.to_str()?).cloned())?;
        Ok(Self { graph, texts })
    }
}

fn read_folder(root: &Path, folder: &Path, texts: &mut BTreeMap<String, String>) -> Result<(), String> {
    let failed = |error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            read_folder(root, &path, texts)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            texts.insert(name, fs::read_to_string(&path).map_err(failed)?);
        }
    }
    Ok(())
}

/// The pairs of modules where one uses a later one, as `module -> module`, with every place.
fn out_of_order(graph: &Graph) -> BTreeMap<String, BTreeSet<String>> {
    let index = |file| ORDER.iter().position(|module| Some(*module) == graph.top_level(file));
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for naming in &graph.namings {
        if let (Some(from), Some(to)) = (index(naming.from), index(naming.to))
            && from < to
        {
            let place = format!("{} names {} of {}", graph.path(naming.from), naming.name, graph.path(naming.to));
            found.entry(format!("{} -> {}", ORDER[from], ORDER[to])).or_default().insert(place);
        }
    }
    found
}

/// The files outside of `exec` that start processes.
fn starting_processes(graph: &Graph) -> BTreeSet<String> {
    let starts = |path: &str| {
        let path = path.trim_start_matches("tokio::").trim_start_matches("std::");
        path == "process::*" || path.starts_with("process::Command")
    };
    users(graph, "src/exec/", starts)
}

/// The files outside of `report` that print.
fn printing(graph: &Graph) -> BTreeSet<String> {
    let prints = |path: &str| {
        let path = path.trim_start_matches("std::").trim_start_matches("tokio::");
        ["println", "print", "eprintln", "eprint", "dbg", "io::stdout", "io::stderr", "io::*"].contains(&path)
    };
    users(graph, "src/report/", prints)
}

/// The files outside of `folder` with a path into another crate that `is` accepts; those where tests alone have it as
/// `file (tests)`.
fn users(graph: &Graph, folder: &str, is: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let product = graph.foreign_uses(&is, false);
    let all = graph.foreign_uses(&is, true).into_iter().filter(|file| !file.starts_with(folder));
    all.map(|file| if product.contains(&file) { file } else { format!("{file} (tests)") }).collect()
}

/// What breaks a rule without being an exception, and the exceptions that nothing needs.
fn broken(found: impl IntoIterator<Item = String>, exceptions: Exceptions) -> Vec<String> {
    let found: BTreeSet<String> = found.into_iter().collect();
    let unneeded = exceptions.iter().filter(|(name, _)| !found.contains(*name));
    let unneeded: Vec<String> = unneeded.map(|(name, _)| format!("{name}: no exception is needed here")).collect();
    found.into_iter().filter(|name| !exceptions.iter().any(|(known, _)| known == name)).chain(unneeded).collect()
}
