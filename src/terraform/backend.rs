//! Where the state is: the file that tells Terraform, reading the state without a stack, and moving the state.
//!
//! `.hactl/NAME/terraform/backend.tf.json` names the backend for which the stack was last initialised; without this
//! file the state is on this machine. When the cluster file names another backend, hactl reads the state in both places
//! first: it copies a state only to a place that has none, and never overwrites another state.

use std::{fs, io, path::Path, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use super::{
    binary::{Init, Terraform},
    environment::Environment,
    module_dir::module_dir,
    names::BACKEND_FILE,
    outcome::Pulled,
    outputs::{Read, parse_outputs},
    workspace::Workspace,
};
use crate::{
    context::{ClusterDir, Context},
    error::{Error, Result},
    file,
    model::{Backend, BackendKind, ClusterName, Outputs},
    plan::Plan,
};

/// Reads the state from the backend of the cluster file, or from the former backend until the state was moved.
///
/// # Errors
/// When the backend does not answer, or the outputs have another shape.
pub async fn pull(context: &Context, dir: &ClusterDir, plan: &Plan) -> Result<Pulled> {
    let workspace = Workspace::new(dir, plan);
    let (backends, here) = possible_backends(&workspace, plan)?;
    let only_state = backends.len() == 1 && !here;
    for backend in &backends {
        let reader = Reader::open(context, &plan.cluster, backend).await?;
        let Read { vms, record, .. } = parse_outputs(&reader.ask(context, Terraform::output).await?)?;
        if !vms.is_empty() || record.is_some() {
            return Ok(Pulled { outputs: Some(vms), record, only_state });
        }
    }
    Ok(Pulled { outputs: Some(Outputs::new()), only_state, record: None })
}

/// Where a state may be: the backend of the cluster file, the former backend until the state was moved, and whether a
/// state is on this machine.
pub(super) fn possible_backends(workspace: &Workspace, plan: &Plan) -> Result<(Vec<Backend>, bool)> {
    let former = initialised_backend(workspace)?;
    let here = former.is_none() && workspace.state_file().metadata().is_ok_and(|data| data.len() > 0);
    let mut backends: Vec<Backend> = plan.backend.iter().cloned().collect();
    backends.extend(former.filter(|former| Some(former) != plan.backend.as_ref()));
    Ok((backends, here))
}

/// The texts of every state that the cluster may have, with all values.
pub(super) async fn states(context: &Context, workspace: &Workspace, plan: &Plan) -> Result<Vec<String>> {
    let (backends, here) = possible_backends(workspace, plan)?;
    let mut states = Vec::new();
    for backend in &backends {
        let reader = Reader::open(context, &plan.cluster, backend).await?;
        states.push(reader.ask(context, Terraform::state_pull).await?);
    }
    if here {
        states.extend(read(&workspace.state_file())?);
    }
    Ok(states)
}

/// The text of the state, with all values.
///
/// # Errors
/// When it cannot be read.
pub async fn state(context: &Context, dir: &ClusterDir, plan: &Plan) -> Result<Option<String>> {
    match &plan.backend {
        Some(backend) => {
            Reader::open(context, &plan.cluster, backend).await?.ask(context, Terraform::state_pull).await.map(Some)
        }
        None => read(&Workspace::new(dir, plan).state_file()),
    }
}

/// How long Consul withholds a lock after the session that held it has ended.
const CONSUL_LOCK_DELAY: Duration = Duration::from_secs(5);

/// Releases a lock on the state that a dead run left.
///
/// # Errors
/// When there is no such lock, or the backend does not answer.
pub async fn force_unlock(context: &Context, dir: &ClusterDir, plan: &Plan, id: &str) -> Result<()> {
    const HINT: &str = "Copy the ID from the error that reported the lock";
    let failed = |error: Error| Error {
        code: "force-unlock",
        what: "release the state lock".into(),
        object: id.into(),
        hint: Some(HINT.to_owned()),
        ..error
    };
    match &plan.backend {
        Some(backend) if backend.kind == BackendKind::Pg => Err(Error::usage("force-unlock", "release the state lock", id)
            .cause("locks of the backend pg have no ID: a lock ends with the database connection that holds it")
            .hint("Stop that run, or end its database session: `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'`")),
        Some(backend) => {
            let reader = Reader::open(context, &plan.cluster, backend).await?;
            // With http and consul Terraform releases the current lock, even if another run holds it.
            let held = reader.terraform.held(context).await?;
            if let Some(held) = held.filter(|held| held.id().is_some_and(|held| held != id)) {
                return Err(Error::failed("force-unlock", "release the state lock", id)
                    .cause(format!("{id} is not the current lock: the state is {held}"))
                    .hint(HINT));
            }
            reader.ask(context, |terraform| terraform.force_unlock(id)).await.map_err(failed)?;
            if backend.kind == BackendKind::Consul {
                tokio::time::sleep(CONSUL_LOCK_DELAY).await;
            }
            Ok(())
        }
        None => {
            let root = match plan.platform.own_module() {
                Some(module) => module_dir(context, module)?,
                None => Workspace::new(dir, plan).stack(),
            };
            let environment = Environment::of(context, dir, &plan.platform, None)?;
            let terraform = Terraform::find(context, &root, None, environment).await?.with_state(&plan.cluster, None);
            terraform.ask_of_backend(context, &terraform.force_unlock(id)).await.map(drop).map_err(failed)
        }
    }
}

/// Terraform in a directory that has a backend and nothing else, so that no provider is needed to read a state.
struct Reader {
    terraform: Terraform,
    backend: Backend,
    _dir: tempfile::TempDir,
}

impl Reader {
    async fn open(context: &Context, cluster: &ClusterName, backend: &Backend) -> Result<Self> {
        let failed = |error: &io::Error| {
            Error::failed("scratch", "create", "a temporary directory")
                .source(error)
                .hint("Free disk space, or set TMPDIR to a directory elsewhere")
        };
        let dir = tempfile::Builder::new().prefix("hactl-").tempdir().map_err(|error| failed(&error))?;
        let file = dir.path().join(BACKEND_FILE);
        file::replace(&file, backend.text().as_bytes()).map_err(|error| failed(&error))?;
        let environment = Environment::of_state(context, backend);
        let terraform = Terraform::find(context, dir.path(), None, environment).await?;
        let terraform = terraform.with_state(cluster, Some(backend));
        can_lock(&terraform, backend)?;
        // Init opens the backend first, and then installs the providers of the resources in the state. Outputs,
        // addresses and locks need no provider, so init gets a plugin directory without providers, and only its first
        // part must succeed.
        let nowhere = format!("-plugin-dir={}", dir.path().display());
        let init = terraform.ask(context, &terraform.init(Init::Elsewhere).arg(nowhere)).await;
        if let Err(error) = init
            && !terraform.data_dir().join("terraform.tfstate").exists()
        {
            return Err(unreachable(error, backend));
        }
        Ok(Self { terraform, backend: backend.clone(), _dir: dir })
    }

    async fn ask(&self, context: &Context, command: impl FnOnce(&Terraform) -> crate::exec::Command) -> Result<String> {
        let answer = self.terraform.ask(context, &command(&self.terraform)).await;
        answer.map_err(|error| unreachable(error, &self.backend))
    }
}

/// Terraform's error, with the variables that open the backend.
fn unreachable(error: Error, backend: &Backend) -> Error {
    let reach = Error::failed("backend", "reach", backend);
    let reach = error.causes.into_iter().fold(reach, Error::cause);
    reach.hint(format!(
        "Check that the backend is reachable from here and that Terraform's variables for it are set ({})",
        backend.kind.credentials()
    ))
}

/// Terraform has lock files in S3 since 1.10.
fn can_lock(terraform: &Terraform, backend: &Backend) -> Result<()> {
    let wants = backend.kind == BackendKind::S3 && backend.settings.get("use_lockfile") == Some(&true.into());
    if !wants || terraform.is_at_least((1, 10)) {
        return Ok(());
    }
    Err(Error::missing("terraform-too-old", "lock the state in", backend)
        .cause("lock files in S3 need Terraform 1.10 or newer")
        .hint("Install Terraform 1.10 or newer, or set `backend.s3.dynamodb_table` to a DynamoDB table"))
}

/// The backend for which a stack was initialised; `None` for the state file on this machine.
fn initialised_backend(workspace: &Workspace) -> Result<Option<Backend>> {
    let path = workspace.initialised_backend();
    let backend = read(&path)?.map(|text| {
        Backend::parse(&text).ok_or_else(|| {
            Error::failed("terraform-workspace", "read", path.display())
                .cause("the content is not what hactl wrote")
                .hint("Restore the former content, which says where the state of the cluster is")
        })
    });
    backend.transpose()
}

/// Makes sure that the state is where the cluster file says, and moves it there if `may_move`, which is false for
/// commands that only read.
///
/// # Errors
/// When both places have states of their own, one does not answer, or the state would have to be moved and may not be.
pub(super) async fn settle(
    context: &Context,
    workspace: &Workspace,
    terraform: &Terraform,
    plan: &Plan,
    may_move: bool,
) -> Result<()> {
    let (wanted, before) = (plan.backend.as_ref(), initialised_backend(workspace)?);
    if wanted == before.as_ref() {
        return workspace.write_backend(wanted);
    }
    if let Some(backend) = wanted {
        can_lock(terraform, backend)?;
    }
    let old = Snapshot::take(context, workspace, plan, before.as_ref()).await.map_err(|error| {
        error.hint(format!(
            "Restore access to the {}, from which hactl has to move the state to the {}, or change the cluster file back",
            words(before.as_ref()),
            words(wanted)
        ))
    })?;
    let init = if old.is_empty() {
        Init::Elsewhere
    } else {
        let new = Snapshot::take(context, workspace, plan, wanted).await?;
        decide(&old, &new).ok_or_else(|| two_states(plan, before.as_ref(), wanted))?
    };
    if init == Init::Moving && !may_move {
        return Err(Error::failed("backend-changed", "plan", &plan.cluster)
            .cause(format!(
                "the state is in the {}, but the cluster file names the {}",
                words(before.as_ref()),
                words(wanted)
            ))
            .hint(format!("Run `hactl up {0}` or `hactl provision {0}` to move the state", plan.cluster)));
    }
    workspace.write_backend(wanted)?;
    // Terraform opens the former place as well.
    let former = before.as_ref().map(|backend| Environment::of_state(context, backend)).unwrap_or_default();
    if let Err(error) = terraform.and_with(former).run_init(context, init).await {
        // Otherwise the next run would assume that the stack is initialised for the new place.
        workspace.write_backend(before.as_ref())?;
        return Err(error);
    }
    workspace.note_initialised(wanted)?;
    if init == Init::Moving {
        let message = format!("moved the state from the {} to the {}", words(before.as_ref()), words(wanted));
        let hint =
            before.map(|before| format!("Remove the copy of the state from the {before}: it is no longer updated"));
        context.events.warn("state-moved", message, hint).await;
    }
    Ok(())
}

fn words(place: Option<&Backend>) -> String {
    place.map_or_else(|| "state file on this machine".to_owned(), Backend::to_string)
}

fn two_states(plan: &Plan, old: Option<&Backend>, new: Option<&Backend>) -> Error {
    Error::failed("two-states", "move the state of", &plan.cluster)
        .cause(format!("the {} and the {} have different states, each with machines", words(old), words(new)))
        .hint(format!(
            "Remove the state from the {} if an earlier move left it there; if it belongs to another cluster, set another \
             `backend` in the cluster file. The current state of {} is in the {}",
            words(new),
            plan.cluster,
            words(old)
        ))
}

/// What hactl compares of a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Snapshot {
    lineage: String,
    serial: u64,
    /// How many resources it manages.
    managed: usize,
    /// All resources with their values.
    resources: Value,
}

