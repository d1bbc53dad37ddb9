//! `hactl plan`: what `up` would change on machines.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    context::Context,
    deployment::Deployment,
    error::{Error, Result},
    event::Stage,
    firewall::RefusedSource,
    plan::Plan,
    stage::{firewall, machine_identity::MachineIdentity, machines, prepare, versions},
    terraform::{self, Changes, Consent, provider},
};

/// What `hactl plan` shows.
#[derive(Serialize, JsonSchema)]
pub struct Planned {
    /// What is intended, computed from the cluster file alone.
    pub plan: Plan,
    /// What Terraform would do to the machines.
    pub changes: Changes,
    /// Why `up` would refuse these changes.
    pub refused: Option<Error>,
    /// Sources that are connected to the machines now, and that the firewall of the plan would refuse.
    pub refused_sources: Vec<RefusedSource>,
}

impl Planned {
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Terraform's part, for people.
    #[must_use]
    pub fn changes_text(&self) -> String {
        let mut text = String::new();
        if self.changes.is_empty() {
            text.push_str("Machines: no changes");
        } else {
            let _ = write!(text, "Machines: {}", self.changes);
        }
        // hactl does not know what these are: the user does, by their addresses.
        if self.plan.platform.own_module().is_some() {
            self.changes.listed().for_each(|line| _ = write!(text, "\n  {line}"));
        }
        if !self.refused_sources.is_empty() {
            text.push_str("\n\nFirewall: `up` refuses new connections from these sources, which are connected now:");
            self.refused_sources.iter().for_each(|source| _ = write!(text, "\n  {source}"));
            let _ = write!(text, "\n{}.", firewall::LET_IN);
        }
        if let Some(error) = &self.refused {
            let _ = write!(text, "\n\n`up` would refuse this: {error}");
        }
        text
    }
}

/// Plans. Makes nothing but the files Terraform plans with.
///
/// # Errors
/// When Terraform cannot plan.
pub async fn plan(context: &Context, deployment: &mut Deployment, agreed: &Consent) -> Result<Planned> {
    machines::platform_has_all(context, &deployment.cluster).await?;
    if deployment.vault_if_any(context).await?.is_some() {
        deployment.vault_with_given(context).await?;
        deployment.take_over()?;
    }
    versions::learn(context, deployment).await?;
    let refused_sources = firewall::refused_sources(context, deployment).await?;
    let Deployment { cluster, known, .. } = &*deployment;
    let identity = MachineIdentity::of(context, cluster, known, deployment.opened())?;
    let image = prepare::image_of(cluster);
    let machines = identity.machines(cluster, image.as_deref());
    let (_server, reattach) = provider::serve(context, &cluster.plan.platform).await?;
    context.events.step(Stage::Plan, None, "running `terraform plan`").await;
    let consent = machines::consent(known, agreed)?;
    let planned = terraform::plan(context, &cluster.dir(), &machines, &consent, Some(reattach)).await?;
    Ok(Planned { plan: cluster.plan.clone(), changes: planned.changes, refused: planned.refused, refused_sources })
}
