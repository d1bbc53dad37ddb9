//! The reusable workflow without GitHub: its steps' own `run:` lines, in their order, with bash, each run on a new
//! "runner" with a fresh clone. What the actions of others do stands in here: a clone for `checkout`, a copy for
//! `upload-artifact`.
//!
//! One small cluster goes through all six actions; its runs have the repository and two secrets in common, and Terraform's
//! state in a PostgreSQL. Needs what tests/up.rs needs, PostgreSQL's server programs and jq.
//!
//! Long because the steps of one workflow are played by one set of stand-ins.

mod expression;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Instant,
};

use crate::common::{
    Bench,
    postgres::{PASSWORD, Postgres},
    steps::Steps,
};
use age::secrecy::ExposeSecret;
use expression::Scope;
use saphyr::{LoadableYamlNode, Yaml};

const TOP: &str = env!("CARGO_MANIFEST_DIR");
const VERSION: &str = env!("CARGO_PKG_VERSION");

const NAME: &str = "t-flow";
const FILE: &str = "name: t-flow
backend: pg
instances:
  node1: {}
  node2: {}
  node3: {}
defaults: {memory: 768, cores: 1}
";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(TOP).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Yaml<'static> {
    let text: &'static str = Box::leak(read(path).into_boxed_str());
    Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{path}: {error}")).remove(0)
}

fn text<'a>(node: &'a Yaml<'_>, key: &str) -> Option<&'a str> {
    node.as_mapping_get(key).and_then(Yaml::as_str)
}

