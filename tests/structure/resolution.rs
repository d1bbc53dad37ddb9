//! The resolver on small crates: files in, edges out.

use std::collections::BTreeMap;

use super::{Checkout, counts::long_files, graph::Graph, out_of_order, page::page, printing, starting_processes};

/// The graph of a crate; files are named within `src`.
fn graph(files: &[(&str, &str)]) -> Graph {
    checkout(files).graph
}

fn checkout(files: &[(&str, &str)]) -> Checkout {
    let texts: BTreeMap<String, String> =
        files.iter().map(|(name, text)| (format!("src/{name}"), (*text).to_owned())).collect();
    Checkout::of(texts).unwrap()
}

/// The edges between files as `from -> to: names`, with a mark on those of tests.
fn edges(files: &[(&str, &str)]) -> Vec<String> {
    let graph = graph(files);
    assert!(graph.unresolved.is_empty(), "{:?}", graph.unresolved);
    let mut edges: BTreeMap<(&str, &str, bool), Vec<&str>> = BTreeMap::new();
    for naming in graph.namings.iter().filter(|naming| naming.from != naming.to) {
        let names = edges.entry((graph.path(naming.from), graph.path(naming.to), naming.test)).or_default();
        if !names.contains(&naming.name.as_str()) {
            names.push(&naming.name);
        }
    }
    let line = |((from, to, test), mut names): ((&str, &str, bool), Vec<&str>)| {
        names.sort_unstable();
        let (from, to) = (from.trim_start_matches("src/"), to.trim_start_matches("src/"));
        format!("{from} -> {to}: {}{}", names.join(", "), if test { " (test)" } else { "" })
    };
    edges.into_iter().map(line).collect()
}

const ITEMS: &str = "
    pub struct Type; pub trait Trait {} pub fn call() {} pub const LIMIT: u8 = 1; pub static ONE: u8 = 1;
    pub enum Choice { First, Second(u8), Third { at: u8 } }
    impl Type { pub const WIDTH: u8 = 1; pub fn new() -> Self { Self } pub fn method(&self) {} }
";

/// The edges of a file `user.rs` beside `ground.rs`, which has [`ITEMS`].
fn edges_of(user: &str) -> Vec<String> {
    edges(&[("lib.rs", "mod ground; mod user;"), ("ground.rs", ITEMS), ("user.rs", user)])
}

#[test]
fn inline_paths_in_code_are_edges() {
    let user = "fn f() { crate::ground::call(); super::ground::Type::new(); let _ = crate::ground::LIMIT; }";
    assert_eq!(edges_of(user), ["user.rs -> ground.rs: LIMIT, Type, call"]);
}

#[test]
fn use_group_is_an_edge_for_each_name() {
    let user = "use crate::{ground::{self, Type, Trait as _, call as other}};";
    assert_eq!(edges_of(user), ["user.rs -> ground.rs: Trait, Type, call"]);
}

#[test]
fn module_alone_is_no_edge_and_what_is_named_through_it_is() {
    assert_eq!(edges_of("use crate::ground;"), [""; 0]);
    assert_eq!(edges_of("use crate::ground as g; fn f() { g::call() }"), ["user.rs -> ground.rs: call"]);
}

#[test]
fn glob_is_an_edge_only_for_the_names_that_are_used() {
    assert_eq!(edges_of("use crate::ground::*; fn f() {}"), [""; 0]);
    assert_eq!(edges_of("use crate::ground::*; fn f(_: &Type) { call(); }"), ["user.rs -> ground.rs: Type, call"]);
}

#[test]
fn names_in_types_bounds_and_impls_are_edges() {
    let user = "use crate::ground::*; struct Own<T: Trait>(Vec<Option<T>>); type Table = [u8; LIMIT as usize];";
    assert_eq!(edges_of(user), ["user.rs -> ground.rs: LIMIT, Trait"]);
    assert_eq!(edges_of("impl Clone for crate::ground::Type {}"), ["user.rs -> ground.rs: Type"]);
    assert_eq!(
        edges_of("fn f() { <crate::ground::Type as crate::ground::Trait>::x() }"),
        ["user.rs -> ground.rs: Trait, Type"]
    );
}

