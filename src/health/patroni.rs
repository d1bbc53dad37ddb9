//! What a Patroni member says of itself (`/patroni`) and of the cluster (`/cluster`).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    observe::Access,
    probe::{self, Question},
};
use crate::{fleet::FleetNode, remote::Remote};

/// The REST API's port.
pub(super) const PORT: u16 = 8008;

/// One member's answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PatroniView {
    pub itself: Itself,
    /// The cluster as the member read it from etcd; absent while it has never read it.
    pub cluster: Option<Cluster>,
}

/// `GET /patroni`; the field names are Patroni's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
}

/// `GET /cluster`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    #[serde(default)]
    pub members: Vec<Member>,
    #[serde(default)]
    pub pause: bool,
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

/// Asks one member what it is itself. The text of an error says what was seen.
pub(crate) async fn patroni_itself(access: &Access, node: &FleetNode) -> Result<Itself, String> {
    let remote = access.connect(node).await.map_err(|error| error.causes.join("; "))?;
    let host = node.address.to_string();
    let answer = probe::https(&remote, &access.control_tls, &host, PORT, Question::get("/patroni")).await?;
    serde_json::from_slice(&answer.body).map_err(|error| format!("Patroni's /patroni: {error}"))
}

/// Asks one member. The text of an error says what was seen.
pub(super) async fn ask(remote: &Remote, tls: &Arc<ClientConfig>, host: &str) -> Result<PatroniView, String> {
    let get = |path| probe::https(remote, tls, host, PORT, Question::get(path));
    let (itself, cluster) = tokio::join!(get("/patroni"), get("/cluster"));
    let itself = serde_json::from_slice(&itself?.body).map_err(|error| format!("Patroni's /patroni: {error}"))?;
    // Patroni answers 503 here while it has not reached etcd yet.
    let cluster = cluster.ok().and_then(|answer| serde_json::from_slice(&answer.body).ok());
    Ok(PatroniView { itself, cluster })
}

/// Asks the member at `host`, which leads as `leader`, to hand over. Patroni answers when it is done, but
/// refuses at once: the text of an error is its refusal, and no word within `patience` is consent.
pub(super) async fn switchover(
    remote: &Remote,
    access: &Access,
    host: &str,
    leader: &str,
    patience: Duration,
) -> Result<(), String> {
    let question = Question::post("/switchover", json!({"leader": leader}).to_string()).by(&access.restapi);
    let asked = probe::https(remote, &access.control_tls, host, PORT, question);
    match tokio::time::timeout(patience, asked).await {
        Ok(Ok(answer)) if answer.status >= 400 => {
            Err(format!("Patroni answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body).trim()))
        }
        Ok(Err(said)) => Err(said),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}
