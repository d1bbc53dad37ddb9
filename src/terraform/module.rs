//! A root module of the user's own: Terraform runs in its directory, with its own state, backend and lock file. hactl
//! writes nothing to that directory; the plan, and the values of `pass`, are in `.hactl/NAME`.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value as Json, json};

use super::{
    binary::{Init, Terraform},
    changes::{Changes, module_output},
    consent::Consent,
    contract::{self, ModuleOutput},
    diagnosis::{Diagnosis, TerraformError},
    environment::Environment,
    guard_module::{assign, guard_module},
    module_dir::module_dir,
    names::{MAKE_ROOM, MODULE_NOTE, PASSED_FILE, PLAN_FILE},
    outcome::{Planned, Provisioned, Pulled},
    outputs::parse_a_modules,
    roll::{self, Step},
    workspace::is_of_no_stack,
    zones::voters_together,
};
use crate::{
    context::{ClusterDir, Context},
    error::{Error, Result},
    event::Stage,
    exec::Command,
    file,
    model::{Outputs, Passed, RootModule},
    plan::Plan,
    platform::Machines,
};

/// Terraform's own default, for which the user's providers are built.
const PARALLELISM: usize = 10;

/// The user's module, initialised.
pub struct Module {
    /// The module's directory.
    dir: PathBuf,
    /// `.hactl/NAME/terraform`.
    kept: PathBuf,
    var_files: Vec<PathBuf>,
    terraform: Terraform,
}

impl Module {
    /// Finds Terraform and the module, writes the values that are passed, and runs init.
    ///
    /// # Errors
    /// Those of Terraform, and when the module or a file of values is not there.
    pub async fn open(
        context: &Context,
        dir: &ClusterDir,
        module: &RootModule,
        machines: &Machines<'_>,
        reattach: Option<String>,
    ) -> Result<Self> {
        let kept = dir.terraform();
        is_of_no_stack(&kept, machines.plan)?;
        let root = module_dir(context, module)?;
        let mut var_files = Vec::new();
        for file in &module.var_files {
            let file = context.dirs.work.join(context.at_home(file));
            if !file.is_file() {
                let error = Error::usage("terraform-var-file", "find the variables file", file.display());
                let hint = "Correct `var_files` under `platform.terraform`: paths are relative to the cluster file";
                return Err(error.hint(hint));
            }
            var_files.push(file);
        }
        // A plan holds all values, so only the owner may read its directory.
        file::private_dir(&kept).map_err(|error| unwritten(&kept, &error))?;
        if !module.pass.is_empty() {
            let values = kept.join(PASSED_FILE);
            let text = format!("{:#}\n", passed(module, machines));
            file::replace(&values, text.as_bytes()).map_err(|error| unwritten(&values, &error))?;
            var_files.push(values);
        }
        let environment = Environment::of(context, dir, &machines.plan.platform, None)?;
        let terraform = Terraform::find(context, &root, reattach, environment).await?;
        let terraform = terraform.with_state(&machines.plan.cluster, None);
        terraform.run_init(context, Init::AsItIs).await.map_err(|error| match &module.workspace {
            None => error,
            Some(workspace) => error.hint(format!(
                "Run `terraform workspace new {workspace}` in that directory if the workspace does not exist, or correct \
                 `workspace` under `platform.terraform`"
            )),
        })?;
        Ok(Self { dir: root, kept, var_files, terraform })
    }

    fn plan_file(&self) -> PathBuf {
        self.kept.join(PLAN_FILE)
    }

    fn plan_command(&self, destroy: bool) -> Command {
        let command = self.terraform.plan(&self.plan_file(), PARALLELISM, destroy);
        self.with_values(command)
    }

    fn with_values(&self, command: Command) -> Command {
        self.var_files.iter().fold(command, |command, file| command.arg(format!("-var-file={}", file.display())))
    }

    /// What Terraform would do, and what the output `vms` would be.
    async fn plan(&self, context: &Context, destroy: bool) -> Result<(Changes, ModuleOutput)> {
        self.plan_with(context, self.plan_command(destroy)).await
    }

