//! What HAProxy says of its servers, on its runtime socket.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    access::PATIENCE,
    component::probe::{Observed, ProbeError},
    ssh::Remote,
};

/// One proxy's servers, by what they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ProxyView {
    /// Where clients that write go.
    pub primary: Vec<ProxyServer>,
    /// Where clients that only read go; none without such a door.
    #[serde(default)]
    pub replicas: Vec<ProxyServer>,
}

/// A server as the proxy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyServer {
    /// The instance's key.
    pub name: String,
    /// Whether the proxy sends connections there.
    pub up: bool,
    /// The open connections.
    pub connections: u64,
}

impl ProxyView {
    /// The servers that are up.
    pub(in crate::component) fn up(servers: &[ProxyServer]) -> Vec<&str> {
        servers.iter().filter(|server| server.up).map(|server| server.name.as_str()).collect()
    }
}

/// Asks the proxy of one machine.
///
/// # Errors
/// What was seen instead of an answer.
pub(super) async fn ask(remote: &Remote) -> Observed<ProxyView> {
    let done = remote.run("python3 -I -", include_bytes!("ask.py"), PATIENCE).await;
    let said =
        done.map_err(|error| ProbeError::Other(error.causes().join(": ")))?.output().map_err(ProbeError::Other)?;
    serde_json::from_str(&said).map_err(|error| ProbeError::Other(format!("could not read HAProxy's answer: {error}")))
}
