//! The base image: a distribution with systemd and sshd, on which node images are baked.
//!
//! A reference such as `debian:12` comes in, the name of an image of this machine goes out. The
//! distribution is found on this machine, pulled from a registry or, where no registry answers, bootstrapped
//! from the distribution's own packages.

use std::{fs, io, path::Path};

use bollard::{
    body_try_stream,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{CreateContainerOptions, CreateImageOptions, RemoveImageOptions, StartContainerOptions},
};
use futures_util::TryStreamExt;
use tokio_util::io::ReaderStream;

use super::{
    distribution::{Bootstrap, access_options, bootstrap_arguments, prepare_script},
    engine::Engine,
    image::{ImageKind, LABEL_DIGEST, LABEL_IMAGE, split_reference},
    image_builder::{ImageBuilder, lock_images},
    refusal::fault,
};
use crate::{
    context::Context,
    error::{Error, Result, codes},
    event::{Event, Stage},
    exec::{Command, Complaint},
    model::Distribution,
};

/// The name of the base image for a reference, for example `hactl/base:debian-12`.
#[must_use]
pub fn base_image_tag(reference: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let tag: String = reference.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    format!("hactl/base:{}", tag.trim_matches(['-', '.']))
}

/// Makes sure that the base image for `reference` is on this machine, and returns its name.
///
/// # Errors
/// When the reference can neither be found, pulled nor bootstrapped (of kind `Missing` when
/// mmdebstrap would be needed and is not there), when the disk is full, or when the run is stopped.
/// No half image is left behind.
pub async fn base_image(engine: &Engine, context: &Context, reference: &str) -> Result<String> {
    let tag = base_image_tag(reference);
    if engine.find_image(&tag).await?.is_some() {
        return Ok(tag);
    }
    let _lock = lock_images(context).await?;
    // Another hactl may have made it while this one waited.
    if engine.find_image(&tag).await?.is_some() {
        return Ok(tag);
    }
    if engine.inspect_image(reference).await?.is_none() {
        let step = |step: String| context.events.step(Stage::Image, None, step);
        step(format!("pulling {reference}")).await;
        match (pull(engine, context, reference).await, reference.parse().ok().map(Bootstrap)) {
            (Ok(()), _) => {
                let reason = "an image registry answered";
                download(context, reference, "the image registry", reason.to_owned()).await;
            }
            (Err(error), _) if context.stop.is_cancelled() => return Err(error),
            (Err(error), Some(release)) => {
                let reason = error.causes.last().cloned().unwrap_or_default();
                download(context, reference, "the distribution's packages", reason).await;
                step(format!("bootstrapping {reference}")).await;
                bootstrap(engine, context, release, &tag).await?;
                return Ok(tag);
            }
            (Err(error), None) => {
                return Err(error.hint(format!(
                    "Set an image that this machine has or can pull; without a registry, these work: {}",
                    Distribution::ALL.map(|release| release.to_string()).join(", ")
                )));
            }
        }
    }
    context.events.step(Stage::Image, None, format!("installing systemd and sshd on {reference}")).await;
    prepare(engine, context, reference, &tag).await?;
    Ok(tag)
}

async fn download(context: &Context, what: &str, source: &str, reason: String) {
    context.events.emit(Event::Download { what: what.to_owned(), source: source.to_owned(), reason }).await;
}

async fn pull(engine: &Engine, context: &Context, reference: &str) -> Result<()> {
    let (name, tag) = split_reference(reference);
    let options =
        CreateImageOptions { from_image: Some(name.to_owned()), tag: Some(tag.to_owned()), ..Default::default() };
    let mut lines = std::pin::pin!(engine.docker.create_image(Some(options), None, None));
    let pulled = async {
        while lines.try_next().await?.is_some() {}
        Ok(())
    };
    tokio::select! {
        pulled = pulled => pulled.map_err(|error| fault("pull image", reference, &error)),
        () = context.stop.cancelled() => Err(Error::interrupted("pull image", reference)),
    }
}

/// Makes the image from packages alone.
async fn bootstrap(engine: &Engine, context: &Context, release: Bootstrap, tag: &str) -> Result<()> {
    let failed = |error: &io::Error| Error::failed("bootstrap", "bootstrap image", tag).source(error);
    fs::create_dir_all(&context.dirs.cache).map_err(|error| failed(&error))?;
    // Removed when this function returns, however it returns.
    let dir =
        tempfile::Builder::new().prefix("base-").tempdir_in(&context.dirs.cache).map_err(|error| failed(&error))?;
    let (tar, options_file) = (dir.path().join("base.tar"), dir.path().join("apt.conf"));
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let sources = release.sources(&os_release, &source_files(Path::new("/etc/apt")));
    let options = if release.is_of(&os_release) { machine_options(context).await } else { String::new() };
    fs::write(&options_file, options).map_err(|error| failed(&error))?;

    let arguments = bootstrap_arguments(release, &sources, &options_file.to_string_lossy(), &tar.to_string_lossy());
    let command = Command::new("mmdebstrap").args(arguments);
    let done = command.record(context, "mmdebstrap").await.map_err(|error| not_run(error, tag))?;
    let complaint = Complaint::of(&done.tail);
    command.checked(done).map_err(|error| explain(error, complaint))?;
    import(engine, &tar, release, tag).await
}

