//! The servers as they were seen -> the next step of a rolling restart: pure, and asked again after each step. A run that
//! was killed needs no log of its steps: the next run computes the same step.

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::fmt;

use super::{
    safety::{Hindrance, forbids_hand_over, forbids_stop},
    servers::{Restart, Server, ServerState, Servers},
};
use crate::model::InstanceKey;

/// One step of a rolling restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartStep {
    /// The server of a replica restarts.
    Replica(InstanceKey),
    /// A replica becomes the primary; the server of the old one starts again as a replica.
    HandOver(InstanceKey),
    /// The server of a primary without replicas restarts.
    Alone(InstanceKey),
}

impl RestartStep {
    /// The member whose server stops.
    #[must_use]
    pub const fn member(&self) -> &InstanceKey {
        let (Self::Replica(key) | Self::HandOver(key) | Self::Alone(key)) = self;
        key
    }
}

impl fmt::Display for RestartStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(key) => write!(f, "restart {key}"),
            Self::HandOver(key) => write!(f, "hand over from {key}"),
            Self::Alone(key) => write!(f, "restart {key}, which has no replica"),
        }
    }
}

/// What a rolling restart does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Every server that had to has restarted, and serves.
    Done,
    Take(RestartStep),
    /// Something that may end by itself forbids the step that is due.
    Wait(Vec<Hindrance>),
    /// Something else forbids it, too.
    Refuse(Vec<Hindrance>),
}

/// The step that comes next. Replicas restart first. The primary is last, and hands over: its server then starts as that of
/// a replica, and needs no other restart.
#[must_use]
pub fn next_restart(servers: &Servers) -> Next {
    let futile = servers.members.iter().filter_map(|(key, server)| match &server.restart {
        Restart::Futile(why) => Some(Hindrance::Futile(key.clone(), why.clone())),
        _ => None,
    });
    let futile: Vec<Hindrance> = futile.collect();
    if !futile.is_empty() {
        return Next::Refuse(futile);
    }
    let mut due: Vec<_> = servers.members.iter().filter(|(_, server)| server.restart == Restart::Due).collect();
    // First those that are missed least: they do not stream, or no commit waits for them.
    due.sort_by_key(|(key, server)| (server.leads, !is_unwell(server), server.acknowledges, (*key).clone()));
    let Some((key, server)) = due.first() else { return settled(servers) };
    let key = (*key).clone();
    let (step, forbidden) = match (server.leads, servers.members.len()) {
        (false, _) => (RestartStep::Replica(key.clone()), forbids_stop(&key, servers)),
        (true, 1) => (RestartStep::Alone(key.clone()), forbids_stop(&key, servers)),
        (true, _) => (RestartStep::HandOver(key.clone()), forbids_hand_over(&key, servers)),
    };
    hindered(forbidden).unwrap_or(Next::Take(step))
}

/// A server that a restart may repair.
const fn is_unwell(server: &Server) -> bool {
    matches!(server.state, ServerState::Runs(_))
}

/// The end, once every server that has restarted serves again.
fn settled(servers: &Servers) -> Next {
    let restarted = servers.members.iter().filter(|(_, server)| server.restart == Restart::Done);
    let absent = restarted.filter_map(|(key, server)| match &server.state {
        ServerState::Serves => None,
        ServerState::Runs(words) | ServerState::Returns(words) | ServerState::Away(words) => {
            Some(Hindrance::Absent(key.clone(), words.clone()))
        }
    });
    let mut absent: Vec<Hindrance> = absent.collect();
    if servers.leader().is_none() {
        absent.push(Hindrance::NoLeader);
    }
    hindered(absent).unwrap_or(Next::Done)
}

fn hindered(found: Vec<Hindrance>) -> Option<Next> {
    if found.is_empty() {
        return None;
    }
    Some(if found.iter().all(Hindrance::passes) { Next::Wait(found) } else { Next::Refuse(found) })
}

/// The steps of a rolling restart in which nothing goes wrong, up to what forbids one: what a run is about to do, and what
/// speaks against it.
#[must_use]
pub fn course(servers: &Servers) -> (Vec<RestartStep>, Vec<Hindrance>) {
    let mut servers = servers.clone();
    let mut steps = Vec::new();
    loop {
        match next_restart(&servers) {
            Next::Done => return (steps, Vec::new()),
            Next::Wait(found) | Next::Refuse(found) => return (steps, found),
            Next::Take(step) => {
                take(&mut servers, &step);
                steps.push(step);
            }
        }
    }
}

/// The servers after a step in which nothing went wrong.
fn take(servers: &mut Servers, step: &RestartStep) {
    let key = step.member();
    if matches!(step, RestartStep::HandOver(_)) {
        let fit = |server: &Server| server.may_lead && (server.acknowledges || servers.synchronous == 0);
        let successor = servers.others(key).find(|(_, server)| fit(server)).map(|(key, _)| key.clone());
        for (other, server) in &mut servers.members {
            server.leads = Some(other) == successor.as_ref();
        }
    }
    if let Some(server) = servers.members.get_mut(key) {
        // One that streams again counts again.
        server.acknowledges |= is_unwell(server) && !server.leads;
        server.restart = Restart::Done;
        server.state = ServerState::Serves;
        server.problems.clear();
    }
}
