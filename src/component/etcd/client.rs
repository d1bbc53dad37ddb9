//! What an etcd member says of itself and of its cluster, by the JSON gateway of its client port.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::service::endpoint;
use crate::{
    access::Access,
    component::probe::{self, Observed, ProbeError, Question, Reached},
    fleet::FleetNode,
};

/// One member's answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EtcdView {
    pub member_id: u64,
    /// 0 when the member knows no leader.
    pub leader: u64,
    pub learner: bool,
    /// A linearizable read succeeded: the member is part of a quorum.
    pub serving: bool,
    pub members: Vec<ListedMember>,
    /// Alarms as etcd names them, for example `NOSPACE`.
    pub alarms: Vec<String>,
    pub version: String,
}

/// A member, as another one lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedMember {
    pub id: u64,
    /// Empty until the member has started for the first time.
    pub name: String,
    pub learner: bool,
    /// Where its peers and clients reach it.
    pub urls: Vec<String>,
}

#[derive(Deserialize)]
struct Status {
    header: Header,
    #[serde(default, deserialize_with = "number")]
    leader: u64,
    #[serde(default, rename = "isLearner")]
    learner: bool,
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default, deserialize_with = "number")]
    member_id: u64,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "ID", deserialize_with = "number")]
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default, rename = "isLearner")]
    learner: bool,
    #[serde(default, rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(default, rename = "clientURLs")]
    client_urls: Vec<String>,
}

#[derive(Deserialize)]
struct Alarms {
    #[serde(default)]
    alarms: Vec<Alarm>,
}

#[derive(Deserialize)]
struct Alarm {
    alarm: String,
}

/// Keys that were read.
#[derive(Deserialize)]
pub(super) struct Range {
    #[serde(default)]
    kvs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    #[serde(default)]
    value: String,
    #[serde(default, deserialize_with = "number")]
    lease: u64,
}

impl Range {
    /// The value of the first key, and the lease that it lives by.
    pub(super) fn first(self) -> Observed<Option<(String, u64)>> {
        let Some(pair) = self.kvs.into_iter().next() else { return Ok(None) };
        let value = BASE64_STANDARD
            .decode(pair.value)
            .map_err(|error| ProbeError::Other(format!("could not decode etcd's answer: {error}")))?;
        Ok(Some((String::from_utf8_lossy(&value).into_owned(), pair.lease)))
    }
}

/// protobuf's JSON writes 64-bit numbers as strings.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// Asks one member.
///
/// # Errors
/// What was seen instead of an answer.
pub(crate) async fn ask(Reached { remote, access, node, .. }: Reached<'_>) -> Observed<EtcdView> {
    let (tls, endpoint) = (&access.keys.etcd_tls, endpoint(node));
    let post = |path, body: &str| probe::http(remote, tls, &endpoint, Question::post(path, body));
    let (status, members, alarms, health) = tokio::join!(
        post("/v3/maintenance/status", "{}"),
        // Not linearizable: the list is wanted without a quorum, too.
        post("/v3/cluster/member/list", r#"{"linearizable":false}"#),
        post("/v3/maintenance/alarm", r#"{"action":"GET"}"#),
        probe::http(remote, tls, &endpoint, Question::get("/health")),
    );
    let status: Status = parse(&status?.body)?;
    let members: Members = parse(&members?.body)?;
    Ok(EtcdView {
        member_id: status.header.member_id,
        leader: status.leader,
        learner: status.learner,
        serving: health.is_ok_and(|answer| answer.status == 200),
        members: members
            .members
            .into_iter()
            .map(|member| ListedMember {
                id: member.id,
                name: member.name,
                learner: member.learner,
                urls: [member.peer_urls, member.client_urls].concat(),
            })
            .collect(),
        // Without a quorum the alarms cannot be read; that is a problem of its own already.
        alarms: alarms
            .ok()
            .and_then(|answer| parse::<Alarms>(&answer.body).ok())
            .map(|alarms| alarms.alarms.into_iter().map(|alarm| alarm.alarm).collect())
            .unwrap_or_default(),
        version: status.version,
    })
}

/// The value of a key, by a linearizable read; none when there is no such key.
pub(crate) async fn value(access: &Access, node: &FleetNode, key: &str) -> Observed<Option<String>> {
    let answer = post(access, node, "/v3/kv/range", &json!({"key": BASE64_STANDARD.encode(key)})).await?;
    let found = parse::<Range>(&answer)?.first().map_err(|error| ProbeError::Other(format!("{key}: {error}")))?;
    Ok(found.map(|(value, _)| value))
}

/// Asks etcd's gateway through one member.
pub(super) async fn post(access: &Access, node: &FleetNode, path: &str, body: &Value) -> Observed<Vec<u8>> {
    let remote = probe::reach(access, node).await?;
    let question = Question::post(path, body.to_string());
    let answer = probe::http(&remote, &access.keys.etcd_tls, &endpoint(node), question).await?;
    match answer.status {
        200 => Ok(answer.body),
        status => {
            let body = String::from_utf8_lossy(&answer.body);
            Err(ProbeError::Other(format!("etcd answered {status}: {}", body.trim())))
        }
    }
}

pub(super) fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Observed<T> {
    serde_json::from_slice(body).map_err(|error| {
        ProbeError::Other(format!("etcd answered {:?}: {error}", String::from_utf8_lossy(body).trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_numbers_given_as_text_are_parsed() {
        let text = br#"{"header":{"cluster_id":"1","member_id":"10276657743932975437","raft_term":"2"},"version":"3.6.16","leader":"7"}"#;
        let status: Status = parse(text).unwrap();
        assert_eq!((status.header.member_id, status.leader), (10_276_657_743_932_975_437, 7));
        assert!(parse::<Status>(b"<html>").is_err_and(|error| error.to_string().contains("<html>")));
    }
}
