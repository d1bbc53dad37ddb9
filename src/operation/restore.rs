//! `hactl restore NAME --to NEW`: a new cluster that begins with the backups of another one. It has its own machines, secrets
//! and stanza, and only reads the repository of the other.

use jiff::Timestamp;

use super::{
    frame::{LockUse, Operation, Preflight, SecretsUse, perform},
    up::{UpRequest, converge},
};
use crate::{
    component::pgbackrest::{self, Backups, Origin},
    context::{Context, RunContext},
    deployment::Deployment,
    error::{Error, Result},
    event::{Stage, Summary},
    health,
    model::{Account, RepositorySecret},
    terraform::Consent,
};

pub const RESTORE: Operation = Operation {
    command: "restore",
    on_adopted: false,
    reads_state: true,
    preflight: Preflight::Announced,
    secrets: SecretsUse::Create,
    locks: LockUse::IfKnown,
};

/// What is restored.
#[derive(Clone, Copy, Debug)]
pub struct RestoreRequest {
    /// The moment; none for the newest.
    pub at: Option<Timestamp>,
    /// Whether Ansible runs with Mitogen.
    pub mitogen: bool,
}

/// Makes the cluster of `deployment` from the backups of `source`.
///
/// # Errors
/// When the new cluster exists, the two do not fit, or the moment is not in the backups: nothing was made then. Those of `up`.
pub async fn restore(
    run: &RunContext,
    deployment: Deployment,
    mut source: Deployment,
    request: &RestoreRequest,
) -> Result<Summary> {
    let done = perform(run, deployment, &RESTORE, async |acting| {
        let context = &run.context;
        fits(context, &mut acting.deployment, &mut source).await?;
        let origin = origin(context, &mut source, request.at).await?;
        let seen = ask_source(context, &mut source).await;
        is_restorable(context, &source, request.at, seen.as_ref()).await?;
        let up = UpRequest {
            agreed: Consent::default(),
            mitogen: request.mitogen,
            proof: false,
            may_interrupt: true,
            saved: None,
            origin: Some(origin),
        };
        let (mut outcome, _) = converge(acting, &up, async |_| Ok(true)).await?;
        let (name, from) = (acting.deployment.cluster.name(), source.cluster.name());
        let moment = request.at.map_or_else(|| "the newest moment in the repository".to_owned(), |at| at.to_string());
        outcome.message = format!(
            "{}\nIt has the data of {from} at {moment}. Subscriptions in it are disabled and have no slot.",
            outcome.message
        );
        outcome.next.insert(0, format!("hactl backup now {name}"));
        Ok((outcome, ()))
    });
    Ok(done.await?.0)
}

/// Refuses what cannot become the new cluster, with every reason.
async fn fits(context: &Context, new: &mut Deployment, source: &mut Deployment) -> Result<()> {
    let uuids = (new.vault(context).await?.uuid(), source.vault(context).await?.uuid());
    let (name, from) = (new.cluster.name().clone(), source.cluster.name().clone());
    let mut causes = Vec::new();
    let (plan, other) = (&new.cluster.plan, &source.cluster.plan);
    if name == from {
        causes.push(format!("{name} would be made from itself: give the new cluster a cluster file with another name"));
    }
    if other.backup.is_none() {
        causes.push(format!("the cluster file of {from} has no `backup`"));
    }
    if plan.backup.is_none() {
        causes
            .push(format!("the cluster file of {name} has no `backup`: a restored cluster archives to its own stanza"));
    }
    if plan.postgres.major != other.postgres.major {
        let (new, old) = (plan.postgres.major, other.postgres.major);
        causes.push(format!("{name} has PostgreSQL {new}, and the backups are of PostgreSQL {old}"));
    }
    // A restored cluster has the system identifier of its source, so pgBackRest would take the WAL of both.
    if let (Some(own), Some(its)) = (&plan.backup, &other.backup) {
        let (own, its) = (own.places(&name, uuids.0), its.places(&from, uuids.1));
        if let Some((bucket, path, stanza)) = own.iter().find(|place| its.contains(place)) {
            causes.push(format!(
                "{name} and {from} would both write to the stanza {stanza} in {path} of the bucket {bucket}: set \
                 `backup.stanza` of {name} to another name"
            ));
        }
    }
    if new.known.fleet_if_any()?.is_some() {
        let cluster = new.running(context).await?;
        let looked = async { Ok(health::observe(&cluster.fleet, &cluster.access).await) };
        let seen = context.interruptible("look at the machines of", &name, looked).await?;
        let has_data = seen.values().any(|view| view.checkpoint.is_some());
        if has_data {
            causes.push(format!("{name} exists and has data: only a cluster that is not there yet can be restored"));
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    let error = Error::failed("restore-refused", "restore", format!("{from} to {name}"));
    Err(causes.into_iter().fold(error, |error, cause| error.cause(cause)).hint(format!(
        "Write a cluster file for the new cluster, for example a copy of that of {from} with another `name`"
    )))
}

/// What opens the repository of `source`.
async fn origin(context: &Context, source: &mut Deployment, at: Option<Timestamp>) -> Result<Origin> {
    source.vault_with_given(context).await?;
    let (cluster, _, vault) = source.parts(context).await?;
    let backup = super::backup::configured(&cluster.plan, "restore")?;
    let Some((name, repository)) = backup.repositories.iter().next() else {
        return Err(Error::failed("restore-refused", "restore", cluster.name()).cause("it has no repository"));
    };
    let secret = |what| vault.password(&Account::Repository(name.clone(), what)).cloned();
    Ok(Origin {
        stanza: backup.stanza_of(cluster.name(), vault.uuid()),
        repository: repository.clone(),
        key: secret(RepositorySecret::Key)?,
        key_secret: secret(RepositorySecret::Secret)?,
        passphrase: secret(RepositorySecret::Passphrase)?,
        at,
    })
}

/// What the machines of `source` say of its backups; none where none of them answers.
async fn ask_source(context: &Context, source: &mut Deployment) -> Option<Backups> {
    source.known.fleet_if_any().ok().flatten()?;
    let cluster = source.running(context).await.ok()?;
    for node in cluster.fleet.data_nodes() {
        let asked = async { pgbackrest::ask(&cluster.access.connect(node).await?).await };
        if let Ok(seen) = context.interruptible("read the backups from", node.key(), asked).await {
            return Some(seen);
        }
    }
    None
}

/// Refuses a moment that the backups do not reach.
async fn is_restorable(
    context: &Context,
    source: &Deployment,
    at: Option<Timestamp>,
    seen: Option<&Backups>,
) -> Result<()> {
    let name = source.cluster.name();
    let Some(seen) = seen else {
        let step = format!("no machine of {name} answers: its backups are not known before they are restored");
        context.events.step(Stage::Plan, None, step).await;
        return Ok(());
    };
    let refused = |cause: String| Err(Error::failed("restore-refused", "restore", name).cause(cause));
    let Some(from) = seen.restorable_from else {
        return refused("its repository has no backup".to_owned())
            .map_err(|error: Error| error.hint(format!("Run `hactl backup now {name}`")));
    };
    match at {
        Some(at) if at < from => refused(format!("{at} is before {from}, the end of its oldest backup"))
            .map_err(|error: Error| error.hint(format!("Give `--at` a moment from {from} on"))),
        Some(at) if at > Timestamp::now() => refused(format!("{at} is in the future")),
        _ => Ok(()),
    }
}
