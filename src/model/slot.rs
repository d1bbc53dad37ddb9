//! Replication slots of the cluster file, which Patroni keeps or leaves alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DatabaseName;

/// How a slot's client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SlotKind {
    /// The WAL itself, as a standby or an archive does.
    Physical,
    /// Decoded changes of one database.
    Logical,
}

/// A slot that every member has, so that its client continues after a failover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// `physical` or `logical`.
    #[serde(rename = "type")]
    pub kind: SlotKind,
    /// The database of a logical slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseName>,
    /// The output plugin of a logical slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"pgoutput", regex(pattern = "^[A-Za-z0-9_]{1,63}$"))]
    pub plugin: Option<String>,
}

/// Slots that Patroni leaves alone: those that all given properties fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IgnoredSlot {
    /// The slot's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z0-9_]{1,63}$"))]
    pub name: Option<String>,
    /// `physical` or `logical`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<SlotKind>,
    /// The database of a logical slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseName>,
    /// The output plugin of a logical slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[A-Za-z0-9_]{1,63}$"))]
    pub plugin: Option<String>,
}