#[test]
fn methods_are_no_edges_and_associated_items_belong_to_their_type() {
    assert_eq!(edges_of("fn f(x: u8) { x.call(); x.method(); let _ = x.LIMIT; }"), [""; 0]);
    assert_eq!(edges_of("use crate::ground::*; fn f() -> u8 { Type::WIDTH }"), ["user.rs -> ground.rs: Type"]);
}

#[test]
fn variants_are_edges_in_expressions_and_patterns() {
    let user = "
        use crate::ground::Choice;
        fn f(c: Choice) -> bool { match c { Choice::First => true, Choice::Second(_) | Choice::Third { .. } => false } }
    ";
    let named = "Choice, Choice::First, Choice::Second, Choice::Third";
    assert_eq!(edges_of(user), [format!("user.rs -> ground.rs: {named}")]);
    let user = "use crate::ground::Choice::{self, *}; fn f(c: Choice) -> bool { matches!(c, First | Second(1)) }";
    let named = "Choice, Choice::First, Choice::Second";
    assert_eq!(edges_of(user), [format!("user.rs -> ground.rs: {named}")]);
}

#[test]
fn re_export_leads_to_the_file_that_defines_the_item() {
    let files = |user: &'static str| {
        [
            ("lib.rs", "mod house; mod user;"),
            ("house/mod.rs", "mod cellar; pub use cellar::{Type, call as dig}; pub use cellar::*;"),
            ("house/cellar.rs", ITEMS),
            ("user.rs", user),
        ]
    };
    assert_eq!(edges(&files("use crate::house::Type;")), ["user.rs -> house/cellar.rs: Type"]);
    assert_eq!(edges(&files("fn f() { crate::house::dig() }")), ["user.rs -> house/cellar.rs: call"]);
    assert_eq!(edges(&files("use crate::house::Choice;")), ["user.rs -> house/cellar.rs: Choice"]);
}

#[test]
fn parent_that_declares_and_re_exports_has_no_edge_until_it_uses_the_item() {
    let child = ("a/b.rs", "pub struct B;");
    let only = "mod b; pub use b::B;";
    let used = "mod b; pub use b::B; fn f(_: B) {}";
    assert_eq!(edges(&[("lib.rs", "mod a;"), ("a.rs", only), child]), [""; 0]);
    assert_eq!(edges(&[("lib.rs", "mod a;"), ("a.rs", used), child]), ["a.rs -> a/b.rs: B"]);
    assert_eq!(edges(&[("lib.rs", "mod a;"), ("a.rs", "mod b; use b::B;"), child]), ["a.rs -> a/b.rs: B"]);
}

#[test]
fn re_export_of_what_is_not_below_is_an_edge() {
    assert_eq!(edges_of("pub use crate::ground::Type;"), ["user.rs -> ground.rs: Type"]);
}

#[test]
fn super_and_self_lead_to_where_the_item_is_defined() {
    let files = |b: &'static str| {
        [
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b; mod c; use c::C; fn own() {}"),
            ("a/b.rs", b),
            ("a/c.rs", "pub struct C;"),
        ]
    };
    let parent = "a/mod.rs -> a/c.rs: C".to_owned();
    let with = |edge: &str| vec![edge.to_owned(), parent.clone()];
    assert_eq!(edges(&files("use super::C;")), with("a/b.rs -> a/c.rs: C"));
    assert_eq!(edges(&files("fn f() { super::own() }")), with("a/b.rs -> a/mod.rs: own"));
    assert_eq!(
        edges(&files("use super::*; fn f(_: C) { own() }")),
        ["a/b.rs -> a/c.rs: C".to_owned(), "a/b.rs -> a/mod.rs: own".to_owned(), parent.clone()]
    );
    assert_eq!(
        edges(&files("mod inner { use super::super::c::C; fn f() -> C { self::C } }")),
        with("a/b.rs -> a/c.rs: C")
    );
}

#[test]
fn local_names_hide_items() {
    let user = "
        use crate::ground::*;
        fn f(call: u8) -> u8 { call }
        fn g() { let call = 1; [0].map(|LIMITED| LIMITED + call); for call in 0..1 { let _ = call; } }
        fn h<Type>(_: Type) {}
        fn i() { fn call() {} struct Type; call(); let _ = Type; }
    ";
    assert_eq!(edges_of(user), [""; 0]);
}

