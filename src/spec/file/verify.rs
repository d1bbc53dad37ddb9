//! The section `verify` of the cluster file.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::model::{DEFAULT_DRILLS, DRILL_NAMES};

/// The failover drills.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct VerifyFile {
    /// The drills that `hactl verify NAME` runs by default: each a `name`, which means all of its variants, a
    /// `name/variant`, or `all`. `hactl verify --list` shows them. On platforms other than local, the default has
    /// `primary-isolated` instead of `node-loss`.
    #[serde(default)]
    #[schemars(schema_with = "drills", extend("default" = DEFAULT_DRILLS))]
    pub(in crate::spec) drills: Option<Vec<String>>,
    /// The longest write gap that you accept, by drill, for example `switchover: 5s`. A round with a longer one fails, also within
    /// the bound that follows from the timers. The keys are those of `drills`; `name/variant` wins over `name`, and `name` over `all`.
    #[serde(default)]
    #[schemars(schema_with = "limits")]
    pub(in crate::spec) limits: Option<BTreeMap<String, String>>,
}

fn limits(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["object", "null"],
        "additionalProperties": {
            "type": "string",
            "pattern": "[a-z]",
            "patternErrorMessage": "a duration above zero, such as `5s` or `1m 30s`"
        },
        "examples": [{"switchover": "5s", "node-loss": "30s"}]
    })
}

fn drills(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["array", "null"],
        "items": {"type": "string", "enum": DRILL_NAMES},
        "examples": [["switchover", "patroni-crash/dead"], ["all"]]
    })
}
