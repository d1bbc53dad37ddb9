//! The callback plugin's lines -> events, and at the end the recap.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::change::{Change, Effect};
use crate::event::{Event, TaskStatus};

/// What Ansible changed, per host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Configured {
    pub hosts: BTreeMap<String, Recap>,
    /// What it changed, in its order.
    pub changes: Vec<Change>,
}

/// Ansible's own totals of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recap {
    pub ok: u32,
    pub changed: u32,
    pub failures: u32,
    pub unreachable: u32,
    pub skipped: u32,
    pub rescued: u32,
    pub ignored: u32,
}

impl Configured {
    /// The machines whose service was left waiting for a restart that interrupts writes, each with whether it must restart
    /// where it is.
    pub fn left(&self) -> impl Iterator<Item = (&str, bool)> {
        self.changes.iter().filter_map(|change| Some((change.machine.as_str(), change.left()?)))
    }

    /// The number of changes on all hosts.
    #[must_use]
    pub fn changed(&self) -> u32 {
        self.hosts.values().map(|recap| recap.changed).sum()
    }
}

/// A line of `playbooks/callback_plugins/hactl_events.py`.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    PlayStart {
        play: String,
    },
    TaskStart {
        task: String,
        role: Option<String>,
    },
    Handler {
        task: String,
        role: Option<String>,
    },
    HostResult(HostResult),
    Stats {
        hosts: BTreeMap<String, Recap>,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct HostResult {
    host: String,
    task: String,
    role: Option<String>,
    status: Status,
    #[serde(default)]
    duration_ms: u64,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    stderr: String,
    #[serde(default)]
    refused: Vec<Refusal>,
    #[serde(default)]
    untried: Vec<String>,
    #[serde(default)]
    effects: Vec<Effect>,
}

/// A parameter of PostgreSQL that a task refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    /// The parameter's name.
    pub parameter: String,
    /// Why it was refused.
    pub cause: String,
    /// The name or the value that was probably meant.
    pub meant: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Changed,
    Failed,
    Skipped,
    Unreachable,
    Ignored,
}

/// Follows the lines of one playbook run.
#[derive(Debug, Default)]
pub(super) struct Follower {
    play: String,
    /// Failures in the order they came: host, role and task, message.
    pub(super) failures: Vec<(String, String, String)>,
    pub(super) configured: Option<Configured>,
    /// What was refused, each once: machines of one kind refuse the same.
    pub(super) refused: Vec<Refusal>,
    /// Parameters that the cluster got without a trial.
    pub(super) untried: BTreeSet<String>,
    changes: Vec<Change>,
}

impl Follower {
    /// Reads one line; a line that the callback plugin did not write gives no event.
    pub(super) fn line(&mut self, text: &str) -> Option<Event> {
        match serde_json::from_str(text).ok()? {
            Line::PlayStart { play } => {
                self.play = play;
                None
            }
            Line::TaskStart { task, role } | Line::Handler { task, role } => {
                Some(Event::TaskStarted { play: self.play.clone(), role, task })
            }
            Line::HostResult(result) => Some(self.result(result)),
            Line::Stats { hosts } => {
                self.configured = Some(Configured { hosts, changes: std::mem::take(&mut self.changes) });
                None
            }
            Line::Other => None,
        }
    }

    fn result(&mut self, result: HostResult) -> Event {
        let changes = result.effects.into_iter().map(|effect| Change { machine: result.host.clone(), effect });
        self.changes.extend(changes);
        self.untried.extend(result.untried);
        let said = [result.msg.trim(), result.stderr.trim()];
        let said: Vec<&str> = said.into_iter().filter(|text| !text.is_empty()).collect();
        let message = (!said.is_empty()).then(|| said.join("\n"));
        if matches!(result.status, Status::Failed | Status::Unreachable) {
            let task =
                result.role.as_ref().map_or_else(|| result.task.clone(), |role| format!("{role}: {}", result.task));
            self.failures.push((result.host.clone(), task, message.clone().unwrap_or_default()));
            for refusal in result.refused {
                if !self.refused.contains(&refusal) {
                    self.refused.push(refusal);
                }
            }
        }
        Event::TaskFinished {
            host: result.host,
            role: result.role,
            task: result.task,
            status: match result.status {
                Status::Ok => TaskStatus::Ok,
                Status::Changed => TaskStatus::Changed,
                Status::Failed => TaskStatus::Failed,
                Status::Skipped => TaskStatus::Skipped,
                Status::Unreachable => TaskStatus::Unreachable,
                Status::Ignored => TaskStatus::Ignored,
            },
            duration_ms: result.duration_ms,
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follower_collects_failures_and_recap_of_a_run() {
        let mut follower = Follower::default();
        assert!(follower.line(r#"{"event":"play_start","play":"Etcd","time":1.0}"#).is_none());
        let started = follower.line(r#"{"event":"task_start","task":"Install","role":"etcd","path":"x"}"#);
        assert!(matches!(started, Some(Event::TaskStarted { ref play, .. }) if play == "Etcd"));
        follower.line(r#"{"event":"host_result","host":"node1","task":"Install","role":"etcd","status":"failed","duration_ms":3,"changed":false,"msg":"no space","stderr":"disk"}"#);
        assert_eq!(follower.failures, [("node1".into(), "etcd: Install".into(), "no space\ndisk".into())]);
        assert_eq!(follower.refused, []);
        for host in ["node1", "node2"] {
            let refused = r#"[{"parameter":"work_mem","value":"16mb","cause":"no value of it","meant":"16MB"}]"#;
            follower.line(&format!(r#"{{"event":"host_result","host":"{host}","task":"Try","role":"patroni","status":"failed","msg":"refused","refused":{refused}}}"#));
        }
        let refusal =
            Refusal { parameter: "work_mem".into(), cause: "no value of it".into(), meant: Some("16MB".into()) };
        assert_eq!(follower.refused, [refusal]);
        for host in ["node1", "node2"] {
            follower.line(&format!(r#"{{"event":"host_result","host":"{host}","task":"Try","role":"patroni","status":"ok","untried":["archive_command"]}}"#));
        }
        assert_eq!(follower.untried, ["archive_command".to_owned()].into());
        let effects =
            r#"[{"kind":"unit","unit":"etcd","action":"restart"},{"kind":"left","unit":"postgresql","in_place":true}]"#;
        follower.line(&format!(r#"{{"event":"host_result","host":"node1","task":"Restart","role":"etcd","status":"changed","effects":{effects}}}"#));
        follower.line(r#"{"event":"stats","hosts":{"node1":{"ok":1,"changed":2,"failures":1,"unreachable":0,"skipped":0,"rescued":0,"ignored":0}}}"#);
        let configured = follower.configured.unwrap();
        assert_eq!(configured.changed(), 2);
        assert_eq!(configured.changes[0].effect.to_string(), "restart etcd");
        assert_eq!(configured.left().collect::<Vec<_>>(), [("node1", true)]);
        assert!(Follower::default().line("PLAY [Etcd] ***").is_none());
    }
}
