//! What a Patroni member says of itself (`/patroni`) and of the cluster (`/cluster`).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::service::endpoint;
use crate::{
    access::Access,
    component::probe::{self, Answer, Observed, ProbeError, Question, Reached},
    fleet::FleetNode,
    model::Durability,
    ssh::Remote,
};

/// One member's answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PatroniView {
    pub itself: Itself,
    /// The cluster as the member read it from etcd; absent while it has never read it.
    pub cluster: Option<Cluster>,
    /// The configuration that the members share; empty while the member does not know it.
    pub configuration: serde_json::Map<String, serde_json::Value>,
    /// Where the timelines before the leader's ended, as WAL positions; asked of a leader that a member does not follow.
    pub history: BTreeMap<u64, u64>,
}

impl PatroniView {
    /// Whether the member leads on a history that has no timeline of this number. A history that ends before the leader's own
    /// timeline is not written to its end yet.
    pub(super) fn has_left_out(&self, timeline: u64) -> bool {
        let (Some(own), true) = (self.itself.timeline, self.itself.role == "primary") else { return false };
        let last = self.history.keys().next_back().copied().unwrap_or_default();
        timeline > own || (last < own && last > timeline && !self.history.contains_key(&timeline))
    }

    /// How many replicas hold a commit, by the configuration.
    #[must_use]
    pub fn synchronous_nodes(&self) -> Option<u32> {
        self.configuration.get("synchronous_node_count")?.as_u64()?.try_into().ok()
    }

    /// PostgreSQL's parameters in the configuration.
    #[must_use]
    pub fn parameters(&self) -> BTreeMap<String, serde_json::Value> {
        let server = self.configuration.get("postgresql").and_then(|server| server.get("parameters")?.as_object());
        server.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// `GET /patroni`; the field names are Patroni's.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Itself {
    #[serde(default)]
    pub state: String,
    #[serde(default)]
    pub role: String,
    #[serde(default)]
    pub timeline: Option<u64>,
    #[serde(default)]
    pub pending_restart: bool,
    #[serde(default)]
    pub cluster_unlocked: bool,
    #[serde(default)]
    pub failsafe_mode_is_active: bool,
    #[serde(default)]
    pub pause: bool,
    #[serde(default)]
    pub replication_state: Option<String>,
    #[serde(default)]
    pub database_system_identifier: Option<String>,
    /// What Patroni says of itself.
    #[serde(default)]
    pub patroni: Version,
    /// As `server_version_num`.
    #[serde(default)]
    pub server_version: u32,
    /// When the server that runs was started, in Patroni's words; none while no server accepts connections.
    #[serde(default)]
    pub postmaster_start_time: Option<String>,
    /// The parameters that wait for a restart.
    #[serde(default)]
    pub pending_restart_reason: BTreeMap<String, Pending>,
    /// Positions in the WAL.
    #[serde(default)]
    pub xlog: Xlog,
    /// The member's own tags, for example `nofailover`.
    #[serde(default)]
    pub tags: BTreeMap<String, serde_json::Value>,
}

/// Part of `GET /patroni`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Xlog {
    /// Of the primary.
    #[serde(default)]
    pub location: Option<u64>,
    /// Of a replica.
    #[serde(default)]
    pub replayed_location: Option<u64>,
}

/// Part of `GET /patroni`: a parameter as the server has it, and as it is set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Pending {
    #[serde(default)]
    pub old_value: serde_json::Value,
    #[serde(default)]
    pub new_value: serde_json::Value,
}

/// A standby must have at least as much of these as its primary, and starts with the value of its primary where it has less.
const TIED: [&str; 5] = [
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
];

impl Pending {
    /// The numbers, where the parameter is one that a standby shares with its primary, and becomes smaller.
    fn lowered(&self) -> Option<(i64, i64)> {
        let number = |value: &serde_json::Value| value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
        let (old, new) = (number(&self.old_value)?, number(&self.new_value)?);
        (new < old).then_some((old, new))
    }
}

/// Part of `GET /patroni`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Version {
    #[serde(default)]
    pub version: String,
}

impl Itself {
    /// The limits that wait for a restart and become smaller: a standby keeps the larger value of its primary. Each with the
    /// old and the new value.
    pub(crate) fn lowered(&self) -> impl Iterator<Item = (&str, i64, i64)> {
        let tied = TIED.iter().filter_map(|name| Some((*name, self.pending_restart_reason.get(*name)?.lowered()?)));
        tied.map(|(name, (old, new))| (name, old, new))
    }

    /// Patroni 3 says master where Patroni 4 says primary.
    fn use_the_words_of_today(&mut self) {
        if self.role == "master" {
            self.role = "primary".to_owned();
        }
    }
}

/// `GET /cluster`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Cluster {
    #[serde(default)]
    pub members: Vec<Member>,
    #[serde(default)]
    pub pause: bool,
    /// A switchover that Patroni makes by itself at its time.
    #[serde(default)]
    pub scheduled_switchover: Option<Scheduled>,
}

