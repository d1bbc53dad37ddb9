//! The provider's answers to Terraform: requests in, responses out, independent of the transport.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    protocol::Answers,
    resource::{Call, Failed, Platform, Resource, ResourceProblem},
    value::{Object, Value, to_state},
    wire,
};
use crate::event::Events;

pub(super) struct Provider {
    resources: BTreeMap<&'static str, Box<dyn Resource>>,
    platform: Platform,
    events: Events,
    /// Cancelled when the run stops, and the token of the current Terraform command: its Stop must not reach the next
    /// command that the same server serves.
    run: CancellationToken,
    command: Mutex<CancellationToken>,
}

impl Provider {
    pub(super) fn new(
        resources: Vec<Box<dyn Resource>>,
        platform: Platform,
        events: Events,
        run: CancellationToken,
    ) -> Self {
        let command = Mutex::new(run.child_token());
        let resources = resources.into_iter().map(|resource| (resource.type_name(), resource)).collect();
        Self { resources, platform, events, run, command }
    }

    async fn call(&self) -> Call<'_> {
        Call { platform: &self.platform, events: &self.events, stop: self.command.lock().await.clone() }
    }

    fn resource(&self, type_name: &str) -> Result<&dyn Resource, ResourceProblem> {
        self.resources.get(type_name).map(AsRef::as_ref).ok_or_else(|| {
            let known: Vec<_> = self.resources.keys().copied().collect();
            ResourceProblem::new(
                format!("Unknown resource type {type_name}"),
                format!("This provider has the resource types {}.", known.join(", ")),
            )
        })
    }

    async fn try_read(&self, request: &wire::ReadRequest) -> Result<Option<Value>, ResourceProblem> {
        let resource = self.resource(&request.type_name)?;
        let Some(state) = object(request.state.as_ref())? else { return Ok(None) };
        Ok(resource.read(&self.call().await, to_state(&state)).await?.map(value))
    }

    fn try_plan(&self, request: &wire::PlanRequest) -> Result<(Value, Vec<&'static str>), ResourceProblem> {
        let resource = self.resource(&request.type_name)?;
        let prior = object(request.prior.as_ref())?;
        let Some(proposed) = object(request.proposed.as_ref())? else { return Ok((Value::Null, Vec::new())) };
        let (mut planned, replacing) = resource.schema().plan(prior.as_ref(), proposed);
        if replacing.is_empty() {
            resource.plan(prior.as_ref(), &mut planned);
        }
        Ok((Value::Map(planned), replacing))
    }

    async fn try_apply(&self, request: &wire::ApplyRequest) -> Result<Value, Failed> {
        let resource = self.resource(&request.type_name)?;
        let prior = object(request.prior.as_ref())?;
        let planned = object(request.planned.as_ref())?;
        let call = self.call().await;
        match (prior, planned) {
            (None, None) => Ok(Value::Null),
            (None, Some(planned)) => resource.create(&call, to_state(&planned)).await.map(value),
            (Some(prior), Some(planned)) => {
                resource.update(&call, to_state(&prior), to_state(&planned)).await.map(value)
            }
            (Some(prior), None) => {
                resource.delete(&call, to_state(&prior)).await?;
                Ok(Value::Null)
            }
        }
    }
}

#[tonic::async_trait]
impl Answers for Provider {
    fn schema(&self) -> wire::GetProviderSchemaResponse {
        wire::GetProviderSchemaResponse {
            // Empty on purpose: aliased providers share one server, so configuration could not be told apart.
            provider: Some(wire::Schema { version: 0, block: Some(wire::Block::default()) }),
            resource_schemas: self
                .resources
                .iter()
                .map(|(name, resource)| ((*name).to_owned(), resource.schema().to_wire()))
                .collect(),
        }
    }

    fn validate(&self, request: &wire::ValidateResourceRequest) -> wire::DiagnosticsResponse {
        let problems = self
            .resource(&request.type_name)
            .and_then(|resource| Ok(resource.validate(&object(request.config.as_ref())?.unwrap_or_default())))
            .unwrap_or_else(|problem| vec![problem]);
        wire::DiagnosticsResponse { diagnostics: problems.iter().map(ResourceProblem::to_wire).collect() }
    }

