use super::Session;
use crate::{cli, error::Result, operation};

pub(super) async fn run(session: &Session, args: cli::Configure) -> Result<u8> {
    let (mitogen, check) = (!args.ansible.no_mitogen, args.check);
    session
        .act(&operation::CONFIGURE, &args.name.name, async |run, deployment| {
            operation::configure(run, deployment, mitogen, check).await
        })
        .await
}
