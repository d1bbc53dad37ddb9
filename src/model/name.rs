//! Names, one type per kind, checked where they are made.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a text is not a name of its kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidName {
    pub kind: &'static str,
    pub text: String,
    pub rule: &'static str,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a valid {}: {}", self.text, self.kind, self.rule)
    }
}

impl std::error::Error for InvalidName {}

/// A DNS label as RFC 1123 has it, in lower case: what DNS, Ansible and etcd all accept.
fn is_label(text: &str, longest: usize) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= longest
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

/// Converts a checked name to text, and back through its own `new`.
macro_rules! text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
    };
}
pub(super) use text;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:literal, $pattern:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The rule that every value of this type keeps, for messages.
            pub const RULE: &'static str = $rule;

            /// Checks `text` and makes a name of it.
            ///
            /// # Errors
            /// [`InvalidName`] with the rule that `text` breaks.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidName { kind: $kind, text, rule: $rule })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                // `patternErrorMessage` is what editors show, and what spec shows, instead of the pattern.
                json_schema!({"type": "string", "pattern": $pattern, "patternErrorMessage": $rule})
            }
        }

        text!($type);

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A cluster's name: Patroni's scope, the prefix of containers and the directory under `.hactl`.
    ClusterName,
    "cluster name",
    "1 to 40 lower-case letters, digits and hyphens, starting with a letter and not ending with a hyphen",
    "^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$",
    |text| is_label(text, 40) && text.starts_with(|c: char| c.is_ascii_lowercase())
);

name!(
    /// A key of the instances map: the stable identity of a machine everywhere.
    InstanceKey,
    "instance key",
    "1 to 32 lower-case letters, digits and hyphens, starting with a letter and not ending with a hyphen",
    "^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$",
    |text| is_label(text, 32) && text.starts_with(|c: char| c.is_ascii_lowercase())
);

name!(
    /// A machine's host name: one DNS label.
    HostName,
    "host name",
    "1 to 63 lower-case letters, digits and hyphens, neither starting nor ending with a hyphen (RFC 1123)",
    "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    |text| is_label(text, 63)
);

name!(
    /// A repository of backups.
    RepositoryName,
    "repository name",
    "1 to 20 lower-case letters and digits, starting with a letter",
    "^[a-z][a-z0-9]{0,19}$",
    |text| {
        text.len() <= 20
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    }
);

name!(
    /// The name of a cluster in the repositories of its backups.
    StanzaName,
    "stanza",
    "1 to 60 lower-case letters, digits and hyphens, neither starting nor ending with a hyphen",
    "^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$",
    |text| is_label(text, 60)
);

name!(
    /// The name of a backup, as pgBackRest makes it.
    BackupLabel,
    "backup",
    "the name of a backup, such as 20261130-022015F or 20261130-022015F_20261130-032015I",
    "^[0-9]{8}-[0-9]{6}F(_[0-9]{8}-[0-9]{6}[DI])?$",
    |text| {
        let is_time = |text: &str| {
            let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            text.split_once('-')
                .is_some_and(|(day, time)| (day.len(), time.len()) == (8, 6) && digits(day) && digits(time))
        };
        match text.split_once('_') {
            None => text.strip_suffix('F').is_some_and(is_time),
            Some((full, later)) => {
                full.strip_suffix('F').is_some_and(is_time) && later.strip_suffix(['D', 'I']).is_some_and(is_time)
            }
        }
    }
);

name!(
    /// A database or role name that needs no quoting in PostgreSQL.
    DatabaseName,
    "database or role name",
    "1 to 63 lower-case letters, digits and underscores, starting with a letter, not starting with pg_",
    "^(?!pg_)[a-z][a-z0-9_]{0,62}$",
    |text| {
        text.len() <= 63
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && !text.starts_with("pg_")
    }
);

/// Whether all bytes of `text`, which is not empty, are letters, digits or among `more`.
fn is_made_of(text: &str, more: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
}

name!(
    /// A node of a Proxmox cluster, by its name.
    Hypervisor,
    "hypervisor name",
    "the name of a hypervisor: letters, digits and hyphens, neither starting nor ending with a hyphen",
    "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$",
    |text| is_label(&text.to_ascii_lowercase(), 63)
);

name!(
    /// A storage of Proxmox.
    StorageName,
    "storage",
    "the name of a storage: letters, digits and . _ -, starting with a letter",
    "^[A-Za-z][A-Za-z0-9._-]*$",
    |text| is_made_of(text, b"._-") && text.starts_with(|c: char| c.is_ascii_alphabetic())
);

name!(
    /// A bridge of a hypervisor.
    BridgeName,
    "bridge",
    "the name of a bridge: up to 15 letters, digits and underscores, starting with a letter",
    "^[A-Za-z][A-Za-z0-9_]{0,14}$",
    |text| text.len() <= 15 && is_made_of(text, b"_") && text.starts_with(|c: char| c.is_ascii_alphabetic())
);

name!(
    /// A pool of Proxmox; up to three levels.
    PoolName,
    "pool",
    "the name of a pool: letters, digits and . _ -, with slashes between at most three levels",
    "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+){0,2}$",
    |text| text.split('/').count() <= 3 && text.split('/').all(|level| is_made_of(level, b"._-"))
);

name!(
    /// A tag of a machine in Proxmox.
    Tag,
    "tag",
    "a tag of Proxmox: lower-case letters, digits and _ + . -, not starting with + . -",
    "^[a-z0-9_][a-z0-9_+.-]*$",
    |text| {
        is_made_of(text, b"_+.-")
            && !text.starts_with(['+', '.', '-'])
            && !text.bytes().any(|b| b.is_ascii_uppercase())
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_dns_ansible_and_etcd() {
        for good in ["pg", "pg-prod", "a1", "patroni-3node"] {
            assert!(ClusterName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "1a", &"a".repeat(41)] {
            assert!(ClusterName::new(bad).is_err(), "{bad}");
        }
        assert!(HostName::new("1a").is_ok());
        assert!(Hypervisor::new("PVE-1").is_ok() && Hypervisor::new("pve.1").is_err());
        assert!(StorageName::new("local-lvm").is_ok() && StorageName::new("1a").is_err());
        assert!(BridgeName::new("vmbr0").is_ok() && BridgeName::new("a-bridge").is_err());
        assert!(PoolName::new("a/b.c/d").is_ok() && PoolName::new("a//b").is_err() && PoolName::new("").is_err());
        assert!(Tag::new("a_1+b").is_ok() && Tag::new("A").is_err() && Tag::new("-a").is_err());
        assert!(DatabaseName::new("pg_app").is_err());
        assert!(DatabaseName::new("app_1").is_ok());
        for good in ["20261130-022015F", "20261130-022015F_20261130-032015I", "20261130-022015F_20261130-032015D"] {
            assert!(BackupLabel::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "latest",
            "20261130-022015I",
            "20261130-022015F_20261130-032015F",
            "20261130-022015F\n",
            "2026113-0022015F",
        ] {
            assert!(BackupLabel::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn invalid_name_fails_to_deserialize() {
        let error = serde_json::from_str::<InstanceKey>("\"Node_1\"").unwrap_err();
        assert!(error.to_string().contains("`Node_1` is not a valid instance key"), "{error}");
    }
}
