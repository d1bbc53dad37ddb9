use clap::Args;

use std::time::Duration;

use super::{Session, arguments::ClusterArg};
use crate::{
    component,
    error::{Error, Result},
    report,
};

#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// The instance's key
    pub(crate) node: String,
    /// The systemd unit, for example etcd; by default Patroni's and etcd's
    #[arg(long)]
    pub(crate) unit: Option<String>,
    /// Number of lines to show, from the end of the log
    #[arg(long, default_value_t = 50)]
    pub(crate) lines: u32,
}

pub(crate) async fn run(session: &Session, args: &LogsArgs) -> Result<u8> {
    let mut deployment = session.deployment(&args.name.name).await?;
    let unit = args.unit.as_deref().unwrap_or_default();
    if !unit.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@._-".contains(&byte)) {
        return Err(Error::usage("unit", "show the log of unit", unit)
            .cause("a unit's name has only letters, digits and @ . _ -")
            .hint("Use `--unit patroni` or `--unit etcd`"));
    }
    let done = session
        .query(async |context| {
            let running = deployment.running(context).await?;
            let node = running.fleet.node(&args.node)?;
            let units = match unit {
                "" => component::units(node).map(|unit| format!("-u {unit}")).collect::<Vec<_>>().join(" "),
                unit => format!("-u {unit}"),
            };
            let command = format!("journalctl --no-pager -n {} {units}", args.lines);
            let read = async { Ok(running.connect(node).await?.run(&command, b"", Duration::from_secs(20)).await?) };
            context.interruptible("read the log of", &args.node, read).await
        })
        .await?;
    if done.status != 0 {
        return Err(Error::failed("logs", "read the log of", &args.node).cause(done.stderr.trim()));
    }
    report::print(done.stdout.trim_end());
    Ok(0)
}
