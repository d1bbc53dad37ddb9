use super::Session;
use crate::{cli, error::Result, operation};

pub(super) async fn run(session: &Session, args: cli::Provision) -> Result<u8> {
    let agreed = args.agreed.into();
    session
        .act("provision", &args.name.name, async |run, cluster| operation::provision(run, cluster, &agreed).await)
        .await
}
