use std::io::IsTerminal;

use super::Session;
use crate::{
    cli,
    error::{Error, Result},
    operation::{self, Teardown},
    report,
};

pub(super) async fn run(session: &Session, args: cli::Down) -> Result<u8> {
    let name = args.name.name;
    let mut asked = Teardown { purge: args.purge, secrets: false, wipe_data: args.wipe_data, leave: args.leave };
    if let Some(typed) = &args.confirm {
        let cluster = session.cluster(&name)?;
        if typed != cluster.name().as_str() {
            return Err(not_confirmed(cluster.name().as_str(), &format!("--confirm says {typed:?}")));
        }
    } else if !args.yes {
        let cluster = session.cluster_as_it_is(&name).await?;
        cluster.must_be_made_here("down")?;
        let doomed = session.query(async |context| operation::doomed(context, &cluster, &asked).await).await?;
        if doomed.things.is_empty() {
            report::message(&format!("nothing of {} is there any more", cluster.name()));
        } else {
            report::message(&format!("{}\n  {}", doomed.headline, doomed.things.join("\n  ")));
            confirm(cluster.name().as_str())?;
        }
    }
    // The secrets outlive the cluster, since they may be committed; they go only when asked for by themselves.
    asked.secrets = args.purge && !args.yes && args.confirm.is_none() && ask_for_secrets(session, &name)?;
    session.act("down", &name, async |run, cluster| operation::down(run, cluster, &asked).await).await
}

fn ask_for_secrets(session: &Session, name: &str) -> Result<bool> {
    let file = session.cluster(name)?.secrets_file(&session.dirs);
    if !file.exists() {
        return Ok(false);
    }
    report::message(&format!("Remove {}, too? Type `yes`, or nothing to keep it:", file.display()));
    let mut answer = String::new();
    // No answer keeps the file.
    let _ = std::io::stdin().read_line(&mut answer);
    Ok(answer.trim() == "yes")
}

fn not_confirmed(name: &str, cause: &str) -> Error {
    let hint = format!("`hactl down {name} --yes` does not ask, nor does `--confirm {name}`");
    Error::failed("not-confirmed", "destroy", name).cause(cause).hint(hint)
}

fn confirm(name: &str) -> Result<()> {
    let refused = |cause: &str| not_confirmed(name, cause);
    if !std::io::stdin().is_terminal() {
        return Err(refused("nobody is there to be asked"));
    }
    report::message(&format!("Type the cluster's name, {name}, to go on:"));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| refused(&error.to_string()))?;
    if answer.trim() == name { Ok(()) } else { Err(refused("the name was not typed")) }
}