fn not_run(error: Error, tag: &str) -> Error {
    match error.code {
        codes::COMMAND_NOT_FOUND => Error::missing("mmdebstrap-missing", "bootstrap image", tag)
            .cause("no image registry answers, and mmdebstrap is not on this machine")
            .hint("Install it with `sudo apt-get install mmdebstrap`, or make the registry reachable"),
        codes::INTERRUPTED => error,
        _ => explain(error, Complaint::Other),
    }
}

fn explain(error: Error, complaint: Complaint) -> Error {
    match complaint {
        Complaint::DiskFull => {
            error.hint("Free disk space in the cache directory, or set HACTL_CACHE_DIR to another directory")
        }
        Complaint::ChecksumMismatch | Complaint::Other => error.hint(
            "Check mmdebstrap's last lines above for the mirror or key that failed; the run record has its whole \
                 output",
        ),
    }
}

/// The texts of apt's source files, those that are off by their name left out.
fn source_files(etc: &Path) -> Vec<String> {
    let parts = fs::read_dir(etc.join("sources.list.d")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<_> =
        parts.filter(|path| path.extension().is_some_and(|end| end == "list" || end == "sources")).collect();
    paths.push(etc.join("sources.list"));
    paths.sort();
    paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// Without apt's own answer the mirrors are tried without options.
async fn machine_options(context: &Context) -> String {
    let dump = Command::new("apt-config").arg("dump").succeed(context, |_| ()).await;
    dump.map(|done| access_options(&done.stdout)).unwrap_or_default()
}

async fn import(engine: &Engine, tar: &Path, release: Bootstrap, tag: &str) -> Result<()> {
    let file = tokio::fs::File::open(tar).await;
    let file = file.map_err(|error| Error::failed("bootstrap", "read", tar.display()).source(&error))?;
    let (repo, version) = split_reference(tag);
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repo.to_owned()),
        tag: Some(version.to_owned()),
        changes: vec![
            format!("LABEL {LABEL_IMAGE}={}", ImageKind::Base.as_str()),
            format!("LABEL {LABEL_DIGEST}={}", release.0),
        ],
        ..Default::default()
    };
    let body = body_try_stream(ReaderStream::with_capacity(file, 1 << 20));
    let mut lines = std::pin::pin!(engine.docker.create_image(Some(options), Some(body), None));
    // The engine names the image last, so one that stops half-way leaves none.
    let imported = async {
        while lines.try_next().await?.is_some() {}
        Ok(())
    }
    .await;
    imported.map_err(|error| fault("import image", tag, &error))?;
    engine.require_image(tag).await.map(drop)
}

/// Installs what a node needs on a plain image. With a network of the machine's own, its proxies and
/// mirrors work as they do outside.
async fn prepare(engine: &Engine, context: &Context, reference: &str, tag: &str) -> Result<()> {
    let builder = ImageBuilder::open(engine).await?;
    let name = builder.container_name();
    let made = async {
        let body = ContainerCreateBody {
            image: Some(reference.to_owned()),
            entrypoint: Some(vec!["/bin/sh".to_owned(), "-c".to_owned()]),
            cmd: Some(vec![prepare_script()]),
            labels: Some(builder.labels()),
            host_config: Some(HostConfig { network_mode: Some("host".to_owned()), ..Default::default() }),
            ..Default::default()
        };
        let options = CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
        let fail = |error| fault("prepare image", tag, &error);
        engine.docker.create_container(Some(options), body).await.map_err(fail)?;
        engine.docker.start_container(&name, None::<StartContainerOptions>).await.map_err(fail)?;
        engine.wait_for_success(&name, context).await?;
        engine.commit(&name, tag, ImageKind::Base, reference).await
    };
    let made = made.await;
    builder.close().await?;
    made.map(drop)
}

impl Engine {
    /// Removes one image, for callers that made it for a while.
    ///
    /// # Errors
    /// When a container uses it or the engine does not answer. One that is not there is fine.
    pub async fn remove_image(&self, reference: &str) -> Result<()> {
        match self.docker.remove_image(reference, None::<RemoveImageOptions>, None).await {
            Err(error) if !super::refusal::is_absent(&error) => Err(fault("remove image", reference, &error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_image_tag_contains_the_reference() {
        assert_eq!(base_image_tag("debian:12"), "hactl/base:debian-12");
        assert_eq!(base_image_tag("registry:5000/team/debian:12"), "hactl/base:registry-5000-team-debian-12");
    }

    #[test]
    fn missing_mmdebstrap_error_has_an_installation_hint() {
        let error = not_run(Error::missing("command-not-found", "start", "mmdebstrap"), "hactl/base:debian-12");
        assert_eq!(error.kind.exit_code(), 3);
        assert!(error.hint.unwrap().contains("apt-get install mmdebstrap"));
    }
}
