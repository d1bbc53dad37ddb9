//! Where images are made: a temporary container and network that never outlive the work on them.
//!
//! The next hactl removes what a killed one left behind: every builder is named after the process
//! that opened it, and carries a UUID that no cluster has.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use bollard::{
    exec::StartExecResults,
    models::ExecConfig,
    query_parameters::{ListContainersOptions, ListNetworksOptions, LogsOptions, WaitContainerOptions},
};
use futures_util::{StreamExt, TryStreamExt};
use nix::fcntl::{Flock, FlockArg};
use uuid::Uuid;

use super::{
    engine::{Engine, LABEL_CLUSTER, LABEL_UUID, labels},
    network::NetworkRequest,
    refusal::fault,
};
use crate::{
    context::Context,
    error::{Error, Result},
    event::{Event, Stage},
    model::{ClusterName, InstanceKey},
};

/// The UUID of everything that is made only to make an image.
const IMAGE_BUILDER: Uuid = Uuid::from_u128(0x6861_6374_6c00_4000_8000_0069_6d61_6765);
/// How often a lock that another process holds is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(300);

/// A temporary cluster of one container.
pub(super) struct ImageBuilder<'a> {
    engine: &'a Engine,
    pub(super) cluster: ClusterName,
}

impl<'a> ImageBuilder<'a> {
    /// Clears what dead processes left, and reserves names.
    pub(super) async fn open(engine: &'a Engine) -> Result<Self> {
        sweep(engine).await?;
        let name = format!("bake-{}-{:04x}", std::process::id(), rand::random::<u16>());
        let cluster = ClusterName::new(name)
            .map_err(|error| Error::failed("image", "name", "the image builder").source(&error))?;
        Ok(Self { engine, cluster })
    }

    pub(super) const fn uuid(&self) -> Uuid {
        IMAGE_BUILDER
    }

    pub(super) fn key(&self) -> Result<InstanceKey> {
        InstanceKey::new("image").map_err(|error| Error::failed("image", "name", "the image builder").source(&error))
    }

    pub(super) fn container_name(&self) -> String {
        format!("{}-image", self.cluster)
    }

    pub(super) fn labels(&self) -> HashMap<String, String> {
        labels(&self.cluster, IMAGE_BUILDER)
    }

    pub(super) fn network(&self) -> NetworkRequest {
        NetworkRequest { cluster: self.cluster.clone(), uuid: IMAGE_BUILDER, subnet: None }
    }

    /// Removes container and network. To be called however the work ended.
    pub(super) async fn close(self) -> Result<()> {
        self.engine.remove_node(&self.container_name()).await?;
        self.engine.remove_network(&self.network().name()).await
    }
}

/// Removes the builders of processes that are gone.
async fn sweep(engine: &Engine) -> Result<()> {
    let filters = Some(HashMap::from([("label".to_owned(), vec![format!("{LABEL_UUID}={IMAGE_BUILDER}")])]));
    let failed = |error| fault("list", "the containers and networks of earlier image builds", &error);
    let options = ListContainersOptions { all: true, filters: filters.clone(), ..Default::default() };
    let containers = engine.docker.list_containers(Some(options)).await.map_err(failed)?;
    for container in containers {
        if is_abandoned(container.labels.as_ref()) {
            let id = container.id.unwrap_or_default();
            engine.remove_container(&id, &id).await?;
        }
    }
    let networks = engine.docker.list_networks(Some(ListNetworksOptions { filters })).await.map_err(failed)?;
    for network in networks {
        if is_abandoned(network.labels.as_ref()) {
            engine.remove_network(&network.name.unwrap_or_default()).await?;
        }
    }
    Ok(())
}

/// The engine runs on this machine, and so did the process that opened the builder.
fn is_abandoned(labels: Option<&HashMap<String, String>>) -> bool {
    let name = labels.and_then(|labels| labels.get(LABEL_CLUSTER));
    let process = name.and_then(|name| name.split('-').nth(1)?.parse::<u32>().ok());
    process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
}

