//! The databases of the cluster file.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::DatabaseName;

/// One database.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct DatabaseFile {
    /// The role that owns the database and may log in; by default the database's name.
    pub(in crate::spec) owner: Option<DatabaseName>,
    /// The locale of ICU by which the database sorts text, as a language tag; by default the database has the cluster's
    /// locale. Needs PostgreSQL 15. It cannot change in a database that exists: [locales](locale.md).
    #[schemars(
        regex(pattern = r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$"),
        extend("patternErrorMessage" = "a language tag, such as de-DE or en-US-u-kn-true"),
        example = &"de-DE"
    )]
    pub(in crate::spec) icu_locale: Option<String>,
}