    fn upgrade_state(&self, request: &wire::UpgradeStateRequest) -> wire::UpgradeStateResponse {
        let conform = || {
            let resource = self.resource(&request.type_name)?;
            let bytes = request.raw_state.as_ref().map_or(&b"null"[..], |raw| &raw.json);
            match Value::from_json_bytes(bytes).map_err(unreadable)? {
                Value::Map(state) => Ok(Value::Map(resource.schema().conform(state))),
                Value::Null => Ok(Value::Null),
                other => Err(unreadable(format!("expected an object, found {other:?}"))),
            }
        };
        match conform() {
            Ok(state) => wire::UpgradeStateResponse { state: Some(state.encode()), diagnostics: Vec::new() },
            Err(problem) => wire::UpgradeStateResponse { state: None, diagnostics: vec![problem.to_wire()] },
        }
    }

    async fn read(self: Arc<Self>, request: wire::ReadRequest) -> wire::ReadResponse {
        match self.try_read(&request).await {
            Ok(state) => wire::ReadResponse { state: state.map(|state| state.encode()), diagnostics: Vec::new() },
            // Terraform keeps its state: the object may exist even if the engine does not answer.
            Err(problem) => wire::ReadResponse { state: request.state, diagnostics: vec![problem.to_wire()] },
        }
    }

    fn plan(&self, request: &wire::PlanRequest) -> wire::PlanResponse {
        match self.try_plan(request) {
            Ok((planned, replacing)) => wire::PlanResponse {
                planned: Some(planned.encode()),
                requires_replace: replacing.into_iter().map(wire::AttributePath::attribute).collect(),
                ..Default::default()
            },
            Err(problem) => wire::PlanResponse { diagnostics: vec![problem.to_wire()], ..Default::default() },
        }
    }

    async fn apply(self: Arc<Self>, request: wire::ApplyRequest) -> wire::ApplyResponse {
        let (state, problem) = match self.try_apply(&request).await {
            Ok(state) => (Some(state.encode()), None),
            Err(Failed { problem, state }) => {
                // The state in spite of the failure, else the former one.
                (state.map(|state| value(state).encode()).or(request.prior), Some(problem.to_wire()))
            }
        };
        wire::ApplyResponse { state, diagnostics: problem.into_iter().collect(), lenient: false }
    }

    async fn import(self: Arc<Self>, request: wire::ImportRequest) -> wire::ImportResponse {
        let import = async {
            let resource = self.resource(&request.type_name)?;
            Ok::<_, ResourceProblem>(resource.import(&self.call().await, &request.id).await?)
        };
        match import.await {
            Ok(state) => wire::ImportResponse {
                imported: vec![wire::Imported {
                    type_name: request.type_name.clone(),
                    state: Some(value(state).encode()),
                }],
                diagnostics: Vec::new(),
            },
            Err(problem) => wire::ImportResponse { imported: Vec::new(), diagnostics: vec![problem.to_wire()] },
        }
    }

    /// Asks running operations to end early; later requests belong to a new command and are not stopped.
    async fn stop(self: Arc<Self>) -> wire::StopResponse {
        let mut command = self.command.lock().await;
        command.cancel();
        *command = self.run.child_token();
        wire::StopResponse::default()
    }
}

impl From<ResourceProblem> for Failed {
    fn from(problem: ResourceProblem) -> Self {
        Self { problem, state: None }
    }
}

fn value(state: super::value::State) -> Value {
    Value::from_json(serde_json::Value::Object(state))
}

/// The attributes in a message; none for null.
fn object(wire: Option<&wire::DynamicValue>) -> Result<Option<Object>, ResourceProblem> {
    match Value::decode(wire).map_err(unreadable)? {
        Value::Map(object) => Ok(Some(object)),
        Value::Null => Ok(None),
        other => Err(unreadable(format!("expected an object, found {other:?}"))),
    }
}

fn unreadable(error: impl Into<String>) -> ResourceProblem {
    ResourceProblem::new("Cannot read a value that Terraform sent", error)
}
