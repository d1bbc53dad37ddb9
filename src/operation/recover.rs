//! `hactl up NAME --from-backup`: all machines are gone, and the cluster file, the secrets file with its key and the repository are
//! left. The cluster begins with the newest state in its own repository, and goes on in the same stanza on a new timeline.

use jiff::Timestamp;

use super::{
    backup::{BackupKind, back_up, configured, look, primary},
    frame::{Acting, perform},
    restore::origin,
    up::{UP, UpRequest, converge, has_no_data},
};
use crate::{
    component::{pgbackrest::Target, postgres},
    context::{Context, RunContext},
    deployment::{Cluster, Deployment, RunningCluster},
    error::{Error, Result},
    event::{Stage, Summary},
    health,
};

/// Makes the cluster again from its repository, and a full backup of it.
///
/// # Errors
/// When a machine of the cluster has data, another cluster archives to the stanza, or the secrets that made the backups are
/// missing: nothing was restored then. Those of `up` and of a backup.
pub async fn recover(run: &RunContext, deployment: Deployment, request: &UpRequest) -> Result<Summary> {
    configured(&deployment.cluster.plan, "recover")?;
    has_secrets(&deployment.cluster)?;
    let done = perform(run, deployment, &UP, async |acting| {
        let context = &run.context;
        is_gone(context, &mut acting.deployment).await?;
        let origin = origin(context, &mut acting.deployment, Target::Newest, true).await?;
        // Drills come after a backup, when the user asks for them.
        let request = UpRequest { proof: false, may_interrupt: true, origin: Some(origin), ..request.clone() };
        let (mut outcome, _) = converge(acting, &request, async |_| Ok(true)).await?;
        let (cluster, last) = recovered(run, acting).await?;
        let backup = run.stage(Stage::Backup, back_up(run, &cluster, BackupKind::Full)).await?;
        let name = &cluster.plan.cluster;
        let last = last.map_or_else(String::new, |last| {
            format!(" The last transaction in it ended at {}.", last.strftime("%Y-%m-%d %H:%M:%SZ"))
        });
        outcome.message = format!(
            "{}\nIt has the newest data that its repository has.{last} Subscriptions in it are disabled.\nThen {backup}",
            outcome.message
        );
        outcome.next = [format!("hactl backup verify {name}"), format!("hactl verify {name}")]
            .into_iter()
            .chain(outcome.next)
            .collect();
        Ok((outcome, ()))
    });
    Ok(done.await?.0)
}

/// Refuses to make new secrets: they open no backup.
fn has_secrets(cluster: &Cluster) -> Result<()> {
    let file = cluster.secrets_file();
    if file.exists() {
        return Ok(());
    }
    Err(Error::missing("secrets-missing", "open the secrets file", file.display())
        .cause("the file does not exist, and only the passphrase in it opens the backups")
        .hint("Restore the file, and the key that opens it, from your copies"))
}

/// Refuses to make a cluster again that is still there, before anything is made.
async fn is_gone(context: &Context, deployment: &mut Deployment) -> Result<()> {
    if deployment.known.fleet_if_any()?.is_none() {
        return Ok(());
    }
    let cluster = deployment.running(context).await?;
    let looked = async { Ok(health::observe(&cluster.fleet, &cluster.access).await) };
    let seen = context.interruptible("inspect the machines of", &cluster.plan.cluster, looked).await?;
    has_no_data(&deployment.cluster, &health::with_data(&seen))
}

/// The cluster that runs now, and when its last transaction ended, as the primary's recovery saw it.
async fn recovered(run: &RunContext, acting: &mut Acting<'_>) -> Result<(RunningCluster, Option<Timestamp>)> {
    let (context, deployment) = (&run.context, &mut acting.deployment);
    // The machines are those of this run.
    deployment.pull(context).await?;
    deployment.reread();
    let cluster = deployment.running(context).await?;
    let health = look(run, &cluster).await?;
    let node = primary(&cluster, &health, "back up")?;
    let query = "SELECT extract(epoch FROM pg_last_xact_replay_timestamp())::bigint";
    let asked = async {
        let client = postgres::superuser(&cluster.access, node, "postgres").await.ok()?;
        let seconds: Option<i64> = client.query_one(query, &[]).await.ok()?.get(0);
        Timestamp::from_second(seconds?).ok()
    };
    let last = asked.await;
    Ok((cluster, last))
}
