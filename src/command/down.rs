use clap::Args;

use super::{Session, arguments::ClusterArg, prompt};
use crate::model::InstanceKey;
use crate::{
    error::{Error, Result},
    operation::{self, TeardownRequest},
    report,
};

#[derive(Args, Debug)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// The cluster's name, typed before: goes on without asking when it is right, and refuses when it is not
    #[arg(long, value_name = "CLUSTER", conflicts_with = "yes")]
    pub(crate) confirm: Option<String>,
    /// Remove the run records and the age key, too
    #[arg(long)]
    pub(crate) purge: bool,
    /// Where the machines stay (platform hosts, and terraform with `destroy: false`): remove the cluster's data there, too.
    /// Without it the services are stopped and disabled, and the next `up` starts them again
    #[arg(long)]
    pub(crate) wipe_data: bool,
    /// Where the machines stay: leave this one as it is, since it does not answer any more; may be given several times
    #[arg(long, value_name = "NODE")]
    pub(crate) leave: Vec<InstanceKey>,
}

pub(crate) async fn run(session: &Session, args: DownArgs) -> Result<u8> {
    let name = args.name.name;
    let mut asked = TeardownRequest { purge: args.purge, secrets: false, wipe_data: args.wipe_data, leave: args.leave };
    if let Some(typed) = &args.confirm {
        let cluster = session.cluster(&name)?;
        if typed != cluster.name().as_str() {
            return Err(not_confirmed(cluster.name().as_str(), &format!("--confirm says {typed:?}")));
        }
    } else if !args.yes {
        let mut deployment = session.deployment(&name).await?;
        deployment.cluster.must_be_made_here("down")?;
        let preview = session.query(async |context| operation::preview(context, &mut deployment, &asked).await).await?;
        let cluster = deployment.cluster.name().as_str();
        if preview.things.is_empty() {
            report::message(&format!("nothing of {cluster} is there any more"));
        } else {
            report::message(&format!("{}\n  {}", preview.headline, preview.things.join("\n  ")));
            prompt::confirm(session, cluster, |cause| not_confirmed(cluster, cause)).await?;
        }
    }
    // The secrets outlive the cluster, since they may be committed; they go only when asked for by themselves.
    asked.secrets = args.purge && !args.yes && args.confirm.is_none() && ask_for_secrets(session, &name).await?;
    session.act(&operation::DOWN, &name, async |run, deployment| operation::down(run, deployment, &asked).await).await
}

async fn ask_for_secrets(session: &Session, name: &str) -> Result<bool> {
    let file = session.cluster(name)?.secrets_file();
    if !file.exists() {
        return Ok(false);
    }
    report::message(&format!("Remove {}, too? Type `yes`, or nothing to keep it:", file.display()));
    // No answer keeps the file.
    let answer = prompt::line(session, name).await?.unwrap_or_default();
    Ok(answer.trim() == "yes")
}

fn not_confirmed(name: &str, cause: &str) -> Error {
    let hint = format!("`hactl down {name} --yes` does not ask, nor does `--confirm {name}`");
    Error::failed("not-confirmed", "destroy", name).cause(cause).hint(hint)
}
