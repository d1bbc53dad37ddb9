//! A SHA-256, in lower-case hexadecimal.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Sum(String);

impl Sum {
    /// Enough of it to tell files of the cache apart; these are checked as a whole.
    pub(super) fn short(&self) -> &str {
        &self.0[..16]
    }
}

impl FromStr for Sum {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(format!("`{text}` is not a SHA-256: expected 64 hexadecimal digits"))
    }
}

impl TryFrom<String> for Sum {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Sum> for String {
    fn from(sum: Sum) -> Self {
        sum.0
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The sum of a digest's bytes.
impl From<&[u8]> for Sum {
    fn from(digest: &[u8]) -> Self {
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
