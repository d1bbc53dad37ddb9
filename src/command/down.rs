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
    /// Skip the confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Confirm without a prompt: must equal the cluster's name
    #[arg(long, value_name = "CLUSTER", conflicts_with = "yes")]
    pub(crate) confirm: Option<String>,
    /// Also remove the run records and the age key
    #[arg(long)]
    pub(crate) purge: bool,
    /// Also remove the cluster's data from machines that stay (platform hosts, and terraform with `destroy: false`).
    /// Without this flag, `down` stops and disables the services there, and the next `up` starts them again
    #[arg(long)]
    pub(crate) wipe_data: bool,
    /// Leave out this machine because it no longer answers; only for machines that stay. Can be given several times
    #[arg(long, value_name = "NODE")]
    pub(crate) leave: Vec<InstanceKey>,
}

pub(crate) async fn run(session: &Session, args: DownArgs) -> Result<u8> {
    let name = args.name.name;
    let mut asked = TeardownRequest { purge: args.purge, secrets: false, wipe_data: args.wipe_data, leave: args.leave };
    if let Some(typed) = &args.confirm {
        let cluster = session.cluster(&name)?;
        if typed != cluster.name().as_str() {
            return Err(not_confirmed(
                cluster.name().as_str(),
                &format!("--confirm has {typed:?} instead of the cluster's name"),
            ));
        }
    } else if !args.yes {
        let mut deployment = session.deployment(&name).await?;
        deployment.cluster.must_be_made_here("down")?;
        let preview = session.query(async |context| operation::preview(context, &mut deployment, &asked).await).await?;
        let cluster = deployment.cluster.name().as_str();
        if preview.things.is_empty() {
            report::message(&format!("{cluster}: nothing is left to destroy"));
        } else {
            let restore = preview
                .last_restore
                .map_or_else(String::new, |last| format!("\nIts backups stay in their repository: {last}."));
            report::message(&format!("{}\n  {}{restore}", preview.headline, preview.things.join("\n  ")));
            prompt::confirm(session, cluster, |cause| not_confirmed(cluster, cause)).await?;
        }
    }
    // The secrets outlive the cluster, since they may be committed: only an answer of their own removes them.
    asked.secrets = args.purge && !args.yes && args.confirm.is_none() && ask_for_secrets(session, &name).await?;
    session.act(&operation::DOWN, &name, async |run, deployment| operation::down(run, deployment, &asked).await).await
}

async fn ask_for_secrets(session: &Session, name: &str) -> Result<bool> {
    let file = session.cluster(name)?.secrets_file();
    if !file.exists() {
        return Ok(false);
    }
    report::message(&format!("Also remove {}? Type `yes` to remove it, or press Enter to keep it:", file.display()));
    // No answer keeps the file.
    let answer = prompt::line(session, name).await?.unwrap_or_default();
    Ok(answer.trim() == "yes")
}

fn not_confirmed(name: &str, cause: &str) -> Error {
    let hint =
        format!("Run `hactl down {name} --yes` or `hactl down {name} --confirm {name}` to skip the confirmation");
    Error::failed("not-confirmed", "destroy", name).cause(cause).hint(hint)
}
