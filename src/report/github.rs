//! GitHub's workflow log: stages as groups, warnings and errors as annotations, the end as the step's summary and
//! outputs. Everything else reads as in any other pipe.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::OpenOptions,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{plain::Plain, print::message, render, verify};
use crate::{
    env,
    error::{Error, SourceLocation},
    event::{Event, Outcome, Summary},
};

/// What a comment on GitHub may hold, with room for the marker and the fence.
const LONGEST_COMMENT: usize = 60_000;

/// Where a step's results go, from the variables that GitHub's runner sets.
#[derive(Clone, Debug)]
pub struct Github {
    work: PathBuf,
    /// The top of the checked-out repository: annotations name files relative to it.
    workspace: Option<PathBuf>,
    summary: Option<PathBuf>,
    outputs: Option<PathBuf>,
    /// The user runs the job again with debug logging.
    pub debug: bool,
}

impl Github {
    #[must_use]
    pub fn new(work: &Path, env: &BTreeMap<String, String>) -> Self {
        let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            work: work.to_owned(),
            workspace: set(env::GITHUB_WORKSPACE),
            summary: set(env::GITHUB_STEP_SUMMARY),
            outputs: set(env::GITHUB_OUTPUT),
            debug: env.get(env::RUNNER_DEBUG).is_some_and(|value| value == "1"),
        }
    }

    /// Shows an error: one annotation for each place in a file, or a single one without places.
    pub fn error(&self, error: &Error) {
        self.error_lines(error).iter().for_each(|line| message(line));
    }

    fn error_lines(&self, error: &Error) -> Vec<String> {
        let title = format!("cannot {} {}", error.what, error.object);
        if error.locations.is_empty() {
            let mut text = error.causes.join("\n");
            if let Some(hint) = &error.hint {
                let _ = write!(text, "\nhint: {hint}");
            }
            return vec![command("error", &[("title", &title)], text.trim())];
        }
        let mut lines: Vec<String> = error
            .locations
            .iter()
            .map(|SourceLocation { file, line, column, message }| {
                let (file, line, column) = (self.in_repository(file), line.to_string(), column.to_string());
                let properties = [("file", file.as_str()), ("line", &line), ("col", &column), ("title", &title)];
                command("error", &properties, message)
            })
            .collect();
        // What the annotations do not say.
        lines.extend(error.hint.as_ref().map(|hint| harmless(&format!("hint: {hint}"))));
        lines
    }

    /// A file as the repository names it, whatever directory hactl runs in.
    fn in_repository(&self, file: &str) -> String {
        let path = self.work.join(file);
        let below = self.workspace.as_ref().and_then(|top| path.strip_prefix(top).ok());
        below.map_or_else(|| file.to_owned(), |path| path.display().to_string())
    }

    /// Adds Markdown to the step's page.
    pub fn summarize(&self, markdown: &str) {
        append(self.summary.as_deref(), "the step's summary", &format!("{}\n\n", markdown.trim_end()));
    }

    /// Sets outputs of the step, for later steps and jobs.
    pub fn set(&self, outputs: &[(&str, String)]) {
        let text: String = outputs.iter().map(|(name, value)| output(name, value)).collect();
        append(self.outputs.as_deref(), "the step's outputs", &text);
    }

    /// The end of an acting command.
    fn conclude(&self, summary: &Summary) {
        let report = summary.record.as_ref().map(|record| Path::new(record).join(verify::MARKDOWN));
        if let Some(report) = report.and_then(|path| std::fs::read_to_string(path).ok()) {
            self.summarize(&report);
        }
        self.summarize(&summary_markdown(summary));
        self.set(&[
            ("cluster", summary.cluster.clone()),
            ("ok", summary.ok.to_string()),
            ("changed", summary.changed.to_string()),
            ("dsn", summary.dsn.clone().unwrap_or_default()),
            ("record", summary.record.clone().unwrap_or_default()),
        ]);
    }
}

