use super::Session;
use crate::{cli, error::Result, pipeline};

pub(super) async fn run(session: &Session, args: cli::Fetch) -> Result<u8> {
    session.act("fetch", &args.name, async |run, cluster| pipeline::fetch(run, cluster).await).await
}
