use super::{Session, prompt};
use crate::{
    cli,
    error::{Error, Result},
    operation::{self, TeardownRequest},
    report,
};

pub(super) async fn run(session: &Session, args: cli::Down) -> Result<u8> {
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
