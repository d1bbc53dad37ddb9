//! `hactl backup expire`: removes the backups that the retention does not keep.

use super::{
    now::program,
    shared::{configured, look, primary},
    unit,
};
use crate::{
    component::pgbackrest::{self, Backups},
    context::RunContext,
    deployment::{Deployment, RunningCluster},
    error::{Error, Result},
    event::{Stage, Summary},
    operation::{
        BACKUP,
        frame::{Operation, Outcome, perform},
    },
};

pub const EXPIRE: Operation = Operation { command: "backup expire", ..BACKUP };

/// Its unit, which is not that of a backup: a command waits for its own unit that runs already.
const UNIT: &str = "hactl-backup-expire.service";

/// Removes the backups of a cluster that its retention does not keep.
///
/// # Errors
/// When the cluster has no primary, or pgBackRest fails; the message has its words.
pub async fn expire_backups(run: &RunContext, deployment: Deployment) -> Result<Summary> {
    let done = perform(run, deployment, &EXPIRE, async |acting| {
        configured(&acting.deployment.cluster.plan, "remove backups of")?;
        let cluster = acting.deployment.running(&run.context).await?;
        let (before, after) = run.stage(Stage::Backup, expire(run, &cluster)).await?;
        let name = &cluster.plan.cluster;
        let changed = before.backups.len() != after.backups.len();
        let message = format!("{name}: {}", words(&before, &after));
        let next = vec![format!("hactl backup list {name}")];
        Ok((Outcome { message, next, changed, ..Outcome::default() }, ()))
    });
    Ok(done.await?.0)
}

async fn expire(run: &RunContext, cluster: &RunningCluster) -> Result<((Backups, Backups), Option<String>)> {
    let health = look(run, cluster).await?;
    let node = primary(cluster, &health, "remove backups of")?;
    let before = pgbackrest::ask(&cluster.access.connect(node).await?).await?;
    let failed = || Error::failed("backup-failed", "remove backups of", &cluster.plan.cluster);
    let command = program("expire");
    let unit = unit::Unit { name: UNIT, user: "postgres", command: &command, memory_mib: None };
    unit.run(&run.context, cluster, node, failed).await?;
    let after = pgbackrest::ask(&cluster.access.connect(node).await?).await?;
    run.keep("backups", &after)?;
    Ok(((before, after), None))
}

/// What was removed, and what is left.
fn words(before: &Backups, after: &Backups) -> String {
    let stays = |label: &str| after.backups.iter().any(|backup| backup.label == label);
    let gone: Vec<&str> =
        before.backups.iter().map(|backup| backup.label.as_str()).filter(|label| !stays(label)).collect();
    let removed = match gone.len() {
        0 => "no backup has expired".to_owned(),
        _ => format!("removed {}", gone.join(", ")),
    };
    let from = after.restorable_from.map_or_else(String::new, |from| {
        format!(" The cluster can be restored to points in time from {} on.", from.strftime("%Y-%m-%d %H:%M:%SZ"))
    });
    format!("{removed}.{from}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::pgbackrest::BackupView;

    #[test]
    fn removed_backups_are_named_with_the_first_moment_that_is_left() {
        let seen = |labels: &[&str]| {
            let time = "2026-11-30T02:20:16Z".parse().unwrap();
            let view = |label: &&str| BackupView::sample(label, time);
            let restorable_from = (!labels.is_empty()).then_some(time);
            let backups = labels.iter().map(view).collect();
            Backups::sample(backups, restorable_from)
        };
        let left = "The cluster can be restored to points in time from 2026-11-30 02:20:16Z on.";
        let all = seen(&["a", "b", "c"]);
        assert_eq!(words(&all, &seen(&["c"])), format!("removed a, b. {left}"));
        assert_eq!(words(&all, &all), format!("no backup has expired. {left}"));
        assert_eq!(words(&seen(&[]), &seen(&[])), "no backup has expired.");
    }
}
