//! `backend` of the cluster file, as it is written: Terraform's own backends, by their own names.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::model::BACKENDS;

/// Where Terraform keeps its state: exactly one of Terraform's own backends. Their secrets come from their own environment
/// variables alone.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct BackendFile {
    /// A table in PostgreSQL. Where it is and its password come from PG_CONN_STR, or from PGHOST, PGUSER, PGPASSWORD and
    /// their like.
    pub(in crate::spec) pg: Option<PgFile>,
    /// An object in S3, or in a store that speaks like it. Credentials come from AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY, or as for every client of AWS.
    pub(in crate::spec) s3: Option<S3File>,
    /// An address that takes the state by HTTP, such as GitLab's. The password comes from TF_HTTP_PASSWORD.
    pub(in crate::spec) http: Option<HttpFile>,
    /// A key in Consul. The token comes from CONSUL_HTTP_TOKEN.
    pub(in crate::spec) consul: Option<ConsulFile>,
}

/// The section, or the word of a backend.
pub(super) fn backend(generator: &mut SchemaGenerator) -> Schema {
    let section = generator.subschema_for::<BackendFile>();
    json_schema!({"anyOf": [section, {"type": "string", "enum": BACKENDS}, {"type": "null"}]})
}

/// A table in PostgreSQL.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct PgFile {
    /// Where it is, without a password; by default the environment says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"postgres://terraform@db.example.org/terraform?sslmode=verify-full", length(min = 1, max = 4096))]
    pub(in crate::spec) conn_str: Option<String>,
    /// The schema, for this cluster alone; by default `hactl_` and the cluster's name with underscores.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        example = &"hactl_pg_prod",
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$"),
        extend("patternErrorMessage" = "1 to 63 letters, digits, underscores and hyphens, beginning with a letter or _")
    )]
    pub(in crate::spec) schema_name: Option<String>,
    /// Whether the schema is there already, for a user who may not make one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_schema_creation: Option<bool>,
    /// Whether the table is there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_table_creation: Option<bool>,
    /// Whether the index is there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_index_creation: Option<bool>,
}

/// An object in S3.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct S3File {
    /// The bucket; required.
    // Optional to serde alone, as the fields of `dns` are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, example = &"terraform-states", length(min = 1, max = 255))]
    pub(in crate::spec) bucket: Option<String>,
    /// The object, for this cluster alone; `hactl/NAME/terraform.tfstate` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"hactl/pg-prod/terraform.tfstate", length(min = 1, max = 1024))]
    pub(in crate::spec) key: Option<String>,
    /// The region; by default AWS_REGION has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"eu-central-1", length(min = 1, max = 64))]
    pub(in crate::spec) region: Option<String>,
    /// The profile of AWS's configuration; by default AWS_PROFILE has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub(in crate::spec) profile: Option<String>,
    /// Whether the object is encrypted at rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub(in crate::spec) encrypt: Option<bool>,
    /// The KMS key that it is encrypted with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub(in crate::spec) kms_key_id: Option<String>,
    /// Whether the lock is an object beside the state. Needs Terraform 1.10; true by default, unless there is
    /// `dynamodb_table`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec) use_lockfile: Option<bool>,
    /// The table of DynamoDB that holds the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub(in crate::spec) dynamodb_table: Option<String>,
    /// Addresses of a store that is not AWS's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec) endpoints: Option<S3EndpointsFile>,
    /// The role that is taken on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec) assume_role: Option<AssumeRoleFile>,
    /// Whether the bucket is a part of the path, as many stores other than AWS's want it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) use_path_style: Option<bool>,
    /// Whether the store has no STS to ask who one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_credentials_validation: Option<bool>,
    /// Whether not to ask for the account's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_requesting_account_id: Option<bool>,
    /// Whether the region may be a word that AWS does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_region_validation: Option<bool>,
    /// Whether not to ask the machine's metadata service for credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_metadata_api_check: Option<bool>,
    /// Whether the store knows no checksums of uploads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_s3_checksum: Option<bool>,
}

/// Addresses of a store that is not AWS's.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct S3EndpointsFile {
    /// That of the store itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"https://minio.example.org:9000", length(min = 1, max = 2048))]
    pub(in crate::spec) s3: Option<String>,
    /// That of STS, for `assume_role`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub(in crate::spec) sts: Option<String>,
    /// That of DynamoDB, for `dynamodb_table`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub(in crate::spec) dynamodb: Option<String>,
}

/// The role that is taken on.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct AssumeRoleFile {
    /// The role's ARN.
    #[schemars(example = &"arn:aws:iam::123456789012:role/terraform", length(min = 1, max = 2048))]
    pub(in crate::spec) role_arn: String,
    /// A name for the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 64))]
    pub(in crate::spec) session_name: Option<String>,
    /// The external id that the role asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224))]
    pub(in crate::spec) external_id: Option<String>,
}

/// An address that takes the state by HTTP.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct HttpFile {
    /// The state's address, for this cluster alone and without user and password; required.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        required,
        example = &"https://gitlab.example.org/api/v4/projects/7/terraform/state/pg-prod",
        length(min = 1, max = 2048)
    )]
    pub(in crate::spec) address: Option<String>,
    /// The user; by default TF_HTTP_USERNAME has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"gitlab-ci-token", length(min = 1, max = 255))]
    pub(in crate::spec) username: Option<String>,
    /// How the state is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "POST"), length(min = 1, max = 16))]
    pub(in crate::spec) update_method: Option<String>,
    /// Where the lock is taken; by default `address` with `/lock` at its end, as GitLab has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub(in crate::spec) lock_address: Option<String>,
    /// How the lock is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "POST"), length(min = 1, max = 16))]
    pub(in crate::spec) lock_method: Option<String>,
    /// Where the lock is given back; where it is taken by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub(in crate::spec) unlock_address: Option<String>,
    /// How the lock is given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "DELETE"), length(min = 1, max = 16))]
    pub(in crate::spec) unlock_method: Option<String>,
    /// How often a failed request is made again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("default" = 2))]
    pub(in crate::spec) retry_max: Option<u32>,
    /// The shortest pause before it, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600), extend("default" = 1))]
    pub(in crate::spec) retry_wait_min: Option<u32>,
    /// The longest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600), extend("default" = 30))]
    pub(in crate::spec) retry_wait_max: Option<u32>,
}

/// A key in Consul.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct ConsulFile {
    /// The key, for this cluster alone; `hactl/NAME/terraform` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"hactl/pg-prod/terraform", length(min = 1, max = 512))]
    pub(in crate::spec) path: Option<String>,
    /// Host and port; by default CONSUL_HTTP_ADDR has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"consul.example.org:8501", length(min = 1, max = 255))]
    pub(in crate::spec) address: Option<String>,
    /// http or https; by default CONSUL_HTTP_SSL says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^https?$"), extend("patternErrorMessage" = "http or https"))]
    pub(in crate::spec) scheme: Option<String>,
    /// The datacenter, where it is not the agent's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub(in crate::spec) datacenter: Option<String>,
    /// Whether the state is compressed: a value of Consul is at most 512 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) gzip: Option<bool>,
}
