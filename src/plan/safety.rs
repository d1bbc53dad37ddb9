//! Whether a member may stop now, and why not: pure rules, in one place.

use std::fmt;

use super::servers::{Server, ServerState, Servers};
use crate::model::{ClusterName, InstanceKey};

/// Why a member may not stop now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsafe {
    /// The cluster is degraded: what is wrong with it.
    Degraded(Vec<String>),
    /// Another member is about to stop in the same step.
    AnotherStops(InstanceKey),
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Degraded(problems) => write!(f, "the cluster is degraded: {}", problems.join("; ")),
            Self::AnotherStops(other) => write!(f, "{other} would stop in the same step"),
        }
    }
}

/// Whether `member` may stop: only while the cluster has no problem, and no other member of `stopping` stops with it.
///
/// # Errors
/// With the reason why it may not.
pub fn may_stop<'a>(
    member: &InstanceKey,
    mut stopping: impl Iterator<Item = &'a InstanceKey>,
    problems: &[String],
) -> Result<(), Unsafe> {
    if let Some(other) = stopping.find(|other| *other != member) {
        return Err(Unsafe::AnotherStops(other.clone()));
    }
    if problems.is_empty() { Ok(()) } else { Err(Unsafe::Degraded(problems.to_vec())) }
}

/// Why a PostgreSQL server may not stop now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// No server leads and accepts writes.
    NoLeader,
    /// A server is not where it should be.
    Absent(InstanceKey, String),
    /// Something is wrong with a server that serves.
    Unwell(InstanceKey, String),
    /// Something is wrong with the cluster.
    Problem(String),
    /// etcd could not elect a leader if one more voter were lost.
    Etcd(String),
    /// Patroni does not fail over.
    Paused,
    /// Patroni is about to switch over by itself.
    Scheduled(String),
    /// A process copies a backup from the server.
    Backup(InstanceKey, i32),
    /// Too few of the other replicas would have each commit.
    Synchronous { member: InstanceKey, others: usize, needed: usize },
    /// No replica may become the primary.
    NoCandidate(InstanceKey),
    /// Restarts one after the other do not bring about what was asked.
    Futile(InstanceKey, String),
}

impl Hindrance {
    /// Whether it may end by itself within seconds, for example after a restart.
    #[must_use]
    pub const fn passes(&self) -> bool {
        match self {
            Self::NoLeader
            | Self::Absent(..)
            | Self::Unwell(..)
            | Self::Problem(_)
            | Self::Etcd(_)
            | Self::Synchronous { .. } => true,
            Self::Paused | Self::Scheduled(_) | Self::Backup(..) | Self::NoCandidate(_) | Self::Futile(..) => false,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self, cluster: &ClusterName) -> String {
        match self {
            Self::NoLeader | Self::Absent(..) | Self::Unwell(..) | Self::Problem(_) => {
                format!("Run `hactl status {cluster}`, and repair this first")
            }
            Self::Etcd(_) => "Repair etcd first".to_owned(),
            Self::Paused => "Run `patronictl resume` to end the pause".to_owned(),
            Self::Scheduled(_) => {
                format!("Wait until it has happened, or run `patronictl flush {cluster} switchover` to cancel it")
            }
            Self::Backup(..) => "Wait until the backup has ended".to_owned(),
            Self::Synchronous { .. } => {
                format!("Wait until `hactl status {cluster}` shows the other replicas as synchronous")
            }
            Self::NoCandidate(_) => "Remove the tag that forbids a replica to lead".to_owned(),
            Self::Futile(..) => format!("Run `hactl up {cluster}`, which restarts in the order that the change needs"),
        }
    }
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeader => f.write_str("the cluster has no primary that accepts writes"),
            Self::Absent(key, words) | Self::Unwell(key, words) | Self::Futile(key, words) => {
                write!(f, "{key}: {words}")
            }
            Self::Problem(words) => f.write_str(words),
            Self::Etcd(words) => write!(f, "etcd is not healthy: {words}"),
            Self::Paused => f.write_str("Patroni is paused: it would not fail over"),
            Self::Scheduled(when) => write!(f, "a switchover is scheduled in Patroni for {when}"),
            Self::Backup(key, pid) => write!(f, "{key}: process {pid} copies a backup from it, which a stop would end"),
            Self::Synchronous { member, others, needed } => {
                write!(f, "replicas besides {member} that acknowledge commits: {others}; the durability needs {needed}")
            }
            Self::NoCandidate(key) => write!(f, "the tags keep every replica of {key} from becoming the primary"),
        }
    }
}

