//! The documentation against the program: every command that a page shows is one that hactl takes,
//! every link leads somewhere, every example is a cluster file that loads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use hactl::{context::Dirs, pipeline::Cluster};

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// The pages, by their path in the repository.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut files: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md"].map(PathBuf::from).into();
    files.extend(files_in("docs", "md"));
    files.push("terraform/modules/local-node/README.md".into());
    files.into_iter().map(|file| (file.clone(), fs::read_to_string(Path::new(TOP).join(&file)).unwrap())).collect()
}

/// Files below `dir` with this extension, relative to the repository.
fn files_in(dir: &str, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![PathBuf::from(dir)]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(Path::new(TOP).join(&dir)).unwrap() {
            let path = dir.join(entry.unwrap().file_name());
            if Path::new(TOP).join(&path).is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn hactl(args: &[&str]) -> (bool, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_hactl")).args(args).env_remove("COLUMNS").output().unwrap();
    (done.status.success(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
}

/// The lines of the blocks in `text` that are for a shell.
fn shell_lines(text: &str) -> Vec<&str> {
    let mut language = None;
    let mut found = Vec::new();
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), language) {
            (Some(word), None) => language = Some(word),
            (Some(_), Some(_)) => language = None,
            (None, Some("sh")) => found.push(line),
            (None, _) => {}
        }
    }
    found
}

/// The pieces between single backticks, outside of blocks.
fn inline_code(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

/// What follows `hactl` in a command of a page: its words, quotes removed as far as they matter here.
fn arguments(command: &str) -> Option<Vec<String>> {
    let rest = command.trim().strip_prefix("hactl ")?;
    // A remark, or what a shell does with the output, is not hactl's business; nor is what follows `--`.
    let rest = rest.split(" #").next()?.split(" -- ").next()?.split(" | ").next()?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

#[test]
fn every_command_of_the_pages_is_one_that_hactl_takes() {
    let mut seen = BTreeMap::new();
    for (page, text) in pages() {
        let inline = inline_code(&text).into_iter().filter(|code| !code.contains('|'));
        for command in shell_lines(&text).into_iter().chain(inline) {
            if let Some(arguments) = arguments(command) {
                seen.insert(arguments, format!("{}: {command}", page.display()));
            }
        }
    }
    assert!(seen.len() > 20, "the commands were not found: {seen:?}");
    let mut wrong = String::new();
    for (arguments, place) in seen {
        // With this at its end clap checks all words before it, and does nothing.
        let words: Vec<&str> = arguments.iter().map(String::as_str).chain(["--help"]).collect();
        let (ok, said) = hactl(&words);
        if !ok {
            writeln!(wrong, "{place}\n{said}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_make_target_of_the_pages_exists() {
    let makefile = fs::read_to_string(Path::new(TOP).join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile.lines().filter_map(|line| line.strip_prefix(".PHONY: ")).collect();
    assert!(targets.contains("up"), "{targets:?}");
    for (page, text) in pages() {
        for command in shell_lines(&text).into_iter().chain(inline_code(&text)) {
            let Some(rest) = command.strip_prefix("make ") else { continue };
            let target = rest.split_whitespace().next().unwrap();
            assert!(targets.contains(target), "{}: {command}", page.display());
        }
    }
}

/// A heading as the fragment of a link, as GitHub makes it.
fn fragment(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        let prose: String = text.split("```").step_by(2).collect();
        for rest in prose.split("](").skip(1) {
            let link = rest.split(')').next().unwrap();
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let path = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let Ok(target) = Path::new(TOP).join(&path).canonicalize() else {
                wrong.push(format!("{}: {link} is not there", page.display()));
                continue;
            };
            if let Some(anchor) = anchor
                && !fs::read_to_string(target)
                    .unwrap()
                    .lines()
                    .any(|line| line.starts_with('#') && fragment(line) == anchor)
            {
                wrong.push(format!("{}: {link}: no such heading", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The names under `Commands:` in a help text.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_page_of_commands_is_what_help_says() {
    let mut page = String::from(
        "# Commands\n\n<!-- Generated from hactl's own help: HACTL_BLESS=1 cargo test --test readme writes it. -->\n",
    );
    let mut add = |words: &[&str]| {
        let (ok, help) = hactl(&[words, &["--help"]].concat());
        assert!(ok, "{help}");
        let title = ["hactl"].iter().chain(words).copied().collect::<Vec<_>>().join(" ");
        write!(page, "\n## {title}\n\n```text\n{}\n```\n", help.trim_end()).unwrap();
        subcommands(&help)
    };
    for name in add(&[]) {
        for below in add(&[&name]) {
            add(&[&name, &below]);
        }
    }
    let path = Path::new(TOP).join("docs/commands.md");
    if std::env::var_os("HACTL_BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/commands.md is not what `hactl help` says: HACTL_BLESS=1 cargo test --test readme");
}

#[test]
fn every_example_loads_and_is_listed() {
    let list = fs::read_to_string(Path::new(TOP).join("examples/README.md")).unwrap();
    let files = files_in("examples", "yaml");
    assert!(files.len() > 3, "{files:?}");
    let empty = tempfile::tempdir().unwrap();
    let dirs = Dirs::new(empty.path(), &BTreeMap::new());
    for file in files {
        let path = Path::new(TOP).join(&file);
        if let Err(error) = Cluster::open(path.to_str().unwrap(), &dirs) {
            panic!("{}: {error}", file.display());
        }
        let link = file.strip_prefix("examples").unwrap().display().to_string();
        assert!(list.contains(&format!("]({link})")), "examples/README.md does not list {link}");
    }
}

#[test]
fn codes_of_the_troubleshooting_page_are_in_the_source() {
    let page = fs::read_to_string(Path::new(TOP).join("docs/troubleshooting.md")).unwrap();
    let source: String =
        files_in("src", "rs").iter().map(|file| fs::read_to_string(Path::new(TOP).join(file)).unwrap()).collect();
    let mut codes = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cell = line.split('|').nth(1).unwrap();
        codes.extend(cell.split('`').skip(1).step_by(2));
    }
    assert!(codes.len() > 40, "{codes:?}");
    let unknown: Vec<_> = codes.into_iter().filter(|code| !source.contains(&format!("\"{code}\""))).collect();
    assert!(unknown.is_empty(), "no such code: {}", unknown.join(", "));
    // The other way round, for what `status` finds.
    let diagnose = fs::read_to_string(Path::new(TOP).join("src/health/diagnose.rs")).unwrap();
    for rest in diagnose.split("problems.add(").skip(1) {
        if let Some(code) = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) {
            assert!(page.contains(&format!("`{code}`")), "{code} is not on the page");
        }
    }
}
