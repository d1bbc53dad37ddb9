use super::Session;
use crate::{cli, error::Result, operation};

pub(super) async fn run(session: &Session, args: cli::Fetch) -> Result<u8> {
    session.act("fetch", &args.name, async |run, cluster| operation::fetch(run, cluster).await).await
}
