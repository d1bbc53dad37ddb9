//! The messages of Terraform's plugin protocol 6 that hactl needs, declared by hand.
//!
//! Protobuf skips fields it does not know, so only the fields in use are here. Field numbers are
//! Terraform's contract; nothing else may depend on them.

use std::collections::HashMap;

use prost::Message;

/// A value in transit: msgpack, or JSON where msgpack is empty.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DynamicValue {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) msgpack: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) json: Vec<u8>,
}

pub(super) const SEVERITY_ERROR: i32 = 1;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Diagnostic {
    #[prost(int32, tag = "1")]
    pub(super) severity: i32,
    #[prost(string, tag = "2")]
    pub(super) summary: String,
    #[prost(string, tag = "3")]
    pub(super) detail: String,
    #[prost(message, optional, tag = "4")]
    pub(super) attribute: Option<AttributePath>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AttributePath {
    #[prost(message, repeated, tag = "1")]
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Step {
    #[prost(string, optional, tag = "1")]
    pub(super) attribute_name: Option<String>,
}

impl AttributePath {
    /// The path of a top-level attribute.
    pub(super) fn attribute(name: &str) -> Self {
        Self { steps: vec![Step { attribute_name: Some(name.to_owned()) }] }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Schema {
    #[prost(int64, tag = "1")]
    pub(super) version: i64,
    #[prost(message, optional, tag = "2")]
    pub(super) block: Option<Block>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Block {
    #[prost(message, repeated, tag = "2")]
    pub(super) attributes: Vec<Attribute>,
    #[prost(string, tag = "4")]
    pub(super) description: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// The type in Terraform's JSON form: `"string"`, `["list","string"]`.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) r#type: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) description: String,
    #[prost(bool, tag = "4")]
    pub(super) required: bool,
    #[prost(bool, tag = "5")]
    pub(super) optional: bool,
    #[prost(bool, tag = "6")]
    pub(super) computed: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetProviderSchemaResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) provider: Option<Schema>,
    #[prost(map = "string, message", tag = "2")]
    pub(super) resource_schemas: HashMap<String, Schema>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ValidateResourceRequest {
    #[prost(string, tag = "1")]
    pub(super) type_name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) config: Option<DynamicValue>,
}

/// The response of every RPC that only checks or configures.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DiagnosticsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RawState {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) json: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct UpgradeStateRequest {
    #[prost(string, tag = "1")]
    pub(super) type_name: String,
    #[prost(message, optional, tag = "3")]
    pub(super) raw_state: Option<RawState>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct UpgradeStateResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) state: Option<DynamicValue>,
    #[prost(message, repeated, tag = "2")]
    pub(super) diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadRequest {
    #[prost(string, tag = "1")]
    pub(super) type_name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) state: Option<DynamicValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadResponse {
    /// Absent when the object is gone.
    #[prost(message, optional, tag = "1")]
    pub(super) state: Option<DynamicValue>,
    #[prost(message, repeated, tag = "2")]
    pub(super) diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PlanRequest {
    #[prost(string, tag = "1")]
    pub(super) type_name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) prior: Option<DynamicValue>,
    #[prost(message, optional, tag = "3")]
    pub(super) proposed: Option<DynamicValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PlanResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) planned: Option<DynamicValue>,
    #[prost(message, repeated, tag = "2")]
    pub(super) requires_replace: Vec<AttributePath>,
    #[prost(message, repeated, tag = "4")]
    pub(super) diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ApplyRequest {
    #[prost(string, tag = "1")]
    pub(super) type_name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) prior: Option<DynamicValue>,
    /// Null for a destroy.
    #[prost(message, optional, tag = "3")]
    pub(super) planned: Option<DynamicValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ApplyResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) state: Option<DynamicValue>,
    #[prost(message, repeated, tag = "3")]
    pub(super) diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ImportRequest {
    #[prost(string, tag = "1")]
    pub(super) type_name: String,
    #[prost(string, tag = "2")]
    pub(super) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ImportResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) imported: Vec<Imported>,
    #[prost(message, repeated, tag = "2")]
    pub(super) diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Imported {
    #[prost(string, tag = "1")]
    pub(super) type_name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) state: Option<DynamicValue>,
}

/// The answer to StopProvider: an error text, empty when all is well.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StopResponse {
    #[prost(string, tag = "1")]
    pub(super) error: String,
}
