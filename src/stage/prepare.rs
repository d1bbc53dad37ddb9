//! What has to be there before machines are made: downloads, Ansible's environment, the node image.

use std::{fs, path::PathBuf};

use futures_util::future::try_join_all;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::refused::parameters_refused;
use crate::{
    ansible::{self, AnsibleEnvironment, Playbook, Settings},
    assets::{self, Assets},
    component::{COMPONENTS, DownloadRequest, Downloaded, RoleVars},
    context::{Context, RunContext},
    deployment::Cluster,
    error::{Error, Kind, Result, codes},
    event::{Events, Stage},
    fetch::{self, LockFile},
    model::{Arch, Local, Platform, Role},
    platform::{
        self,
        local::{self, Engine, SshEndpoint},
    },
    secrets::Vault,
    terraform,
};

/// Everything that the later stages need beside the plan.
pub(crate) struct Prepared {
    pub(crate) downloads: Vec<Downloaded>,
    pub(crate) ansible: AnsibleEnvironment,
    /// The node image of local nodes, by its tag.
    pub(crate) image: Option<String>,
}

/// Checks every tool before anything is made, and reports all that are missing at once.
///
/// # Errors
/// Of kind `Missing` when a tool is missing or not usable.
pub(crate) async fn tools(context: &Context, of: &Platform) -> Result<()> {
    // The stages report the same events again.
    let quiet = Context { events: Events::channel().0, ..context.clone() };
    let (engine, terraform, python, ssh) = tokio::join!(
        platform::engine_answers(&quiet, of),
        terraform::terraform_version(&quiet),
        fetch::controller_python(&quiet),
        ansible::ssh_version(&quiet)
    );
    let errors = [engine.err(), terraform.err(), python.err(), ssh.err()].into_iter().flatten();
    let mut errors: Vec<Error> = errors.collect();
    let alone = errors.len() < 2 || errors.iter().any(|error| error.kind != Kind::Missing);
    errors.sort_by_key(|error| error.kind == Kind::Missing);
    if alone {
        return errors.into_iter().next().map_or(Ok(()), Err);
    }
    let all = Error::missing("tools-missing", "find", "all required programs on this machine");
    let all = errors.iter().fold(all, |all, error| {
        let hint = error.hint.as_ref().map(|hint| format!("\n{hint}")).unwrap_or_default();
        all.cause(format!("cannot {} {}: {}{hint}", error.what, error.object, error.causes.join("; ")))
    });
    Err(all.hint("Install them, then run `hactl doctor` to list what is still missing"))
}

pub(crate) async fn prepare(run: &RunContext, cluster: &Cluster, vault: &Vault, mitogen: bool) -> Result<Prepared> {
    let context = &run.context;
    let (of_cluster, temporary) = (cluster.dir(), std::env::temp_dir());
    ansible::check_paths(&context.env, &[of_cluster.path(), &context.dirs.cache, &temporary])?;
    let (downloads, ansible) = run
        .stage(Stage::Fetch, async {
            // Ansible's environment and the downloads do not depend on each other.
            let (downloads, ansible, _) = tokio::try_join!(
                downloads(context, cluster),
                ansible::environment(context),
                ansible::ssh_version(context)
            )?;
            Ok(((downloads, ansible), None))
        })
        .await?;
    let image = match cluster.plan.platform.local() {
        Some(platform) => {
            let image = image(run, cluster, vault, platform, &downloads, &ansible, mitogen);
            Some(run.stage(Stage::Image, image).await?)
        }
        // On other platforms the roles install everything on the machines themselves.
        None => None,
    };
    Ok(Prepared { downloads, ansible, image })
}

pub(crate) async fn downloads(context: &Context, cluster: &Cluster) -> Result<Vec<Downloaded>> {
    let plan = &cluster.plan;
    let arch = Arch::here().ok_or_else(|| {
        Error::missing("architecture", "find downloads for", std::env::consts::ARCH)
            .cause("hactl has downloads for x86_64 and aarch64 only")
    })?;
    let lock = &LockFile::read(cluster.lock_file())?;
    let request = DownloadRequest { context, plan, distribution: cluster.release()?, arch, lock };
    let components = COMPONENTS.iter().filter_map(|component| Some((component.name, component.download.as_ref()?)));
    let fetched = components.map(async |(component, download)| {
        let dir = (download.fetch)(request).await?;
        Ok(Downloaded { component, variable: download.variable, dir })
    });
    try_join_all(fetched).await
}