#[test]
fn own_items_hide_those_of_a_glob() {
    assert_eq!(edges_of("use crate::ground::*; struct Type; fn call(_: Type) { call(Type) }"), [""; 0]);
}

#[test]
fn local_names_hide_nothing_beyond_their_scope() {
    let user = "use crate::ground::*; fn f() { { let call = 1; } call() } fn g() { let x = call(); let call = x; }";
    assert_eq!(edges_of(user), ["user.rs -> ground.rs: call"]);
    let user = "use crate::ground; fn f(ground: u8) { ground::call() }";
    assert_eq!(edges_of(user), ["user.rs -> ground.rs: call"], "a variable hides no module");
}

#[test]
fn constant_in_a_pattern_is_named_and_a_function_is_not() {
    let user = "use crate::ground::*; fn f(x: u8) { match x { LIMIT => {} call => drop(call) } }";
    assert_eq!(edges_of(user), ["user.rs -> ground.rs: LIMIT"]);
}

#[test]
fn imports_within_a_function_hold_there_only() {
    let user = "fn f() { use crate::ground::call; call() } fn g() { call() } fn call() {}";
    assert_eq!(edges_of(user), ["user.rs -> ground.rs: call"]);
}

#[test]
fn code_for_tests_is_read_and_marked() {
    let user = "
        fn f() { crate::ground::call() }
        #[cfg(test)] mod tests { use super::*; use crate::ground::Type; #[test] fn t() { f(); } }
        #[cfg(all(test, unix))] fn g() { crate::ground::LIMIT; }
        #[cfg(not(test))] fn h() { crate::ground::ONE; }
        #[tokio::test] async fn i() { crate::ground::Choice::First; }
    ";
    assert_eq!(
        edges_of(user),
        ["user.rs -> ground.rs: ONE, call", "user.rs -> ground.rs: Choice::First, LIMIT, Type (test)"]
    );
}

#[test]
fn file_of_a_test_module_is_for_tests_as_a_whole() {
    let files =
        [("lib.rs", "mod a;"), ("a.rs", "pub fn f() {} #[cfg(test)] mod tests;"), ("a/tests.rs", "use super::f;")];
    assert_eq!(edges(&files), ["a/tests.rs -> a.rs: f (test)"]);
}

#[test]
fn arguments_of_macros_are_read() {
    let user = r#"
        use crate::ground::*;
        fn f() { println!("{} {x}", call(), x = LIMIT); vec![ONE; 3]; }
        fn g() { json!({"a": Type::new(), "b": [Choice::First]}); select! { x = other() => { Choice::Second(1); } } }
    "#;
    let named = "Choice::First, Choice::Second, LIMIT, ONE, Type, call";
    assert_eq!(edges_of(user), [format!("user.rs -> ground.rs: {named}")]);
}

#[test]
fn paths_in_attributes_are_read() {
    let user = r#"
        use crate::ground::*;
        #[derive(Deserialize)] struct Own { #[serde(default = "call", with = "crate::ground::Type")] x: u8,
            #[arg(default_value_t = LIMIT)] y: u8, #[serde(rename = "ONE")] z: u8 }
    "#;
    assert_eq!(edges_of(user), ["user.rs -> ground.rs: LIMIT, Type, call"]);
}

#[test]
fn macros_and_what_they_define_are_edges() {
    let files = [
        ("lib.rs", "mod made; mod user;"),
        ("made.rs", "macro_rules! name { ($name:ident) => { pub struct $name; }; } pub(crate) use name; name!(Made);"),
        ("user.rs", "use crate::made::{name, Made}; name!(Other);"),
    ];
    assert_eq!(edges(&files), ["user.rs -> made.rs: Made, name"]);
}

#[test]
fn program_names_the_library_by_its_name() {
    let files =
        [("lib.rs", "mod a; pub use a::run;"), ("a.rs", "pub fn run() {}"), ("main.rs", "fn main() { hactl::run() }")];
    assert_eq!(edges(&files), ["main.rs -> a.rs: run"]);
}