/// The view of one run.
pub(super) struct View {
    to: Github,
    plain: Plain,
    in_group: bool,
}

impl View {
    pub(super) fn new(to: Github, verbose: bool) -> Self {
        let plain = Plain::new(verbose || to.debug);
        Self { to, plain, in_group: false }
    }

    pub(super) fn show(&mut self, event: &Event) {
        self.lines(event).iter().for_each(|line| message(line));
        if let Event::Summary(summary) = event {
            self.to.conclude(summary);
        }
    }

    fn lines(&mut self, event: &Event) -> Vec<String> {
        let mut lines = Vec::new();
        let ends = matches!(
            event,
            Event::StageStarted { .. } | Event::StageFinished { .. } | Event::Error { .. } | Event::Summary(_)
        );
        if ends && std::mem::take(&mut self.in_group) {
            lines.push("::endgroup::".to_owned());
        }
        match event {
            Event::StageStarted { stage } => {
                self.in_group = true;
                lines.push(command("group", &[], render::stage(*stage)));
            }
            Event::Warning { code, message, hint } => {
                let hint = hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
                lines.push(command("warning", &[("title", code)], &format!("{message}{hint}")));
            }
            Event::Error { error } => lines.extend(self.to.error_lines(error)),
            other => lines.extend(self.plain.line(other).map(|text| harmless(&text))),
        }
        lines
    }
}

/// A workflow command: what the runner would read as its end is escaped.
fn command(name: &str, properties: &[(&str, &str)], data: &str) -> String {
    let data = data.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let properties: Vec<String> = properties
        .iter()
        .map(|(key, value)| {
            let value = value.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
            format!("{key}={}", value.replace(':', "%3A").replace(',', "%2C"))
        })
        .collect();
    let space = if properties.is_empty() { "" } else { " " };
    format!("::{name}{space}{}::{data}", properties.join(","))
}

