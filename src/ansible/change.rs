//! What a playbook changed on machines, or would change in check mode: one value per file, unit, setting and account.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing that changes, in the order in which the playbook reaches it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The instance's key.
    pub machine: String,
    /// What changes there.
    #[serde(flatten)]
    pub effect: Effect,
}

/// What a task changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Effect {
    /// A file is written, or its owner or mode changes.
    File {
        /// The file's path on the machine.
        path: String,
        /// The lines that change; null in a run that changes them, and for a file with secrets.
        diff: Option<String>,
    },
    /// A service or a timer starts, stops, reloads or restarts.
    Unit {
        /// The unit without its suffix; `postgresql` restarts through Patroni.
        unit: String,
        /// What happens to it.
        action: UnitAction,
        /// Whether writes are interrupted: PostgreSQL restarts on the primary.
        #[serde(default)]
        interrupts_writes: bool,
    },
    /// A service that was left waiting for a restart that interrupts writes.
    Left {
        /// The service.
        unit: String,
        /// Whether it must restart where it is: a switchover before would not help.
        #[serde(default)]
        in_place: bool,
    },
    /// A setting of the configuration that Patroni keeps in etcd for all members.
    Setting {
        /// The setting, with dots between its parts.
        name: String,
        /// The value that etcd has; null for none.
        old: Value,
        /// The value that the cluster file gives; null for none.
        new: Value,
    },
    /// A role or a database is made or changed.
    Account {
        /// What is done.
        did: String,
    },
    /// A task that changes something else.
    Task {
        /// What the task does, as text.
        task: String,
    },
}

/// What happens to a service or a timer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnitAction {
    Start,
    Stop,
    Reload,
    Restart,
}

/// The service whose restart on the primary interrupts writes.
const POSTGRESQL: &str = "postgresql";

impl Change {
    /// Marks the restart of the primary's PostgreSQL as an interruption of writes.
    pub(crate) fn mark(&mut self, leader: Option<&str>) {
        if let Effect::Unit { unit, action, interrupts_writes } = &mut self.effect {
            *interrupts_writes =
                unit == POSTGRESQL && *action == UnitAction::Restart && leader == Some(self.machine.as_str());
        }
    }

    /// Whether writes are interrupted.
    #[must_use]
    pub const fn interrupts_writes(&self) -> bool {
        matches!(self.effect, Effect::Unit { interrupts_writes: true, .. })
    }

    /// Whether a service that was left waiting for a restart must restart where it is; none where nothing was left.
    #[must_use]
    pub const fn left(&self) -> Option<bool> {
        match self.effect {
            Effect::Left { in_place, .. } => Some(in_place),
            _ => None,
        }
    }
}

impl fmt::Display for UnitAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::Restart => "restart",
        })
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => f.write_str(path),
            Self::Unit { unit, action, interrupts_writes: true } => write!(f, "{action} {unit} (interrupts writes)"),
            Self::Unit { unit, action, .. } => write!(f, "{action} {unit}"),
            Self::Left { unit, .. } => write!(f, "{unit} waits for a restart"),
            Self::Setting { name, old, new } => write!(f, "{name}: {} -> {}", shown(old), shown(new)),
            Self::Account { did } => f.write_str(did),
            Self::Task { task } => f.write_str(task),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_of_postgresql_interrupts_writes_only_on_the_primary() {
        let restart = |unit: &str, action: &str| -> Change {
            let text = format!(r#"{{"machine":"node1","kind":"unit","unit":"{unit}","action":"{action}"}}"#);
            serde_json::from_str(&text).unwrap()
        };
        for (unit, action, leader, interrupts) in [
            ("postgresql", "restart", Some("node1"), true),
            ("postgresql", "restart", Some("node2"), false),
            ("postgresql", "restart", None, false),
            ("postgresql", "reload", Some("node1"), false),
            ("patroni", "restart", Some("node1"), false),
        ] {
            let mut change = restart(unit, action);
            change.mark(leader);
            assert_eq!(change.interrupts_writes(), interrupts, "{unit} {action} {leader:?}");
        }
    }

    #[test]
    fn setting_is_shown_with_its_old_and_new_value() {
        let setting = |old: Value, new: Value| Effect::Setting { name: "ttl".into(), old, new }.to_string();
        assert_eq!(setting(20.into(), 30.into()), "ttl: 20 -> 30");
        assert_eq!(setting("4MB".into(), Value::Null), "ttl: 4MB -> (none)");
    }
}
