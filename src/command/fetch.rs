use super::Session;
use crate::{cli, error::Result, operation};

pub(super) async fn run(session: &Session, args: cli::Fetch) -> Result<u8> {
    session.act(&operation::FETCH, &args.name, operation::fetch).await
}
