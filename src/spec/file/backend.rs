//! `backend` of the cluster file, as written: Terraform's own backends, by their own names.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::model::BACKENDS;

/// Where Terraform keeps its state: exactly one of Terraform's own backends. Secrets come only from the backend's own
/// environment variables.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct BackendFile {
    /// A table in PostgreSQL. The server and the password come from PG_CONN_STR, or from PGHOST, PGUSER, PGPASSWORD and
    /// similar variables.
    pub(in crate::spec) pg: Option<PgFile>,
    /// An object in S3, or in a compatible store. Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or
    /// from any other source that AWS clients use.
    pub(in crate::spec) s3: Option<S3File>,
    /// An HTTP address that stores the state, such as GitLab's. The password comes from TF_HTTP_PASSWORD.
    pub(in crate::spec) http: Option<HttpFile>,
    /// A key in Consul. The token comes from CONSUL_HTTP_TOKEN.
    pub(in crate::spec) consul: Option<ConsulFile>,
}

/// The section, or the name of a backend.
pub(super) fn backend(generator: &mut SchemaGenerator) -> Schema {
    let section = generator.subschema_for::<BackendFile>();
    json_schema!({"anyOf": [section, {"type": "string", "enum": BACKENDS}, {"type": "null"}]})
}

/// A table in PostgreSQL.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct PgFile {
    /// The connection string, without a password; by default from the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"postgres://terraform@db.example.org/terraform?sslmode=verify-full", length(min = 1, max = 4096))]
    pub(in crate::spec) conn_str: Option<String>,
    /// The schema, for this cluster only; by default `hactl_` and the cluster's name with underscores.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        example = &"hactl_pg_prod",
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$"),
        extend("patternErrorMessage" = "1 to 63 letters, digits, underscores and hyphens, beginning with a letter or _")
    )]
    pub(in crate::spec) schema_name: Option<String>,
    /// Whether the schema exists already, for a user who may not create one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_schema_creation: Option<bool>,
    /// Whether the table exists already.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_table_creation: Option<bool>,
    /// Whether the index exists already.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_index_creation: Option<bool>,
}

/// An object in S3.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct S3File {
    /// The bucket; required.
    // Optional to serde only, as the fields of `dns` are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, example = &"terraform-states", length(min = 1, max = 255))]
    pub(in crate::spec) bucket: Option<String>,
    /// The object, for this cluster only; by default `hactl/NAME/terraform.tfstate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"hactl/pg-prod/terraform.tfstate", length(min = 1, max = 1024))]
    pub(in crate::spec) key: Option<String>,
    /// The region; by default from AWS_REGION.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"eu-central-1", length(min = 1, max = 64))]
    pub(in crate::spec) region: Option<String>,
    /// The profile in AWS's configuration; by default from AWS_PROFILE.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub(in crate::spec) profile: Option<String>,
    /// Whether the object is encrypted at rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub(in crate::spec) encrypt: Option<bool>,
    /// The KMS key that encrypts the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub(in crate::spec) kms_key_id: Option<String>,
    /// Whether the lock is an object beside the state. Needs Terraform 1.10; by default true, unless `dynamodb_table`
    /// is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec) use_lockfile: Option<bool>,
    /// The DynamoDB table that holds the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub(in crate::spec) dynamodb_table: Option<String>,
    /// Addresses of a store other than AWS's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec) endpoints: Option<S3EndpointsFile>,
    /// The role to assume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec) assume_role: Option<AssumeRoleFile>,
    /// Whether the bucket is part of the path, which most stores other than AWS's need.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) use_path_style: Option<bool>,
    /// Whether to skip the check of the credentials, for a store without STS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_credentials_validation: Option<bool>,
    /// Whether to skip the request for the account's ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_requesting_account_id: Option<bool>,
    /// Whether to accept a region that AWS does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_region_validation: Option<bool>,
    /// Whether to skip the machine's metadata service when looking for credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_metadata_api_check: Option<bool>,
    /// Whether to upload without checksums, for a store that does not support them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) skip_s3_checksum: Option<bool>,
}

/// Addresses of a store other than AWS's.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct S3EndpointsFile {
    /// The address of the store itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"https://minio.example.org:9000", length(min = 1, max = 2048))]
    pub(in crate::spec) s3: Option<String>,
    /// The address of STS, for `assume_role`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub(in crate::spec) sts: Option<String>,
    /// The address of DynamoDB, for `dynamodb_table`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub(in crate::spec) dynamodb: Option<String>,
}

/// The role to assume.
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
    /// The external ID that the role requires.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224))]
    pub(in crate::spec) external_id: Option<String>,
}

/// An HTTP address that stores the state.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct HttpFile {
    /// The state's address, for this cluster only and without user and password; required.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        required,
        example = &"https://gitlab.example.org/api/v4/projects/7/terraform/state/pg-prod",
        length(min = 1, max = 2048)
    )]
    pub(in crate::spec) address: Option<String>,
    /// The user; by default from TF_HTTP_USERNAME.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"gitlab-ci-token", length(min = 1, max = 255))]
    pub(in crate::spec) username: Option<String>,
    /// The HTTP method that writes the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "POST"), length(min = 1, max = 16))]
    pub(in crate::spec) update_method: Option<String>,
    /// The address that takes the lock; by default `address` followed by `/lock`, as in GitLab.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub(in crate::spec) lock_address: Option<String>,
    /// The HTTP method that takes the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "POST"), length(min = 1, max = 16))]
    pub(in crate::spec) lock_method: Option<String>,
    /// The address that releases the lock; by default `lock_address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub(in crate::spec) unlock_address: Option<String>,
    /// The HTTP method that releases the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "DELETE"), length(min = 1, max = 16))]
    pub(in crate::spec) unlock_method: Option<String>,
    /// How often Terraform retries a failed request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("default" = 2))]
    pub(in crate::spec) retry_max: Option<u32>,
    /// The shortest pause before a retry, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600), extend("default" = 1))]
    pub(in crate::spec) retry_wait_min: Option<u32>,
    /// The longest pause before a retry, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600), extend("default" = 30))]
    pub(in crate::spec) retry_wait_max: Option<u32>,
}

/// A key in Consul.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec) struct ConsulFile {
    /// The key, for this cluster only; by default `hactl/NAME/terraform`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"hactl/pg-prod/terraform", length(min = 1, max = 512))]
    pub(in crate::spec) path: Option<String>,
    /// Host and port; by default from CONSUL_HTTP_ADDR.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"consul.example.org:8501", length(min = 1, max = 255))]
    pub(in crate::spec) address: Option<String>,
    /// http or https; by default according to CONSUL_HTTP_SSL.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^https?$"), extend("patternErrorMessage" = "http or https"))]
    pub(in crate::spec) scheme: Option<String>,
    /// The datacenter, if it is not the agent's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub(in crate::spec) datacenter: Option<String>,
    /// Whether to compress the state: a value in Consul has at most 512 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub(in crate::spec) gzip: Option<bool>,
}
