use clap::Args;

use super::Session;
use crate::{error::Result, operation};

#[derive(Args, Debug)]
pub(crate) struct FetchArgs {
    /// The cluster whose versions to download
    #[arg(value_name = "NAME", default_value = "patroni-3node")]
    pub(crate) name: String,
}

pub(crate) async fn run(session: &Session, args: FetchArgs) -> Result<u8> {
    session.act(&operation::FETCH, &args.name, operation::fetch).await
}
