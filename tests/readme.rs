//! The documentation against the program: every command that a page shows is one that hactl takes,
//! every block is read by what it is for, every link leads somewhere, every example is a cluster file
//! that loads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use hactl::{
    context::Dirs,
    deployment::Cluster,
    error::codes::{ERRORS, PROBLEMS, WARNINGS},
};
use saphyr::{LoadableYamlNode, Yaml};

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// The pages, by their path in the repository.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut files: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from).into();
    for dir in ["docs", "examples", "terraform"] {
        files.extend(files_in(dir, "md"));
    }
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

/// The fenced blocks of a page: language and text, without the indentation of a list that they stand in.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut open: Option<(&str, String)> = None;
    let (mut found, mut indent) = (Vec::new(), 0);
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(word), None) => {
                indent = line.len() - line.trim_start().len();
                open = Some((word, String::new()));
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some((_, text))) => writeln!(text, "{}", line.get(indent..).unwrap_or_default()).unwrap(),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed: {open:?}");
    found
}

/// A YAML block that is a workflow of GitHub's or a pipeline of GitLab's, and no cluster file.
fn is_workflow(text: &str) -> bool {
    text.lines().any(|line| line == "jobs:" || line.starts_with("stages:"))
}

/// The lines that a shell would run, of blocks for one and of workflows.
fn shell_lines(page: &str) -> Vec<String> {
    let shells = blocks(page).into_iter().filter_map(|(language, text)| match language {
        "sh" => Some(text),
        "yaml" if is_workflow(&text) => Some(scripts(&text).join("\n")),
        _ => None,
    });
    shells.flat_map(|text| text.lines().map(|line| line.trim_start().to_owned()).collect::<Vec<_>>()).collect()
}

