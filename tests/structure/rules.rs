//! The rules as tests of this checkout.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use super::{
    Checkout, ORDER_EXCEPTIONS, PRINT_EXCEPTIONS, PROCESS_EXCEPTIONS, broken,
    counts::{REASON, long_files, needless_reasons},
    out_of_order, page, printing, starting_processes,
};

pub(crate) static CHECKOUT: LazyLock<Checkout> = LazyLock::new(|| Checkout::read(&root()).unwrap());

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_source_file_is_part_of_the_crate() {
    let known: Vec<&str> = CHECKOUT.graph.tree.sources.iter().map(|source| source.path.as_str()).collect();
    let unknown: Vec<&String> =
        CHECKOUT.texts.keys().filter(|path| path.starts_with("src/") && !known.contains(&path.as_str())).collect();
    assert!(known.len() > 30, "the source tree was not found");
    assert!(unknown.is_empty(), "no module declares {unknown:?}");
}

#[test]
fn every_path_within_the_crate_resolves() {
    assert!(CHECKOUT.graph.unresolved.is_empty(), "{:#?}", CHECKOUT.graph.unresolved);
}

#[test]
fn files_use_each_other_in_no_circle() {
    let circles = page::circles_of_files(&CHECKOUT.graph);
    assert!(circles.starts_with("0:"), "{circles}");
}

#[test]
fn order_has_exactly_the_top_level_modules() {
    let files = 0..CHECKOUT.graph.tree.sources.len();
    let modules: Vec<&str> = files.filter_map(|file| CHECKOUT.graph.top_level(file)).collect();
    assert_eq!(page::order_differences(&modules), [""; 0]);
}

#[test]
fn module_uses_only_modules_before_it() {
    let found = out_of_order(&CHECKOUT.graph);
    let broken = broken(found.keys().cloned(), ORDER_EXCEPTIONS);
    let places: Vec<_> = broken.iter().map(|pair| (pair, found.get(pair))).collect();
    assert!(places.is_empty(), "{places:#?}");
}

#[test]
fn only_exec_starts_processes() {
    let broken = broken(starting_processes(&CHECKOUT.graph), PROCESS_EXCEPTIONS);
    assert!(broken.is_empty(), "processes are started outside of exec: {}", broken.join(", "));
}

#[test]
fn only_report_prints() {
    let broken = broken(printing(&CHECKOUT.graph), PRINT_EXCEPTIONS);
    assert!(broken.is_empty(), "something is printed outside of report: {}", broken.join(", "));
}

#[test]
fn file_over_the_limit_has_a_reason_in_its_head() {
    assert_eq!(long_files(&CHECKOUT), BTreeMap::new(), "split the file, or start a line of its head with `{REASON}`");
}

#[test]
fn file_within_the_limit_has_no_reason_in_its_head() {
    assert_eq!(needless_reasons(&CHECKOUT), [""; 0]);
}

#[test]
fn exception_that_nothing_needs_is_an_error() {
    let found = ["src/a.rs".to_owned(), "src/b.rs".to_owned()];
    let exceptions = &[("src/a.rs", "a reason"), ("src/gone.rs", "a reason")];
    assert_eq!(broken(found, exceptions), ["src/b.rs", "src/gone.rs: no exception is needed here"]);
}

#[test]
fn every_test_module_is_part_of_the_program() {
    let dir = root().join("tests");
    let program = fs::read_to_string(dir.join("main.rs")).unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_module = path.extension().is_some_and(|extension| extension == "rs") || path.join("mod.rs").exists();
        if is_module && name != "main" {
            assert!(
                program.contains(&format!("\nmod {name};")),
                "tests/main.rs does not name {name}: its tests never run"
            );
            found.push(name);
        }
    }
    assert!(found.len() > 15, "the tests were not found: {found:?}");
}
