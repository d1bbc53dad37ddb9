//! Versions of what runs on the nodes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An etcd release, `MAJOR.MINOR.PATCH`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EtcdVersion {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl FromStr for EtcdVersion {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<u32> = text.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| bad(text))?;
        match parts[..] {
            [major, minor, patch] => Ok(Self { major, minor, patch }),
            _ => Err(bad(text)),
        }
    }
}

fn bad(text: &str) -> String {
    format!("`{text}` is not an etcd version: expected X.Y.Z, for example 3.6.16")
}

impl TryFrom<String> for EtcdVersion {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<EtcdVersion> for String {
    fn from(version: EtcdVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for EtcdVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A major version of PostgreSQL, 14 to 18.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct PostgresMajor(u8);

impl PostgresMajor {
    pub const OLDEST: u8 = 14;
    pub const NEWEST: u8 = 18;

    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for PostgresMajor {
    type Error = String;
    fn try_from(number: u8) -> Result<Self, String> {
        if (Self::OLDEST..=Self::NEWEST).contains(&number) {
            Ok(Self(number))
        } else {
            Err(format!("PostgreSQL {number} is not supported: expected {} to {}", Self::OLDEST, Self::NEWEST))
        }
    }
}

impl From<PostgresMajor> for u8 {
    fn from(major: PostgresMajor) -> Self {
        major.0
    }
}

impl fmt::Display for PostgresMajor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
