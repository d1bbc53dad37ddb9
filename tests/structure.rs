//! The rules of the source tree, read from the source itself: data goes one way, one module starts
//! processes, one module prints.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The stages, from left to right. None may import one to its right.
const STAGES: &[&str] = &["spec", "plan", "provision", "fleet", "inventory", "configure", "health", "verify", "report"];

/// Modules that know all stages, or that stand beside the flow.
const ABOVE: &[&str] = &["pipeline", "command", "cli", "run"];

/// Imports to the right that are a shared noun and no call, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] =
    &[("provision", "fleet", "Outputs, the type of the arrow out of this stage, is defined where it is read")];

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 30, "the source tree was not found");
    found
}

/// The first component below `src`: the module that a file belongs to.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    below.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The code of a file: neither its comments nor its tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The crate's modules that `code` names by `crate::NAME` or within `use crate::{NAME::..., NAME}`.
fn imports(code: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(word(rest));
            continue;
        };
        let (mut depth, mut start) = (1, true);
        for (index, c) in group.char_indices() {
            if start && c.is_alphabetic() && depth == 1 {
                found.push(word(&group[index..]));
                start = false;
            }
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => start = true,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

#[test]
fn no_stage_imports_one_to_its_right() {
    let place = |name: &str| STAGES.iter().position(|stage| *stage == name);
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        let Some(own) = place(&module) else { continue };
        for import in imports(&code(&text)) {
            let excepted = EXCEPTIONS.iter().any(|(from, to, _)| *from == module && *to == import);
            if (place(&import).is_some_and(|other| other > own) && !excepted) || ABOVE.contains(&import.as_str()) {
                broken.push(format!("{}: {module} imports {import}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_exec_starts_processes() {
    let broken: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| module(path) != "exec")
        .filter(|(_, text)| {
            let code = code(text);
            code.contains("tokio::process")
                || code.contains("std::process::Command")
                || code.contains("process::Command")
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(broken.is_empty(), "processes are started outside of exec: {}", broken.join(", "));
}

/// Uses of standard output that are no printing for people, each with its reason.
const STDOUT: &[(&str, &str)] = &[
    ("provider/plugin.rs", "the handshake line is Terraform's plugin protocol"),
    ("command/inventory.rs", "asks whether standard output is a terminal, to keep secrets off it"),
];

#[test]
fn only_report_prints() {
    let broken: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| module(path) != "report" && !path.ends_with("tests.rs"))
        .filter(|(path, _)| !STDOUT.iter().any(|(file, _)| path.ends_with(file)))
        .filter(|(_, text)| {
            let code = code(text);
            ["println!", "print!(", "dbg!(", "io::stdout()"].iter().any(|word| code.contains(word))
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(broken.is_empty(), "something is printed outside of report: {}", broken.join(", "));
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let text =
        "use crate::{\n    error::{Error, Result},\n    fleet::Fleet,\n    plan,\n};\nfn f() { crate::health::x() }";
    assert_eq!(imports(text), ["error", "fleet", "plan", "health"]);
}

#[test]
fn every_test_is_part_of_the_program() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
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