impl Snapshot {
    async fn take(context: &Context, workspace: &Workspace, plan: &Plan, place: Option<&Backend>) -> Result<Self> {
        let text = match place {
            Some(backend) => {
                let reader = Reader::open(context, &plan.cluster, backend).await?;
                Some(reader.ask(context, Terraform::state_pull).await?)
            }
            None => read(&workspace.state_file())?,
        };
        let text = text.filter(|text| !text.trim().is_empty());
        text.map(|text| Self::parse(&text))
            .transpose()
            .map(Option::unwrap_or_default)
            .map_err(|error| Error::failed("terraform-state", "read the state in the", words(place)).source(&error))
    }

    fn parse(text: &str) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct State {
            #[serde(default)]
            lineage: String,
            #[serde(default)]
            serial: u64,
            #[serde(default)]
            resources: Value,
        }
        let State { lineage, serial, resources } = serde_json::from_str(text)?;
        let managed =
            resources.as_array().into_iter().flatten().filter(|resource| resource["mode"] == "managed").count();
        Ok(Self { lineage, serial, managed, resources })
    }

    const fn is_empty(&self) -> bool {
        self.managed == 0
    }
}

/// How to get from the old place, which has a state, to the new one; `None` if the two states differ and hactl cannot
/// tell which one is older, because a copy may have a lineage of its own.
fn decide(old: &Snapshot, new: &Snapshot) -> Option<Init> {
    let same = old.lineage == new.lineage;
    if new.is_empty() || same && new.serial < old.serial {
        return Some(Init::Moving);
    }
    // A run that was killed after it had copied the state.
    (same || old.resources == new.resources).then_some(Init::Elsewhere)
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::failed("terraform-workspace", "read", path.display()).source(&error)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(lineage: &str, serial: u64, managed: usize) -> Snapshot {
        let resources = (0..managed).map(|index| json!({"mode": "managed", "name": format!("{lineage}{index}")}));
        Snapshot { lineage: lineage.to_owned(), serial, managed, resources: resources.collect() }
    }

    #[test]
    fn state_is_copied_only_to_a_backend_without_resources() {
        let old = snapshot("a", 5, 3);
        assert_eq!(decide(&old, &Snapshot::default()), Some(Init::Moving));
        // Another cluster was there, and was destroyed.
        assert_eq!(decide(&old, &snapshot("b", 9, 0)), Some(Init::Moving));
        assert_eq!(decide(&old, &snapshot("b", 9, 1)), None);
        assert_eq!(decide(&old, &snapshot("b", 1, 1)), None);
        // The same state: the newer one counts.
        assert_eq!(decide(&old, &snapshot("a", 5, 3)), Some(Init::Elsewhere));
        assert_eq!(decide(&old, &snapshot("a", 8, 2)), Some(Init::Elsewhere));
        assert_eq!(decide(&old, &snapshot("a", 4, 3)), Some(Init::Moving));
        // Another lineage is another state, even with the same serial.
        assert_eq!(decide(&old, &Snapshot { lineage: "c".to_owned(), ..old.clone() }), Some(Init::Elsewhere));
    }

    #[test]
    fn state_snapshot_counts_only_managed_resources() {
        let text = r#"{"version":4,"serial":7,"lineage":"x","outputs":{},"resources":[{"mode":"managed","type":"a"},{"mode":"data","type":"b"}]}"#;
        let Snapshot { lineage, serial, managed, .. } = Snapshot::parse(text).unwrap();
        assert_eq!((lineage.as_str(), serial, managed), ("x", 7, 1));
        let fresh = r#"{"version":4,"serial":0,"lineage":"","outputs":{},"resources":[]}"#;
        assert!(Snapshot::parse(fresh).unwrap().is_empty());
        assert!(Snapshot::parse("no state").is_err());
    }

    #[test]
    fn unreachable_backend_error_names_the_credentials() {
        let settings = serde_json::json!({"schema_name": "hactl_pg"}).as_object().unwrap().clone();
        let backend = Backend { kind: BackendKind::Pg, settings };
        let error = unreachable(Error::failed("x", "run", "terraform").cause("connection refused"), &backend);
        let text = error.to_string();
        assert!(text.starts_with("cannot reach backend pg, schema hactl_pg\n  cause: connection refused"), "{text}");
        assert!(text.contains("PGPASSWORD"), "{text}");
    }
}
