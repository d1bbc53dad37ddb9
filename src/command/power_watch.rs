use clap::Args;
use std::time::Duration;

use super::Session;
use crate::{
    error::{Error, Result},
    event::Events,
    exec, report,
    verify::fault::watch,
};

#[derive(Args, Debug)]
pub(crate) struct PowerWatchArgs {
    /// Milliseconds until the machines get their power back
    #[arg(long)]
    pub(crate) after_ms: u64,
}

/// The parent reads standard output, so an error goes there. Events have no reader: what it asks
/// the platform is no part of a run's record.
pub(crate) async fn run(session: &Session, args: PowerWatchArgs) -> Result<u8> {
    exec::leave_parent()
        .map_err(|error| Error::failed("power-watch", "close the inherited files of", "hactl").source(&error))?;
    let context = session.context(Events::channel().0);
    match watch(Duration::from_millis(args.after_ms), &context, report::print).await {
        Ok(()) => Ok(0),
        Err(error) => {
            report::print(&error.to_string().replace('\n', " "));
            Err(error)
        }
    }
}
