//! The text that `hactl init NAME` writes: a commented cluster file that works as it is.

use crate::model::ClusterName;

/// A commented cluster file with all common fields, for a cluster called `name`.
#[must_use]
pub fn init_text(name: &ClusterName) -> String {
    include_str!("init.yaml").replace("@NAME@", name.as_str())
}
