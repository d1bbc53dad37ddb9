//! `hactl plan`: what `up` would change, on machines and in what runs on them.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    context::Context,
    deployment::{Deployment, ssh_keys},
    error::{Error, Result},
    event::Stage,
    firewall::RefusedSource,
    plan::Plan,
    platform::MachinePlace,
    stage::{
        firewall,
        machine_identity::MachineIdentity,
        machines, prepare,
        preview::{ConfigurationPlan, preview},
        saved_plan::SavedPlan,
        versions, vm_disks,
    },
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
    /// Where the machines are that exist, on Proxmox.
    pub places: Vec<MachinePlace>,
    /// Sources that are connected to the machines now, and that the firewall of the plan would refuse.
    pub refused_sources: Vec<RefusedSource>,
    /// What `up` would change on machines that exist; null before there are machines with a role.
    pub configuration: Option<ConfigurationPlan>,
    /// What `up` does only with consent.
    pub consents: Vec<NeededConsent>,
}

/// Something that `up` does only with consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NeededConsent {
    /// What needs it.
    pub what: String,
    /// The option that gives it. On a terminal `up` also asks.
    pub option: String,
}

impl Planned {
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty() || self.configuration.as_ref().is_some_and(ConfigurationPlan::has_changes)
    }

    /// What changes, in a few words: machines, and whether their configuration changes.
    #[must_use]
    pub fn headline(&self) -> String {
        match self.configuration.as_ref().is_some_and(ConfigurationPlan::has_changes) {
            true if self.changes.is_empty() => "the configuration changes".to_owned(),
            true => format!("{}, and the configuration changes", self.changes),
            false => self.changes.to_string(),
        }
    }

    /// Terraform's part and that of the playbook, for people.
    #[must_use]
    pub fn changes_text(&self) -> String {
        let mut text = String::new();
        text.push_str(&self.changes.headline());
        // hactl does not know what the resources of the user's own module are: the user does, by their addresses.
        match self.plan.platform.own_module() {
            Some(_) => self.changes.listed().for_each(|line| _ = write!(text, "\n  {line}")),
            None => self.changes.listed_without_new().for_each(|line| _ = write!(text, "\n  {line}")),
        }
        for MachinePlace { machine, vmid, hypervisor, file } in &self.places {
            let _ = write!(text, "\n  {machine}: {vmid} on {hypervisor}");
            if let Some(file) = file {
                let _ = write!(text, " (the cluster file says {file}; a move is asked of Proxmox, not of Terraform)");
            }
        }
        if !self.refused_sources.is_empty() {
            text.push_str("\n\nFirewall: `up` refuses new connections from these sources, which are connected now:");
            self.refused_sources.iter().for_each(|source| _ = write!(text, "\n  {source}"));
            let _ = write!(text, "\n{}.", firewall::LET_IN);
        }
        if let Some(configuration) = &self.configuration {
            let _ = write!(text, "\n{}", configuration.text());
        }
        for NeededConsent { what, option } in &self.consents {
            let _ = write!(text, "\n\n`up` asks for consent, or needs `{option}`: {what}");
        }
        if let Some(error) = &self.refused {
            let _ = write!(text, "\n\n`up` would refuse this: {error}");
        }
        text
    }
}

/// Plans. Makes nothing but the files that Terraform plans with and that reach the machines.
///
/// # Errors
/// When Terraform or the playbook cannot plan.
pub async fn plan(context: &Context, deployment: &mut Deployment, agreed: &Consent, mitogen: bool) -> Result<Planned> {
    machines::survey_platform(context, deployment).await?;
    ssh_keys::check_named(context, &deployment.cluster.plan.platform)?;
    if deployment.vault_if_any(context).await?.is_some() {
        deployment.vault_with_given(context).await?;
        deployment.take_over()?;
    }
    versions::learn(context, deployment).await?;
    let refused_sources = firewall::refused_sources(context, deployment).await?;
    let planned = plan_machines(context, deployment, agreed).await?;
    let configuration = preview(context, deployment, mitogen).await?;
    let plan = deployment.cluster.plan.clone();
    let consents = configuration.iter().flat_map(consents).collect();
    let terraform::Planned { changes, refused, .. } = planned;
    let places = deployment.known.surveyed.places.clone();
    Ok(Planned { plan, changes, refused, places, refused_sources, configuration, consents })
}

fn consents(configuration: &ConfigurationPlan) -> impl Iterator<Item = NeededConsent> {
    let interrupting = configuration.changes.iter().filter(|change| change.interrupts_writes());
    interrupting.map(|change| NeededConsent {
        what: format!("{} restarts PostgreSQL, and it is the primary: writes are interrupted", change.machine),
        option: "--yes".to_owned(),
    })
}

/// What Terraform would do.
async fn plan_machines(context: &Context, deployment: &Deployment, agreed: &Consent) -> Result<terraform::Planned> {
    let Deployment { cluster, known, .. } = deployment;
    let identity = MachineIdentity::of(context, cluster, known, deployment.opened())?;
    let image = prepare::image_of(cluster);
    let machines = identity.machines(cluster, image.as_deref());
    let (_server, reattach) = provider::serve(context, &cluster.plan.platform).await?;
    context.events.step(Stage::Plan, None, "running `terraform plan`").await;
    let consent = machines::consent(context, cluster, known, agreed).await?;
    let mut planned = terraform::plan(context, &cluster.dir(), &machines, &consent, Some(reattach)).await?;
    if planned.refused.is_none() {
        planned.refused = vm_disks::check(context, cluster, &planned.changes).await.err();
    }
    Ok(planned)
}

/// The plan to save, with digests of what it was made from.
///
/// # Errors
/// When the record of the machines cannot be read.
pub async fn to_save(context: &Context, deployment: &Deployment, planned: &Planned) -> Result<SavedPlan> {
    let interrupts = planned.configuration.as_ref().is_some_and(ConfigurationPlan::interrupts_writes);
    SavedPlan::new(context, deployment, &planned.changes, interrupts).await
}

/// Checks that `saved` was planned from what is there now.
///
/// # Errors
/// With what has changed since, and those of Terraform.
pub(super) async fn still_fits(
    context: &Context,
    deployment: &Deployment,
    agreed: &Consent,
    saved: &SavedPlan,
) -> Result<()> {
    let planned = plan_machines(context, deployment, agreed).await?;
    let now = SavedPlan::new(context, deployment, &planned.changes, saved.interrupts_writes).await?;
    saved.still_fits(&now)
}
