//! The PostgreSQL servers of a cluster as a look has just seen them: what rules of safety and the next restart depend on.

use std::collections::BTreeMap;

use crate::model::InstanceKey;

/// All servers, and what holds for the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    pub members: BTreeMap<InstanceKey, Server>,
    /// How many replicas must have a commit before it is acknowledged.
    pub synchronous: usize,
    /// What is wrong with etcd; none while every voter is well.
    pub etcd: Option<String>,
    /// Whether Patroni is paused.
    pub paused: bool,
    /// When Patroni switches over by itself, if it was told to.
    pub scheduled: Option<String>,
    /// What is wrong with the cluster, and with no member alone.
    pub problems: Vec<String>,
}

/// One server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    pub state: ServerState,
    pub leads: bool,
    /// Whether its acknowledgement of a commit counts.
    pub acknowledges: bool,
    /// Whether its tags let it lead.
    pub may_lead: bool,
    /// The process of a backup that is copied from it.
    pub backup: Option<i32>,
    /// What is wrong with it.
    pub problems: Vec<String>,
    pub restart: Restart,
}

/// How a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServerState {
    /// It leads, or streams from the one that does.
    #[default]
    Serves,
    /// It runs and does not stream: what it does instead.
    Runs(String),
    /// It is on its way down or up: what it does.
    Returns(String),
    /// Patroni does not answer there, or cannot start it: what was seen.
    Away(String),
}

/// What a rolling restart has still to do with a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Nothing was asked of it.
    #[default]
    NotAsked,
    Due,
    Done,
    /// A restart of one member after the other does not bring about what was asked: why.
    Futile(String),
}

impl Servers {
    /// The server that leads.
    pub(super) fn leader(&self) -> Option<(&InstanceKey, &Server)> {
        self.members.iter().find(|(_, server)| server.leads)
    }

    /// The primary, if it is to hand over before its server restarts.
    #[must_use]
    pub fn hands_over(&self) -> Option<&InstanceKey> {
        let due = self.leader().filter(|(_, server)| server.restart == Restart::Due);
        due.filter(|_| self.members.len() > 1).map(|(key, _)| key)
    }

    /// All servers but `member`.
    pub(super) fn others<'a>(&'a self, member: &'a InstanceKey) -> impl Iterator<Item = (&'a InstanceKey, &'a Server)> {
        self.members.iter().filter(move |(key, _)| *key != member)
    }
}
