//! `hactl provision`: only the machines.

use super::frame::{LockUse, Operation, Outcome, Preflight, SecretsUse, perform};
use crate::{
    context::RunContext,
    deployment::Deployment,
    error::Result,
    event::Summary,
    stage::{
        machines::{self, With},
        prepare, versions,
    },
    terraform::Consent,
};

pub const PROVISION: Operation = Operation {
    command: "provision",
    on_adopted: false,
    reads_state: true,
    preflight: Preflight::Machines,
    secrets: SecretsUse::Create,
    locks: LockUse::IfKnown,
};

/// Makes the machines, or brings them to what the file says.
///
/// # Errors
/// When a download, the image or Terraform fails.
pub async fn provision(run: &RunContext, deployment: Deployment, agreed: &Consent) -> Result<Summary> {
    let work = perform(run, deployment, &PROVISION, async |acting| {
        versions::learn(&run.context, &mut acting.deployment).await?;
        let (cluster, known, vault) = acting.deployment.parts(&run.context).await?;
        let prepared = prepare::prepare(run, cluster, vault, true).await?;
        let with = With { image: prepared.image.as_deref(), agreed };
        let provisioned = machines::apply(run, cluster, known, vault, &with).await?;
        let name = cluster.name();
        let outcome = Outcome {
            message: format!("{name}: {} machines.", provisioned.fleet.nodes.len()),
            next: vec![format!("hactl configure {name}"), format!("hactl down {name}")],
            changed: provisioned.changed,
            ..Outcome::default()
        };
        Ok((outcome, ()))
    });
    Ok(work.await?.0)
}
