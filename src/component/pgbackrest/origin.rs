//! The backup that a new cluster begins with: that of another cluster, or its own.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    component::material::RoleVars,
    model::{BackupLabel, S3Repository, Secret},
};

/// A position in the WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn(u64);

impl Lsn {
    /// The number of the segment of 16 MiB that has it.
    pub(super) const fn segment(self) -> u64 {
        self.0 >> 24
    }
}

impl FromStr for Lsn {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let half = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            digits.then(|| u32::from_str_radix(text, 16).ok()).flatten().map(u64::from)
        };
        let halves = text.split_once('/').and_then(|(high, low)| Some((half(high)?, half(low)?)));
        let (high, low) = halves.ok_or("expected a position in the WAL such as 0/5000158")?;
        Ok(Self(high << 32 | low))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// How far the data of a new cluster goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All that the repository has.
    Newest,
    /// A moment.
    Time(Timestamp),
    /// A position in the WAL.
    Lsn(Lsn),
    /// The end of a backup.
    Backup(BackupLabel),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("the newest moment in the repository"),
            Self::Time(at) => at.fmt(f),
            Self::Lsn(lsn) => write!(f, "the WAL position {lsn}"),
            Self::Backup(label) => write!(f, "the end of backup {label}"),
        }
    }
}

/// Where the data of a new cluster comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The name of the other cluster in its repository.
    pub stanza: String,
    pub repository: S3Repository,
    pub key: Secret,
    pub key_secret: Secret,
    pub passphrase: Secret,
    pub target: Target,
    /// Whether it is the cluster's own: it goes on in its stanza, on a new timeline.
    pub own: bool,
    /// Seconds between the two looks for another cluster that archives there; none if it might not be seen.
    pub looks_apart: Option<u32>,
}

/// The seconds between the two looks at the archive of a cluster that goes on in its own stanza, by its `archive_timeout`: a
/// cluster that still runs and writes has archived a segment in that time. None where that takes too long, or for ever.
#[must_use]
pub fn looks_apart(archive_timeout: &Value) -> Option<u32> {
    let text = archive_timeout.as_str().map_or_else(|| archive_timeout.to_string(), str::to_owned);
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|sign: char| sign.is_ascii_alphabetic()).unwrap_or(text.len()));
    let milliseconds = match unit {
        "" | "s" => 1000.0,
        "us" => 0.001,
        "ms" => 1.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let seconds = number.trim().parse::<f64>().ok().filter(|number| *number > 0.0)? * milliseconds / 1000.0;
    (SHORTEST_LOOK..=LONGEST_LOOK).find(|apart| f64::from(*apart - FOR_UPLOAD) >= seconds)
}

/// What a segment takes from the disk to the repository, in seconds.
const FOR_UPLOAD: u32 = 15;
const SHORTEST_LOOK: u32 = 75;
/// A recovery waits no longer than this to see another cluster.
pub const LONGEST_LOOK: u32 = 915;

impl Origin {
    /// The variables of the roles. They are no part of the configuration: a cluster begins once.
    pub(crate) fn vars(&self) -> RoleVars {
        let Self { stanza, repository, key, key_secret, passphrase, target, own, looks_apart } = self;
        // pgBackRest's type, the target of that type, and the backup; it chooses one where none is given.
        let (kind, target, set) = match target {
            Target::Newest => ("default", String::new(), String::new()),
            Target::Time(at) => ("time", at.strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string(), String::new()),
            Target::Lsn(lsn) => ("lsn", lsn.to_string(), String::new()),
            Target::Backup(label) => ("immediate", String::new(), label.to_string()),
        };
        let vars = json!({
            "pgbackrest_source": {
                "stanza": stanza,
                "bucket": repository.bucket,
                "host": repository.host,
                "port": repository.port,
                "region": repository.region,
                "path": repository.path,
                "path_style": repository.path_style,
                "ca": repository.ca.as_deref().unwrap_or_default(),
                "key": key.expose(),
                "key_secret": key_secret.expose(),
                "passphrase": passphrase.expose(),
                "type": kind,
                "target": target,
                "set": set,
                "own": own,
            },
            "pgbackrest_alone_seconds": looks_apart.unwrap_or(LONGEST_LOOK),
            "patroni_bootstrap_command": "/usr/local/sbin/hactl-restore data",
            "patroni_bootstrap_post_init": "/usr/local/sbin/hactl-restore opened",
            "patroni_bootstrap_failure": "/var/lib/postgresql/hactl-spool/restore-failed",
        });
        vars.as_object().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_reaches_the_role_as_pgbackrest_takes_it() {
        let origin = |target| Origin {
            stanza: "pg-1a2b3c4d".into(),
            repository: S3Repository {
                bucket: "b".into(),
                host: "h".into(),
                port: 443,
                region: "r".into(),
                path: "/p".into(),
                path_style: true,
                ca: None,
            },
            key: Secret::new("K".into()),
            key_secret: Secret::new("S".into()),
            passphrase: Secret::new("P".into()),
            target,
            own: false,
            looks_apart: Some(75),
        };
        let label: BackupLabel = "20261130-022015F_20261130-032015I".parse().unwrap();
        for (target, kind, text, set) in [
            (Target::Newest, "default", "", ""),
            // In UTC.
            (Target::Time("2026-11-30T02:20:16.5+01:00".parse().unwrap()), "time", "2026-11-30 01:20:16.500000+00", ""),
            (Target::Lsn("1/05000158".parse().unwrap()), "lsn", "1/5000158", ""),
            (Target::Backup(label), "immediate", "", "20261130-022015F_20261130-032015I"),
        ] {
            let vars = origin(target).vars();
            let source = &vars["pgbackrest_source"];
            assert_eq!((&source["type"], &source["target"], &source["set"]), (&kind.into(), &text.into(), &set.into()));
        }
        assert!(!format!("{:?}", origin(Target::Newest)).contains("\"K\""));
    }

    #[test]
    fn looks_at_the_archive_are_farther_apart_than_the_archive_timeout() {
        let table = [
            (json!("60s"), Some(75)),
            (json!(60), Some(75)),
            (json!("1min"), Some(75)),
            (json!("61"), Some(76)),
            (json!(" 10 min "), Some(615)),
            (json!("1500ms"), Some(75)),
            (json!("0.25h"), Some(915)),
            // Nothing is to be seen of a cluster that archives less often, or only full segments.
            (json!("901s"), None),
            (json!("1d"), None),
            (json!(0), None),
            (json!("often"), None),
        ];
        for (timeout, expected) in table {
            assert_eq!(looks_apart(&timeout), expected, "{timeout}");
        }
    }

    #[test]
    fn position_in_the_wal_is_two_hexadecimal_numbers() {
        let lsn = |text: &str| text.parse::<Lsn>();
        assert!(lsn("0/FFFFFFFF").unwrap() < lsn("1/0").unwrap());
        assert_eq!(lsn("ab/c").unwrap().to_string(), "AB/C");
        for bad in ["", "0", "/", "0/", "0/+1", "0/x", "0/100000000", "0/1/2", "'"] {
            assert!(lsn(bad).is_err(), "{bad}");
        }
    }
}