/// The entries of a map of texts, empty where there is none.
fn pairs(node: Option<&Yaml<'_>>) -> Vec<(String, String)> {
    let entries = node.and_then(Yaml::as_mapping).into_iter().flatten();
    entries
        .map(|(key, value)| (key.as_str().unwrap().to_owned(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// One runner's machine, new for each job.
struct Runner<'a> {
    bench: &'a Bench,
    dir: PathBuf,
    path: String,
    /// For expressions.
    names: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
    failed: bool,
    /// Everything that the steps have printed.
    log: String,
}

impl<'a> Runner<'a> {
    fn new(bench: &'a Bench, number: usize, names: BTreeMap<String, String>) -> Self {
        let dir = bench.path(&format!("runner-{number}"));
        fs::create_dir_all(dir.join("temp")).unwrap();
        for file in ["env", "path", "output", "summary"] {
            fs::write(dir.join(file), "").unwrap();
        }
        let path = std::env::var("PATH").unwrap();
        let mut runner = Self { bench, dir, path, names, env: BTreeMap::new(), failed: false, log: String::new() };
        let temp = runner.dir.join("temp").display().to_string();
        runner.names.insert("runner.temp".to_owned(), temp);
        runner
    }

    fn scope(&self) -> Scope<'_> {
        Scope { names: &self.names, failed: self.failed }
    }

    /// The steps of a job, as GitHub would run them.
    fn job(&mut self, job: &Yaml<'_>) {
        for (key, value) in pairs(job.as_mapping_get("env")) {
            let value = self.scope().fill(&value);
            self.env.insert(key, value);
        }
        for step in job["steps"].as_sequence().unwrap() {
            if !self.scope().allows(text(step, "if")) {
                continue;
            }
            match (text(step, "run"), text(step, "uses")) {
                (Some(run), None) => {
                    let env = pairs(step.as_mapping_get("env"));
                    let env = env.iter().map(|(key, value)| (key.clone(), self.scope().fill(value))).collect();
                    assert!(!run.contains("${{"), "what is filled into a script is run by it: {run}");
                    self.run(text(step, "id"), run, env);
                }
                (None, Some(uses)) => {
                    let with = pairs(step.as_mapping_get("with"));
                    let with = with.into_iter().map(|(key, value)| (key, self.scope().fill(&value))).collect();
                    self.action(uses.split('@').next().unwrap(), with);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn action(&mut self, name: &str, with: BTreeMap<String, String>) {
        match name {
            "actions/checkout" => {
                let (from, to) = (self.bench.path("repository.git"), self.dir.join("workspace"));
                git(&self.dir, &["clone", "--quiet", from.to_str().unwrap(), to.to_str().unwrap()]);
            }
            "hactl/hactl/.github/actions/setup-hactl" => self.setup_hactl(&with),
            "actions/upload-artifact" => {
                let to = self.bench.path("artifacts").join(&with["name"]);
                assert!(!to.exists() && !with["name"].contains('/'), "{}", with["name"]);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                assert!(Command::new("cp").args(["-r", &with["path"]]).arg(&to).status().unwrap().success());
            }
            _ => panic!("nothing stands in for {name}"),
        }
    }

    /// The composite action's own step.
    fn setup_hactl(&mut self, with: &BTreeMap<String, String>) {
        let action = yaml(".github/actions/setup-hactl/action.yml");
        let mut names = BTreeMap::new();
        for (input, _) in action["inputs"].as_mapping().unwrap() {
            let input = input.as_str().unwrap();
            let default = text(&action["inputs"][input], "default").unwrap_or_default();
            names.insert(format!("inputs.{input}"), with.get(input).map_or(default, String::as_str).to_owned());
        }
        // The project's releases, in miniature.
        names.insert("inputs.mirror".to_owned(), self.names["test.mirror"].clone());
        for step in action["runs"]["steps"].as_sequence().unwrap() {
            let scope = Scope { names: &names, failed: false };
            let mut env: BTreeMap<_, _> =
                pairs(step.as_mapping_get("env")).into_iter().map(|(key, value)| (key, scope.fill(&value))).collect();
            let path = Path::new(TOP).join(".github/actions/setup-hactl");
            env.insert("GITHUB_ACTION_PATH".to_owned(), path.display().to_string());
            self.run(None, text(step, "run").unwrap(), env);
        }
    }

    fn run(&mut self, id: Option<&str>, script: &str, env: BTreeMap<String, String>) {
        let started = Instant::now();
        let file = self.dir.join("temp/step.sh");
        fs::write(&file, script).unwrap();
        let workspace = self.dir.join("workspace");
        let at = if workspace.is_dir() { &workspace } else { &self.dir };
        let mut command = Command::new("bash");
        command.arg("-e").arg(&file).current_dir(at).envs(&self.env).envs(&env).env("PATH", &self.path);
        for name in ["HACTL_DIR", "HACTL_AGE_KEY", "HACTL_AGE_KEY_FILE", "HACTL_AGE_KEY_COMMAND", "OWN_SSH_AGENT"] {
            if !self.env.contains_key(name) && !env.contains_key(name) {
                command.env_remove(name);
            }
        }
        let own = [
            ("GITHUB_WORKSPACE", "workspace"),
            ("GITHUB_ENV", "env"),
            ("GITHUB_PATH", "path"),
            ("GITHUB_OUTPUT", "output"),
            ("GITHUB_STEP_SUMMARY", "summary"),
            ("RUNNER_TEMP", "temp"),
        ];
        command.envs(own.map(|(name, file)| (name, self.dir.join(file))));
        let done = command.env("GITHUB_REPOSITORY", "team/clusters").output().unwrap();
        let printed = both(&done);
        let title = id.unwrap_or("step");
        println!("   {title}: {} in {:.1} s", done.status, started.elapsed().as_secs_f64());
        print!("{}", printed.lines().map(|line| format!("      {line}\n")).collect::<String>());
        self.log += &printed;
        self.failed |= !done.status.success();
        self.take_files(id);
    }

    /// What the step has said to the runner, for those after it.
    fn take_files(&mut self, id: Option<&str>) {
        let take = |name: &str| {
            let text = fs::read_to_string(self.dir.join(name)).unwrap();
            fs::write(self.dir.join(name), "").unwrap();
            text
        };
        for line in take("path").lines() {
            self.path = format!("{line}:{}", self.path);
        }
        self.env.extend(assignments(&take("env")));
        for (name, value) in assignments(&take("output")) {
            if let Some(id) = id {
                self.names.insert(format!("steps.{id}.outputs.{name}"), value);
            }
        }
    }

    fn output(&self, name: &str) -> &str {
        self.names.get(&format!("steps.run.outputs.{name}")).map_or("", String::as_str)
    }

    fn summary(&self) -> String {
        fs::read_to_string(self.dir.join("summary")).unwrap()
    }
}

fn both(done: &Output) -> String {
    [&done.stdout, &done.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// `NAME=VALUE` lines, and `NAME<<END` ... `END`.
fn assignments(text: &str) -> BTreeMap<String, String> {
    let (mut found, mut lines) = (BTreeMap::new(), text.lines());
    while let Some(line) = lines.next() {
        let (name, value) = match (line.find("<<"), line.find('=')) {
            (Some(at), equals) if equals.is_none_or(|equals| at < equals) => {
                let end = &line[at + 2..];
                (&line[..at], lines.by_ref().take_while(|line| *line != end).collect::<Vec<_>>().join("\n"))
            }
            (_, Some(at)) => (&line[..at], line[at + 1..].to_owned()),
            _ => panic!("neither an assignment nor the start of one: {line}"),
        };
        found.insert(name.to_owned(), value);
    }
    found
}

fn git(dir: &Path, args: &[&str]) {
    let who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"];
    let done = Command::new("git").args(who).args(args).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "git {args:?}: {}", both(&done));
}

/// A server of files below `dir`, as long as the test runs.
fn serve(dir: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let found = fs::read(dir.join(path));
            let status = if found.is_ok() { "200 OK" } else { "404 Not Found" };
            let body = found.unwrap_or_default();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A release as `.ci/release` lays it out, whose program is the one under test.
fn release(dir: &Path) {
    let machine = String::from_utf8(Command::new("uname").arg("-m").output().unwrap().stdout).unwrap();
    let name = format!("hactl-{VERSION}-{}-linux", machine.trim());
    let below = dir.join(format!("v{VERSION}"));
    fs::create_dir_all(below.join(&name)).unwrap();
    executable(&below.join(&name).join("hactl"), &format!("#!/bin/sh\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_hactl")));
    let script = format!("tar -czf {name}.tar.gz {name} && sha256sum {name}.tar.gz >SHA256SUMS");
    assert!(Command::new("bash").args(["-ec", &script]).current_dir(&below).status().unwrap().success());
}

/// Inputs as a caller gives them, the others by their defaults.
fn inputs(workflow: &Yaml<'_>, given: &[(&str, &str)]) -> BTreeMap<String, String> {
    let declared = &workflow["on"]["workflow_call"]["inputs"];
    let mut names = BTreeMap::new();
    for (input, _) in declared.as_mapping().unwrap() {
        let input = input.as_str().unwrap();
        names.insert(format!("inputs.{input}"), text(&declared[input], "default").unwrap_or_default().to_owned());
    }
    for (input, value) in given {
        let old = names.insert(format!("inputs.{input}"), (*value).to_owned());
        assert!(old.is_some(), "{input} is no input of the workflow");
    }
    names
}

#[test]
fn cluster_in_a_repository_is_run_by_the_workflow() {
    let bench = Bench::new(NAME, FILE);
    let workflow = yaml(".github/workflows/cluster.yml");
    let mirror = bench.path("releases");
    release(&mirror);
    let mirror = serve(mirror);
    let identity = age::x25519::Identity::generate();
    let key = identity.to_string();
    let state = Postgres::start();
    let repository = bench.path("repository");
    fs::create_dir_all(repository.join("clusters")).unwrap();
    fs::write(repository.join("clusters/t-flow.yaml"), FILE).unwrap();
    git(&repository, &["init", "--quiet"]);
    let commit = || {
        git(&repository, &["add", "--all"]);
        git(&repository, &["commit", "--quiet", "--message", "clusters"]);
        let bare = bench.path("repository.git");
        let _ = fs::remove_dir_all(&bare);
        git(&bench.path(""), &["clone", "--quiet", "--bare", repository.to_str().unwrap(), bare.to_str().unwrap()]);
    };
    commit();

    let take = |artifact: &str| {
        let file = "clusters/t-flow.secrets.age";
        fs::copy(bench.path(&format!("artifacts/{artifact}/to-commit/{file}")), repository.join(file)).unwrap();
        commit();
    };

    let mut runs = 0;
    let mut run = |given: &[(&str, &str)]| {
        runs += 1;
        let (secrets, mut given): (Vec<_>, Vec<_>) =
            given.iter().copied().partition(|(name, _)| name.starts_with("secrets."));
        given.push(("cluster", "clusters/t-flow.yaml"));
        let mut names = inputs(&workflow, &given);
        // What runners have in common beside the repository: two secrets.
        names.insert("secrets.age_key".to_owned(), key.expose_secret().to_owned());
        let (secret, value) = match given.contains(&("action", "verify")) {
            true => {
                ("variables", format!("# for all that has no secret of its own\nPG_CONN_STR={}\n", state.secret_dsn()))
            }
            false => ("pg_conn_str", state.secret_dsn()),
        };
        names.insert(format!("secrets.{secret}"), value);
        names.extend(secrets.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        names.insert("github.run_attempt".to_owned(), runs.to_string());
        names.insert("test.mirror".to_owned(), mirror.clone());
        let mut runner = Runner::new(&bench, runs, names);
        runner.job(&workflow["jobs"]["cluster"]);
        runner
    };

    let mut steps = Steps::new();
    steps.step("plan, without a cluster, reports changes in one comment", || {
        let plan = run(&[("action", "plan")]);
        assert!(!plan.failed && plan.output("changes") == "true", "{:?}", plan.names);
        assert!(
            plan.output("markdown").starts_with("<!-- hactl plan t-flow -->\n### Plan of t-flow: "),
            "{:?}",
            plan.names
        );
        assert!(plan.summary().contains("quorum-strict"), "{}", plan.summary());
        comment(&bench, &workflow, plan.output("markdown"));
    });

    steps.step("up, without the key, fails and makes nothing", || {
        let keyless = run(&[("action", "up"), ("secrets.age_key", "")]);
        assert!(keyless.failed && keyless.log.contains("::error title=age_key::"), "{}", keyless.log);
        assert_eq!(bench.leftovers(), "");
    });

    steps.must("provision, with the key, makes machines and an artifact with the secrets file", || {
        let provision = run(&[("action", "provision")]);
        assert!(!provision.failed && provision.output("ok") == "true" && provision.output("changed") == "true");
        assert!(provision.log.contains("::group::provision\n") && provision.log.contains("\n::endgroup::\n"));
        assert!(provision.log.contains("::warning title=commit::"), "{}", provision.log);
        take("hactl-t-flow-provision-3");
    });

    steps.must("configure, after provision, makes an artifact with the certificates", || {
        let configure = run(&[("action", "configure")]);
        assert!(!configure.failed && configure.output("changed") == "true");
        take("hactl-t-flow-configure-4");
    });

    // `up` loads the firewall once the cluster is healthy.
    steps.step("up, after configure, loads the firewall", || {
        let up = run(&[("action", "up")]);
        assert!(!up.failed && up.output("changed") == "true", "{:?}", up.names);
        assert!(up.output("dsn").contains("sslmode=verify-full") && !up.output("dsn").contains("password="));
    });

    steps.step("verify, with a drill, writes the verdict and a record without secrets", || {
        let verify = run(&[("action", "verify"), ("drills", "switchover")]);
        assert!(!verify.failed, "{}", verify.log);
        assert!(verify.summary().contains("| switchover | passed | 1 |"), "{}", verify.summary());
        let artifact = bench.path("artifacts/hactl-t-flow-verify-6");
        for file in ["report.html", "report.json", "report.md", "junit.xml", "history.jsonl", "events.jsonl"] {
            assert!(artifact.join(file).is_file(), "{file} is not in the artifact");
        }
        assert!(!verify.dir.join("workspace/.hactl").exists(), "keys stay on the runner");
        let password = password(&repository.join("clusters/t-flow.secrets.age"), &identity);
        assert!(password.len() >= 20 && verify.log.contains("::add-mask::postgres://"), "{}", verify.log);
        let found =
            |text: &str| Command::new("grep").args(["-rFq", text]).arg(bench.path("artifacts")).status().unwrap();
        assert!(found("switchover").success(), "grep finds nothing at all");
        for secret in [password.as_str(), key.expose_secret(), PASSWORD] {
            assert_eq!(found(secret).code(), Some(1), "a secret is in an artifact");
        }
    });

    steps.step("down, with a wrong name, is refused and removes nothing", || {
        let refused = run(&[("action", "down"), ("confirm", "yes")]);
        assert!(
            refused.failed
                && refused.log.contains("::error title=cannot destroy t-flow::--confirm has \"yes\" instead of")
        );
        assert!(bench.leftovers().lines().count() >= 3, "it went all the same");
    });

    steps.step("down, with the cluster's name, leaves nothing", || {
        let down = run(&[("action", "down"), ("confirm", NAME)]);
        assert!(!down.failed && down.output("ok") == "true", "{}", down.log);
        assert_eq!(bench.leftovers(), "");
        assert_eq!(state.resources("hactl_t_flow"), "0");
    });
    steps.finish();
}

/// The superuser's password in a secrets file.
fn password(file: &Path, key: &age::x25519::Identity) -> String {
    let encrypted = fs::read(file).unwrap();
    let armored = age::armor::ArmoredReader::new(&encrypted[..]);
    let mut plain = String::new();
    let identity: &dyn age::Identity = key;
    let mut opened = age::Decryptor::new(armored).unwrap().decrypt(std::iter::once(identity)).unwrap();
    opened.read_to_string(&mut plain).unwrap();
    let secrets: serde_json::Value = serde_json::from_str(&plain).unwrap();
    secrets["passwords"]["superuser"].as_str().unwrap().to_owned()
}

/// `gh api` for comments on one pull request, which are in a file; `--jq` is jq's own.
const GH: &str = r#"#!/usr/bin/env python3
import json, os, subprocess, sys
arguments, method, query, body = sys.argv[2:], "GET", ".", None
assert sys.argv[1] == "api" and os.environ["GH_TOKEN"] == "token"
store = os.path.join(os.path.dirname(__file__), "comments.json")
comments = json.load(open(store)) if os.path.exists(store) else [
    {"id": 1, "user": {"type": "User"}, "body": "<!-- hactl plan t-flow -->\n> quoted by a person"},
    {"id": 2, "user": {"type": "Bot"}, "body": "<!-- hactl plan other -->\nanother cluster's"}]
while arguments:
    word = arguments.pop(0)
    if word == "--method": method = arguments.pop(0)
    elif word == "--jq": query = arguments.pop(0)
    elif word == "--raw-field": body = arguments.pop(0).removeprefix("body=")
    elif word not in ("--paginate", "--silent"): path = word
if method == "GET":
    assert path == "repos/team/clusters/issues/7/comments", path
    sys.exit(subprocess.run(["jq", "-r", query], input=json.dumps(comments), text=True).returncode)
if method == "POST":
    assert path == "repos/team/clusters/issues/7/comments", path
    comments.append({"id": len(comments) + 1, "user": {"type": "Bot"}, "body": body})
else:
    number = int(path.removeprefix("repos/team/clusters/issues/comments/"))
    comments[number - 1]["body"] = body
json.dump(comments, open(store, "w"))
"#;

/// The job that comments, twice: the second changes what the first has made.
fn comment(bench: &Bench, workflow: &Yaml<'_>, markdown: &str) {
    let job = &workflow["jobs"]["comment"];
    let dir = bench.path("gh");
    fs::create_dir_all(&dir).unwrap();
    executable(&dir.join("gh"), GH);
    for (number, event, markdown) in
        [(90, "pull_request", markdown), (91, "pull_request", "<!-- hactl plan t-flow -->\nnew")]
    {
        let mut names = inputs(workflow, &[]);
        for (name, value) in [
            ("github.event_name", event),
            ("github.token", "token"),
            ("github.event.pull_request.number", "7"),
            ("github.event.pull_request.head.sha", "0123abc"),
            ("needs.cluster.outputs.markdown", markdown),
        ] {
            names.insert(name.to_owned(), value.to_owned());
        }
        let mut runner = Runner::new(bench, number, names);
        assert!(runner.scope().allows(text(job, "if")));
        runner.names.insert("github.event_name".to_owned(), "push".to_owned());
        assert!(!runner.scope().allows(text(job, "if")), "it comments where there is no pull request");
        runner.path = format!("{}:{}", dir.display(), runner.path);
        runner.job(job);
        assert!(!runner.failed, "{}", runner.log);
        let comments: serde_json::Value =
            serde_json::from_slice(&fs::read(dir.join("comments.json")).unwrap()).unwrap();
        let bodies: Vec<&str> = comments.as_array().unwrap().iter().map(|c| c["body"].as_str().unwrap()).collect();
        assert_eq!(bodies.len(), 3, "{bodies:?}");
        assert_eq!(bodies[2], format!("{markdown}\n\nPlan for commit 0123abc."));
    }
}

#[test]
fn archive_with_another_sum_is_not_installed() {
    let bench = tempfile::tempdir().unwrap();
    release(&bench.path().join("releases"));
    let mirror = serve(bench.path().join("releases"));
    let install = |version: &str, sha256: &str| {
        let mut command = Command::new(Path::new(TOP).join(".github/actions/setup-hactl/install"));
        command.envs([("VERSION", version), ("SHA256", sha256), ("MIRROR", &mirror)]);
        for name in ["RUNNER_TEMP", "GITHUB_PATH", "GITHUB_OUTPUT"] {
            command.env(name, bench.path().join(name));
        }
        let done = command.output().unwrap();
        (done.status.code(), both(&done), bench.path().join("GITHUB_PATH").exists())
    };
    let (code, said, installed) = install("", &"0".repeat(64));
    assert_eq!((code, installed), (Some(3), false), "{said}");
    assert!(said.contains(".tar.gz is not 0000"), "{said}");
    let (code, said, installed) = install("9.9.9", "");
    assert_eq!((code, installed), (Some(3), false), "{said}");
    assert!(said.contains("v9.9.9") && said.contains("could not download"), "{said}");
    let (code, said, _) = install("../x", "");
    assert!(code == Some(3) && said.contains("of the form X.Y.Z"), "{said}");
    let (code, said, installed) = install(&format!("v{VERSION}"), "");
    assert_eq!((code, installed), (Some(0), true), "{said}");
    assert!(said.contains(&format!("hactl {VERSION}")), "{said}");
    let sums = bench.path().join("releases").join(format!("v{VERSION}/SHA256SUMS"));
    fs::write(&sums, fs::read_to_string(&sums).unwrap().replace(VERSION, "0.0.0")).unwrap();
    let (code, said, _) = install("", "");
    assert!(code == Some(3) && said.contains("SHA256SUMS does not list"), "{said}");
}

/// The workflows, the action, its page and the example, by their paths.
fn files() -> Vec<PathBuf> {
    let workflows = fs::read_dir(Path::new(TOP).join(".github/workflows")).unwrap();
    let mut files: Vec<PathBuf> = workflows.map(|entry| entry.unwrap().path()).collect();
    files.push(Path::new(TOP).join(".github/actions/setup-hactl/action.yml"));
    files.push(Path::new(TOP).join("docs/ci.md"));
    files.push(Path::new(TOP).join("examples/caller-provision-patroni-cluster.yml"));
    files
}

#[test]
fn actions_are_pinned_by_hash_and_those_of_hactl_by_version() {
    let mut pins = BTreeMap::new();
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines() {
            let Some(used) = line.trim_start().trim_start_matches("- ").strip_prefix("uses: ") else { continue };
            let (name, version) = used.split_once('@').unwrap_or_else(|| panic!("{line}"));
            if name.starts_with("hactl/hactl/") {
                assert_eq!(version, format!("v{VERSION}"), "{}: {line}", file.display());
                assert!(Path::new(TOP).join(name.trim_start_matches("hactl/hactl/")).exists(), "{line}");
                continue;
            }
            let (hash, tag) =
                version.split_once(" # v").unwrap_or_else(|| panic!("no version beside the hash: {line}"));
            assert!(hash.len() == 40 && hash.chars().all(|c| c.is_ascii_hexdigit()), "no commit: {line}");
            assert!(tag.starts_with(|c: char| c.is_ascii_digit()), "{line}");
            assert_eq!(*pins.entry(name.to_owned()).or_insert(version.to_owned()), version, "two versions of {name}");
        }
    }
    assert!(pins.contains_key("actions/checkout") && pins.len() > 2, "{pins:?}");
    let own = format!("readonly OWN_VERSION={VERSION}\n");
    assert!(read(".github/actions/setup-hactl/install").contains(&own), "the action installs another version");
}
