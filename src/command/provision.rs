use super::Session;
use crate::{cli, error::Result, pipeline};

pub(super) async fn run(session: &Session, args: cli::Name) -> Result<u8> {
    session.act("provision", &args.name, async |run, cluster| pipeline::provision(run, cluster).await).await
}
