//! What components find in the observations: problems by name, each with what to do about it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    etcd::Etcd,
    patroni::Member,
    pgbouncer::PoolerState,
    postgres::{ArchiverView, ReplayLag, SlotView},
    probe::ProbeError,
};
use crate::{error::codes, model::InstanceKey, ssh::FORWARD};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A stable word for scripts: docs/troubleshooting.md lists them.
    pub code: String,
    /// The instance that it was seen on; null for the whole cluster.
    pub node: Option<String>,
    /// What hactl has found.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What to do about a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    None,
    Text(String),
    /// `hactl up` does it, which is not for an adopted cluster.
    Up(String),
}

impl From<&str> for Hint {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Hint {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// All that was found so far. Each component adds to it and may read what those before it have found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What is not as it should be, in the order in which it is told.
    pub(crate) problems: Vec<Problem>,
    /// Facts that the user should know, and that do not make the cluster unhealthy.
    pub(crate) notices: Vec<Problem>,
    /// hactl did not make the cluster: hactl does not know what its settings are meant to be.
    pub(crate) adopted: bool,
    /// etcd, as its members say.
    pub(crate) etcd: Etcd,
    /// Patroni's members.
    pub(crate) members: Vec<Member>,
    /// The replication slots of the primary.
    pub(crate) slots: Vec<SlotView>,
    /// The poolers of the entry point.
    pub(crate) poolers: Vec<PoolerState>,
    /// How far the standbys of the primary are behind with their replay.
    pub(crate) replay: BTreeMap<String, ReplayLag>,
    /// The archiver of the primary; none without backups.
    pub(crate) archiver: Option<ArchiverView>,
    /// The machine that leads.
    pub(crate) leader: Option<InstanceKey>,
    /// Machines whose lease guard has not proved that it would stop a primary.
    pub(crate) unproved: Vec<InstanceKey>,
}

/// What to do about a login that is refused.
const LOGIN: &str = "Check that this cluster was created with this NAME.secrets.age; if `hactl up` got passwords from \
                     HACTL_SECRET_ variables, set the same variables";

impl Findings {
    /// Adds a problem.
    pub(crate) fn add(
        &mut self,
        code: &str,
        node: Option<&InstanceKey>,
        message: impl Into<String>,
        hint: impl Into<Hint>,
    ) {
        let problem = self.problem(code, node, message.into(), hint.into());
        self.problems.push(problem);
    }

    /// Adds a notice.
    pub(crate) fn notice(
        &mut self,
        code: &str,
        node: Option<&InstanceKey>,
        message: impl Into<String>,
        hint: impl Into<Hint>,
    ) {
        let notice = self.problem(code, node, message.into(), hint.into());
        self.notices.push(notice);
    }

    /// A problem of a cluster that hactl made; a notice for another cluster.
    pub(crate) fn ours(
        &mut self,
        code: &str,
        node: Option<&InstanceKey>,
        message: impl Into<String>,
        hint: impl Into<Hint>,
    ) {
        if self.adopted {
            self.notice(code, node, message, hint);
        } else {
            self.add(code, node, message, hint);
        }
    }

    /// Adds that a probe of `node` failed: under the code of its certificate or login where these are why, else `code`.
    pub(crate) fn failed(&mut self, code: &str, node: &InstanceKey, what: &str, error: &ProbeError) {
        let (code, hint) = match error {
            ProbeError::Tls(_) => (
                "certificate",
                Hint::Up(
                    "Check that this cluster was created with this NAME.secrets.age, then run `hactl up` to renew the \
                     certificates"
                        .to_owned(),
                ),
            ),
            ProbeError::Login(_) if self.adopted => (
                "authentication",
                "Set HACTL_SECRET_SUPERUSER to the password and `platform.hosts.superuser` to the role".into(),
            ),
            ProbeError::Login(_) => ("authentication", LOGIN.into()),
            ProbeError::Forwarding(_) => (codes::SSH_FORWARDING, FORWARD.into()),
            ProbeError::Refused(_) => (code, "Check the log of the unit: nothing listens on the port".into()),
            ProbeError::Timeout(_) | ProbeError::Other(_) => (code, Hint::None),
        };
        self.add(code, Some(node), format!("{what}: {error}"), hint);
    }

    /// Whether Patroni's members name this one as their leader.
    pub(crate) fn leads(&self, node: &InstanceKey) -> bool {
        self.members.iter().any(|member| member.is_leader() && member.name == node.as_str())
    }

    fn problem(&self, code: &str, node: Option<&InstanceKey>, message: String, hint: Hint) -> Problem {
        let hint = match hint {
            Hint::Text(text) => Some(text),
            Hint::Up(text) => (!self.adopted).then_some(text),
            Hint::None => None,
        };
        Problem { code: code.to_owned(), node: node.map(ToString::to_string), message, hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_probe_has_the_code_and_hint_of_its_cause() {
        let words = || "words".to_owned();
        let found = |adopted: bool, error: ProbeError| {
            let mut findings = Findings { adopted, ..Findings::default() };
            findings.failed("etcd-silent", &"node1".parse().unwrap(), "etcd does not answer", &error);
            let problem = findings.problems.remove(0);
            assert_eq!(
                (problem.node.as_deref(), problem.message.as_str()),
                (Some("node1"), "etcd does not answer: words")
            );
            (problem.code, problem.hint.unwrap_or_default())
        };
        let table: [(ProbeError, &str, &str, &str); 6] = [
            (ProbeError::Forwarding(words()), "ssh-forwarding", FORWARD, FORWARD),
            (
                ProbeError::Tls(words()),
                "certificate",
                "Check that this cluster was created with this NAME.secrets.age, then run `hactl up` to renew the \
                 certificates",
                "",
            ),
            (
                ProbeError::Login(words()),
                "authentication",
                LOGIN,
                "Set HACTL_SECRET_SUPERUSER to the password and `platform.hosts.superuser` to the role",
            ),
            (
                ProbeError::Refused(words()),
                "etcd-silent",
                "Check the log of the unit: nothing listens on the port",
                "Check the log of the unit: nothing listens on the port",
            ),
            (ProbeError::Timeout(words()), "etcd-silent", "", ""),
            (ProbeError::Other(words()), "etcd-silent", "", ""),
        ];
        for (error, code, made, adopted) in table {
            assert_eq!(found(false, error.clone()), (code.to_owned(), made.to_owned()));
            assert_eq!(found(true, error), (code.to_owned(), adopted.to_owned()));
        }
    }
}