/// Part of `GET /cluster`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Scheduled {
    #[serde(default)]
    pub at: String,
}

impl Cluster {
    /// Whether the members may be on more than one timeline. That of a member whose PostgreSQL does not run is not known.
    fn has_timelines(&self) -> bool {
        let mut timelines = self.members.iter().map(|member| member.timeline);
        let first = timelines.next().flatten();
        first.is_none() || timelines.any(|timeline| timeline != first)
    }
}

/// A member as `/cluster` lists it: role and state are Patroni's words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    pub role: String,
    pub state: String,
    #[serde(default)]
    pub timeline: Option<u64>,
    /// Bytes, or the word `unknown`; absent on the leader.
    #[serde(default)]
    pub lag: Option<serde_json::Value>,
    #[serde(default)]
    pub tags: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    pub pending_restart: bool,
}

impl Member {
    /// The lag in bytes, when it is known.
    #[must_use]
    pub fn lag_bytes(&self) -> Option<u64> {
        self.lag.as_ref().and_then(serde_json::Value::as_u64)
    }

    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(self.role.as_str(), "leader" | "standby_leader")
    }

    /// Whether its acknowledgement counts. Patroni lets a replica that has joined count from its next turns on.
    #[must_use]
    pub fn acknowledges(&self, durability: Durability) -> bool {
        match durability {
            Durability::QuorumStrict | Durability::Quorum => self.role == "quorum_standby",
            Durability::SyncStrict | Durability::Sync => self.role == "sync_standby",
            Durability::Async => true,
        }
    }

    /// Whether its tags let it lead.
    #[must_use]
    pub fn may_lead(&self) -> bool {
        let tag = |name: &str| self.tags.get(name);
        let is_barred = tag("nofailover").is_some_and(|value| value == true);
        let is_last = tag("failover_priority").and_then(serde_json::Value::as_i64).is_some_and(|value| value <= 0);
        !is_barred && !is_last
    }
}

/// Asks one member what it is itself.
pub(crate) async fn itself(access: &Access, node: &FleetNode) -> Observed<Itself> {
    let remote = probe::reach(access, node).await?;
    let answer = get(&remote, access, node, "/patroni").await?;
    let mut itself: Itself = serde_json::from_slice(&answer.body).map_err(unreadable("/patroni"))?;
    itself.use_the_words_of_today();
    Ok(itself)
}

/// Asks one member for all members, in Patroni's words.
pub(crate) async fn members(access: &Access, node: &FleetNode) -> Observed<Vec<Member>> {
    let remote = probe::reach(access, node).await?;
    let answer = get(&remote, access, node, "/cluster").await?;
    let cluster: Cluster = serde_json::from_slice(&answer.body).map_err(unreadable("/cluster"))?;
    Ok(cluster.members)
}

/// Asks one member who leads, in Patroni's words; none where no member does.
pub(crate) async fn leader(access: &Access, node: &FleetNode) -> Observed<Option<String>> {
    let members = members(access, node).await?;
    Ok(members.into_iter().find(Member::is_leader).map(|leader| leader.name))
}

/// The members that the primary asks before it runs on without etcd; none where failsafe mode is off.
pub(crate) async fn failsafe(access: &Access, node: &FleetNode) -> Observed<Option<BTreeSet<String>>> {
    let remote = probe::reach(access, node).await?;
    let answer = get(&remote, access, node, "/failsafe").await?;
    if answer.status != 200 {
        return Ok(None);
    }
    let members: BTreeMap<String, String> = serde_json::from_slice(&answer.body).map_err(unreadable("/failsafe"))?;
    Ok(Some(members.into_keys().collect()))
}

/// What Patroni's dynamic configuration is, as one member knows it.
pub(crate) async fn config(access: &Access, node: &FleetNode) -> Observed<serde_json::Value> {
    let remote = probe::reach(access, node).await?;
    let answer = get(&remote, access, node, "/config").await?;
    match answer.status {
        200 => serde_json::from_slice(&answer.body).map_err(unreadable("/config")),
        status => Err(ProbeError::Other(format!("Patroni answered {status} to /config"))),
    }
}

fn unreadable(path: &str) -> impl Fn(serde_json::Error) -> ProbeError {
    move |error| ProbeError::Other(format!("could not read Patroni's answer to {path}: {error}"))
}

async fn get(remote: &Remote, access: &Access, node: &FleetNode, path: &str) -> Observed<Answer> {
    probe::http(remote, &access.keys.patroni_tls, &endpoint(node), Question::get(path)).await
}

