use clap::Args;
use jiff::Timestamp;

use super::{
    Session,
    arguments::{AnsibleArgs, ClusterArg},
};
use crate::{
    component::pgbackrest::{Lsn, Target},
    error::Result,
    model::BackupLabel,
    operation::{self, RestoreRequest},
};

#[derive(Args, Debug)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// The new cluster: the name or path of its cluster file
    #[arg(long, value_name = "NEW")]
    pub(crate) to: String,
    /// The point in time to restore to, with its offset from UTC, such as 2026-11-30T08:15:00Z; by default the end of the
    /// archived WAL
    #[arg(long, value_name = "TIME", group = "target")]
    pub(crate) at: Option<Timestamp>,
    /// The WAL position (LSN) to restore to, such as 0/5000158
    #[arg(long, value_name = "LSN", group = "target")]
    pub(crate) lsn: Option<Lsn>,
    /// The backup to restore, without the WAL after it: a name that `hactl backup list` shows
    #[arg(long, value_name = "BACKUP", group = "target")]
    pub(crate) backup: Option<BackupLabel>,
    #[command(flatten)]
    pub(crate) ansible: AnsibleArgs,
}

#[derive(Args, Debug)]
pub(crate) struct CloneArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// The new cluster: the name or path of its cluster file
    #[arg(long, value_name = "NEW")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) ansible: AnsibleArgs,
}

pub(crate) async fn run(session: &Session, args: RestoreArgs) -> Result<u8> {
    let at = args.at.map(Target::Time).or(args.lsn.map(Target::Lsn)).or(args.backup.map(Target::Backup));
    let request = RestoreRequest { target: Some(at.unwrap_or(Target::Newest)), mitogen: !args.ansible.no_mitogen };
    restore(session, &args.name.name, &args.to, request).await
}

pub(crate) async fn clone(session: &Session, args: CloneArgs) -> Result<u8> {
    let request = RestoreRequest { target: None, mitogen: !args.ansible.no_mitogen };
    restore(session, &args.name.name, &args.to, request).await
}

async fn restore(session: &Session, name: &str, to: &str, request: RestoreRequest) -> Result<u8> {
    let source = session.deployment(name).await?;
    let operation = request.operation();
    source.cluster.must_be_made_here(operation.command)?;
    session.act(operation, to, async |run, deployment| operation::restore(run, deployment, source, request).await).await
}
