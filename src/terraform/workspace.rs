//! `.hactl/NAME/terraform`: the stack and its modules, with the values for this cluster. In come the plan and the
//! results of the earlier stages; out goes a directory in which plain Terraform works as well.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value as Json, json};

use super::{
    binary::{Init, Terraform},
    names::{BACKEND_FILE, IMPORT_FILE, MAKE_ROOM, MODULE_NOTE, NEW_START, PLAN_FILE, RENAMED_FILE, STATE, VALUES},
    orphans::Owner,
};
use crate::{
    assets::{self, Assets},
    context::{ClusterDir, Context},
    error::{Error, Result},
    file,
    model::{Backend, InstanceKey, ProxmoxKind},
    plan::Plan,
};

/// The directories of the tree in which every file is hactl's.
const OURS: [&str; 2] = ["modules", "stacks"];

/// Makes sure that no stack has created machines below `root`.
///
/// # Errors
/// When the cluster was created on another platform.
pub(super) fn is_of_no_stack(root: &Path, plan: &Plan) -> Result<()> {
    match other_stack(root, "") {
        None => Ok(()),
        Some(other) => Err(platform_changed(plan, &format!("stack {other}"), "a module of your own")),
    }
}

/// A stack other than `stack` that has a state here.
fn other_stack(root: &Path, stack: &str) -> Option<&'static str> {
    let others = ["local", "proxmox-vm", "proxmox-lxc", "hosts"].into_iter().filter(|other| *other != stack);
    others.into_iter().find(|other| root.join("stacks").join(other).join(STATE).exists())
}

fn platform_changed(plan: &Plan, before: &str, meant: &str) -> Error {
    Error::usage("platform-changed", "change the platform of", &plan.cluster)
        .cause(format!("it was created with {before}, but the cluster file now selects {meant}"))
        .hint(format!(
            "Restore the former platform in the cluster file. To remove the machines with their data, then run `hactl down {}`",
            plan.cluster
        ))
}

/// The directory in which Terraform runs.
#[derive(Clone, Debug)]
pub(super) struct Workspace {
    root: PathBuf,
    stack: &'static str,
    /// Whether the state is elsewhere.
    remote: bool,
}

impl Workspace {
    pub(super) fn new(dir: &ClusterDir, plan: &Plan) -> Self {
        Self { root: dir.terraform(), stack: plan.platform.stack().unwrap_or("none"), remote: plan.backend.is_some() }
    }

    pub(super) fn stack(&self) -> PathBuf {
        self.root.join("stacks").join(self.stack)
    }

    /// Makes sure that the cluster has no machines of another platform.
    ///
    /// # Errors
    /// When the cluster was created on another platform.
    pub(super) fn is_of_this_platform(&self, plan: &Plan) -> Result<()> {
        let meant = format!("stack {}", self.stack);
        if self.root.join(MODULE_NOTE).exists() {
            return Err(platform_changed(plan, "a module of your own", &meant));
        }
        match other_stack(&self.root, self.stack) {
            None => Ok(()),
            Some(other) => Err(platform_changed(plan, &format!("stack {other}"), &meant)),
        }
    }

    /// Writes the moves of machines whose key changed, so that Terraform keeps them.
    ///
    /// # Errors
    /// When the file cannot be written or removed.
    pub(super) fn write_moves(&self, plan: &Plan) -> Result<()> {
        let path = self.stack().join(RENAMED_FILE);
        match moves(plan) {
            Some(moves) => file::replace(&path, format!("{moves:#}\n").as_bytes()),
            None => remove(&path),
        }
        .map_err(|error| failed(&path, &error))
    }

    /// The import blocks that are to be applied.
    ///
    /// # Errors
    /// When there are some and they cannot be read.
    pub(super) fn import_blocks(&self) -> Result<String> {
        let path = self.stack().join(IMPORT_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(Error::failed("terraform-workspace", "read", path.display()).source(&error)),
        }
    }

    /// Writes import blocks over those that are there; none removes the file.
    ///
    /// # Errors
    /// When the file cannot be written or removed.
    pub(super) fn write_imports(&self, blocks: &str) -> Result<()> {
        let path = self.stack().join(IMPORT_FILE);
        match blocks.is_empty() {
            true => remove(&path),
            false => file::replace(&path, blocks.as_bytes()),
        }
        .map_err(|error| failed(&path, &error))
    }

