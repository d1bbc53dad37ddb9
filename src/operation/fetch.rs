//! `hactl fetch`: only the downloads and Ansible's environment.

use super::frame::{Operation, Outcome, perform};
use crate::{
    ansible,
    context::RunContext,
    deployment::Deployment,
    error::Result,
    event::{Event, Stage, Summary},
    stage::prepare,
};

pub const FETCH: Operation = Operation::on_files("fetch");

/// Downloads what the nodes and Ansible need.
///
/// # Errors
/// When no source of something answers.
pub async fn fetch(run: &RunContext, deployment: Deployment) -> Result<Summary> {
    let work = perform(run, deployment, &FETCH, async |acting| {
        let (context, cluster) = (&run.context, &acting.deployment.cluster);
        let downloads = run
            .stage(Stage::Fetch, async {
                let (downloads, _) =
                    tokio::try_join!(prepare::downloads(context, cluster), ansible::environment(context))?;
                Ok((downloads, None))
            })
            .await?;
        for done in &downloads {
            let (what, source) = (done.component.to_owned(), done.dir.display().to_string());
            context.events.emit(Event::Download { what, source, reason: "ready".to_owned() }).await;
        }
        let message: Vec<String> =
            downloads.iter().map(|done| format!("{}={}", done.variable, done.dir.display())).collect();
        Ok((Outcome { message: message.join("\n"), ..Outcome::default() }, ()))
    });
    Ok(work.await?.0)
}
