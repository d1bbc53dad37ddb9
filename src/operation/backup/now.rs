//! `hactl backup now`: a backup by pgBackRest on the primary's machine, in a unit of its own that ends its work whatever
//! becomes of hactl.

use super::{
    shared::{configured, look, primary},
    unit,
};
use crate::{
    component::pgbackrest,
    context::{Context, RunContext},
    deployment::{Deployment, RunningCluster},
    error::{Error, Result},
    event::{Stage, Summary},
    operation::frame::{LockUse, Operation, Outcome, Preflight, SecretsUse, perform},
};

pub const BACKUP: Operation = Operation {
    command: "backup now",
    on_adopted: false,
    reads_state: true,
    preflight: Preflight::Nothing,
    secrets: SecretsUse::Open,
    // Other changes need not wait for it, and its unit runs once on a machine.
    locks: LockUse::Directory,
};

/// The command of the unit.
pub(super) fn program(what: &str) -> String {
    format!("/usr/local/sbin/hactl-backup {what}")
}

/// What a backup has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupKind {
    /// All of the data.
    Full,
    /// What has changed since the last full backup.
    Differential,
    /// What has changed since the last backup.
    Incremental,
}

impl BackupKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Differential => "diff",
            Self::Incremental => "incr",
        }
    }

    /// The unit of such a backup. Each kind has its own, so that a command waits for a backup of its kind alone; the program lets
    /// one backup run at a time.
    const fn unit(self) -> &'static str {
        match self {
            Self::Full => "hactl-backup-full.service",
            Self::Differential => "hactl-backup-diff.service",
            Self::Incremental => "hactl-backup-incr.service",
        }
    }
}

/// Makes a backup.
///
/// # Errors
/// When the cluster has no primary, or pgBackRest fails; the message has its words.
pub async fn backup_now(run: &RunContext, deployment: Deployment, kind: BackupKind) -> Result<Summary> {
    let done = perform(run, deployment, &BACKUP, async |acting| {
        configured(&acting.deployment.cluster.plan, "back up")?;
        let cluster = acting.deployment.running(&run.context).await?;
        let message = run.stage(Stage::Backup, back_up(run, &cluster, kind)).await?;
        let name = &cluster.plan.cluster;
        let next = vec![format!("hactl backup list {name}"), format!("hactl backup verify {name}")];
        Ok((Outcome { message: format!("{name}: {message}"), next, changed: true, ..Outcome::default() }, ()))
    });
    Ok(done.await?.0)
}

pub(in crate::operation) async fn back_up(
    run: &RunContext,
    cluster: &RunningCluster,
    kind: BackupKind,
) -> Result<(String, Option<String>)> {
    let context: &Context = &run.context;
    let health = look(run, cluster).await?;
    let node = primary(cluster, &health, "back up")?;
    let command = program(kind.as_str());
    let started = std::time::Instant::now();
    let failed = || Error::failed("backup-failed", "back up", &cluster.plan.cluster);
    let unit = unit::Unit { name: kind.unit(), user: "postgres", command: &command, memory_mib: None };
    unit.run(context, cluster, node, failed).await?;
    let seconds = started.elapsed().as_secs_f64();
    let seen = pgbackrest::ask(&cluster.access.connect(node).await?).await?;
    run.keep("backups", &seen)?;
    let Some(made) = seen.backups.last() else {
        return Err(failed().cause("pgBackRest reported success, but the repository contains no backup"));
    };
    let message = format!(
        "backup {} ({}) of {} MiB took {seconds:.0} s and added {} MiB to the repository, from {}.",
        made.label,
        made.kind,
        made.size_bytes >> 20,
        made.added_bytes.div_ceil(1 << 20),
        node.key()
    );
    Ok((message, Some(made.label.clone())))
}
