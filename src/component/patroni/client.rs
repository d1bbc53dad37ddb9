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

/// Part of `GET /patroni`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Version {
    #[serde(default)]
    pub version: String,
}

impl Itself {
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
    let remote = &probe::reach(access, leader).await?;
    let body = json!({"leader": leader.member()}).to_string();
    let mut question = Question::post("/switchover", body);
    if let Some(login) = &access.keys.restapi {
        question = question.by(login);
    }
    let endpoint = endpoint(leader);
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
}
