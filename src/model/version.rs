//! Versions of what runs on the nodes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The newest Patroni that this hactl knows: the default.
pub const PATRONI_NEWEST: &str = "4.1.5";

/// An etcd release, `MAJOR.MINOR.PATCH`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EtcdVersion {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl EtcdVersion {
    /// The newest patch of each minor release that this hactl knows; the last is the default.
    pub const NEWEST: [Self; 2] = [Self { major: 3, minor: 5, patch: 35 }, Self { major: 3, minor: 6, patch: 16 }];

    /// The default version.
    pub const DEFAULT: Self = Self::NEWEST[Self::NEWEST.len() - 1];

    /// `X.Y` as the newest patch known, `X.Y.Z` as it is; only minor releases that hactl knows.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn resolve(text: &str) -> Result<Self, String> {
        let known = || Self::NEWEST.map(|version| format!("{}.{}", version.major, version.minor)).join(" or ");
        let wrong = || format!("`{text}` is not an etcd version: expected {}, or a full X.Y.Z of these", known());
        let parts: Vec<u32> = text.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let (&[major, minor] | &[major, minor, _]) = parts.as_slice() else { return Err(wrong()) };
        let newest = Self::NEWEST.into_iter().find(|known| known.major == major && known.minor == minor);
        let newest = newest.ok_or_else(|| format!("etcd {text} is not supported: expected {}", known()))?;
        Ok(parts.get(2).map_or(newest, |&patch| Self { patch, ..newest }))
    }
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

/// Where etcd comes from, if the cluster file sets it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EtcdSource {
    /// One release archive: a path, relative to the working directory, or an `http://` or `https://`
    /// address, and the SHA-256 that it must have.
    Archive { location: String, sha256: String },
    /// The address of a server with the project's releases.
    Mirror(String),
}

/// A major version of PostgreSQL, 14 to 18.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct PostgresMajor(u8);

impl PostgresMajor {
    /// Debian 12's own version, and the default.
    pub const DEFAULT: Self = Self(15);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_etcd_version_resolves_to_the_newest_known_patch() {
        assert_eq!(EtcdVersion::resolve("3.6").unwrap(), EtcdVersion::DEFAULT);
        assert_eq!(EtcdVersion::resolve("3.5.11").unwrap().to_string(), "3.5.11");
        for bad in ["3", "3.4", "4.0.0", "3.6.x", "", "v3.6", "3.6.1.2"] {
            assert!(EtcdVersion::resolve(bad).is_err(), "{bad}");
        }
    }
}

/// A minor version of Python, as in `3.11`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct PythonVersion {
    pub major: u8,
    pub minor: u8,
}

impl FromStr for PythonVersion {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.trim().split('.').map(str::parse);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self { major, minor }),
            _ => Err(format!("`{text}` is not a version of Python: expected X.Y, for example 3.11")),
        }
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
