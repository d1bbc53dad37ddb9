//! The Go module that etcd is built from.

use serde::{Deserialize, Serialize};

/// `go.mod` and `go.sum` of a module that does nothing but name etcd's three programs as tools: with
/// them the build takes no source that has another sum.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GoModule {
    #[serde(rename = "go.mod", with = "lines")]
    pub(super) go_mod: String,
    #[serde(rename = "go.sum", with = "lines")]
    pub(super) go_sum: String,
}

/// A text as the list of its lines, so that a difference in the file can be read.
mod lines {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(text.lines())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let lines = Vec::<String>::deserialize(deserializer)?;
        Ok(lines.iter().map(|line| format!("{line}\n")).collect())
    }
}
