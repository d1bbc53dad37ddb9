use super::Session;
use crate::{cli, error::Result, operation};

pub(super) async fn run(session: &Session, args: cli::Provision) -> Result<u8> {
    let agreed = args.agreed.into();
    session
        .act(&operation::PROVISION, &args.name.name, async |run, deployment| {
            operation::provision(run, deployment, &agreed).await
        })
        .await
}
