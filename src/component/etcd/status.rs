//! etcd as `hactl status` shows it.

use schemars::JsonSchema;
use serde::Serialize;

/// The members of etcd, and whether they are healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Etcd {
    /// Whether every voter answers, votes and has raised no alarm, and one of them leads.
    pub healthy: bool,
    /// The name of etcd's leader; null if etcd has no leader, or no member answers.
    pub leader: Option<String>,
    /// The members in etcd's own list.
    pub members: Vec<EtcdMember>,
}

/// A member, as etcd lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EtcdMember {
    /// The member's name: its instance's key.
    pub name: String,
    /// Hexadecimal, as etcdctl prints it.
    pub id: String,
    /// Whether it is the leader.
    pub leader: bool,
    /// Whether it is a learner, which does not vote yet.
    pub learner: bool,
}
