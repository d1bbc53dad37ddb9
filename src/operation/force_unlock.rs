//! `hactl terraform force-unlock`: a lock of the state that a dead run left.

use super::frame::{Operation, Outcome, perform};
use crate::{context::RunContext, deployment::Deployment, error::Result, event::Summary, terraform};

pub const FORCE_UNLOCK: Operation = Operation::on_files("terraform");

/// Gives the lock `id` back.
///
/// # Errors
/// When that lock does not exist, or the backend does not answer.
pub async fn force_unlock(run: &RunContext, deployment: Deployment, id: &str) -> Result<Summary> {
    let work = perform(run, deployment, &FORCE_UNLOCK, async |acting| {
        let cluster = &acting.deployment.cluster;
        terraform::force_unlock(&run.context, &cluster.dir(), &cluster.plan, id).await?;
        let name = cluster.name();
        let outcome = Outcome {
            message: format!("Released the state lock of {name}."),
            next: vec![format!("hactl up {name}")],
            changed: true,
            ..Outcome::default()
        };
        Ok((outcome, ()))
    });
    Ok(work.await?.0)
}
