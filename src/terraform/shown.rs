//! The JSON of `terraform show -json PLAN`, as far as hactl reads it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

/// A plan.
#[derive(Deserialize)]
pub(super) struct Plan {
    #[serde(default)]
    pub(super) resource_changes: Vec<Resource>,
    #[serde(default)]
    pub(super) output_changes: BTreeMap<String, Change>,
}

/// One resource of it.
#[derive(Deserialize)]
pub(super) struct Resource {
    pub(super) address: String,
    #[serde(default)]
    pub(super) mode: String,
    pub(super) r#type: String,
    #[serde(default)]
    pub(super) index: Json,
    pub(super) change: Change,
    #[serde(default)]
    pub(super) action_reason: String,
}

/// What happens to a resource or an output.
#[derive(Deserialize)]
pub(super) struct Change {
    pub(super) actions: Vec<String>,
    #[serde(default)]
    pub(super) before: Json,
    #[serde(default)]
    pub(super) after: Json,
    #[serde(default)]
    pub(super) after_unknown: Json,
    #[serde(default)]
    pub(super) importing: Option<Json>,
}
