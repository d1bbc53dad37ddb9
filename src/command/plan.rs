use super::Session;
use crate::{
    cli,
    error::Result,
    pipeline,
    report::{self, Output},
};

pub(super) async fn run(session: &Session, args: cli::Plan) -> Result<u8> {
    let agreed = args.agreed.into();
    let work = async {
        let cluster = session.cluster(&args.name.name)?;
        cluster.must_be_made_here("plan")?;
        session.query(async |context| pipeline::plan(context, &cluster, &agreed).await).await
    };
    let planned = match work.await {
        Ok(planned) => planned,
        Err(error) if args.detailed_exitcode => {
            // With this option 2 means changes, so every error is 1.
            report::print_error(session.output, &error);
            return Ok(1);
        }
        Err(error) => return Err(error),
    };
    match session.output {
        Output::Json => report::print_json(&planned),
        Output::Text => report::print(&format!("{}\n\n{}", report::plan_text(&planned.plan), planned.changes_text())),
    }
    Ok(if args.detailed_exitcode && planned.has_changes() { 2 } else { 0 })
}
