//! The locales of databases, and whether the machine's libraries still sort as they did when the data was made.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Error, Row};

use crate::model::{DatabaseLocale, Locale, LocaleProvider};

/// A database whose indexes were made with another version of the library that sorts text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollationView {
    pub database: String,
    /// The version that the database was made with.
    pub made: String,
    /// The version that this machine has.
    pub found: String,
}

/// The databases with their locales. The columns of `pg_database` differ from version to version.
pub(super) async fn databases(client: &Client) -> Result<BTreeMap<String, DatabaseLocale>, Error> {
    let rows = client
        .query(
            "SELECT datname::text, coalesce(d.a->>'datlocprovider', 'c'), d.a->>'datcollate', \
             coalesce(d.a->>'datlocale', d.a->>'daticulocale', '') \
             FROM (SELECT datname, to_jsonb(pg_database) AS a FROM pg_database) d",
            &[],
        )
        .await?;
    let locale = |row: &Row| {
        let (provider, libc, named): (String, String, String) = (row.get(1), row.get(2), row.get(3));
        match provider.as_str() {
            "i" => DatabaseLocale::Icu(named),
            "b" => DatabaseLocale::Plain(Locale { name: named, provider: LocaleProvider::Builtin }),
            _ => DatabaseLocale::Plain(Locale { name: libc, provider: LocaleProvider::Libc }),
        }
    };
    Ok(rows.iter().map(|row| (row.get(0), locale(row))).collect())
}

/// The first version that notes the library's version for each database.
const NOTES_VERSIONS: i32 = 150_000;

/// The databases whose data was made with another version of the library.
pub(super) async fn collations(client: &Client, server_version: i32) -> Result<Vec<CollationView>, Error> {
    if server_version < NOTES_VERSIONS {
        return Ok(Vec::new());
    }
    let rows = client
        .query(
            "SELECT datname::text, datcollversion, pg_database_collation_actual_version(oid) FROM pg_database WHERE datcollversion <> pg_database_collation_actual_version(oid) ORDER BY 1",
            &[],
        )
        .await?;
    let collation = |row: &Row| CollationView { database: row.get(0), made: row.get(1), found: row.get(2) };
    Ok(rows.iter().map(collation).collect())
}
