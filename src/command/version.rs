use serde_json::json;

use super::Session;
use crate::{
    error::Result,
    model::{EtcdVersion, version::PATRONI_NEWEST},
    report::{self, Output},
};

pub(super) fn run(session: &Session) -> Result<u8> {
    let (own, etcd, patroni) = (env!("CARGO_PKG_VERSION"), EtcdVersion::DEFAULT.to_string(), PATRONI_NEWEST);
    match session.output {
        Output::Json => report::print_json(&json!({"hactl": own, "etcd": etcd, "patroni": patroni})),
        Output::Text => report::print(&format!("hactl {own}\netcd {etcd} (default)\nPatroni {patroni} (default)")),
    }
    Ok(0)
}
