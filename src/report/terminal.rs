//! Bars on a terminal: one line per stage, and below the running stage one line per node.

use std::{collections::BTreeMap, time::Duration};

use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::render;
use crate::event::{Event, Outcome, ResourceState, Stage, TaskStatus};

pub(super) struct Terminal {
    bars: MultiProgress,
    stage: Option<ProgressBar>,
    nodes: BTreeMap<String, ProgressBar>,
}

impl Terminal {
    pub(super) fn new() -> Self {
        Self { bars: MultiProgress::new(), stage: None, nodes: BTreeMap::new() }
    }

    pub(super) fn show(&mut self, event: &Event) {
        match event {
            Event::StageStarted { stage } => self.start(*stage),
            Event::StageFinished { outcome, .. } => self.finish(*outcome, event),
            Event::Step { node: Some(node), step, .. } => self.node(node.as_str(), step),
            Event::Step { step, .. } => self.stage_says(step),
            Event::Resource { address, action, state, .. } => match state {
                ResourceState::Failed => self.say(event),
                ResourceState::Done => self.stage_says(&format!("{address}: {action} done")),
                _ => self.stage_says(&format!("{address}: {action}")),
            },
            Event::TaskStarted { role, task, .. } => {
                let role = role.as_ref().map(|role| format!("{role}: ")).unwrap_or_default();
                self.stage_says(&format!("{role}{task}"));
            }
            Event::TaskFinished { host, task, status, message, .. } => match status {
                TaskStatus::Failed | TaskStatus::Unreachable => {
                    let message = message.as_deref().unwrap_or_default();
                    self.line(&format!("  {} {host}: {task}: {message}", style("✗").red()));
                }
                TaskStatus::Changed => self.node(host, &format!("{task}: changed")),
                _ => self.node(host, task),
            },
            Event::Output { .. } => {}
            other => self.say(other),
        }
    }

    fn start(&mut self, stage: Stage) {
        self.clear();
        let bar = self.bars.add(ProgressBar::new_spinner());
        // The templates are constants; a broken one would show in the first run of any test.
        if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {prefix:.bold} {wide_msg} {elapsed:.dim}") {
            bar.set_style(style);
        }
        bar.set_prefix(render::stage(stage));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.stage = Some(bar);
    }

    fn finish(&mut self, outcome: Outcome, event: &Event) {
        self.clear();
        let mark = match outcome {
            Outcome::Ok => style("✓").green(),
            Outcome::Failed => style("✗").red(),
            Outcome::Skipped => style("-").dim(),
        };
        if let Some(line) = render::line(event) {
            self.line(&format!("{mark} {line}"));
        }
    }

    fn node(&mut self, node: &str, step: &str) {
        let bars = &self.bars;
        let bar = self.nodes.entry(node.to_owned()).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("    {prefix:.dim} {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(format!("{node:<12}"));
            bar
        });
        bar.set_message(step.to_owned());
    }

    fn stage_says(&self, step: &str) {
        if let Some(bar) = &self.stage {
            bar.set_message(step.to_owned());
        }
    }

    fn say(&self, event: &Event) {
        if let Some(line) = render::line(event) {
            self.line(&line);
        }
    }

    fn line(&self, line: &str) {
        // If stderr is closed, the line cannot be shown.
        let _ = self.bars.println(line);
    }

    fn clear(&mut self) {
        for bar in std::mem::take(&mut self.nodes).into_values() {
            bar.finish_and_clear();
        }
        if let Some(bar) = self.stage.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.clear();
    }
}
