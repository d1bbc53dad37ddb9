//! A key in etcd that exists as long as its holder renews it.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::future::select_ok;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    client::{Range, number, parse, post},
    service::endpoint,
};
use crate::{
    access::Access,
    component::probe::{self, Observed, Question},
    fleet::{Fleet, FleetNode},
};

/// How long a voter may take to say that it serves.
const SERVES_WITHIN: Duration = Duration::from_secs(5);

/// What became of asking for a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is ours, by the lease of this number.
    Ours(u64),
    /// Another holder has it by this lease, for at least this many more seconds.
    Held { value: String, lease: u64, seconds: u64 },
}

#[derive(Deserialize)]
struct Lease {
    #[serde(default, rename = "ID", deserialize_with = "number")]
    id: u64,
    /// Absent, or below zero, of a lease that is no more.
    #[serde(default, rename = "TTL")]
    ttl: Option<String>,
}

impl Lease {
    fn seconds(&self) -> u64 {
        self.ttl.as_ref().and_then(|ttl| ttl.parse().ok()).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Transaction {
    #[serde(default)]
    succeeded: bool,
    #[serde(default)]
    responses: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    response_range: Option<Range>,
}

/// The first voter that is part of a quorum; none where no voter is.
pub(crate) async fn serving_voter<'a>(access: &Access, fleet: &'a Fleet) -> Option<&'a FleetNode> {
    let asked = fleet.voters().map(|node| {
        Box::pin(async move {
            let remote = access.connect(node).await.map_err(drop)?;
            let question = Question::get("/health");
            let answer = probe::http(&remote, &access.keys.etcd_tls, &endpoint(node), question).await.map_err(drop)?;
            if answer.status == 200 { Ok(node) } else { Err(()) }
        })
    });
    let asked: Vec<_> = asked.collect();
    if asked.is_empty() {
        return None;
    }
    let first = tokio::time::timeout(SERVES_WITHIN, select_ok(asked)).await;
    first.ok()?.ok().map(|(node, _)| node)
}

/// Writes `value` under `key` for `ttl`, unless another holder has it. A key with this value is ours already: the
/// answer to an earlier request was lost.
pub(crate) async fn take_key(
    access: &Access,
    node: &FleetNode,
    key: &str,
    value: &str,
    ttl: Duration,
) -> Result<Taken, String> {
    let granted = post(access, node, "/v3/lease/grant", &json!({"TTL": ttl.as_secs().to_string()})).await?;
    let granted: Lease = parse(&granted)?;
    let answer: Transaction = parse(&post(access, node, "/v3/kv/txn", &request(key, value, granted.id)).await?)?;
    if answer.succeeded {
        return Ok(Taken::Ours(granted.id));
    }
    // A lease that was granted in vain also expires by itself.
    let _ = give_up(access, node, granted.id).await;
    let Some((held, lease)) = holder(answer)? else {
        return Err(format!("etcd did not write {key}, and it has no such key"));
    };
    if held == value {
        return Ok(Taken::Ours(lease));
    }
    let body = json!({"ID": lease.to_string()});
    let left: Lease = parse(&post(access, node, "/v3/lease/timetolive", &body).await?)?;
    Ok(Taken::Held { value: held, lease, seconds: left.seconds() })
}

fn request(key: &str, value: &str, lease: u64) -> Value {
    let (key, value) = (BASE64_STANDARD.encode(key), BASE64_STANDARD.encode(value));
    json!({
        "compare": [{"key": key, "target": "CREATE", "create_revision": "0", "result": "EQUAL"}],
        "success": [{"request_put": {"key": key, "value": value, "lease": lease.to_string()}}],
        "failure": [{"request_range": {"key": key}}],
    })
}

/// Who has the key by the answer, and by which lease.
fn holder(answer: Transaction) -> Observed<Option<(String, u64)>> {
    let ranges = answer.responses.into_iter().filter_map(|response| response.response_range);
    ranges.map(Range::first).find_map(Result::transpose).transpose()
}

/// Lets a lease begin again; false when it is no more.
pub(crate) async fn renew(access: &Access, node: &FleetNode, lease: u64) -> Result<bool, String> {
    #[derive(Deserialize)]
    struct Renewed {
        result: Lease,
    }
    let answer = post(access, node, "/v3/lease/keepalive", &json!({"ID": lease.to_string()})).await?;
    let renewed: Renewed = parse(&answer)?;
    Ok(renewed.result.seconds() > 0)
}

/// Ends a lease; its key goes with it.
pub(crate) async fn give_up(access: &Access, node: &FleetNode, lease: u64) -> Result<(), String> {
    post(access, node, "/v3/lease/revoke", &json!({"ID": lease.to_string()})).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_transaction_gives_the_holder_of_the_key() {
        let refused = br#"{"header":{"revision":"9"},"responses":[{"response_range":{"header":{"revision":"9"},"kvs":[{"key":"aw==","create_revision":"5","mod_revision":"5","version":"1","value":"eyJhIjoxfQ==","lease":"7587"}],"count":"1"}}]}"#;
        assert_eq!(holder(parse(refused).unwrap()), Ok(Some((r#"{"a":1}"#.to_owned(), 7587))));
        assert_eq!(holder(parse(br#"{"header":{},"responses":[{"response_range":{}}]}"#).unwrap()), Ok(None));
    }

    #[test]
    fn expired_lease_has_zero_seconds_left() {
        let left = |text: &[u8]| parse::<Lease>(text).unwrap().seconds();
        assert_eq!(left(br#"{"header":{},"ID":"7587","TTL":"27","grantedTTL":"30"}"#), 27);
        assert_eq!(left(br#"{"header":{},"ID":"7587","TTL":"-1"}"#), 0);
        assert_eq!(left(br#"{"ID":"7587"}"#), 0);
    }

    #[test]
    fn transaction_writes_the_key_only_if_it_does_not_exist() {
        let request = request("k", "v", 7);
        assert_eq!(request["compare"][0]["create_revision"], "0");
        assert_eq!(request["success"][0]["request_put"], json!({"key": "aw==", "value": "dg==", "lease": "7"}));
    }
}