    async fn plan_with(&self, context: &Context, command: Command) -> Result<(Changes, ModuleOutput)> {
        self.terraform.stream(context, "plan", command).await?;
        let shown = self.terraform.show(&self.plan_file()).succeed(context, |_| ()).await?;
        Ok((Changes::parse(&shown.stdout)?, module_output(&shown.stdout)?))
    }

    /// Changes the resources of one member and nothing else.
    async fn change_alone(
        &self,
        context: &Context,
        plan: &Plan,
        consent: &Consent,
        step: &Step,
        before_it: &mut impl AsyncFnMut(&Changes) -> Result<()>,
    ) -> Result<()> {
        let known = self.output(context).await?;
        let (mut changes, _) = self.plan_with(context, self.plan_command(false).args(step.targets())).await?;
        assign(&mut changes, consent, known.value.as_ref());
        let checked = async {
            guard_module(plan, &changes, consent)?;
            roll::is_alone(plan, &changes, consent, step)?;
            before_it(&changes).await
        };
        if let Err(error) = checked.await {
            self.remove_plan();
            return Err(error);
        }
        self.apply(context).await
    }

    async fn apply(&self, context: &Context) -> Result<()> {
        let note = self.kept.join(MODULE_NOTE);
        file::replace(&note, self.dir.display().to_string().as_bytes()).map_err(|error| unwritten(&note, &error))?;
        let command = self.terraform.apply(&self.plan_file(), PARALLELISM);
        let applied = self.terraform.stream(context, "apply", command).await;
        self.remove_plan();
        applied.map(|_| ())
    }

    /// The output `vms` as the state has it.
    async fn output(&self, context: &Context) -> Result<ModuleOutput> {
        let output = self.terraform.output().succeed(context, |_| ()).await?;
        let mut outputs: Json = serde_json::from_str(&output.stdout)
            .map_err(|error| Error::failed("terraform-output", "read", "Terraform's outputs").source(&error))?;
        let value = outputs.get_mut("vms").map(|vms| vms["value"].take());
        Ok(ModuleOutput { value, record: outputs.get("record").is_some(), unknown: Json::Null })
    }

    /// The machines in the module's state; none if it was never applied, or everything was destroyed.
    ///
    /// # Errors
    /// Those of Terraform, and with everything that does not fit the contract.
    pub async fn outputs(&self, context: &Context, plan: &Plan) -> Result<Outputs> {
        match self.output(context).await? {
            ModuleOutput { value: None, .. } => Ok(Outputs::new()),
            output => contract::machines(plan, &output, &self.dir),
        }
    }

    /// The addresses of everything in the module's state, which `down` would destroy.
    ///
    /// # Errors
    /// Those of Terraform.
    pub async fn resources(&self, context: &Context) -> Result<Vec<String>> {
        listed(self.terraform.ask_diagnosed(context, &self.terraform.state_list()).await)
    }

    /// Destroys everything in the module's state, and returns what it was. The caller has asked the user before.
    ///
    /// # Errors
    /// Those of Terraform, with every diagnostic.
    pub async fn destroy(&self, context: &Context) -> Result<Changes> {
        let (changes, _) = self.plan(context, true).await?;
        match changes.leaves_the_state() {
            true => self.remove_plan(),
            false => self.apply(context).await?,
        }
        Ok(changes)
    }

    /// Removes the plan, which holds all values.
    fn remove_plan(&self) {
        // If this fails, the next run overwrites the plan.
        let _ = fs::remove_file(self.plan_file());
    }
}

/// The managed resources in Terraform's answer. A state that does not exist yet is an error for Terraform, but an empty
/// list for hactl; any other error leaves open what exists.
fn listed(answer: Result<String, TerraformError>) -> Result<Vec<String>> {
    let lines = match answer {
        Err(TerraformError { diagnosis: Diagnosis::NoState, .. }) => String::new(),
        answer => answer?,
    };
    Ok(lines.lines().filter(|address| is_managed(address)).map(str::to_owned).collect())
}

