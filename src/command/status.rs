use clap::Args;

use std::time::Duration;

use super::{Session, arguments::ClusterArg};
use crate::{
    error::Result,
    query::StatusProbe,
    report::{self, Output},
};

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// Repeat every 2 s until interrupted
    #[arg(long, short)]
    pub(crate) watch: bool,
}

/// The pause between two queries of `--watch`.
const PAUSE: Duration = Duration::from_secs(2);

pub(crate) async fn run(session: &Session, args: StatusArgs) -> Result<u8> {
    let mut deployment = session.deployment(&args.name.name).await?;
    session
        .query(async |context| {
            let watcher = StatusProbe::new(context, &mut deployment).await?;
            let mut shown = None;
            loop {
                let look = async { Ok(watcher.look(context).await) };
                let status = match (context.interruptible("get the status of", &args.name.name, look).await, shown) {
                    (Ok(status), _) => status,
                    // Only an interrupt ends `--watch`.
                    (Err(_), Some(code)) => return Ok(code),
                    (Err(error), None) => return Err(error),
                };
                match session.output {
                    Output::Json => report::print_json(&status),
                    Output::Text => report::print(&report::status_text(&status)),
                }
                if let Some(github) = &session.github {
                    github.set(&[
                        ("healthy", status.healthy.to_string()),
                        ("leader", status.leader.clone().unwrap_or_default()),
                        ("dsn", status.dsn.clone()),
                    ]);
                }
                let code = u8::from(!status.healthy);
                if !args.watch {
                    return Ok(code);
                }
                shown = Some(code);
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = session.stop.cancelled() => return Ok(code),
                }
            }
        })
        .await
}
