use clap::{Args, Subcommand, ValueEnum};

use super::{Session, arguments::ClusterArg};
use crate::{
    error::Result,
    model::InstanceKey,
    operation::{self, BackupKind, VerifyBackupRequest},
    query,
    report::{self, Output},
};

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Make a backup, then remove expired backups
    #[command(after_help = "Examples:\n  hactl backup now pg-prod\n  hactl backup now pg-prod --type full")]
    Now(NowArgs),
    /// List the backups in the repository
    #[command(after_help = "Examples:\n  hactl backup list pg-prod\n  hactl backup list pg-prod --output json")]
    List(ListArgs),
    /// Remove expired backups, as `backup.retention` in the cluster file says
    #[command(after_help = "Examples:\n  hactl backup expire pg-prod")]
    Expire(ExpireArgs),
    /// Restore the newest backup and WAL into a separate directory on a replica's machine, and compare the result
    /// with the primary
    #[command(after_help = "Examples:\n  hactl backup verify pg-prod\n  hactl backup verify pg-prod --on node2")]
    Verify(VerifyArgs),
}

#[derive(Args, Debug)]
pub(crate) struct NowArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// What to back up; the first backup in a repository is always full
    #[arg(long = "type", value_enum, value_name = "TYPE", default_value_t)]
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Kind {
    /// All data
    Full,
    /// Changes since the last full backup
    Differential,
    /// Changes since the last backup
    #[default]
    Incremental,
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
}

#[derive(Args, Debug)]
pub(crate) struct ExpireArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// The replica to restore on; by default the one with the most free disk space
    #[arg(long, value_name = "NODE")]
    pub(crate) on: Option<InstanceKey>,
}

pub(crate) async fn run(session: &Session, command: BackupCommand) -> Result<u8> {
    match command {
        BackupCommand::Now(NowArgs { name, kind }) => {
            let kind = match kind {
                Kind::Full => BackupKind::Full,
                Kind::Differential => BackupKind::Differential,
                Kind::Incremental => BackupKind::Incremental,
            };
            session
                .act(&operation::BACKUP, &name.name, async |run, deployment| {
                    operation::backup_now(run, deployment, kind).await
                })
                .await
        }
        BackupCommand::List(ListArgs { name }) => {
            let mut deployment = session.deployment(&name.name).await?;
            deployment.cluster.must_be_made_here("backup list")?;
            let seen = session.query(async |context| query::backups(context, &mut deployment).await).await?;
            match session.output {
                Output::Json => report::print_json(&seen),
                Output::Text => report::print(report::backups_text(&seen).trim_end()),
            }
            Ok(0)
        }
        BackupCommand::Expire(ExpireArgs { name }) => {
            session
                .act(&operation::EXPIRE, &name.name, async |run, deployment| {
                    operation::expire_backups(run, deployment).await
                })
                .await
        }
        BackupCommand::Verify(VerifyArgs { name, on }) => {
            let request = VerifyBackupRequest { on };
            session
                .act(&operation::VERIFY_BACKUP, &name.name, async |run, deployment| {
                    operation::verify_backup(run, deployment, &request).await
                })
                .await
        }
    }
}