/// Whether an address is that of a resource, and not of a data source. A module may have the name `data`, and any text
/// as its key.
fn is_managed(address: &str) -> bool {
    let mut rest = address;
    while let Some(module) = rest.strip_prefix("module.") {
        let (mut quoted, mut escaped) = (false, false);
        let end = module.find(|letter| {
            let dot = letter == '.' && !quoted;
            quoted ^= letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            dot
        });
        rest = end.map_or("", |end| &module[end + 1..]);
    }
    !rest.starts_with("data.")
}

fn unwritten(path: &Path, error: &io::Error) -> Error {
    Error::failed("terraform-workspace", "write", path.display()).source(error).hint(MAKE_ROOM)
}

/// The error for a state that is not the state of the last run: Terraform would create the machines a second time.
fn knows_none(plan: &Plan, module: &RootModule, dir: &Path) -> Error {
    let workspace = module.workspace.as_ref().map(|name| format!(", workspace {name}")).unwrap_or_default();
    Error::failed("state-empty", "find the machines of", &plan.cluster)
        .cause(format!(
            "the last run in this directory left machines, but the module's state ({}{workspace}) has none",
            dir.display()
        ))
        .hint(format!(
            "{OTHER_STATE}. If the machines are gone, run `hactl down {}` to remove their local records",
            plan.cluster
        ))
}

/// The hint for a module's state that lacks machines of the last run.
pub const OTHER_STATE: &str = "Check that `dir` and `workspace` under `platform.terraform`, and the selected workspace, are those \
     of the last run; run `terraform workspace list` in that directory to list the workspaces";

/// The values that `pass` in the cluster file names.
fn passed(module: &RootModule, machines: &Machines<'_>) -> Json {
    let plan = machines.plan;
    let value = |passed: &Passed| match passed {
        Passed::AuthorizedKeys => json!(machines.authorized_keys),
        Passed::Cluster => json!(plan.cluster),
        Passed::ClusterUuid => json!(machines.uuid),
        Passed::Instances => {
            let instance = |node: &crate::plan::PlannedInstance| {
                let (hostname, roles) = (&node.hostname, &node.roles);
                json!({"hostname": hostname, "memory": node.memory_mib, "cores": node.cores, "roles": roles})
            };
            plan.nodes.values().map(|node| (node.key.to_string(), instance(node))).collect::<Map<_, _>>().into()
        }
        Passed::Record => json!(machines.record),
    };
    module.pass.iter().map(|passed| (passed.as_str().to_owned(), value(passed))).collect::<Map<_, _>>().into()
}

struct Prepared {
    root: Module,
    planned: Planned,
    /// Warnings about voters that fail together.
    together: Vec<String>,
}

impl Prepared {
    async fn warn(&self, context: &Context) {
        for message in &self.together {
            let hint = "Place each voter in a zone of its own".to_owned();
            context.events.warn("voters-together", message.clone(), Some(hint)).await;
        }
    }
}

async fn prepare(
    context: &Context,
    dir: &ClusterDir,
    module: &RootModule,
    machines: &Machines<'_>,
    consent: &Consent,
    reattach: Option<String>,
) -> Result<Prepared> {
    let root = Module::open(context, dir, module, machines, reattach).await?;
    let known = if consent.ran.is_empty() { None } else { Some(root.output(context).await?) };
    if known.as_ref().is_some_and(|known| known.value.is_none()) {
        return Err(knows_none(machines.plan, module, &root.dir));
    }
    let (mut changes, output) = root.plan(context, false).await?;
    assign(&mut changes, consent, known.as_ref().and_then(|known| known.value.as_ref()));
    let mut misfits = contract::misfits(machines.plan, &output);
    if module.pass.contains(&Passed::Record) && !output.record {
        misfits.push(
            "the module has no output `record`, which `record` in `pass` requires: add it with `value = var.record`"
                .to_owned(),
        );
    }
    if !misfits.is_empty() {
        root.remove_plan();
        return Err(contract::error(machines.plan, &root.dir, misfits));
    }
    let refused = guard_module(machines.plan, &changes, consent).err();
    Ok(Prepared { root, planned: Planned { changes, refused }, together: voters_together(machines.plan, &output) })
}