#[test]
fn path_within_the_crate_without_an_end_is_reported() {
    let graph = graph(&[("lib.rs", "mod a;"), ("a.rs", "use crate::b::C;")]);
    assert_eq!(graph.unresolved.iter().collect::<Vec<_>>(), ["src/a.rs: crate::b::C"]);
}

#[test]
fn path_into_another_crate_is_recorded_in_full() {
    let text = "use std::{io, process::{self, Command}}; use tokio::process::*; fn f() { Command::new(1); process::id(); io::stdout(); println!() }";
    let graph = graph(&[("lib.rs", text)]);
    let paths: Vec<&str> = graph.foreign.iter().map(|foreign| foreign.path.as_str()).collect();
    for path in ["println", "std::io::stdout", "std::process::Command::new", "std::process::id", "tokio::process::*"] {
        assert!(paths.contains(&path), "{path} is not in {paths:?}");
    }
}

#[test]
fn process_started_by_a_test_or_through_a_group_is_found() {
    let starting =
        |text| starting_processes(&graph(&[("lib.rs", "mod a; mod exec;"), ("a.rs", text), ("exec/mod.rs", "")]));
    for text in [
        "use std::{fs, process::{Command, Stdio}};",
        "use tokio::process; fn f() { process::Command::new(1); }",
        "use std::process::*;",
    ] {
        assert_eq!(starting(text).len(), 1, "{text}");
    }
    let in_tests = "#[cfg(test)] mod tests { use std::process::Command; }";
    assert_eq!(starting(in_tests).into_iter().collect::<Vec<_>>(), ["src/a.rs (tests)"]);
    assert_eq!(starting("use std::process::{ExitCode, id}; use clap::Command; fn f(_: Command) {}").len(), 0);
}

#[test]
fn print_in_a_test_or_by_handle_is_found() {
    let prints = |text| printing(&graph(&[("lib.rs", "mod a;"), ("a.rs", text)])).len();
    for text in [
        "fn f() { println!() }",
        "fn f() { eprint!(\"{}\", 1) }",
        "use std::io; fn f() { io::stdout().lock() }",
        "fn f() {} #[cfg(test)] mod tests { #[test] fn t() { dbg!(1); } }",
    ] {
        assert_eq!(prints(text), 1, "{text}");
    }
    assert_eq!(prints("fn f(stdout: &str) { writeln!(stdout, \"println!\") }"), 0);
}

#[test]
fn use_of_a_later_module_is_found_also_in_its_tests() {
    let graph = graph(&[
        ("lib.rs", "mod error; mod model;"),
        ("error.rs", "pub struct Error; #[cfg(test)] mod tests { use crate::model::Name; }"),
        ("model/mod.rs", "use crate::error::Error; pub use name::Name; mod name;"),
        ("model/name.rs", "pub struct Name;"),
    ]);
    let found = out_of_order(&graph);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["error -> model"]);
    assert!(found["error -> model"].contains("src/error.rs names Name of src/model/name.rs"), "{found:?}");
}

#[test]
fn long_file_without_a_reason_in_its_head_is_found() {
    let lines = |count| "\n".repeat(count);
    let (longest, longer) = (lines(500), lines(501));
    let reasoned = format!("//! Rows.\n//!\n//! Long because it is one table.\n{longer}");
    let elsewhere = format!("//! Rows.\n\n//! Long because it is one table.\n{longer}");
    let checkout = checkout(&[("lib.rs", &longest), ("a.rs", &longer), ("b.rs", &reasoned), ("c.rs", &elsewhere)]);
    let expected = BTreeMap::from([("src/a.rs".to_owned(), 501), ("src/c.rs".to_owned(), 504)]);
    assert_eq!(long_files(&checkout), expected);
}

#[test]
fn page_of_a_crate_with_a_circle_shows_files_edges_and_names() {
    let checkout = checkout(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "pub struct B; pub fn f() { let _ = crate::a::A; }"),
    ]);
    let page = page(&checkout);
    let circle = "
1: circles of files
  circle of 2
    src/a.rs
      -> src/b.rs: B
    src/b.rs
      -> src/a.rs: A
0: edges of tests that close a circle
";
    assert!(page.contains(circle), "{page}");
}
