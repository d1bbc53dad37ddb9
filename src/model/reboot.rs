//! Changes that a hypervisor has recorded but the running machine does not have yet.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::InstanceKey;

/// The machines that must stop and start before all of their settings apply.
pub type Reboots = BTreeMap<InstanceKey, Reboot>;

/// What waits for one machine's restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reboot {
    pub id: u32,
    /// The hypervisor that it is on now.
    #[serde(rename = "node")]
    pub hypervisor: String,
    pub container: bool,
    pub changes: Vec<Change>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub setting: String,
    /// The present value and the future one; only for memory and processor settings.
    pub values: Option<(String, String)>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.values {
            Some((now, then)) => write!(f, "{} {now} -> {then}", self.setting),
            None => f.write_str(&self.setting),
        }
    }
}
