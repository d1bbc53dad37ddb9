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
    component::{
        pgbackrest::{self, Backups, LONGEST_LOOK, Target},
        postgres,
    },
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
        if origin.looks_apart.is_none() {
            let message = format!(
                "with its `archive_timeout` a cluster that still runs may archive nothing in the {LONGEST_LOOK} s between two looks at \
                 its archive"
            );
            let hint = "Check that no machine of the cluster still runs";
            context.events.warn("recovery-unseen", message, Some(hint.to_owned())).await;
        }
        // Drills come after a backup, when the user asks for them.
        let request = UpRequest { proof: false, may_interrupt: true, origin: Some(origin), ..request.clone() };
        let (mut outcome, _) = converge(acting, &request, async |_| Ok(true)).await?;
        let (cluster, last, misses) = recovered(run, acting).await?;
        let backup = run.stage(Stage::Backup, back_up(run, &cluster, BackupKind::Full)).await?;
        let name = &cluster.plan.cluster;
        let last = last.map_or_else(String::new, |last| {
            format!(" The last transaction in it ended at {}.", last.strftime("%Y-%m-%d %H:%M:%SZ"))
        });
        outcome.message = format!(
            "{}\nIt has the newest data that its repository has.{last}{misses} Subscriptions in it are disabled.\nThen {backup}",
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

/// The cluster that runs now, when its last transaction ended, as the primary's recovery saw it, and what the archive misses.
async fn recovered(run: &RunContext, acting: &mut Acting<'_>) -> Result<(RunningCluster, Option<Timestamp>, String)> {
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
    let listed = async { pgbackrest::ask(&cluster.access.connect(node).await?).await }.await;
    let misses = ended_early(listed.ok().as_ref());
    Ok((cluster, last, misses))
}

/// What the recovery did not reach: for PostgreSQL, WAL that is missing is the end of it. `seen` is from before the next backup, so
/// that the newest one is the one that the recovery began with.
fn ended_early(seen: Option<&Backups>) -> String {
    let Some((seen, gaps)) = seen.and_then(|seen| Some((seen, seen.gaps.as_ref()?))) else {
        return " The archive could not be listed in time: if it lacks WAL, the data ends there.".to_owned();
    };
    let newest = seen.backups.last();
    let first = gaps.iter().find(|gap| newest.is_some_and(|newest| gap.until >= newest.started));
    first.map_or_else(String::new, |gap| {
        format!(
            " The archive lacks {}, and the data ends there: the WAL after it was not restored, although the repository has it.",
            gap.segments()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::pgbackrest::{BackupView, Gap};

    #[test]
    fn recovery_that_ended_at_missing_wal_says_so() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let gap = |until: &str| Gap {
            first: "000000010000000000000006".to_owned(),
            last: "000000010000000000000007".to_owned(),
            until: at(until),
            // The new timeline has archived a segment.
            from: Some(at("2026-11-30T15:00:00Z")),
        };
        let backup = BackupView::sample("20261130-120000F", at("2026-11-30T12:00:00Z"));
        let seen = |gaps: Option<Vec<Gap>>| {
            let from = Some(backup.ended);
            ended_early(Some(&Backups { gaps, ..Backups::sample(vec![backup.clone()], from) }))
        };
        // The recovery began with the backup after a gap.
        let before = gap("2026-11-30T11:00:00Z");
        assert_eq!(seen(Some(Vec::new())), "");
        assert_eq!(seen(Some(vec![before.clone()])), "");
        let said = seen(Some(vec![before, gap("2026-11-30T12:05:00Z")]));
        assert!(
            said.contains("000000010000000000000006 to 000000010000000000000007, and the data ends there"),
            "{said}"
        );
        assert!(seen(None).contains("could not be listed"));
        assert!(ended_early(None).contains("could not be listed"));
    }
}
