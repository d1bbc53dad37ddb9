//! The transcript of one command: a line for each thing that happened, with who did it.

use serde_json::Value;

use super::{fakes::Invocation, machines::MACHINES};

/// The lines of one command.
#[derive(Default)]
pub(super) struct Transcript {
    lines: Vec<(String, String)>,
}

/// The prefixes of the environment variables that a transcript names.
const VARIABLES: [&str; 4] = ["ANSIBLE_", "CHECKPOINT_", "HACTL_", "TF_"];

impl Transcript {
    pub(super) fn add(&mut self, who: &str, what: impl AsRef<str>) {
        for line in what.as_ref().lines() {
            self.lines.push((who.to_owned(), line.to_owned()));
        }
    }

    /// Adds a call of a program, and with `names_variables` the names of its environment variables.
    pub(super) fn call(&mut self, invocation: &Invocation, names_variables: bool) {
        let Invocation { program, arguments, variables, machine } = invocation;
        match (machine, program.as_str()) {
            (Some(machine), "files") => self.files(machine, &arguments[0], &arguments[1]),
            // Its arguments are long.
            (Some(machine), "ss") => self.add(machine, "ss"),
            (Some(machine), _) => self.add(machine, format!("{program} {}", arguments.join(" "))),
            (None, _) => {
                self.add(program, arguments.join(" "));
                if names_variables {
                    let names = variables.iter().filter(|name| VARIABLES.iter().any(|start| name.starts_with(start)));
                    names.for_each(|name| self.add(program, format!("  {name}")));
                }
            }
        }
    }

    /// Adds the files that were created or removed on a machine. Two commands that run at once both see a change.
    fn files(&mut self, machine: &str, before: &str, after: &str) {
        for (one, other, word) in [(after, before, "created"), (before, after, "removed")] {
            for file in one.lines().filter(|file| !other.lines().any(|same| same == *file)) {
                let of_file =
                    |(who, line): &&(String, String)| who == machine && line.starts_with(&format!("{file}: "));
                let line = format!("{file}: {word}");
                if self.lines.iter().rev().find(of_file).is_none_or(|(_, last)| *last != line) {
                    self.add(machine, line);
                }
            }
        }
    }

    /// Adds an event of hactl. Events whose order or text depends on timing are left out.
    pub(super) fn event(&mut self, event: &Value) {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let line = match text("type") {
            "run-started" => format!("run {}", text("command")),
            "stage-started" => format!("{}: started", text("stage")),
            "stage-finished" => {
                let detail = event["detail"].as_str().map(|detail| format!(", {detail}")).unwrap_or_default();
                format!("{}: {}{detail}", text("stage"), text("outcome"))
            }
            // Steps of one machine depend on the other machines, waiting on timing, downloads on the pinned versions.
            "step" if event["node"].is_null() && text("stage") != "fetch" && !text("step").starts_with("waiting") => {
                // The version of the psql here.
                let (step, _) = text("step").split_once("psql (PostgreSQL)").unwrap_or((text("step"), ""));
                format!("  {step}")
            }
            "diagnostic" => format!("  {} of Terraform: {}", text("severity"), text("summary")),
            "task-finished" if text("status") == "failed" => format!("  {}: {} failed", text("host"), text("task")),
            "warning" => format!("  warning {}: {}", text("code"), text("message")),
            "error" => {
                let error = &event["error"];
                let text = |name: &str| error[name].as_str().unwrap_or_default();
                let causes = error["causes"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let causes: String = causes.map(|cause| format!("\n  cause: {}", indented(cause))).collect();
                let (code, what, object, hint) = (text("code"), text("what"), text("object"), indented(text("hint")));
                format!("error {code}: cannot {what} {object}{causes}\n  hint: {hint}")
            }
            "summary" if event["ok"] == true => format!("summary: {}", text("message")),
            _ => return,
        };
        self.add("hactl", line);
    }

    /// The text. Machines work in parallel: neighbouring lines of several machines are sorted by machine.
    pub(super) fn text(mut self) -> String {
        let place = |who: &str| MACHINES.iter().position(|(name, _)| *name == who);
        let mut start = 0;
        while start < self.lines.len() {
            let end = self.lines[start..].iter().take_while(|(who, _)| place(who).is_some()).count() + start;
            self.lines[start..end].sort_by_key(|(who, _)| place(who));
            start = end + 1;
        }
        let width = "ansible-playbook".len();
        let line = |(who, what): &(String, String)| format!("{}\n", format!("{who:width$}  {what}").trim_end());
        self.lines.iter().map(line).collect()
    }
}

/// A text of several lines below its first.
fn indented(text: &str) -> String {
    text.replace('\n', "\n    ")
}
