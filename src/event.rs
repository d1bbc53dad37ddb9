//! Typed facts about a run, on one bounded channel. Reporters alone choose words and colours.

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::model::{Endpoints, InstanceKey};

/// The stages, in their order: docs/how-it-works.md says what each does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, JsonSchema)]
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
    Switchover,
    Reinit,
    Restart,
    Backup,
    Destroy,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    Failed,
    Skipped,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResourceState {
    Started,
    Progress,
    Done,
    Failed,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, JsonSchema)]
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
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// A command that changes or drills a cluster begins.
    RunStarted {
        /// The command, without the name.
        command: String,
        /// The cluster's name.
        cluster: String,
        /// hactl's own version.
        version: &'static str,
    },
    /// The plan, before anything is created: durability, fencing, and how long writes may stop.
    Planned {
        /// The durability that the cluster file sets for acknowledged commits.
        durability: String,
        /// What stops a primary whose Patroni has failed, as text.
        fencing: String,
        /// How long writes may stop, for each fault.
        bounds: Vec<WriteGap>,
    },
    /// A stage begins.
    StageStarted {
        /// The stage.
        stage: Stage,
    },
    /// A stage ends.
    StageFinished {
        /// The stage.
        stage: Stage,
        /// How it ended.
        outcome: Outcome,
        /// How long it took.
        duration_ms: u64,
        /// A sentence about it, for example why it was skipped.
        detail: Option<String>,
    },
    /// A step of a stage, for one instance or for the whole cluster: `booting`, `ssh up`, `building etcd 3.6.16`.
    Step {
        /// The stage.
        stage: Stage,
        /// The instance's key; null for the whole cluster.
        node: Option<InstanceKey>,
        /// What hactl does or has seen, as text.
        step: String,
    },
    /// A Terraform resource: `action` is Terraform's word (create, update, delete, read, ...).
    Resource {
        /// Its address in Terraform.
        address: String,
        /// Terraform's word: `create`, `update`, `delete`, `read` ...
        action: String,
        /// Its progress.
        state: ResourceState,
        /// How long it has taken so far, where Terraform says so.
        elapsed_ms: Option<u64>,
    },
    /// A diagnostic of Terraform.
    Diagnostic {
        /// `error` or `warning`.
        severity: String,
        /// Its first line.
        summary: String,
        /// The rest of it.
        detail: String,
        /// The resource that it is about.
        address: Option<String>,
        /// The file that it is about.
        file: Option<String>,
        /// The line there, from 1.
        line: Option<u64>,
    },
    /// An Ansible task started on the hosts.
    TaskStarted {
        /// The play's name.
        play: String,
        /// The role; null for a task of the playbook itself.
        role: Option<String>,
        /// The task's name.
        task: String,
    },
    /// What an Ansible task did on one host.
    TaskFinished {
        /// The instance's key.
        host: String,
        /// The role; null for a task of the playbook itself.
        role: Option<String>,
        /// The task's name.
        task: String,
        /// How it ended there.
        status: TaskStatus,
        /// How long it took.
        duration_ms: u64,
        /// The module's message, for a failed task.
        message: Option<String>,
    },
    /// Another member has become the primary because `hactl switchover` asked for it.
    SwitchedOver {
        /// The key of the old primary.
        from: String,
        /// The key of the new one.
        to: String,
        /// The new timeline.
        timeline: u64,
        /// How long no member was the primary, as hactl saw it.
        without_primary_ms: u64,
    },
    /// A replica has a new copy of the primary's data because `hactl reinit` asked for it.
    Reinitialized {
        /// The key of the replica.
        node: String,
        /// The size of the new copy.
        bytes: u64,
        /// Where its old data directory is kept; null if it was removed.
        kept: Option<String>,
    },
    /// The PostgreSQL server of a member has restarted because `hactl restart` asked for it, and serves again.
    Restarted {
        /// The key of the member.
        node: String,
        /// Whether it was the primary and handed over: its server started again as that of a replica.
        handed_over: bool,
        /// The time from the request until it served again.
        duration_ms: u64,
    },
    /// The source of a download, and why hactl chose it.
    Download {
        /// What was fetched.
        what: String,
        /// The address, or what hactl built it from.
        source: String,
        /// Why hactl chose this source.
        reason: String,
    },
    /// A line of a tool's own output: for its log in the run record only.
    #[schemars(skip)]
    Output {
        /// The tool: `terraform`, `ansible` ...
        tool: String,
        /// `stdout` or `stderr`.
        stream: &'static str,
        /// The line, as it came.
        line: String,
    },
    /// A warning, which does not stop the run.
    Warning {
        /// A stable word for scripts.
        code: &'static str,
        /// What hactl warns about.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The result of a command that changes or drills a cluster: connection string, next commands.
    Summary(Box<Summary>),
    /// The run failed, and why.
    Error {
        /// The error.
        error: crate::error::Error,
    },
}

/// The longest write gap to expect from a fault.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct WriteGap {
    /// The fault, by its drill's name.
    pub fault: String,
    /// The bound.
    pub seconds: f64,
}

/// How a run ended. The last event of every command that changes or drills a cluster.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Summary {
    /// Whether the command succeeded.
    pub ok: bool,
    /// The command, without the name.
    pub command: String,
    /// The cluster's name.
    pub cluster: String,
    /// The result, or the error, as text.
    pub message: String,
    /// A connection string for clients, without a password; null if the cluster has none.
    pub dsn: Option<String>,
    /// The connection strings of a cluster with an entry point; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// Commands to run next.
    pub next: Vec<String>,
    /// The stages that ran, in their order.
    pub stages: Vec<StageTime>,
    /// Whether anything was changed.
    pub changed: bool,
    /// The directory of the run record; null if the command could not start.
    pub record: Option<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StageTime {
    /// The stage.
    pub stage: Stage,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
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

    /// Sends from asynchronous code. A run whose reporters are gone continues without output.
    pub async fn emit(&self, event: Event) {
        let _ = self.0.send(event).await;
    }

    /// Sends from a thread that may block. Must not be called on the runtime's own threads.
    pub fn emit_blocking(&self, event: Event) {
        let _ = self.0.blocking_send(event);
    }

    /// A step of a stage, the most frequent event.
    pub async fn step(&self, stage: Stage, node: Option<&InstanceKey>, step: impl Into<String>) {
        self.emit(Event::Step { stage, node: node.cloned(), step: step.into() }).await;
    }

    pub async fn warn(&self, code: &'static str, message: impl Into<String>, hint: Option<String>) {
        self.emit(Event::Warning { code, message: message.into(), hint }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architecture_page_lists_the_stages_in_order() {
        let (_, page) = include_str!("../docs/how-it-works.md").split_once("\n## The stages\n").unwrap();
        let rows = page.lines().take_while(|line| !line.starts_with("## "));
        let named: Vec<&str> = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let schema = serde_json::to_value(schemars::schema_for!(Stage)).unwrap();
        assert_eq!(serde_json::json!(named), schema["enum"]);
    }
}
