//! Plain lines, for pipes and logs: one fact per line, for people to read afterwards.

use super::{print::message, render};
use crate::event::{Event, ResourceState, TaskStatus};

pub(super) struct Plain {
    verbose: bool,
}

impl Plain {
    pub(super) const fn new(verbose: bool) -> Self {
        Self { verbose }
    }

    pub(super) fn show(&self, event: &Event) {
        if let Some(line) = self.line(event) {
            message(&line);
        }
    }

    pub(super) fn line(&self, event: &Event) -> Option<String> {
        Some(match event {
            Event::StageStarted { stage } => format!("{}: started", render::stage(*stage)),
            Event::TaskStarted { role, task, .. } => {
                let role = role.as_ref().map(|role| format!("{role}: ")).unwrap_or_default();
                format!("  {role}{task}")
            }
            Event::TaskFinished { host, task, status, message, duration_ms, .. } => {
                let loud = matches!(status, TaskStatus::Failed | TaskStatus::Unreachable);
                if !loud && !self.verbose {
                    return None;
                }
                let message = message.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
                format!("    {host}: {task}: {status:?} in {}{message}", render::duration(*duration_ms))
            }
            Event::Resource { state: ResourceState::Progress, .. } if !self.verbose => return None,
            Event::Output { line, tool, .. } => {
                if !self.verbose {
                    return None;
                }
                format!("    {tool}> {line}")
            }
            other => return render::line(other),
        })
    }
}
