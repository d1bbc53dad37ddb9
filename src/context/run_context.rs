//! One acting run: its context, its record, and the time of each stage.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    context::{Context, Record},
    error::{Error, Result},
    event::{Event, Outcome, Stage, StageTime},
};

/// What a stage returns: its value, and a note on how it came about.
pub(crate) type Done<T> = (T, Option<String>);

/// One acting run.
pub struct RunContext {
    pub context: Context,
    record: PathBuf,
    times: Mutex<Vec<StageTime>>,
    started: Instant,
}

impl RunContext {
    #[must_use]
    pub fn new(context: Context, record: PathBuf) -> Self {
        Self { context, record, times: Mutex::default(), started: Instant::now() }
    }

    /// The directory of the run record.
    #[must_use]
    pub fn record(&self) -> &Path {
        &self.record
    }

    /// The time since the run began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The stages so far, with their times.
    #[must_use]
    pub fn times(&self) -> Vec<StageTime> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a stage and reports its start, end and time, also when it fails.
    pub(crate) async fn stage<T>(&self, stage: Stage, work: impl Future<Output = Result<Done<T>>>) -> Result<T> {
        let events = &self.context.events;
        if self.context.stop.is_cancelled() {
            return Err(Error::interrupted("start stage", format!("{stage:?}").to_lowercase()));
        }
        events.emit(Event::StageStarted { stage }).await;
        let started = Instant::now();
        let result = work.await;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (outcome, detail) = match &result {
            Ok((_, detail)) => (Outcome::Ok, detail.clone()),
            Err(_) => (Outcome::Failed, None),
        };
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(StageTime { stage, outcome, duration_ms });
        events.emit(Event::StageFinished { stage, outcome, duration_ms, detail }).await;
        result.map(|(value, _)| value)
    }

    /// Reports a skipped stage, and why.
    pub(crate) async fn skip(&self, stage: Stage, why: &str) {
        let time = StageTime { stage, outcome: Outcome::Skipped, duration_ms: 0 };
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
        let detail = Some(why.to_owned());
        let event = Event::StageFinished { stage, outcome: Outcome::Skipped, duration_ms: 0, detail };
        self.context.events.emit(event).await;
    }

    /// Writes the value that one stage hands to the next into the run record.
    pub(crate) fn keep<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        Record::keep(&self.record, name, value).map_err(|error| {
            Error::failed("record", "write to the run record", self.record.display())
                .source(&error)
                .hint("Check that the disk has free space")
        })
    }
}
