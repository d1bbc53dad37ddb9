//! The section `endpoint` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::PoolMode;

/// The entry point for applications: a pooler (PgBouncer) on every data node, which leads to the primary through a proxy
/// (HAProxy) on the same machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct EndpointFile {
    /// The poolers.
    pub(in crate::spec) pooler: Option<PoolerFile>,
    /// Whether clients can also reach the replicas through the poolers, for reading: as the database DATABASE_replicas.
    #[schemars(extend("default" = false))]
    pub(in crate::spec) replicas: Option<bool>,
}

/// The poolers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct PoolerFile {
    /// The port on which every data node accepts clients.
    #[schemars(range(min = 1024, max = 65_535), extend("default" = 6432))]
    pub(in crate::spec) port: Option<u16>,
    /// How long a client keeps a connection to the server.
    #[schemars(extend("default" = "transaction"))]
    pub(in crate::spec) pool_mode: Option<PoolMode>,
    /// How many clients one pooler accepts. They share a pool of connections to the servers, which hactl sizes by
    /// `max_connections`.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 1000))]
    pub(in crate::spec) max_client_connections: Option<u32>,
}
