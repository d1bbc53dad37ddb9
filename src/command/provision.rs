use clap::Args;

use super::{
    Session,
    arguments::{ClusterArg, ConsentArgs},
};
use crate::{error::Result, operation};

#[derive(Args, Debug)]
pub(crate) struct ProvisionArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    #[command(flatten)]
    pub(crate) agreed: ConsentArgs,
}

pub(crate) async fn run(session: &Session, args: ProvisionArgs) -> Result<u8> {
    let agreed = args.agreed.into();
    session
        .act(&operation::PROVISION, &args.name.name, async |run, deployment| {
            operation::provision(run, deployment, &agreed).await
        })
        .await
}
