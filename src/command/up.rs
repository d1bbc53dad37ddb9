use super::Session;
use crate::{
    cli,
    error::Result,
    operation,
    report::{self, Output},
};

pub(super) async fn run(session: &Session, args: cli::Up) -> Result<u8> {
    let (mitogen, proof) = (!args.ansible.no_mitogen, !args.no_verify);
    let agreed = args.agreed.into();
    session
        .act("up", &args.name.name, async |run, cluster| {
            let (summary, verdict) = operation::up(run, cluster, &agreed, mitogen, proof).await?;
            let Some(verdict) = verdict else { return Ok(summary) };
            if session.output == Output::Text {
                report::print(&report::verify::text(&verdict));
            }
            match operation::unproved(cluster, &verdict) {
                Some(error) => Err(error),
                None => Ok(summary),
            }
        })
        .await
}
