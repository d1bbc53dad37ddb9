//! The section `secrets`.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::{ACCOUNTS, Account, DatabaseName, RepositoryName, RepositorySecret};

/// Commands that print passwords. hactl generates every other password and keeps it in NAME.secrets.age.
#[derive(Debug, Default, Deserialize)]
pub(in crate::spec) struct SecretsFile {
    /// The passwords of the roles that own databases.
    pub(in crate::spec) owners: Option<BTreeMap<DatabaseName, Option<SecretFile>>>,
    /// The secrets of the backup repositories.
    pub(in crate::spec) backup: Option<BTreeMap<RepositoryName, BTreeMap<RepositorySecret, Option<SecretFile>>>>,
    /// By the names of [`ACCOUNTS`]; the schema knows no others.
    #[serde(flatten)]
    pub(in crate::spec) accounts: BTreeMap<Account, Option<SecretFile>>,
}

impl JsonSchema for SecretsFile {
    fn schema_name() -> Cow<'static, str> {
        "SecretsFile".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut owners = generator.subschema_for::<Option<BTreeMap<DatabaseName, Option<SecretFile>>>>();
        owners.insert("description".into(), "The passwords of the roles that own databases.".into());
        let accounts = ACCOUNTS.iter().map(|known| {
            let mut schema = generator.subschema_for::<Option<SecretFile>>();
            schema.insert("description".into(), known.description.into());
            (known.account.to_string(), schema.to_value())
        });
        let mut properties: Map<String, Value> = accounts.collect();
        properties.insert("owners".into(), owners.to_value());
        let repositories = RepositorySecret::ALL.map(|what| {
            let mut schema = generator.subschema_for::<Option<SecretFile>>();
            let description = match what {
                RepositorySecret::Key => "The ID of the access key of the store.",
                RepositorySecret::Secret => "The access key itself.",
                RepositorySecret::Passphrase => "What encrypts backups and WAL in the repository.",
            };
            schema.insert("description".into(), description.into());
            (what.to_string(), schema.to_value())
        });
        let repository = json_schema!({
            "type": "object",
            "additionalProperties": false,
            "properties": Map::from_iter(repositories),
        });
        let mut names = generator.subschema_for::<RepositoryName>();
        names.insert("description".into(), "The secrets of the backup repositories, by repository.".into());
        let backup = json_schema!({
            "type": ["object", "null"],
            "description": "The secrets of the backup repositories, by repository.",
            "propertyNames": names,
            "additionalProperties": repository,
        });
        properties.insert("backup".into(), backup.to_value());
        json_schema!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
            "description": "Commands that print passwords. hactl generates every other password and keeps it in \
                            NAME.secrets.age."
        })
    }
}

/// A password that a command prints.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct SecretFile {
    /// The program and its arguments, started without a shell in this file's directory. It must print one line.
    #[schemars(example = ["pass", "show", "pg-prod/superuser"], length(min = 1))]
    pub(in crate::spec) command: Vec<String>,
}