/// Everything that forbids the server of `member` to stop now. Its own problems do not, unless it leads: a restart may
/// repair it, and it serves no client while it does not stream.
#[must_use]
pub fn forbids_stop(member: &InstanceKey, servers: &Servers) -> Vec<Hindrance> {
    let mut found = Vec::new();
    if servers.paused {
        found.push(Hindrance::Paused);
    }
    found.extend(servers.scheduled.clone().map(Hindrance::Scheduled));
    found.extend(servers.etcd.clone().map(Hindrance::Etcd));
    found.extend(servers.problems.iter().cloned().map(Hindrance::Problem));
    if servers.leader().is_none() {
        found.push(Hindrance::NoLeader);
    }
    for (key, other) in servers.others(member) {
        found.extend(trouble(key, other));
    }
    let Some(server) = servers.members.get(member) else { return found };
    match &server.state {
        ServerState::Returns(words) | ServerState::Away(words) => {
            found.push(Hindrance::Absent(member.clone(), words.clone()));
        }
        ServerState::Serves | ServerState::Runs(_) if server.leads => found.extend(trouble(member, server)),
        ServerState::Serves | ServerState::Runs(_) => {}
    }
    found.extend(server.backup.map(|pid| Hindrance::Backup(member.clone(), pid)));
    if !server.leads {
        let replicas = servers.others(member).filter(|(_, other)| !other.leads);
        let (replicas, acknowledge) = replicas.fold((0, 0), |(replicas, acknowledge), (_, other)| {
            (replicas + 1, acknowledge + usize::from(other.acknowledges && other.state == ServerState::Serves))
        });
        // The only replica cannot leave another one behind.
        let needed = servers.synchronous.min(replicas);
        if acknowledge < needed {
            found.push(Hindrance::Synchronous { member: member.clone(), others: acknowledge, needed });
        }
    }
    found
}

/// Everything that forbids the primary `leader` to hand over to a replica now.
#[must_use]
pub fn forbids_hand_over(leader: &InstanceKey, servers: &Servers) -> Vec<Hindrance> {
    let mut found = forbids_stop(leader, servers);
    let mut candidates = servers.others(leader).filter(|(_, server)| server.may_lead).peekable();
    if candidates.peek().is_none() {
        found.push(Hindrance::NoCandidate(leader.clone()));
        return found;
    }
    // The members vote: one whose acknowledgement does not count can lack the last commits.
    if servers.synchronous > 0 && !candidates.any(|(_, server)| server.acknowledges) {
        found.push(Hindrance::Synchronous { member: leader.clone(), others: 0, needed: 1 });
    }
    found
}

/// What is wrong with a server.
fn trouble(key: &InstanceKey, server: &Server) -> Vec<Hindrance> {
    match &server.state {
        ServerState::Serves => {
            server.problems.iter().map(|words| Hindrance::Unwell(key.clone(), words.clone())).collect()
        }
        // A problem says it with more words.
        _ if !server.problems.is_empty() => {
            server.problems.iter().map(|words| Hindrance::Absent(key.clone(), words.clone())).collect()
        }
        ServerState::Runs(words) | ServerState::Returns(words) | ServerState::Away(words) => {
            vec![Hindrance::Absent(key.clone(), words.clone())]
        }
    }
}