/// Waits until no other hactl of this user makes an image, so that the second finds it made.
pub(super) async fn lock_images(context: &Context) -> Result<Flock<fs::File>> {
    let path = context.dirs.cache.join("image.lock");
    let failed = |error: &dyn std::error::Error| {
        Error::failed("image-lock", "take the lock", path.display())
            .cause(error.to_string())
            .hint("Check that the cache directory is writable")
    };
    fs::create_dir_all(&context.dirs.cache).map_err(|error| failed(&error))?;
    let mut said = false;
    loop {
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        match Flock::lock(file.map_err(|error| failed(&error))?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, nix::errno::Errno::EAGAIN)) => {
                if !said {
                    context
                        .events
                        .step(Stage::Image, None, "waiting for another hactl that is creating an image")
                        .await;
                    said = true;
                }
            }
            Err((_, error)) => return Err(failed(&error)),
        }
        tokio::select! {
            () = tokio::time::sleep(LOCK_PAUSE) => {}
            () = context.stop.cancelled() => return Err(Error::interrupted("take the lock", path.display())),
        }
    }
}

impl Engine {
    /// Runs a shell script in a running container as root.
    pub(super) async fn run_in(&self, name: &str, script: &str) -> Result<()> {
        let failed = |error| fault("run a command in", name, &error);
        let command = ExecConfig {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(["/bin/sh", "-ec", script].map(str::to_owned).to_vec()),
            ..Default::default()
        };
        let command = self.docker.create_exec(name, command).await.map_err(failed)?;
        let mut text = String::new();
        let started = self.docker.start_exec(&command.id, None).await.map_err(failed)?;
        if let StartExecResults::Attached { mut output, .. } = started {
            while let Some(line) = output.try_next().await.map_err(failed)? {
                text.push_str(&line.to_string());
            }
        }
        match self.docker.inspect_exec(&command.id).await.map_err(failed)?.exit_code {
            Some(0) => Ok(()),
            code => Err(Error::failed("node-command", "run a command in", name)
                .cause(format!("it exited with status {}", code.unwrap_or(-1)))
                .cause(text.trim())),
        }
    }

    /// Follows a container's log into the run record until the container ends with success.
    pub(super) async fn wait_for_success(&self, name: &str, context: &Context) -> Result<()> {
        let options = LogsOptions { follow: true, stdout: true, stderr: true, ..Default::default() };
        let mut logs = std::pin::pin!(self.docker.logs(name, Some(options)));
        let follow = async {
            while let Some(Ok(output)) = logs.next().await {
                let line = output.to_string().trim_end().to_owned();
                context.events.emit(Event::Output { tool: "apt".to_owned(), stream: "stdout", line }).await;
            }
            let mut waits = std::pin::pin!(self.docker.wait_container(name, None::<WaitContainerOptions>));
            waits.try_next().await
        };
        let ended = tokio::select! {
            ended = follow => ended,
            () = context.stop.cancelled() => return Err(Error::interrupted("finish", name)),
        };
        let cause = match ended {
            Ok(_) => return Ok(()),
            Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) => {
                format!("it exited with status {code}")
            }
            Err(error) => return Err(fault("wait for", name, &error)),
        };
        let error = Error::failed("image-prepare", "install packages in", name).cause(cause);
        Err(error
            .cause(self.log_tail(name).await)
            .hint("Check the last lines of the output for the mirror or package that failed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_builder_of_a_dead_process_is_abandoned() {
        let labels = |name: &str| HashMap::from([(LABEL_CLUSTER.to_owned(), name.to_owned())]);
        assert!(!is_abandoned(Some(&labels(&format!("bake-{}-00ff", std::process::id())))));
        // Above the highest number that a process can have.
        assert!(is_abandoned(Some(&labels("bake-4294967290-00ff"))));
        assert!(!is_abandoned(Some(&labels("other"))));
        assert!(!is_abandoned(None));
    }
}
