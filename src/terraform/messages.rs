//! What Terraform says in JSON: lines of `-json` commands in, events and diagnostics out.

use std::fmt;

use serde::Deserialize;

use crate::{
    event::{Event, ResourceState},
    model::BackendKind,
};

/// A diagnostic of Terraform.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Diagnostic {
    pub(super) severity: String,
    summary: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    range: Option<Range>,
}

#[derive(Clone, Debug, Deserialize)]
struct Range {
    filename: String,
    start: Position,
}

#[derive(Clone, Debug, Deserialize)]
struct Position {
    line: u64,
}

impl Diagnostic {
    pub(super) fn event(&self) -> Event {
        Event::Diagnostic {
            severity: self.severity.clone(),
            summary: self.summary.clone(),
            detail: self.detail.clone(),
            address: self.address.clone(),
            file: self.range.as_ref().map(|range| range.filename.clone()),
            line: self.range.as_ref().map(|range| range.start.line),
        }
    }
}

/// The lock of a state, as far as Terraform reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StateLock {
    Held {
        id: String,
        who: String,
        since: String,
        operation: String,
    },
    /// The backend http reports only the ID, and not always.
    Http {
        id: Option<String>,
    },
    /// PostgreSQL stores neither the owner nor the purpose of a lock.
    Pg,
}

impl StateLock {
    /// The ID, where Terraform reports it.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Held { id, .. } => Some(id),
            Self::Http { id } => id.as_deref(),
            Self::Pg => None,
        }
    }
}

impl fmt::Display for StateLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { id, who, since, operation } => {
                write!(f, "locked by {who} since {since} for {operation} (lock {id})")
            }
            Self::Http { id } => {
                let id = id.as_ref().map(|id| format!(" (lock {id})")).unwrap_or_default();
                write!(f, "locked by another run{id}; with the backend http Terraform does not report the owner")
            }
            Self::Pg => f.write_str("locked by another run; PostgreSQL does not report the owner"),
        }
    }
}

impl Diagnostic {
    /// The lock of another run, if the diagnostic reports one. A lock that could not be written, because the disk is
    /// full or the backend does not answer, has the same summary.
    pub(super) fn lock(&self, place: Option<BackendKind>) -> Option<StateLock> {
        if !self.summary.starts_with("Error acquiring the state lock") {
            return None;
        }
        // For http and pg, Terraform prints its own request as the lock; for pg also after any other failure.
        if let Some((_, id)) = self.detail.split_once("HTTP remote state already locked") {
            let id = id.lines().next().and_then(|line| line.strip_prefix(": ID="));
            return Some(StateLock::Http { id: id.map(str::to_owned) });
        }
        let held = ["Workspace is already locked", "Already locked for workspace creation"];
        if held.iter().any(|words| self.detail.contains(words)) {
            return Some(StateLock::Pg);
        }
        if place == Some(BackendKind::Pg) {
            return None;
        }
        let field = |name: &str| {
            let value = self.detail.lines().find_map(|line| line.trim().strip_prefix(name));
            value.map(|value| value.trim().to_owned())
        };
        let known = |name: &str| field(name).unwrap_or_else(|| "unknown".to_owned());
        Some(StateLock::Held {
            id: field("ID:")?,
            who: known("Who:"),
            // 2026-11-22 18:38:55.699466943 +0000 UTC
            since: known("Created:").split('.').next().unwrap_or_default().to_owned(),
            operation: known("Operation:").trim_start_matches("OperationType").to_lowercase(),
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.summary)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        match (&self.address, &self.range) {
            (Some(address), Some(range)) => write!(f, " ({address}, {}:{})", range.filename, range.start.line),
            (Some(address), None) => write!(f, " ({address})"),
            (None, Some(range)) => write!(f, " ({}:{})", range.filename, range.start.line),
            (None, None) => Ok(()),
        }
    }
}

/// A line that becomes an event of its own.
#[derive(Debug)]
pub(super) enum Said {
    Diagnostic(Diagnostic),
    Resource(Event),
}

#[derive(Deserialize)]
struct Message {
    r#type: String,
    #[serde(default)]
    diagnostic: Option<Diagnostic>,
    #[serde(default)]
    hook: Option<Hook>,
}

#[derive(Deserialize)]
struct Hook {
    resource: Resource,
    #[serde(default)]
    action: String,
    #[serde(default)]
    elapsed_seconds: Option<u64>,
}

#[derive(Deserialize)]
struct Resource {
    addr: String,
}

/// Reads one line. Lines that are not JSON, and messages of a kind that hactl does not know, give `None`; the run
/// record has them.
pub(super) fn interpret(line: &str) -> Option<Said> {
    let message: Message = serde_json::from_str(line).ok()?;
    let state = match message.r#type.as_str() {
        "diagnostic" => return message.diagnostic.map(Said::Diagnostic),
        "apply_start" => ResourceState::Started,
        "apply_progress" => ResourceState::Progress,
        "apply_complete" => ResourceState::Done,
        "apply_errored" => ResourceState::Failed,
        _ => return None,
    };
    let hook = message.hook?;
    Some(Said::Resource(Event::Resource {
        address: hook.resource.addr,
        action: hook.action,
        state,
        elapsed_ms: hook.elapsed_seconds.map(|seconds| seconds * 1000),
    }))
}