/// Asks one member about itself and the cluster.
///
/// # Errors
/// What was seen instead of an answer.
pub(crate) async fn ask(Reached { remote, access, fleet, node }: Reached<'_>) -> Observed<PatroniView> {
    let asked = |path| get(remote, access, node, path);
    let (itself, cluster, configuration) = tokio::join!(asked("/patroni"), asked("/cluster"), asked("/config"));
    let mut itself: Itself = serde_json::from_slice(&itself?.body).map_err(unreadable("/patroni"))?;
    itself.use_the_words_of_today();
    // Patroni answers 503 here while it has not reached etcd yet.
    let mut cluster: Option<Cluster> = cluster.ok().and_then(|answer| serde_json::from_slice(&answer.body).ok());
    for member in cluster.iter_mut().flat_map(|cluster| &mut cluster.members) {
        member.name = fleet.key_of(&member.name);
    }
    // Patroni answers 502 while etcd has no configuration.
    let configuration = configuration.ok().filter(|answer| answer.status == 200);
    let configuration = configuration.and_then(|answer| serde_json::from_slice(&answer.body).ok()).unwrap_or_default();
    let history = match &cluster {
        Some(cluster) if itself.role == "primary" && cluster.has_timelines() => {
            get(remote, access, node, "/history").await.map(|answer| history(&answer.body)).unwrap_or_default()
        }
        _ => BTreeMap::new(),
    };
    Ok(PatroniView { itself, cluster, configuration, history })
}

/// `GET /history`: a list of timelines, each with the position at which it ended.
fn history(body: &[u8]) -> BTreeMap<u64, u64> {
    let lines: Vec<Vec<serde_json::Value>> = serde_json::from_slice(body).unwrap_or_default();
    lines.iter().filter_map(|line| Some((line.first()?.as_u64()?, line.get(1)?.as_u64()?))).collect()
}

/// Asks the member `leader`, which leads, to hand over. Patroni answers when it is done, but
/// refuses at once: the text of an error is its refusal, and no word within `patience` is consent.
pub(crate) async fn switchover(access: &Access, leader: &FleetNode, patience: Duration) -> Observed<()> {
    change(access, leader, "/switchover", json!({"leader": leader.member()}), patience).await
}

/// Asks a member to restart its server, if it still is a primary or still is none. Patroni lets a replica first be left out
/// of those whose acknowledgement counts. It answers as [`switchover`] does; a restart that it makes already is consent.
pub(crate) async fn restart(access: &Access, node: &FleetNode, leads: bool, patience: Duration) -> Observed<()> {
    let role = if leads { "primary" } else { "replica" };
    match change(access, node, "/restart", json!({"role": role}), patience).await {
        // Patroni tells it by words alone.
        Err(ProbeError::Other(said)) if said.contains("restart already in progress") => Ok(()),
        done => done,
    }
}

/// Sends a request that Patroni answers when it is done, and refuses at once.
async fn change(
    access: &Access,
    node: &FleetNode,
    path: &str,
    body: serde_json::Value,
    patience: Duration,
) -> Observed<()> {
    let remote = &probe::reach(access, node).await?;
    let mut question = Question::post(path, body.to_string());
    if let Some(login) = &access.keys.restapi {
        question = question.by(login);
    }
    let endpoint = endpoint(node);
    let asked = probe::http(remote, &access.keys.patroni_tls, &endpoint, question);
    match tokio::time::timeout(patience, asked).await {
        Ok(Ok(answer)) if answer.status >= 400 => {
            let body = String::from_utf8_lossy(&answer.body);
            Err(ProbeError::Other(format!("Patroni answered {}: {}", answer.status, body.trim())))
        }
        Ok(Err(said)) => Err(said),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_of_the_leader_is_where_timelines_ended() {
        let body =
            br#"[[1, 83886240, "no recovery target specified", "2026-01-01T00:00:00+00:00", "node2"], [2, 100, "x"]]"#;
        assert_eq!(history(body), BTreeMap::from([(1, 83_886_240), (2, 100)]));
        assert_eq!(history(b"[]"), BTreeMap::new());
        let replica =
            br#"{"role": "replica", "timeline": 1, "xlog": {"received_location": 9, "replayed_location": 8}}"#;
        let replica: Itself = serde_json::from_slice(replica).unwrap();
        assert_eq!(replica.xlog.replayed_location, Some(8));
    }

    #[test]
    fn limit_that_a_standby_shares_is_lowered_only_where_its_number_becomes_smaller() {
        let lowered = |reason: &str| {
            let itself: Itself = serde_json::from_str(&format!(r#"{{"pending_restart_reason": {reason}}}"#)).unwrap();
            itself.lowered().map(|(name, old, new)| format!("{name} {old} {new}")).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(lowered("{}"), none);
        let both = r#"{"max_connections": {"old_value": "150", "new_value": "100"},
                       "max_wal_senders": {"old_value": "5", "new_value": "10"}}"#;
        assert_eq!(lowered(both), ["max_connections 150 100"]);
        assert_eq!(lowered(r#"{"max_wal_senders": {"old_value": 10, "new_value": 5}}"#), ["max_wal_senders 10 5"]);
        let memory = r#"{"shared_buffers": {"old_value": "256MB", "new_value": "128MB"}}"#;
        assert_eq!(lowered(memory), none);
    }
}
