//! Typed facts about a run, on one bounded channel. Reporters alone choose words and colours.

use serde::Serialize;
use tokio::sync::mpsc;

use crate::model::InstanceKey;

/// A stage of the pipeline, in its order.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Spec,
    Plan,
    Fetch,
    Image,
    Provision,
    Dns,
    Inventory,
    Configure,
    Health,
    Verify,
    Destroy,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    Failed,
    Skipped,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceState {
    Started,
    Progress,
    Done,
    Failed,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    Ok,
    Changed,
    Failed,
    Skipped,
    Unreachable,
    Ignored,
}

/// One fact.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    RunStarted {
        command: String,
        cluster: String,
        version: &'static str,
    },
    /// What is intended, before anything is made: how long writes may stop, and what fences.
    Planned {
        durability: String,
        fencing: String,
        bounds: Vec<WriteGap>,
    },
    StageStarted {
        stage: Stage,
    },
    StageFinished {
        stage: Stage,
        outcome: Outcome,
        duration_ms: u64,
        detail: Option<String>,
    },
    /// A step inside a stage, of one node or of the whole: `booting`, `ssh up`, `building etcd 3.6.16`.
    Step {
        stage: Stage,
        node: Option<InstanceKey>,
        step: String,
    },
    /// A Terraform resource: `action` is Terraform's word (create, update, delete, read, ...).
    Resource {
        address: String,
        action: String,
        state: ResourceState,
        elapsed_ms: Option<u64>,
    },
    /// A diagnostic of Terraform.
    Diagnostic {
        severity: String,
        summary: String,
        detail: String,
        address: Option<String>,
        file: Option<String>,
        line: Option<u64>,
    },
    /// An Ansible task started on the hosts.
    TaskStarted {
        play: String,
        role: Option<String>,
        task: String,
    },
    /// What an Ansible task did on one host.
    TaskFinished {
        host: String,
        role: Option<String>,
        task: String,
        status: TaskStatus,
        duration_ms: u64,
        message: Option<String>,
    },
    /// Where a download came from, and why from there.
    Download {
        what: String,
        source: String,
        reason: String,
    },
    /// A line of a tool's own output: for the run record only.
    Output {
        tool: String,
        stream: &'static str,
        line: String,
    },
    Warning {
        code: &'static str,
        message: String,
        hint: Option<String>,
    },
    /// Results for people, of acting commands: connection string, next commands.
    Summary(Box<Summary>),
    Error {
        error: crate::error::Error,
    },
}

/// The longest write gap to expect from a fault.
#[derive(Clone, Debug, Serialize)]
pub struct WriteGap {
    pub fault: String,
    pub seconds: f64,
}

/// How a run ended. The last event of every acting command.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    pub ok: bool,
    pub command: String,
    pub cluster: String,
    pub message: String,
    pub dsn: Option<String>,
    pub next: Vec<String>,
    pub stages: Vec<StageTime>,
    pub changed: bool,
    pub record: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct StageTime {
    pub stage: Stage,
    pub outcome: Outcome,
    pub duration_ms: u64,
}

/// Events waiting for the reporters; a slow reporter slows the work instead of filling memory.
pub const CAPACITY: usize = 1024;

/// The sending side, cheap to clone. The channel ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<Event>);

impl Events {
    /// A channel for one run.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self(sender), receiver)
    }

    /// Sends from asynchronous code. A run whose reporters are gone goes on in silence.
    pub async fn emit(&self, event: Event) {
        let _ = self.0.send(event).await;
    }

    /// Sends from a thread that may block. Must not be called on the runtime's own threads.
    pub fn emit_blocking(&self, event: Event) {
        let _ = self.0.blocking_send(event);
    }

    /// A step of a stage, the most frequent fact.
    pub async fn step(&self, stage: Stage, node: Option<&InstanceKey>, step: impl Into<String>) {
        self.emit(Event::Step { stage, node: node.cloned(), step: step.into() }).await;
    }

    pub async fn warn(&self, code: &'static str, message: impl Into<String>, hint: Option<String>) {
        self.emit(Event::Warning { code, message: message.into(), hint }).await;
    }
}