async fn image(
    run: &RunContext,
    cluster: &Cluster,
    vault: &Vault,
    platform: &Local,
    downloads: &[Downloaded],
    ansible: &AnsibleEnvironment,
    mitogen: bool,
) -> Result<(String, Option<String>)> {
    let context = &run.context;
    let engine = &Engine::connect(&context.env).await?;
    let tag = image_tag(cluster, platform);
    if engine.find_image(&tag).await?.is_some() {
        return Ok((tag.clone(), Some(format!("{tag} exists"))));
    }
    let base = local::base_image(engine, context, &platform.base_image).await?;
    context.events.step(Stage::Image, None, format!("building {tag} with the roles' install tasks")).await;
    let install =
        async |machine: SshEndpoint| bake(context, cluster, vault, downloads, ansible, mitogen, &machine).await;
    local::bake(engine, context, &base, &tag, &vault.ssh_key().public, install).await?;
    Ok((tag.clone(), Some(format!("{tag} built"))))
}

/// The node image of a cluster of local nodes, by its tag; none elsewhere.
pub(crate) fn image_of(cluster: &Cluster) -> Option<String> {
    cluster.plan.platform.local().map(|local| image_tag(cluster, local))
}

/// The tag of the cluster's node image, whether it is there or not: another value of anything that
/// goes into it is another image.
pub(crate) fn image_tag(cluster: &Cluster, platform: &Local) -> String {
    let plan = &cluster.plan;
    let mut hash = Sha256::new();
    let versions = COMPONENTS.iter().map(|component| (component.version)(plan));
    for part in [platform.base_image.clone()].into_iter().chain(versions) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    assets::hash(&mut hash, cluster.assets.software().filter(|(path, _)| is_installing(path)));
    local::node_image_tag(&hash.finalize())
}

/// Whether a file of the roles takes part in the bake. The others change often and need no new image.
fn is_installing(path: &std::path::Path) -> bool {
    let text = path.to_string_lossy();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    text.starts_with("common/")
        || name.starts_with("install")
        || name == "node-image.yml"
        || text.contains("/defaults/")
        || text.contains("/vars/")
}

/// Runs the roles' install tasks on the machine that becomes the image.
async fn bake(
    context: &Context,
    cluster: &Cluster,
    vault: &Vault,
    downloads: &[Downloaded],
    ansible: &AnsibleEnvironment,
    mitogen: bool,
    machine: &SshEndpoint,
) -> Result<()> {
    let scratch = scratch()?;
    let failed =
        |error: std::io::Error| Error::failed("image", "prepare the build of", "the node image").source(&error);
    let file = |name: &str, text: &str| -> Result<PathBuf> {
        let path = scratch.path().join(name);
        private(&path, text.as_bytes()).map_err(failed)?;
        Ok(path)
    };
    let mut vars: RoleVars =
        COMPONENTS.iter().flat_map(|component| (component.variables.install)(&cluster.plan)).collect();
    vars.extend(downloads.iter().map(|done| (done.variable.to_owned(), done.dir.display().to_string().into())));
    let groups = Role::ALL.map(|role| (role.as_str().to_owned(), serde_json::json!({"hosts": {"image": {}}})));
    let inventory = serde_json::json!({"all": {
        "hosts": {"image": {"ansible_host": machine.host, "ansible_port": machine.port, "ansible_user": machine.user}},
        "vars": vars,
        "children": RoleVars::from_iter(groups),
    }});
    let known_hosts = file("known_hosts", &format!("[{}]:{} {}\n", machine.host, machine.port, machine.host_key))?;
    let settings = Settings {
        private_key: Some(file("id_ed25519", vault.ssh_key().private.expose())?),
        ssh_arguments: format!(
            "-F /dev/null -o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes \
             -o IdentitiesOnly=yes -o ConnectTimeout=10",
            known_hosts.display()
        ),
        mitogen,
        check: false,
        scratch: scratch.path().to_owned(),
        forks: 1,
    };
    let playbook = Playbook {
        tree: tree(context, &cluster.assets)?,
        file: "node-image.yml".to_owned(),
        // Ansible reads JSON as the YAML that it is.
        inventory: file("inventory.yml", &inventory.to_string())?,
        hosts: 1,
        vars_files: Vec::new(),
    };
    ansible::run(context, ansible, &playbook, &settings, |refused| parameters_refused(cluster, refused)).await?;
    Ok(())
}

/// The roles and playbooks as files, named by their content so that two versions never meet.
pub(crate) fn tree(context: &Context, assets: &Assets) -> Result<PathBuf> {
    let dir = context.dirs.cache.join("assets").join(&assets::digest(assets.software())[..16]);
    for name in ["roles", "playbooks"] {
        assets.write(name, &dir.join(name)).map_err(|error| {
            Error::failed(codes::ASSETS, "write the roles to", dir.display())
                .source(&error)
                .hint("Check that the disk has free space")
        })?;
    }
    Ok(dir)
}

/// A short private directory that is gone with the value.
pub(crate) fn scratch() -> Result<TempDir> {
    tempfile::Builder::new().prefix("hactl-").tempdir().map_err(|error| {
        Error::failed("scratch", "create", "a temporary directory")
            .source(&error)
            .hint("Check that the disk has free space")
    })
}

fn private(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}