/// The scripts of a workflow's steps, or of a pipeline's jobs.
fn scripts(workflow: &str) -> Vec<String> {
    let loaded = Yaml::load_from_str(workflow).unwrap_or_else(|error| panic!("{error}: {workflow}"));
    let mut found = Vec::new();
    let Some(jobs) = loaded[0].as_mapping_get("jobs") else {
        for (_, job) in loaded[0].as_mapping().expect("jobs") {
            for part in ["before_script", "script", "after_script"] {
                let lines = job.as_mapping_get(part).and_then(Yaml::as_sequence).into_iter().flatten();
                let lines: Vec<&str> = lines.map(|line| line.as_str().expect("a line of a script is a text")).collect();
                found.extend((!lines.is_empty()).then(|| lines.join("\n")));
            }
        }
        return found;
    };
    for (_, job) in jobs.as_mapping().expect("jobs") {
        // A job that another workflow does.
        if job.as_mapping_get("uses").is_some() {
            continue;
        }
        for step in job["steps"].as_sequence().expect("steps") {
            let run = step.as_mapping_get("run").and_then(Yaml::as_str);
            assert!(run.is_some() || step.as_mapping_get("uses").is_some(), "neither run nor uses: {step:?}");
            found.extend(run.map(str::to_owned));
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
    // A remark, or what a shell does with input and output, is not hactl's business; nor is what follows `--`.
    let rest =
        [" #", " -- ", " | ", " || ", " >", " <"].into_iter().try_fold(rest, |rest, end| rest.split(end).next())?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

#[test]
fn commands_on_the_pages_are_accepted_by_hactl() {
    let mut seen = BTreeMap::new();
    for (page, text) in pages() {
        let inline = inline_code(&text).into_iter().filter(|code| !code.contains('|')).map(str::to_owned);
        for command in shell_lines(&text).into_iter().chain(inline) {
            if let Some(arguments) = arguments(&command) {
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

/// A program that must accept `text` on its standard input.
fn accepts(program: &str, args: &[&str], text: &str) -> Result<(), String> {
    let mut command = Command::new(program);
    command
        .args(args)
        .env("TF_CLI_CONFIG_FILE", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
}

/// Terraform's own parser; formatted as it would format it.
fn is_hcl(text: &str) -> Result<(), String> {
    accepts("terraform", &["fmt", "-check", "-diff", "-"], text)
}

/// A drawing as GitHub renders it, as far as its form goes: a kind that Mermaid knows, every bracket and section closed.
fn is_drawing(text: &str) -> Result<(), String> {
    let kind = text.split_whitespace().next().unwrap_or_default();
    if !["flowchart", "sequenceDiagram", "stateDiagram-v2"].contains(&kind) {
        return Err(format!("`{kind}` is no kind of drawing"));
    }
    let mut open = Vec::new();
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => open.push(c),
            ')' | ']' | '}' => {
                let opened = open.pop();
                if !matches!((opened, c), (Some('('), ')') | (Some('['), ']') | (Some('{'), '}')) {
                    return Err(format!("`{c}` closes {opened:?}"));
                }
            }
            _ => {}
        }
    }
    let count = |word: &str| text.lines().filter(|line| line.split_whitespace().next() == Some(word)).count();
    match open.is_empty() && count("subgraph") == count("end") {
        true => Ok(()),
        false => Err("a bracket or a section is not closed".into()),
    }
}

/// A cluster file, or a section of one.
fn is_cluster(dir: &Path, text: &str) -> Result<(), String> {
    let whole = text.lines().any(|line| line.starts_with("instances:") || line.starts_with("target_ip:"));
    let text =
        if whole { text.to_owned() } else { format!("instances: {{node1: {{}}, node2: {{}}, node3: {{}}}}\n{text}") };
    let file = dir.join("pg-prod.yaml");
    fs::write(&file, text).unwrap();
    let found = Cluster::open(file.to_str().unwrap(), &Dirs::new(dir, &BTreeMap::new()));
    found.map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn blocks_on_the_pages_are_read_by_their_programs() {
    let dir = tempfile::tempdir().unwrap();
    let assets = dir.path().join("my-assets");
    assert!(hactl(&["eject", assets.to_str().unwrap()]).0);
    let (mut wrong, mut read) = (String::new(), BTreeMap::<String, usize>::new());
    for (page, text) in pages() {
        for (language, text) in blocks(&text) {
            let outcome = match language {
                "sh" => accepts("bash", &["-n"], &text),
                "hcl" => is_hcl(&text),
                "yaml" if is_workflow(&text) => {
                    scripts(&text).iter().try_for_each(|script| accepts("bash", &["-n"], script))
                }
                "yaml" => is_cluster(dir.path(), &text),
                "json" => {
                    serde_json::from_str::<serde_json::Value>(&text).map(|_| ()).map_err(|error| error.to_string())
                }
                "mermaid" => is_drawing(&text),
                // What programs print.
                "text" | "console" => Ok(()),
                // Parts of programs that use drivers, which the tests do not install.
                "go" | "python" | "js" if page.ends_with("connections.md") => Ok(()),
                _ => Err(format!("blocks of language `{language}` are read by nothing")),
            };
            *read.entry(language.to_owned()).or_default() += 1;
            if let Err(error) = outcome {
                writeln!(wrong, "{}: {error}\n{text}", page.display()).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(["sh", "yaml", "hcl"].iter().all(|language| read[*language] > 3), "{read:?}");
}

#[test]
fn blocks_with_errors_are_found() {
    assert_eq!(blocks("1. a\n\n   ```yaml\n   a:\n     b: 1\n   ```\n"), [("yaml", "a:\n  b: 1\n".to_owned())]);
    let dir = tempfile::tempdir().unwrap();
    assert!(is_hcl("a = 1\n").is_ok() && is_hcl("a = \n").is_err() && is_hcl("a=1\n").is_err());
    assert!(accepts("bash", &["-n"], "if true; then").is_err());
    assert!(is_drawing("flowchart TB\n    a[one] --> b\n").is_ok());
    assert!(is_drawing("flowchart TB\n    a[one --> b\n").is_err());
    assert!(is_drawing("flowchart TB\n    subgraph a\n").is_err());
    assert!(is_drawing("drawing TB\n").is_err());
    assert!(is_cluster(dir.path(), "defaults: {memory: 2048}").is_ok());
    assert!(is_cluster(dir.path(), "defaults: {memry: 2048}").is_err());
}

#[test]
fn make_targets_on_the_pages_exist() {
    let makefile = fs::read_to_string(Path::new(TOP).join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile.lines().filter_map(|line| line.strip_prefix(".PHONY: ")).collect();
    assert!(targets.contains("up"), "{targets:?}");
    for (page, text) in pages() {
        for command in shell_lines(&text).into_iter().chain(inline_code(&text).into_iter().map(str::to_owned)) {
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
fn pages_are_all_in_the_index() {
    let index = fs::read_to_string(Path::new(TOP).join("docs/README.md")).unwrap();
    for page in files_in("docs", "md").iter().filter(|page| !page.ends_with("README.md")) {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(index.contains(&format!("]({name})")), "docs/README.md does not list {name}");
    }
}

#[test]
fn links_on_the_pages_have_a_target() {
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

/// The part of a page from one heading to another.
fn part<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = page.split_once(from).unwrap_or_else(|| panic!("no {from}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to}")).0
}

/// The steps of the quick start, then management, monitoring and backup of the long guide, as they are written, on three
/// local nodes. Some 3 minutes.
#[test]
#[ignore = "takes 3 minutes: `make test-long` runs it"]
fn commands_of_the_guides_run() {
    let read = |page: &str| fs::read_to_string(Path::new(TOP).join("docs").join(page)).unwrap();
    let (quick, guide) = (read("patroni-quick-start.md"), read("patroni-ha-cluster.md"));
    let steps = part(&quick, "## Steps", "## Common commands");
    let daily = part(&guide, "## Management", "## Troubleshooting");
    let mut commands: Vec<String> = [steps, daily]
        .iter()
        .flat_map(|part| blocks(part).into_iter().filter(|(language, _)| *language == "sh"))
        .flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    // The program is there, the file is the one of the page, and the cluster goes at the end.
    let elsewhere = ["git ", "make ", "export ", "hactl init", "hactl down"];
    commands.retain(|command| !elsewhere.iter().any(|word| command.starts_with(word)));
    assert!(commands.len() > 15, "{commands:?}");

    let (_, file) = blocks(steps).into_iter().find(|(language, _)| *language == "yaml").unwrap();
    let bench = crate::common::Bench::new("t-guide", &file);
    let path = format!(
        "{}:{}",
        Path::new(env!("CARGO_BIN_EXE_hactl")).parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut leader: Option<String> = None;
    for command in commands {
        // Names and addresses of the page stand for those that there are: 10.89.0.10 leads, node2 and node3 follow.
        let mut text = command.replace("pg-dev", "t-guide").replace(" --open", "");
        if let Some(leader) = &leader {
            let replica = if leader == "node2" { "node3" } else { "node2" };
            text = text.replace("10.89.0.10", &bench.address(leader)).replace(" node2 ", &format!(" {replica} "));
            text = text.replace(" node3 ", &format!(" {replica} "));
        }
        let started = std::time::Instant::now();
        let done = Command::new("bash")
            .args(["-o", "pipefail", "-ec", &text])
            .current_dir(bench.path(""))
            .env("PATH", &path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        println!("   {text}: {} in {:.1} s", done.status, started.elapsed().as_secs_f64());
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        assert!(done.status.success(), "{text}: {said}");
        let changes = ["hactl up", "hactl verify", "patronictl switchover", "patronictl resume", "patronictl reinit"];
        if changes.iter().any(|word| text.contains(word)) {
            let healthy = (0..60).map(|_| bench.status()).find(|status| {
                std::thread::sleep(std::time::Duration::from_secs(1));
                status["healthy"] == true
            });
            leader = Some(healthy.expect("healthy within a minute")["leader"].as_str().unwrap().to_owned());
        }
    }
}

/// The names under `Commands:` in a help text.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn page_of_commands_equals_the_help() {
    let mut page = String::from(
        "# Commands\n\n<!-- Generated from hactl's own help: HACTL_BLESS=1 cargo test --test all readme writes it. -->\n",
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
    assert!(
        written == page,
        "docs/commands.md is not what `hactl help` says: HACTL_BLESS=1 cargo test --test all readme"
    );
}

#[test]
fn examples_load_and_are_listed() {
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

/// The example of a module of one's own is planned by Terraform itself, with the values that hactl would pass.
#[test]
fn example_of_an_own_module_fits_its_cluster_file() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["pg-prod.yaml", "infra/main.tf"] {
        fs::create_dir_all(dir.path().join(file).parent().unwrap()).unwrap();
        fs::copy(Path::new(TOP).join("examples/own-terraform").join(file), dir.path().join(file)).unwrap();
    }
    let planned = Command::new(env!("CARGO_BIN_EXE_hactl"))
        .args(["plan", "pg-prod.yaml", "--output", "json"])
        .current_dir(dir.path())
        .env_remove("TF_CLI_CONFIG_FILE")
        .output()
        .unwrap();
    assert!(planned.status.success(), "{}", String::from_utf8_lossy(&planned.stderr));
    let planned: serde_json::Value = serde_json::from_slice(&planned.stdout).unwrap();
    let made = planned["changes"]["resources"].as_array().unwrap().iter();
    let made: Vec<&str> = made.map(|change| change["address"].as_str().unwrap()).collect();
    assert_eq!(made, ["node1", "node2", "node3"].map(|key| format!("terraform_data.machine[\"{key}\"]")));
}

#[test]
fn terragrunt_files_are_hcl_and_listed() {
    let list = fs::read_to_string(Path::new(TOP).join("examples/terragrunt/README.md")).unwrap();
    let files = files_in("examples/terragrunt", "hcl");
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        let text = fs::read_to_string(Path::new(TOP).join(&file)).unwrap();
        if let Err(error) = is_hcl(&text) {
            panic!("{}: {error}", file.display());
        }
        let link = file.strip_prefix("examples/terragrunt").unwrap().display().to_string();
        assert!(list.contains(&format!("]({link})")), "examples/terragrunt/README.md does not list {link}");
    }
}

#[test]
fn codes_of_the_troubleshooting_page_are_those_of_the_list() {
    let page = fs::read_to_string(Path::new(TOP).join("docs/troubleshooting.md")).unwrap();
    let mut codes = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cell = line.split('|').nth(1).unwrap();
        codes.extend(cell.split('`').skip(1).step_by(2));
    }
    assert!(codes.len() > 40, "{codes:?}");
    let known = |code: &&str| [ERRORS, WARNINGS, PROBLEMS].concat().iter().any(|(known, _)| known == code);
    let unknown: Vec<_> = codes.iter().filter(|code| !known(code)).collect();
    assert!(unknown.is_empty(), "no such code: {unknown:?}");
    // The other way round, for what `status` finds.
    let missing: Vec<_> = PROBLEMS.iter().filter(|(code, _)| !codes.contains(code)).collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
}