/// Text in which the runner finds no command, so that output of machines and tools cannot control the workflow.
pub(super) fn harmless(text: &str) -> String {
    let lines = text.split(['\n', '\r']).map(|line| {
        let line = line.replace("##[", "# #[");
        if line.trim_start().starts_with("::") { line.replacen("::", ": :", 1) } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// An output as the runner reads it. The random delimiter keeps a value from ending it.
fn output(name: &str, value: &str) -> String {
    if value.contains(['\n', '\r']) {
        let end = uuid::Uuid::new_v4();
        format!("{name}<<{end}\n{value}\n{end}\n")
    } else {
        format!("{name}={value}\n")
    }
}

fn append(file: Option<&Path>, what: &str, text: &str) {
    let Some(path) = file else { return };
    let written =
        OpenOptions::new().append(true).create(true).open(path).and_then(|mut to| to.write_all(text.as_bytes()));
    if let Err::<(), io::Error>(error) = written {
        message(&command(
            "warning",
            &[("title", "github")],
            &format!("could not write {what} to {}: {error}", path.display()),
        ));
    }
}

/// Text in a block that it cannot end.
fn fenced(text: &str) -> String {
    let mut fence = "```".to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    format!("{fence}text\n{}\n{fence}\n", text.trim())
}

/// The end of an acting command, for the step's page.
fn summary_markdown(summary: &Summary) -> String {
    let word = if summary.ok { "done" } else { "failed" };
    let mut text = format!("### hactl {} {}: {word}\n\n{}", summary.command, summary.cluster, fenced(&summary.message));
    if summary.stages.is_empty() {
        return text;
    }
    text.push_str("\n| Stage | Outcome | Time |\n|---|---|--:|\n");
    for time in &summary.stages {
        let outcome = match time.outcome {
            Outcome::Ok => "done",
            Outcome::Failed => "FAILED",
            Outcome::Skipped => "skipped",
        };
        let _ =
            writeln!(text, "| {} | {outcome} | {} |", render::stage(time.stage), render::duration(time.duration_ms));
    }
    text
}

/// A plan for a pull request. The first line is one by which the comment is found again; it is not shown.
#[must_use]
pub fn plan_markdown(cluster: &str, changes: &str, refused: bool, text: &str) -> String {
    let refused = if refused { ", which `hactl up` would refuse" } else { "" };
    let marker = format!("<!-- hactl plan {cluster} -->");
    let mut shown = text.to_owned();
    if shown.len() > LONGEST_COMMENT {
        let end = (0..=LONGEST_COMMENT).rev().find(|at| shown.is_char_boundary(*at)).unwrap_or(0);
        shown.truncate(end);
        shown.push_str("\n... truncated: the complete plan is in the log");
    }
    format!("{marker}\n### Plan of {cluster}: {changes}{refused}\n\n{}", fenced(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Stage, StageTime};

    fn github(dir: &Path) -> Github {
        let file = |name: &str| dir.join(name).display().to_string();
        let env = BTreeMap::from([
            ("GITHUB_WORKSPACE".to_owned(), dir.display().to_string()),
            ("GITHUB_STEP_SUMMARY".to_owned(), file("summary.md")),
            ("GITHUB_OUTPUT".to_owned(), file("outputs")),
        ]);
        Github::new(&dir.join("clusters"), &env)
    }

    #[test]
    fn workflow_commands_are_escaped() {
        assert_eq!(command("group", &[], "50% done\r\nnext"), "::group::50%25 done%0D%0Anext");
        assert_eq!(
            command("error", &[("file", "a,b:c%.yaml"), ("line", "3")], "x: y, z"),
            "::error file=a%2Cb%3Ac%25.yaml,line=3::x: y, z"
        );
    }

    #[test]
    fn output_of_machines_and_tools_cannot_be_a_workflow_command() {
        assert_eq!(harmless("  ::set-env name=X::y"), "  : :set-env name=X::y");
        assert_eq!(harmless("fine\n::stop-commands::x\r::add-mask::y"), "fine\n: :stop-commands::x\n: :add-mask::y");
        assert_eq!(harmless("a ##[command]b"), "a # #[command]b");
        assert_eq!(harmless("std::vec, a::b"), "std::vec, a::b");
        let mut view = View::new(github(Path::new("/w")), true);
        let line = "::warning::gotcha".to_owned();
        let step = Event::Output { tool: "terraform".to_owned(), stream: "stdout", line };
        assert_eq!(view.lines(&step), ["    terraform> ::warning::gotcha"]);
        let step = Event::Step { stage: Stage::Provision, node: None, step: "x\n::error::gotcha".to_owned() };
        assert_eq!(view.lines(&step), ["  x\n: :error::gotcha"]);
    }

    #[test]
    fn stage_is_a_log_group_followed_by_its_result() {
        let mut view = View::new(github(Path::new("/w")), false);
        let finished =
            |outcome| Event::StageFinished { stage: Stage::Provision, outcome, duration_ms: 1500, detail: None };
        assert_eq!(view.lines(&Event::StageStarted { stage: Stage::Provision }), ["::group::provision"]);
        assert_eq!(view.lines(&finished(Outcome::Ok)), ["::endgroup::", "provision: done in 1.5 s"]);
        // A stage that was not needed never started.
        assert_eq!(view.lines(&finished(Outcome::Skipped)), ["provision: skipped in 1.5 s"]);
        view.lines(&Event::StageStarted { stage: Stage::Dns });
        let error = Error::failed("x", "create node", "node1").cause("no space left").hint("Free some");
        assert_eq!(
            view.lines(&Event::Error { error }),
            ["::endgroup::", "::error title=cannot create node node1::no space left%0Ahint: Free some"]
        );
        let warning = Event::Warning { code: "dhcp", message: "no lease".to_owned(), hint: Some("Reserve".to_owned()) };
        assert_eq!(view.lines(&warning), ["::warning title=dhcp::no lease%0Ahint: Reserve"]);
    }

    #[test]
    fn cluster_file_problem_is_an_annotation_at_its_line() {
        let problems = crate::spec::load("pg.yaml", b"instances: {node1: {memry: 1}}\nexta: 1\n", "pg").unwrap_err();
        let lines = github(Path::new("/repo")).error_lines(&problems.into());
        assert_eq!(lines.len(), 3, "{lines:?}");
        let start =
            "::error file=clusters/pg.yaml,line=1,col=21,title=cannot use cluster file pg.yaml::instances.node1";
        assert!(lines[0].starts_with(start), "{lines:?}");
        assert!(lines[0].ends_with("(did you mean memory?)"), "{lines:?}");
        assert!(lines[1].starts_with("::error file=clusters/pg.yaml,line=2,col=1,"), "{lines:?}");
        assert!(lines[2].starts_with("hint: Correct the file"), "{lines:?}");
        // Somewhere else than in the repository a file keeps its name.
        let elsewhere = Github { workspace: Some("/other".into()), ..github(Path::new("/repo")) };
        assert_eq!(elsewhere.in_repository("pg.yaml"), "pg.yaml");
    }

    #[test]
    fn finished_command_writes_the_step_summary_and_outputs() {
        let dir = tempfile::tempdir().unwrap();
        let record = dir.path().join("record");
        std::fs::create_dir(&record).unwrap();
        std::fs::write(record.join(verify::MARKDOWN), "## pg: proved\n").unwrap();
        let stages = vec![StageTime { stage: Stage::Verify, outcome: Outcome::Failed, duration_ms: 61_000 }];
        let summary = Summary {
            command: "verify".to_owned(),
            cluster: "pg".to_owned(),
            message: "cannot prove pg\n  cause: ```".to_owned(),
            dsn: Some("host=a user=b".to_owned()),
            record: Some(record.display().to_string()),
            stages,
            ..Summary::default()
        };
        View::new(github(dir.path()), false).show(&Event::Summary(Box::new(summary)));
        let page = std::fs::read_to_string(dir.path().join("summary.md")).unwrap();
        assert_eq!(
            page,
            "## pg: proved\n\n### hactl verify pg: failed\n\n````text\ncannot prove pg\n  cause: ```\n````\n\n\
             | Stage | Outcome | Time |\n|---|---|--:|\n| verify | FAILED | 1 min 1 s |\n\n"
        );
        let outputs = std::fs::read_to_string(dir.path().join("outputs")).unwrap();
        let expected = format!("cluster=pg\nok=false\nchanged=false\ndsn=host=a user=b\nrecord={}\n", record.display());
        assert_eq!(outputs, expected);
    }

    #[test]
    fn multiline_output_value_cannot_end_its_delimiter() {
        let text = output("plan", "a\nEOF\nb=c");
        let (first, rest) = text.split_once('\n').unwrap();
        let end = first.strip_prefix("plan<<").unwrap();
        assert_eq!(rest, format!("a\nEOF\nb=c\n{end}\n"));
        assert!(end.len() == 36 && !rest[..rest.len() - 38].contains(end), "{text}");
    }

    #[test]
    fn plan_comment_is_truncated_to_the_accepted_size() {
        let text = plan_markdown("pg", "3 to create", false, "pg\n```\nMachines");
        assert_eq!(text, "<!-- hactl plan pg -->\n### Plan of pg: 3 to create\n\n````text\npg\n```\nMachines\n````\n");
        let long = plan_markdown("pg", "1 to destroy", true, &"é".repeat(70_000));
        assert!(
            long.len() < 65_536 && long.contains("... truncated: the complete plan is in the log"),
            "{}",
            long.len()
        );
        assert!(long.contains("1 to destroy, which `hactl up` would refuse\n"));
    }
}
