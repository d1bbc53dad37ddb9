//! Releases of distributions that nodes may run: their Python, and which packages bring PostgreSQL.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{PostgresMajor, PythonVersion};

/// A release of a distribution that nodes may run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Distribution {
    Debian12,
    Debian13,
    Ubuntu2204,
    Ubuntu2404,
}

impl Distribution {
    pub const ALL: [Self; 4] = [Self::Debian12, Self::Debian13, Self::Ubuntu2204, Self::Ubuntu2404];

    /// The code name, as in the PostgreSQL project's repository: `bookworm-pgdg` and so on.
    #[must_use]
    pub const fn codename(self) -> &'static str {
        match self {
            Self::Debian12 => "bookworm",
            Self::Debian13 => "trixie",
            Self::Ubuntu2204 => "jammy",
            Self::Ubuntu2404 => "noble",
        }
    }

    /// The Python that the nodes run Patroni with.
    #[must_use]
    pub const fn python(self) -> PythonVersion {
        let minor = match self {
            Self::Ubuntu2204 => 10,
            Self::Debian12 => 11,
            Self::Ubuntu2404 => 12,
            Self::Debian13 => 13,
        };
        PythonVersion { major: 3, minor }
    }

    /// The one major version that the distribution itself has.
    const fn own_major(self) -> u8 {
        match self {
            Self::Debian12 => 15,
            Self::Debian13 => 17,
            Self::Ubuntu2204 => 14,
            Self::Ubuntu2404 => 16,
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Debian12 => "debian:12",
            Self::Debian13 => "debian:13",
            Self::Ubuntu2204 => "ubuntu:22.04",
            Self::Ubuntu2404 => "ubuntu:24.04",
        })
    }
}

impl FromStr for Distribution {
    type Err = String;
    /// Reads `debian:12`, as images are named, with or without a registry's name before it.
    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.rsplit('/').next().unwrap_or_default();
        Self::ALL.into_iter().find(|release| release.to_string() == name).ok_or_else(|| {
            let known = Self::ALL.map(|release| release.to_string()).join(", ");
            format!("`{text}` is not a release that hactl supports: expected one of {known}")
        })
    }
}

impl TryFrom<String> for Distribution {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Distribution> for String {
    fn from(release: Distribution) -> Self {
        release.to_string()
    }
}

/// Where packages come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Repository {
    Distribution,
    /// The PostgreSQL project's own, apt.postgresql.org.
    Pgdg,
}

/// The packages of one major version on one release.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PostgresPackages {
    pub packages: Vec<String>,
    pub repository: Repository,
    /// Whether the project's own tests run this combination. The others follow the packages' names as
    /// the repositories list them.
    pub ran_here: bool,
}

/// The packages of PostgreSQL `major` on `release`: server with its contrib modules, and client.
#[must_use]
pub fn postgres_packages(release: Distribution, major: PostgresMajor) -> PostgresPackages {
    let own = release.own_major() == major.number();
    PostgresPackages {
        // Since PostgreSQL 10 the server's package holds the contrib modules, too.
        packages: vec![
            "postgresql-common".to_owned(),
            format!("postgresql-{major}"),
            format!("postgresql-client-{major}"),
            // Not for PostgreSQL, but installed in the same transaction: Patroni runs in a virtual environment.
            "python3-venv".to_owned(),
        ],
        repository: if own { Repository::Distribution } else { Repository::Pgdg },
        ran_here: matches!((release, major.number()), (Distribution::Debian12, 15) | (Distribution::Debian13, 17)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_repository_of_each_release_and_version_matches_the_table() {
        let mut table = String::new();
        for release in Distribution::ALL {
            assert_eq!(release.to_string().parse::<Distribution>().unwrap(), release);
            for number in PostgresMajor::OLDEST..=PostgresMajor::NEWEST {
                let found = postgres_packages(release, PostgresMajor::try_from(number).unwrap());
                assert_eq!(found.packages[1], format!("postgresql-{number}"));
                table += match (found.repository, found.ran_here) {
                    (Repository::Distribution, true) => "D!",
                    (Repository::Distribution, false) => "D ",
                    (Repository::Pgdg, _) => "P ",
                };
            }
            table += "\n";
        }
        //                  14  15  16  17  18
        assert_eq!(
            table,
            "P D!P P P \n\
             P P P D!P \n\
             D P P P P \n\
             P P D P P \n"
        );
        assert!("debian:11".parse::<Distribution>().unwrap_err().contains("ubuntu:24.04"));
        assert_eq!("registry:5000/team/debian:12".parse(), Ok(Distribution::Debian12));
    }
}
