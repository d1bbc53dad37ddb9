//! What a database sorts and classifies characters by: chosen when its data is made, and never changed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DatabaseName, PostgresMajor};

/// The locale of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Locale {
    /// Its name, for example `C.UTF-8` or `de_DE.UTF-8`.
    pub name: String,
    /// What implements it.
    pub provider: LocaleProvider,
}

/// What implements a locale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LocaleProvider {
    /// The machine's C library.
    Libc,
    /// PostgreSQL itself, from 17 on: every machine sorts in the same way.
    Builtin,
}

impl LocaleProvider {
    /// PostgreSQL's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Libc => "libc",
            Self::Builtin => "builtin",
        }
    }
}

/// Locales that sort by code points, whatever the machine.
const BY_CODE_POINT: [&str; 2] = ["C", Locale::DEFAULT];

impl Locale {
    /// The name of the default.
    pub const DEFAULT: &'static str = "C.UTF-8";

    /// The locale with this name in a new cluster.
    #[must_use]
    pub fn new(name: &str, major: PostgresMajor) -> Self {
        let builtin = major.number() >= 17 && BY_CODE_POINT.contains(&name);
        let provider = if builtin { LocaleProvider::Builtin } else { LocaleProvider::Libc };
        Self { name: name.to_owned(), provider }
    }

    /// What earlier releases gave every cluster.
    #[must_use]
    pub fn of_earlier_releases() -> Self {
        Self { name: Self::DEFAULT.to_owned(), provider: LocaleProvider::Libc }
    }

    /// Whether the order of text depends on the version of the machine's C library.
    #[must_use]
    pub fn depends_on_the_machine(&self) -> bool {
        self.provider == LocaleProvider::Libc && !BY_CODE_POINT.contains(&self.name.as_str())
    }
}

/// The locale that a database has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseLocale {
    /// As that of a cluster.
    Plain(Locale),
    /// One of ICU, by its name.
    Icu(String),
}

/// The databases with a locale of ICU, and that locale.
pub type IcuLocales = BTreeMap<DatabaseName, String>;

/// Whether two names of a locale of ICU mean the same: PostgreSQL writes them in its own way.
#[must_use]
pub fn is_same_icu_locale(one: &str, other: &str) -> bool {
    let parts = |text: &str| {
        let text = text.to_ascii_lowercase().replace('_', "-");
        let mut parts: Vec<String> = text.split('-').map(str::to_owned).collect();
        parts.retain(|part| !matches!(part.as_str(), "true" | "yes" | "und" | ""));
        parts.sort_unstable();
        parts
    };
    parts(one) == parts(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_cluster_sorts_by_postgresql_itself_where_it_can() {
        let table = [
            ("C.UTF-8", 15, LocaleProvider::Libc, false),
            ("C.UTF-8", 17, LocaleProvider::Builtin, false),
            ("C", 18, LocaleProvider::Builtin, false),
            ("C", 16, LocaleProvider::Libc, false),
            ("de_DE.UTF-8", 15, LocaleProvider::Libc, true),
            ("de_DE.UTF-8", 18, LocaleProvider::Libc, true),
        ];
        for (name, major, provider, depends) in table {
            let locale = Locale::new(name, major.try_into().unwrap());
            assert_eq!((locale.provider, locale.depends_on_the_machine()), (provider, depends), "{name} {major}");
        }
    }

    #[test]
    fn icu_locales_are_the_same_however_they_are_written() {
        let table = [
            ("de-DE", "de-DE", true),
            ("de_DE", "de-DE", true),
            ("en-US-u-kn-true", "en-US-u-kn", true),
            ("und-u-ks-level2", "und-u-ks-level2", true),
            ("de-DE", "de-AT", false),
            ("en-US-u-kn-true", "en-US-u-kn-false", false),
        ];
        for (one, other, same) in table {
            assert_eq!(is_same_icu_locale(one, other), same, "{one} {other}");
        }
    }
}
