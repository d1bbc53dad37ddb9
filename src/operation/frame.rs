//! The frame of every command that acts: what it needs, the locks, the check for changes, the work, the saving, the
//! summary.
//!
//! ```text
//! pull -> preflight -> secrets -> locks -> check for changes -> work -> saved secrets are announced -> locks back ->
//! summary
//! ```
//!
//! The directory's lock, the run record and the reporters are around it: `command::Session::act`.

use crate::{
    context::{Context, RunContext},
    deployment::{
        Cluster, Deployment, access,
        lock::{LockRequest, Locks},
    },
    error::Result,
    event::{Event, Stage, Summary, WriteGap},
    model::Endpoints,
    plan::Bound,
    stage::{dns, machines, prepare},
};

/// A command that acts, as a value: what the frame does for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The command, as it is typed.
    pub command: &'static str,
    /// Whether it may be run on a cluster that hactl did not make.
    pub on_adopted: bool,
    /// Whether it needs what runs elsewhere left in the state.
    pub reads_state: bool,
    /// What is tried before anything is opened.
    pub preflight: Preflight,
    pub secrets: SecretsUse,
    pub locks: LockUse,
}

impl Operation {
    /// An operation that needs no more than the cluster's directory: its work opens what it uses.
    pub(super) const fn on_files(command: &'static str) -> Self {
        Self {
            command,
            on_adopted: false,
            reads_state: false,
            preflight: Preflight::Nothing,
            secrets: SecretsUse::Later,
            locks: LockUse::Directory,
        }
    }
}

/// What is tried before anything is opened or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preflight {
    Nothing,
    /// Tools, the DNS zone, the hypervisor, the user's own key and module.
    Machines,
    /// The same, after what is planned was announced.
    Announced,
}

/// How the secrets file is opened before the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretsUse {
    /// The work opens it, where it needs it.
    Later,
    /// It is opened if there is one; one that cannot be opened is announced.
    IfAny,
    /// It must be there, and so must the machines.
    Open,
    /// It must fit what runs elsewhere left, and is made where there is none.
    Create,
}

/// Which locks are held during the work, beside that of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockUse {
    Directory,
    /// That in etcd, or on the machines where etcd does not answer; none before there are machines.
    IfKnown,
    /// The same, and that on machines that stay.
    Teardown,
    /// Both: the machines must be known.
    Cluster,
}

/// What the frame hands to the work.
pub(super) struct Acting<'a> {
    pub run: &'a RunContext,
    pub deployment: Deployment,
    pub locks: Locks,
    /// Whether the cluster, and its etcd with it, is gone when the work has ended well.
    pub ends_cluster: bool,
}

/// What came of the work, for the summary.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub failed: bool,
    pub message: String,
    pub dsn: Option<String>,
    pub endpoints: Option<Endpoints>,
    pub next: Vec<String>,
    pub changed: bool,
}

/// Runs `work` in the frame.
///
/// # Errors
/// When something that the operation needs is missing, another run holds or has changed the cluster, and those of the work.
/// What was done so far stays.
pub(super) async fn perform<T>(
    run: &RunContext,
    mut deployment: Deployment,
    operation: &Operation,
    work: impl AsyncFnOnce(&mut Acting<'_>) -> Result<(Outcome, T)>,
) -> Result<(Summary, T)> {
    let context = &run.context;
    if operation.reads_state {
        deployment.pull(context).await?;
    }
    if operation.preflight == Preflight::Announced {
        announce(context, &deployment.cluster).await;
    }
    if operation.preflight != Preflight::Nothing {
        deployment.cluster.can_move()?;
        preflight(context, &mut deployment).await?;
        run.keep("plan", &deployment.cluster.plan)?;
    }
    match operation.secrets {
        SecretsUse::Later => {}
        // Adopted clusters have none.
        _ if deployment.cluster.adopted().is_some() => {}
        SecretsUse::IfAny => {
            let _ = deployment.vault_if_any(context).await;
        }
        SecretsUse::Open => {
            // First that there are machines: without any there are seldom secrets.
            deployment.known.fleet(&deployment.cluster)?;
            deployment.vault_with_given(context).await?;
        }
        SecretsUse::Create => {
            deployment.open_to_change(context).await?;
            deployment.cluster.note()?;
        }
    }
    let locks = lock(run, &deployment, operation).await?;
    let mut acting = Acting { run, deployment, locks, ends_cluster: false };
    let result = async {
        acting.deployment.is_current(context).await?;
        work(&mut acting).await
    };
    let result = result.await;
    // Also of a run that failed.
    if operation.secrets != SecretsUse::Later {
        acting.deployment.say_saved(context).await;
    }
    let Acting { deployment, locks, ends_cluster, .. } = acting;
    let result = if ends_cluster { locks.drop_with_cluster(result).await } else { locks.give_back(result).await };
    let (Outcome { failed, message, dsn, endpoints, next, changed }, value) = result?;
    let summary = Summary {
        ok: !failed,
        command: operation.command.to_owned(),
        cluster: deployment.cluster.name().to_string(),
        message,
        dsn,
        endpoints,
        next,
        stages: run.times(),
        changed,
        record: None,
    };
    Ok((summary, value))
}

/// Says what is intended, before anything is done.
async fn announce(context: &Context, cluster: &Cluster) {
    let plan = &cluster.plan;
    let gap = |bound: &Bound| WriteGap { fault: bound.fault.clone(), seconds: bound.seconds };
    if !plan.is_plain() {
        context
            .events
            .emit(Event::Planned {
                durability: plan.patroni.durability.to_string(),
                fencing: plan.fencing.clone(),
                bounds: plan.bounds.iter().map(gap).collect(),
            })
            .await;
    }
    for warning in &plan.warnings {
        let (message, hint) = (warning.message.clone(), warning.hint.clone());
        context.events.emit(Event::Warning { code: "plan", message, hint }).await;
    }
}

/// Asks for all that making machines needs, before anything is made.
async fn preflight(context: &Context, deployment: &mut Deployment) -> Result<()> {
    prepare::tools(context, &deployment.cluster.plan.platform).await?;
    dns::check(context, &deployment.cluster).await?;
    machines::check(context, deployment).await
}

async fn lock(run: &RunContext, deployment: &Deployment, operation: &Operation) -> Result<Locks> {
    let command = operation.command;
    match operation.locks {
        LockUse::Directory => Ok(Locks::default()),
        LockUse::IfKnown => Locks::take_if_known(run, deployment, command, false).await,
        LockUse::Teardown => {
            // The machines can be destroyed without the secrets.
            if let Some(error) = deployment.unreadable_secrets() {
                let step = format!(
                    "could not take the cluster lock (cannot {} {}); continuing with the directory lock only",
                    error.what, error.object
                );
                run.context.events.step(Stage::Destroy, None, step).await;
            }
            Locks::take_if_known(run, deployment, command, deployment.cluster.plan.platform.machines_stay()).await
        }
        LockUse::Cluster => {
            let mut locks = Locks::default();
            let Some(vault) = deployment.opened() else { return Ok(locks) };
            let (cluster, fleet) = (&deployment.cluster, deployment.known.fleet(&deployment.cluster)?);
            let access = access(&run.context, cluster, vault)?;
            let request = LockRequest { run, cluster, command, fleet, access: &access };
            locks.take_machines(request).await?;
            match locks.take_etcd(request).await {
                Ok(()) => Ok(locks),
                Err(error) => locks.give_back(Err(error)).await,
            }
        }
    }
}