/// The diagnostics in the answer of `terraform validate -json`.
pub(super) fn diagnostics(json: &str) -> Vec<Diagnostic> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        diagnostics: Vec<Diagnostic>,
    }
    serde_json::from_str::<Answer>(json).map(|answer| answer.diagnostics).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_progress_is_read_as_an_event() {
        let line = r#"{"@level":"info","@message":"x","type":"apply_complete","hook":{"resource":{"addr":"hactl_node.this[\"a\"]","resource_key":"a"},"action":"create","id_key":"id","elapsed_seconds":3}}"#;
        let Some(Said::Resource(Event::Resource { address, action, state, elapsed_ms })) = interpret(line) else {
            panic!("not a resource");
        };
        assert_eq!((address.as_str(), action.as_str()), ("hactl_node.this[\"a\"]", "create"));
        assert_eq!((state, elapsed_ms), (ResourceState::Done, Some(3000)));
    }

    #[test]
    fn diagnostic_keeps_its_address_and_line() {
        let line = r#"{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Invalid memory","detail":"It is 1.","address":"hactl_node.a","range":{"filename":"main.tf","start":{"line":7,"column":1,"byte":0},"end":{"line":7,"column":2,"byte":1}}}}"#;
        let Some(Said::Diagnostic(diagnostic)) = interpret(line) else { panic!("not a diagnostic") };
        assert_eq!(diagnostic.to_string(), "Invalid memory: It is 1. (hactl_node.a, main.tf:7)");
    }

    #[test]
    fn held_state_lock_is_read_with_its_holder() {
        let line = r#"{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Error acquiring the state lock","detail":"Error message: resource temporarily unavailable\nLock Info:\n  ID:        edb14993-2aa3-dc84-4f33-41f3c68a348d\n  Path:      terraform.tfstate\n  Operation: OperationTypeApply\n  Who:       root@vm\n  Version:   1.11.4\n  Created:   2026-11-22 18:38:55.699466943 +0000 UTC\n  Info:      \n\n\nTerraform acquires a state lock"}}"#;
        let Some(Said::Diagnostic(diagnostic)) = interpret(line) else { panic!("not a diagnostic") };
        let held = StateLock::Held {
            id: "edb14993-2aa3-dc84-4f33-41f3c68a348d".to_owned(),
            who: "root@vm".to_owned(),
            since: "2026-11-22 18:38:55".to_owned(),
            operation: "apply".to_owned(),
        };
        assert_eq!(diagnostic.lock(None), Some(held.clone()));
        assert_eq!(
            held.to_string(),
            "locked by root@vm since 2026-11-22 18:38:55 for apply (lock edb14993-2aa3-dc84-4f33-41f3c68a348d)"
        );
        // The backend http: the lock's ID, and below it the request of this Terraform.
        let http = |said: &str| {
            let detail = format!(
                "Error message: HTTP remote state already locked{said}\\nLock Info:\\n  ID:        f63678a2\\n  Who:       me@here"
            );
            let line = format!(
                r#"{{"type":"diagnostic","diagnostic":{{"severity":"error","summary":"Error acquiring the state lock","detail":"{detail}"}}}}"#
            );
            let Some(Said::Diagnostic(diagnostic)) = interpret(&line) else { panic!("not a diagnostic") };
            diagnostic.lock(Some(BackendKind::Http)).unwrap()
        };
        assert_eq!(http(": ID=abc-1"), StateLock::Http { id: Some("abc-1".to_owned()) });
        assert_eq!(http(", failed to unmarshal body"), StateLock::Http { id: None });
        let line =
            r#"{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Invalid memory","detail":"ID: 1"}}"#;
        let Some(Said::Diagnostic(diagnostic)) = interpret(line) else { panic!("not a diagnostic") };
        assert_eq!(diagnostic.lock(None), None);
    }

    #[test]
    fn state_lock_that_could_not_be_written_has_no_holder() {
        let lock = |place, said: &str| {
            let line = format!(
                r#"{{"type":"diagnostic","diagnostic":{{"severity":"error","summary":"Error acquiring the state lock","detail":"Error message: {said}"}}}}"#
            );
            let Some(Said::Diagnostic(diagnostic)) = interpret(&line) else { panic!("not a diagnostic") };
            diagnostic.lock(place)
        };
        let full = "could not write lock info for \\\"terraform.tfstate\\\": write .terraform.tfstate.lock.info: no space left on device";
        assert_eq!(lock(None, full), None);
        // With pg, Terraform prints its own request in this case as well.
        let request = "\\nLock Info:\\n  ID:        f63678a2\\n  Who:       me@here";
        let pg = |said: &str| lock(Some(BackendKind::Pg), &format!("{said}{request}"));
        assert_eq!(pg("dial tcp 127.0.0.1:5432: connect: connection refused"), None);
        assert_eq!(pg("Workspace is already locked: default"), Some(StateLock::Pg));
        assert_eq!(pg("Already locked for workspace creation: default"), Some(StateLock::Pg));
        assert_eq!(lock(Some(BackendKind::Http), "Unexpected HTTP response code 500"), None);
        assert_eq!(lock(Some(BackendKind::Consul), "Unexpected response code: 403 (Permission denied)"), None);
    }

    #[test]
    fn unknown_messages_are_ignored() {
        assert!(interpret("plain text").is_none());
        assert!(interpret(r#"{"type":"new_kind","hook":{}}"#).is_none());
        assert!(interpret(r#"{"type":"refresh_start","hook":{"resource":{"addr":"a"}}}"#).is_none());
        assert!(diagnostics("not json").is_empty());
    }
}
