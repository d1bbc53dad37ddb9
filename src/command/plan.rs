use std::path::PathBuf;

use clap::Args;

use super::{
    Session,
    arguments::{AnsibleArgs, ClusterArg, ConsentArgs},
};
use crate::{
    context::Context,
    error::Result,
    operation::{self, Planned},
    report::{self, Github, Output},
};

#[derive(Args, Debug)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    #[command(flatten)]
    pub(crate) ansible: AnsibleArgs,
    #[command(flatten)]
    pub(crate) agreed: ConsentArgs,
    /// Exit with 0 for no changes, 2 for changes, 1 for an error
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
    /// Write the plan to this file, for `hactl up --plan`; the file contains no secrets
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

pub(crate) async fn run(session: &Session, args: PlanArgs) -> Result<u8> {
    let (agreed, mitogen) = (args.agreed.into(), !args.ansible.no_mitogen);
    let work = async {
        let mut deployment = session.deployment(&args.name.name).await?;
        deployment.cluster.must_be_made_here("plan")?;
        // Terraform's plan is a file: this run must not replace one that another run is about to apply.
        let _lock = session.lock("plan", &deployment.cluster).await?;
        deployment.reread();
        let plan = async |context: &Context| {
            let planned = operation::plan(context, &mut deployment, &agreed, mitogen).await?;
            if let Some(path) = &args.out {
                operation::to_save(context, &deployment, &planned).await?.write(path)?;
            }
            Ok(planned)
        };
        session.query(plan).await
    };
    let planned = match work.await {
        Ok(planned) => planned,
        Err(error) if args.detailed_exitcode => {
            // With this option 2 means changes, so every error is 1.
            session.show_error(&error);
            return Ok(1);
        }
        Err(error) => return Err(error),
    };
    match session.output {
        Output::Json => report::print_json(&planned),
        Output::Text => {
            let text = format!("{}\n\n{}", report::plan_text(&planned.plan), planned.changes_text());
            report::print(&text);
            if let Some(github) = &session.github {
                for_github(github, &planned, &text);
            }
        }
    }
    Ok(if args.detailed_exitcode && planned.has_changes() { 2 } else { 0 })
}

/// The step's summary page, and the text for a comment on a pull request.
fn for_github(github: &Github, planned: &Planned, text: &str) {
    let (cluster, refused) = (planned.plan.cluster.to_string(), planned.refused.is_some());
    let markdown = report::plan_markdown(&cluster, &planned.headline(), refused, text);
    github.summarize(&markdown);
    if let Some(error) = &planned.refused {
        github.error(error);
    }
    github.set(&[
        ("cluster", cluster),
        ("ok", true.to_string()),
        ("changes", planned.has_changes().to_string()),
        ("refused", refused.to_string()),
        ("markdown", markdown),
    ]);
}
