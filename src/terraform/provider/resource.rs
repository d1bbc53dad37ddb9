//! What a resource is to the provider: a schema and five verbs over plain states.
//!
//! A new resource is one file that implements [`Resource`] and one line in [`super::resources`].

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::{
    schema::Schema,
    value::{Object, State, Value, whole},
    wire,
};
use crate::{
    error::{Error, Result},
    event::{Events, Stage},
    model::InstanceKey,
    platform::local::{Engine, Progress},
};

/// A problem, at its attribute if it has one.
#[derive(Clone, Debug)]
pub(super) struct ResourceProblem {
    pub(super) attribute: Option<&'static str>,
    pub(super) summary: String,
    pub(super) detail: String,
}

impl ResourceProblem {
    pub(super) fn at(attribute: &'static str, summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { attribute: Some(attribute), summary: summary.into(), detail: detail.into() }
    }

    pub(super) fn new(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { attribute: None, summary: summary.into(), detail: detail.into() }
    }

    pub(super) fn to_wire(&self) -> wire::Diagnostic {
        wire::Diagnostic {
            severity: wire::SEVERITY_ERROR,
            summary: self.summary.clone(),
            detail: self.detail.clone(),
            attribute: self.attribute.map(wire::AttributePath::attribute),
        }
    }
}

impl From<Error> for ResourceProblem {
    fn from(error: Error) -> Self {
        let mut detail = error.causes.join("\n");
        if let Some(hint) = &error.hint {
            detail.push_str(if detail.is_empty() { "" } else { "\n\n" });
            detail.push_str(&format!("Hint: {hint}."));
        }
        Self::new(format!("Cannot {} {}", error.what, error.object), detail)
    }
}

/// A failed change, and the state that exists in spite of it, which Terraform keeps as tainted.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) problem: ResourceProblem,
    pub(super) state: Option<State>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { problem: error.into(), state: None }
    }
}

/// The environment and the container engine. The first request that needs the engine connects to it: Terraform starts a
/// provider several times per command, mostly only for its schema.
pub(super) struct Platform {
    env: BTreeMap<String, String>,
    engine: OnceCell<Engine>,
}

impl Platform {
    pub(super) fn connected(engine: Engine, env: BTreeMap<String, String>) -> Self {
        Self { env, engine: OnceCell::new_with(Some(engine)) }
    }

    pub(super) fn from_env(env: BTreeMap<String, String>) -> Self {
        Self { env, engine: OnceCell::new() }
    }

    async fn engine(&self) -> Result<&Engine> {
        self.engine.get_or_try_init(|| Engine::connect(&self.env)).await
    }
}

/// What a verb may use.
pub(super) struct Call<'a> {
    pub(super) platform: &'a Platform,
    pub(super) events: &'a Events,
    /// Cancelled by Terraform's Stop and by the run's own.
    pub(super) stop: CancellationToken,
}

impl Call<'_> {
    pub(super) async fn engine(&self) -> Result<&Engine> {
        self.platform.engine().await
    }

    /// The environment of the run.
    pub(super) const fn env(&self) -> &BTreeMap<String, String> {
        &self.platform.env
    }

    /// Runs `work` and passes the steps that it reports on as events of `node`.
    pub(super) async fn with_progress<T, W>(&self, node: &InstanceKey, work: impl FnOnce(Progress) -> W) -> T
    where
        W: Future<Output = T>,
    {
        let (progress, mut steps) = Progress::channel();
        let forward = async {
            while let Some(step) = steps.recv().await {
                self.events.step(Stage::Provision, Some(node), step).await;
            }
        };
        // The sender is dropped with the work, which ends the forwarding.
        let (done, ()) = tokio::join!(work(progress), forward);
        done
    }
}

#[tonic::async_trait]
pub(super) trait Resource: Send + Sync {
    /// The type in Terraform: `hactl_node`.
    fn type_name(&self) -> &'static str;

    fn schema(&self) -> Schema;

    /// Checks the known values of the configuration.
    fn validate(&self, _config: &Object) -> Vec<ResourceProblem> {
        Vec::new()
    }

    /// Refines the plan that follows from the schema; `prior` is absent for a create.
    fn plan(&self, _prior: Option<&Object>, _planned: &mut Object) {}

    async fn create(&self, call: &Call<'_>, planned: State) -> Result<State, Failed>;

    /// The current state; `None` if the object is gone or belongs to another cluster.
    async fn read(&self, call: &Call<'_>, state: State) -> Result<Option<State>>;

    async fn update(&self, call: &Call<'_>, prior: State, planned: State) -> Result<State, Failed>;

    /// Succeeds also if the object is gone already.
    async fn delete(&self, call: &Call<'_>, state: State) -> Result<()>;

    /// Finds an object by the name that the user knows.
    async fn import(&self, call: &Call<'_>, id: &str) -> Result<State>;
}

/// Reads a resource's own type from a state.
pub(super) fn parse<T: DeserializeOwned>(state: State) -> Result<T> {
    serde_json::from_value(Json::Object(state))
        .map_err(|error| Error::failed("terraform-state", "read", "the attributes of the resource").source(&error))
}

/// The state of a resource's own type.
pub(super) fn state<T: Serialize>(value: &T) -> State {
    match serde_json::to_value(value) {
        Ok(Json::Object(state)) => state,
        // INVARIANT: the types of this module are structs of texts, numbers and lists.
        other => unreachable!("a resource serialises to an object, not to {other:?}"),
    }
}

/// Checks that a known number attribute is a whole one within `range`; `expected` says so.
pub(super) fn check_whole(
    config: &Object,
    attribute: &'static str,
    range: RangeInclusive<u32>,
    expected: &str,
    problems: &mut Vec<ResourceProblem>,
) {
    if let Some(Value::Number(number)) = config.get(attribute)
        && !whole(*number).and_then(|number| u32::try_from(number).ok()).is_some_and(|number| range.contains(&number))
    {
        let detail = format!("The value is {number}, but must be a whole number{expected}.");
        problems.push(ResourceProblem::at(attribute, format!("Invalid {attribute}"), detail));
    }
}

/// Checks a known text attribute by `check`, whose error says the rule.
pub(super) fn check_text<E: std::fmt::Display>(
    config: &Object,
    attribute: &'static str,
    problems: &mut Vec<ResourceProblem>,
    check: impl FnOnce(&str) -> Result<(), E>,
) {
    if let Some(text) = config.get(attribute).and_then(Value::text)
        && let Err(error) = check(text)
    {
        problems.push(ResourceProblem::at(attribute, format!("Invalid {attribute}"), error.to_string()));
    }
}