    /// Removes import blocks that were applied: they would fail once their machine is gone.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(super) fn end_import(&self) -> Result<()> {
        let path = self.stack().join(IMPORT_FILE);
        remove(&path).map_err(|error| failed(&path, &error))
    }

    /// The plan that was read and is then applied.
    pub(super) fn plan_file(&self) -> PathBuf {
        self.root.join(PLAN_FILE)
    }

    /// Notes that everything that earlier runs created is gone, and that the next apply is a new start. The note stays
    /// until an apply has succeeded, in this run or in a later one.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub(super) fn note_new_start(&self) -> Result<()> {
        let path = self.new_start();
        file::replace(&path, b"").map_err(|error| failed(&path, &error))
    }

    /// Whether a new start has begun and not finished: everything that earlier runs created is gone.
    pub(super) fn is_new_start(&self) -> bool {
        self.new_start().exists()
    }

    /// Ends a new start: from now on the machines may hold data.
    ///
    /// # Errors
    /// When the note cannot be removed.
    pub(super) fn end_new_start(&self) -> Result<()> {
        let path = self.new_start();
        remove(&path).map_err(|error| failed(&path, &error))
    }

    fn new_start(&self) -> PathBuf {
        self.root.join(NEW_START)
    }

    /// Whether there may be a state: with a backend, only a request can tell.
    pub(super) fn has_state(&self) -> bool {
        self.remote || self.state_file().exists()
    }

    /// The state of a cluster without a backend.
    pub(super) fn state_file(&self) -> PathBuf {
        self.stack().join(STATE)
    }

    /// The backend for which the stack was last initialised.
    pub(super) fn initialised_backend(&self) -> PathBuf {
        self.root.join(BACKEND_FILE)
    }

    /// Notes the backend for which the stack is initialised.
    ///
    /// # Errors
    /// When the note cannot be written or removed.
    pub(super) fn note_initialised(&self, backend: Option<&Backend>) -> Result<()> {
        write_backend(&self.initialised_backend(), backend)
    }

    /// Tells Terraform where the state is.
    ///
    /// # Errors
    /// When the file cannot be written or removed.
    pub(super) fn write_backend(&self, backend: Option<&Backend>) -> Result<()> {
        write_backend(&self.stack().join(BACKEND_FILE), backend)
    }

    /// The owner of the machines; `None` if nothing was ever planned here.
    ///
    /// # Errors
    /// When the values of the last run cannot be read.
    pub(super) fn owner(&self) -> Result<Option<Owner>> {
        let path = self.values();
        let failed = |error: &dyn std::error::Error| {
            Error::failed("terraform-workspace", "read", path.display()).cause(error.to_string())
        };
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Whether values were ever written here.
    pub(super) fn has_values(&self) -> bool {
        self.values().exists()
    }

    fn values(&self) -> PathBuf {
        self.stack().join(VALUES)
    }

    /// Writes the values of the stack's variables.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write_variables(&self, variables: &Json) -> Result<()> {
        let path = self.values();
        let text = format!("{variables:#}\n");
        file::replace(&path, text.as_bytes()).map_err(|error| failed(&path, &error))
    }

    /// Writes the stacks and modules of `assets`, and removes other files beside them.
    ///
    /// # Errors
    /// When a file cannot be written or removed.
    pub(super) fn write_trees(&self, assets: &Assets) -> Result<()> {
        assets.write("terraform", &self.root).map_err(|error| failed(&self.root, &error))?;
        let wanted: BTreeSet<PathBuf> = assets.below("terraform").map(|(path, _)| self.root.join(path)).collect();
        for dir in OURS.map(|name| self.root.join(name)) {
            for path in assets::files_in(&dir).map_err(|error| failed(&dir, &error))? {
                let stays =
                    [IMPORT_FILE, RENAMED_FILE, BACKEND_FILE].map(|name| self.stack().join(name)).contains(&path);
                if !wanted.contains(&path) && !stays {
                    fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
                }
            }
        }
        Ok(())
    }

    /// Runs init and validate, unless they passed for exactly these files and this Terraform.
    ///
    /// # Errors
    /// Those of Terraform.
    pub(super) async fn init(&self, context: &Context, terraform: &Terraform, assets: &Assets) -> Result<()> {
        let marker = terraform.data_dir().join("hactl-init");
        let backend = fs::read_to_string(self.initialised_backend()).unwrap_or_default();
        let wanted = terraform.fingerprint() + &assets::digest(assets.below("terraform")) + &backend;
        if fs::read_to_string(&marker).ok().as_deref() == Some(&wanted) {
            return Ok(());
        }
        terraform.run_init(context, Init::AsItIs).await?;
        terraform.validate(context).await?;
        file::replace(&marker, wanted.as_bytes()).map_err(|error| failed(&marker, &error))
    }
}

/// Moves from the former key to the new one, for every resource that a stack has once per instance.
fn moves(plan: &Plan) -> Option<Json> {
    let proxmox = plan.platform.proxmox()?;
    let kind = match proxmox.kind {
        ProxmoxKind::Vm => "proxmox_virtual_environment_vm",
        ProxmoxKind::Lxc => "proxmox_virtual_environment_container",
    };
    let mut resources =
        vec![format!("module.machines.{kind}.this"), "module.machines.terraform_data.origin".to_owned()];
    if plan.dns.is_some() {
        resources.push("module.dns[0].hactl_dns_record_set.this".to_owned());
    }
    let renamed = proxmox.machines.iter().filter_map(|(key, guest)| Some((key, guest.renamed_from.as_ref()?)));
    let moves: Vec<Json> = renamed
        .flat_map(|(key, old)| {
            let address = |resource: &String, key: &InstanceKey| format!("{resource}[\"{key}\"]");
            resources.iter().map(move |resource| json!({"from": address(resource, old), "to": address(resource, key)}))
        })
        .collect();
    (!moves.is_empty()).then(|| json!({"moved": moves}))
}

