use super::Session;
use crate::{
    cli,
    error::Result,
    operation::{self, UpRequest},
    report::{self, Output},
};

pub(super) async fn run(session: &Session, args: cli::Up) -> Result<u8> {
    let request = UpRequest { agreed: args.agreed.into(), mitogen: !args.ansible.no_mitogen, proof: !args.no_verify };
    session
        .act(&operation::UP, &args.name.name, async |run, deployment| {
            let name = deployment.cluster.name().clone();
            let (summary, verdict) = operation::up(run, deployment, &request).await?;
            let Some(verdict) = verdict else { return Ok(summary) };
            if session.output == Output::Text {
                report::print(&report::verify::text(&verdict));
            }
            match operation::unproved(&name, &verdict) {
                Some(error) => Err(error),
                None => Ok(summary),
            }
        })
        .await
}
