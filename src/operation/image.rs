//! `hactl image`: the node images of the local platform.

use super::frame::{Operation, Outcome, perform};
use crate::{
    context::{Context, RunContext},
    deployment::Deployment,
    error::{Error, Result},
    event::Summary,
    platform::local::{Engine, ImageInfo},
    stage::prepare,
};

pub const IMAGE: Operation = Operation::on_files("image");

/// `hactl image build`: the node image of a cluster, and no more.
///
/// # Errors
/// When a download or a task fails; no half image stays.
pub async fn build_image(run: &RunContext, deployment: Deployment) -> Result<Summary> {
    let work = perform(run, deployment, &IMAGE, async |acting| {
        let (context, deployment) = (&run.context, &mut acting.deployment);
        let platform = &deployment.cluster.plan.platform;
        if platform.local().is_none() {
            let error = Error::usage("image-platform", "build a node image for", deployment.cluster.name());
            return Err(error.cause(format!(
                "only platform local has node images, and this cluster has platform {}",
                platform.as_str()
            )));
        }
        // Before anything is made.
        Engine::connect(&context.env).await?;
        deployment.create_vault(context).await?;
        let (cluster, _, vault) = deployment.parts(context).await?;
        let prepared = prepare::prepare(run, cluster, vault, true).await?;
        let outcome = Outcome {
            message: format!("{} is ready", prepared.image.unwrap_or_default()),
            next: vec![format!("hactl up {}", cluster.name())],
            ..Outcome::default()
        };
        Ok((outcome, ()))
    });
    Ok(work.await?.0)
}

/// The base and node images on this machine.
///
/// # Errors
/// When the engine does not answer.
pub async fn images(context: &Context) -> Result<Vec<ImageInfo>> {
    Engine::connect(&context.env).await?.images().await
}

/// Removes base and node images that no container uses, and gives their names.
///
/// # Errors
/// When the engine does not answer.
pub async fn prune_images(context: &Context) -> Result<Vec<String>> {
    Engine::connect(&context.env).await?.prune_images().await
}
