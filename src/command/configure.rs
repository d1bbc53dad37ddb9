use super::Session;
use crate::{cli, error::Result, operation};

pub(super) async fn run(session: &Session, args: cli::Configure) -> Result<u8> {
    let (mitogen, check) = (!args.ansible.no_mitogen, args.check);
    session
        .act("configure", &args.name.name, async |run, cluster| {
            operation::configure(run, cluster, mitogen, check).await
        })
        .await
}