/// Plans what `up` would do.
pub(super) async fn plan(
    context: &Context,
    dir: &ClusterDir,
    module: &RootModule,
    machines: &Machines<'_>,
    consent: &Consent,
    reattach: Option<String>,
) -> Result<Planned> {
    let prepared = prepare(context, dir, module, machines, consent, reattach).await?;
    prepared.warn(context).await;
    let Prepared { root, planned, .. } = prepared;
    root.remove_plan();
    Ok(planned)
}

/// Applies exactly the plan that hactl has read.
pub(super) async fn apply(
    context: &Context,
    dir: &ClusterDir,
    module: &RootModule,
    machines: &Machines<'_>,
    consent: &Consent,
    reattach: Option<String>,
    mut before_it: impl AsyncFnMut(&Changes) -> Result<()>,
) -> Result<Provisioned> {
    let (mut done, mut rolled) = (BTreeSet::new(), None);
    let (root, changes) = loop {
        let prepared = prepare(context, dir, module, machines, consent, reattach.clone()).await?;
        if done.is_empty() {
            prepared.warn(context).await;
        }
        let Prepared { root, planned: Planned { changes, refused }, .. } = prepared;
        if let Some(error) = refused {
            root.remove_plan();
            return Err(error);
        }
        let step = match roll::next_alone(machines.plan, &changes, consent, &done) {
            Ok(Some(step)) => step,
            Ok(None) => break (root, changes),
            Err(error) => {
                root.remove_plan();
                return Err(error);
            }
        };
        rolled.get_or_insert(changes);
        root.change_alone(context, machines.plan, consent, &step, &mut before_it).await?;
        done.insert(step.key);
    };
    if changes.is_empty() {
        root.remove_plan();
    } else {
        for line in changes.listed() {
            context.events.step(Stage::Provision, None, line).await;
        }
        if let Err(error) = before_it(&changes).await {
            root.remove_plan();
            return Err(error);
        }
        root.apply(context).await?;
    }
    let outputs = contract::machines(machines.plan, &root.output(context).await?, &root.dir)?;
    Ok(Provisioned { outputs, changes: rolled.unwrap_or(changes), gone: Vec::new() })
}

/// What the module's state has from the last run, on this or another machine.
///
/// # Errors
/// When the state cannot be read, or the outputs have another shape.
pub async fn pull_module(
    context: &Context,
    dir: &ClusterDir,
    plan: &Plan,
    module: &RootModule,
    reattach: Option<String>,
) -> Result<Pulled> {
    let root = module_dir(context, module)?;
    let environment = Environment::of(context, dir, &plan.platform, None)?;
    let terraform = Terraform::find(context, &root, reattach, environment).await?;
    let terraform = terraform.with_state(&plan.cluster, None);
    let outputs = terraform.ask_of_backend(context, &terraform.output()).await?;
    let (outputs, record) = parse_a_modules(&outputs)?;
    Ok(Pulled { outputs, record, only_state: true })
}

/// Writes another record to the module's state, and changes nothing else.
pub(super) async fn keep_record(
    context: &Context,
    dir: &ClusterDir,
    module: &RootModule,
    machines: &Machines<'_>,
    reattach: Option<String>,
) -> Result<()> {
    let root = Module::open(context, dir, module, machines, reattach).await?;
    let (_, kept) = parse_a_modules(&root.terraform.ask(context, &root.terraform.output()).await?)?;
    if kept.as_deref().unwrap_or_default() == machines.record {
        return Ok(());
    }
    let command = root.terraform.plan(&root.plan_file(), PARALLELISM, false).arg("-refresh=false");
    root.terraform.stream(context, "plan", root.with_values(command)).await?;
    let shown = root.terraform.show(&root.plan_file()).succeed(context, |_| ()).await?;
    // If anything else has changed, the next run handles it.
    match Changes::parse(&shown.stdout)?.is_empty() {
        true => root.apply(context).await,
        false => {
            root.remove_plan();
            Ok(())
        }
    }
}