fn write_backend(path: &Path, backend: Option<&Backend>) -> Result<()> {
    match backend {
        Some(backend) => file::replace(path, backend.text().as_bytes()),
        None => remove(path),
    }
    .map_err(|error| failed(path, &error))
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::failed("terraform-workspace", "write", path.display()).source(error).hint(MAKE_ROOM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::fixture::{on_proxmox, plan_of};

    #[test]
    fn renamed_machine_is_moved_with_all_its_resources() {
        let plan = on_proxmox(
            "platform: proxmox\ndns: {zone: a.b, server: 10.0.0.1, key_name: k}\n\
             instances: {node1: {renamed_from: default}, node2: {}}\n",
        );
        let moves = moves(&plan).unwrap();
        let moves: Vec<_> =
            moves["moved"].as_array().unwrap().iter().map(|each| each["to"].as_str().unwrap()).collect();
        assert_eq!(
            moves,
            [
                "module.machines.proxmox_virtual_environment_vm.this[\"node1\"]",
                "module.machines.terraform_data.origin[\"node1\"]",
                "module.dns[0].hactl_dns_record_set.this[\"node1\"]",
            ]
        );
        assert_eq!(super::moves(&on_proxmox("platform: proxmox\ninstances: {node1: {}}\n")), None);

        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace { root: dir.path().to_owned(), stack: "proxmox-vm", remote: false };
        workspace.write_trees(&Assets::embedded()).unwrap();
        workspace.write_moves(&plan).unwrap();
        workspace.write_trees(&Assets::embedded()).unwrap();
        let path = workspace.stack().join(RENAMED_FILE);
        // What the stacks look for in it.
        assert!(fs::read_to_string(&path).unwrap().contains(r#"[\"default\"]"#));
        workspace.write_moves(&plan_of(&["node1"])).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn changed_platform_of_an_existing_cluster_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let local = Workspace { root: dir.path().to_owned(), stack: "local", remote: false };
        let plan = plan_of(&["node1"]);
        fs::create_dir_all(local.stack()).unwrap();
        fs::write(local.stack().join(STATE), "{}").unwrap();
        assert!(local.is_of_this_platform(&plan).is_ok());
        let error = Workspace { stack: "proxmox-vm", ..local.clone() }.is_of_this_platform(&plan).unwrap_err();
        assert_eq!(error.code, "platform-changed");
        assert_eq!(is_of_no_stack(dir.path(), &plan).unwrap_err().code, "platform-changed");
        fs::remove_file(local.stack().join(STATE)).unwrap();
        assert!(is_of_no_stack(dir.path(), &plan).is_ok());
        fs::write(dir.path().join(MODULE_NOTE), "infra").unwrap();
        assert!(local.is_of_this_platform(&plan).unwrap_err().causes[0].contains("a module of your own"));
    }

    #[test]
    fn stack_files_of_another_version_are_removed_and_state_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace { root: dir.path().to_owned(), stack: "local", remote: false };
        workspace.write_trees(&Assets::embedded()).unwrap();
        let (stale, state) = (workspace.stack().join("old.tf"), workspace.stack().join("terraform.tfstate"));
        fs::write(&stale, "resource").unwrap();
        fs::write(workspace.stack().join(".terraform.lock.hcl"), "").unwrap();
        fs::write(&state, "{}").unwrap();
        let import = workspace.stack().join(IMPORT_FILE);
        fs::write(&import, "import {}").unwrap();
        let backend = workspace.stack().join(BACKEND_FILE);
        fs::write(&backend, "{}").unwrap();
        workspace.write_trees(&Assets::embedded()).unwrap();
        workspace.write_variables(&json!({"cluster": "pg"})).unwrap();
        assert!(!stale.exists() && state.exists() && workspace.stack().join(".terraform.lock.hcl").exists());
        assert!(dir.path().join("modules/local-node/main.tf").exists());
        assert!(import.exists());
        assert!(backend.exists());
        workspace.end_import().unwrap();
        workspace.end_import().unwrap();
        assert!(!import.exists());
        let values = fs::read_to_string(workspace.stack().join("terraform.tfvars.json")).unwrap();
        assert_eq!(values, "{\n  \"cluster\": \"pg\"\n}\n");
    }

    #[test]
    fn module_pages_name_every_input_and_output() {
        let assets = Assets::embedded();
        for module in ["local-node", "proxmox-vm", "proxmox-lxc", "proxmox-pool", "dns-records"] {
            let text = |name: &str| assets.text(&format!("terraform/modules/{module}/{name}")).unwrap();
            let page = text("README.md");
            for (file, block) in [("variables.tf", "variable \""), ("outputs.tf", "output \"")] {
                let names: Vec<_> = text(file)
                    .lines()
                    .filter_map(|line| line.strip_prefix(block)?.split_once('"').map(|(name, _)| name))
                    .collect();
                assert!(!names.is_empty());
                for name in names {
                    assert!(page.contains(&format!("\n| {name} | ")), "{name} of {module}/{file} is not in README.md");
                }
            }
        }
    }
}
