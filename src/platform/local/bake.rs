//! Baking: a base image and an installer come in, a node image goes out.
//!
//! A temporary node boots from the base, the installer works on it over SSH as it would on any
//! machine, and what came out is saved under the name that its inputs hash to.

use std::net::Ipv4Addr;

use bollard::query_parameters::StopContainerOptions;

use super::{
    distribution::CLEAN_SCRIPT,
    engine::Engine,
    image::{ImageInfo, ImageKind, split_reference},
    image_builder::{ImageBuilder, lock_images},
    node_request::NodeRequest,
    progress::Progress,
    refusal::fault,
};
use crate::{
    context::Context,
    error::{Error, Result},
    event::Stage,
    model::HostName,
};

/// Installing packages is faster with memory to spare; the limit ends with the temporary node.
const MEMORY_MIB: u32 = 2048;
/// Seconds that systemd may take to shut down before it is killed.
const SHUTDOWN_SECONDS: i32 = 20;

/// Where the temporary node answers, and the key that must answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SshEndpoint {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// In OpenSSH's form.
    pub host_key: String,
}

/// Makes the image `tag` from `base` by `install`, unless it is there already.
///
/// `authorized_key` may log in to the temporary node as root; `tag` comes from
/// [`super::node_image_tag`].
///
/// # Errors
/// Those of `install`, when the base is not there or does not boot, when the disk is full, or when
/// the run is stopped. The temporary node is removed in every case, and no half image is left.
pub async fn bake(
    engine: &Engine,
    context: &Context,
    base: &str,
    tag: &str,
    authorized_key: &str,
    install: impl AsyncFnOnce(SshEndpoint) -> Result<()>,
) -> Result<ImageInfo> {
    if let Some(image) = engine.find_image(tag).await? {
        return Ok(image);
    }
    let _lock = lock_images(context).await?;
    // Another hactl may have made it while this one waited.
    if let Some(image) = engine.find_image(tag).await? {
        return Ok(image);
    }
    let builder = ImageBuilder::open(engine).await?;
    let baked = bake_in(&builder, engine, context, base, tag, authorized_key, install).await;
    let closed = builder.close().await;
    // The first error is the one to report.
    let image = baked?;
    closed.map(|()| image)
}

async fn bake_in(
    builder: &ImageBuilder<'_>,
    engine: &Engine,
    context: &Context,
    base: &str,
    tag: &str,
    authorized_key: &str,
    install: impl AsyncFnOnce(SshEndpoint) -> Result<()>,
) -> Result<ImageInfo> {
    let step = |step: &'static str| context.events.step(Stage::Image, None, step);
    step("booting a temporary node").await;
    let network = engine.create_network(&builder.network()).await?;
    let address = network.subnet.hosts().find(|address| *address != network.gateway);
    let request = NodeRequest {
        cluster: builder.cluster.clone(),
        uuid: builder.uuid(),
        key: builder.key()?,
        hostname: HostName::new("image").map_err(|error| Error::failed("image", "name", tag).source(&error))?,
        image: base.to_owned(),
        network: network.name,
        address: address.unwrap_or(Ipv4Addr::UNSPECIFIED),
        volume: None,
        disk_gb: None,
        memory_mib: MEMORY_MIB,
        cores: engine.limits.cores,
        authorized_keys: vec![authorized_key.to_owned()],
    };
    let node = engine.create_node(&request, &Progress::none(), &context.stop).await.map_err(|failed| failed.error)?;
    step("installing").await;
    install(SshEndpoint {
        host: Ipv4Addr::LOCALHOST.to_string(),
        port: node.ssh_port,
        user: "root".to_owned(),
        host_key: node.host_key.clone(),
    })
    .await?;
    if context.stop.is_cancelled() {
        return Err(Error::interrupted("bake image", tag));
    }
    step("saving the image").await;
    engine.run_in(&node.name, CLEAN_SCRIPT).await?;
    let options = StopContainerOptions { t: Some(SHUTDOWN_SECONDS), ..Default::default() };
    let stopped = engine.docker.stop_container(&node.name, Some(options)).await;
    stopped.map_err(|error| fault("stop node", &node.name, &error))?;
    engine.commit(&node.name, tag, ImageKind::Node, split_reference(tag).1).await
}
