use super::Session;
use crate::{cli, error::Result, pipeline};

pub(super) async fn run(session: &Session, args: cli::Up) -> Result<u8> {
    let mitogen = !args.ansible.no_mitogen;
    session.act("up", &args.name.name, async |run, cluster| pipeline::up(run, cluster, mitogen).await).await
}
