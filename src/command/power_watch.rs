use clap::Args;

use std::time::Duration;

use super::Session;
use crate::{
    error::{Error, Result},
    exec, report,
    verify::fault::{PowerWatch, watch},
};

#[derive(Args, Debug)]
pub(crate) struct PowerWatchArgs {
    /// The cluster's UUID
    #[arg(long)]
    pub(crate) uuid: uuid::Uuid,
    /// Milliseconds until the machines get their power back
    #[arg(long)]
    pub(crate) after_ms: u64,
    /// The machines to power on
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

/// The parent reads only the first line of standard output, so an error goes there.
pub(crate) async fn run(session: &Session, args: PowerWatchArgs) -> Result<u8> {
    exec::leave_parent()
        .map_err(|error| Error::failed("power-watch", "close the inherited files of", "hactl").source(&error))?;
    let order = PowerWatch { uuid: args.uuid, after: Duration::from_millis(args.after_ms), names: args.names };
    match watch(&order, &session.env, &session.stop, report::print).await {
        Ok(()) => Ok(0),
        Err(error) => {
            report::print(&error.to_string().replace('\n', " "));
            Err(error)
        }
    }
}
