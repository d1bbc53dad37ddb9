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
    /// The address before the plan, if a `moved` block changes it.
    #[serde(default)]
    pub(super) previous_address: Option<String>,
    /// The key of an old object that Terraform has replaced and not yet destroyed.
    #[serde(default)]
    pub(super) deposed: Option<String>,
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
    pub(super) before_sensitive: Json,
    #[serde(default)]
    pub(super) after_sensitive: Json,
    /// The attributes that force a replacement, each as its steps.
    #[serde(default)]
    pub(super) replace_paths: Vec<Json>,
    #[serde(default)]
    pub(super) importing: Option<Json>,
}
