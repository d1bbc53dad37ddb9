use schemars::JsonSchema;
use serde::Serialize;

use super::Session;
use crate::{
    error::Result,
    model::{EtcdVersion, version::PATRONI_NEWEST},
    report::{self, Output},
};

/// The versions of hactl and of what it installs by default.
#[derive(JsonSchema, Serialize)]
pub(super) struct Versions {
    /// hactl's own version.
    hactl: &'static str,
    /// The version of etcd when the cluster file names none.
    etcd: String,
    /// The version of Patroni when the cluster file names none.
    patroni: &'static str,
}

pub(crate) fn run(session: &Session) -> Result<u8> {
    let (own, etcd, patroni) = (env!("CARGO_PKG_VERSION"), EtcdVersion::DEFAULT.to_string(), PATRONI_NEWEST);
    match session.output {
        Output::Json => report::print_json(&Versions { hactl: own, etcd, patroni }),
        Output::Text => report::print(&format!("hactl {own}\netcd {etcd} (default)\nPatroni {patroni} (default)")),
    }
    Ok(0)
}
