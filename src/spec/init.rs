//! The text that `hactl init NAME` writes: a commented cluster file that works as it is.

use crate::model::ClusterName;

/// A commented cluster file with all common fields, for a cluster called `name`: one that is to be made, or one that
/// runs already.
#[must_use]
pub fn init_text(name: &ClusterName, adopted: bool) -> String {
    let text = if adopted { include_str!("init-adopted.yaml") } else { include_str!("init.yaml") };
    text.replace("@NAME@", name.as_str())
}
