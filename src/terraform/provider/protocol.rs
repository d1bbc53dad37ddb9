//! The plugin protocol itself, for any provider: hactl's own, and the recorded ones of tests.

use std::sync::Arc;

pub use super::value::{Object, State, Value};
use super::wire;

/// A provider's answers to Terraform: requests in, responses out, independent of the transport.
#[tonic::async_trait]
pub trait Answers: Send + Sync {
    fn schema(&self) -> wire::GetProviderSchemaResponse;

    fn validate(&self, request: &wire::ValidateResourceRequest) -> wire::DiagnosticsResponse;

    fn upgrade_state(&self, request: &wire::UpgradeStateRequest) -> wire::UpgradeStateResponse;

    fn plan(&self, request: &wire::PlanRequest) -> wire::PlanResponse;

    async fn read(self: Arc<Self>, request: wire::ReadRequest) -> wire::ReadResponse;

    async fn apply(self: Arc<Self>, request: wire::ApplyRequest) -> wire::ApplyResponse;

    async fn import(self: Arc<Self>, request: wire::ImportRequest) -> wire::ImportResponse;

    /// Asks running operations to end early.
    async fn stop(self: Arc<Self>) -> wire::StopResponse;
}
