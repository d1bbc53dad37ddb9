//! Reporters: the only place that prints. Every event goes, stamped and in one order, to the run
//! record and to one of four views: a terminal with bars, plain lines for pipes, JSON lines, or GitHub's log.

mod backups;
mod bundle;
mod github;
mod plain;
mod print;
mod render;
mod terminal;
pub mod verify;

use std::io::IsTerminal;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::{sync::mpsc::Receiver, task::JoinHandle};

pub use backups::backups_text;
pub use bundle::{Bundled, Mask, bundle, secret_variables};
pub use github::{Github, plan_markdown};
pub use print::{message, not_written, print, written};
pub use render::{catalogue_text, costs_text, plan_text, status_text, summary_text};

use crate::{
    context::Record,
    error::Error,
    event::{Event, Events},
};

/// How results are shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Output {
    /// Bars on a terminal, plain lines in pipes.
    Text,
    /// Event lines for acting commands, one object for queries.
    Json,
}

enum View {
    Terminal(terminal::Terminal),
    Plain(plain::Plain),
    Github(github::View),
    Json,
}

/// One event as hactl writes it: only this type adds its number and time.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Stamped<'a> {
    /// The event's number within the run, from 1.
    seq: u64,
    /// The time: RFC 3339, UTC.
    #[schemars(with = "String")]
    time: Timestamp,
    #[serde(flatten)]
    event: &'a Event,
}

/// The reporters of one run. They end when every sender of events is gone.
pub struct Reporters {
    task: JoinHandle<()>,
}

impl Reporters {
    /// Starts them for one run; `record` gets everything, the view what people or programs want.
    #[must_use]
    pub fn start(output: Output, github: Option<&Github>, verbose: bool, record: Option<Record>) -> (Self, Events) {
        let (events, receiver) = Events::channel();
        let view = match (output, github) {
            (Output::Json, _) => View::Json,
            (Output::Text, Some(github)) => View::Github(github::View::new(github.clone(), verbose)),
            (Output::Text, None) if std::io::stderr().is_terminal() && !verbose => {
                View::Terminal(terminal::Terminal::new())
            }
            (Output::Text, None) => View::Plain(plain::Plain::new(verbose)),
        };
        (Self { task: tokio::spawn(report(receiver, view, record)) }, events)
    }

    /// Waits until the last event has been shown and written.
    pub async fn finish(self) {
        // A reporter that panicked has already reported it on stderr.
        let _ = self.task.await;
    }
}

async fn report(mut events: Receiver<Event>, mut view: View, mut record: Option<Record>) {
    let mut seq = 0;
    while let Some(event) = events.recv().await {
        seq += 1;
        let stamped = Stamped { seq, time: Timestamp::now(), event: &event };
        let line = serde_json::to_string(&stamped).unwrap_or_default();
        if let Some(record) = &mut record {
            record.write(&event, &line);
        }
        match &mut view {
            View::Terminal(terminal) => terminal.show(&event),
            View::Plain(plain) => plain.show(&event),
            View::Github(github) => github.show(&event),
            // A tool's raw output is for the record.
            View::Json if matches!(event, Event::Output { .. }) => {}
            View::Json => print(&line),
        }
    }
}

/// Prints one object, for queries with `--output json`.
pub fn print_json<T: Serialize>(value: &T) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&text),
        Err(error) => message(&format!("error: could not write the result as JSON: {error}")),
    }
}

/// Prints an error as the output asks for it.
pub fn print_error(output: Output, error: &Error) {
    match output {
        Output::Json => print_json(error),
        Output::Text => message(&format!("{} {error}", console::style("error:").for_stderr().red().bold())),
    }
}
