use std::io::{IsTerminal, Write};

use super::Session;
use crate::{
    cli,
    error::{Error, Result},
    pipeline, report,
};

pub(super) async fn run(session: &Session, args: cli::Down) -> Result<u8> {
    let name = args.name.name;
    if !args.yes {
        let cluster = session.cluster(&name)?;
        let doomed = session.query(async |context| pipeline::doomed(context, &cluster).await).await?;
        if doomed.is_empty() {
            report::message(&format!("nothing of {} is on this machine any more", cluster.name()));
        } else {
            report::message(&format!("These will be destroyed, with the data on them:\n  {}", doomed.join("\n  ")));
            confirm(cluster.name().as_str())?;
        }
    }
    let purge = args.purge;
    session.act("down", &name, async |run, cluster| pipeline::down(run, cluster, purge).await).await
}

fn confirm(name: &str) -> Result<()> {
    let refused = |cause: &str| {
        Error::failed("not-confirmed", "destroy", name)
            .cause(cause)
            .hint(format!("`hactl down {name} --yes` does not ask"))
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused("nobody is there to be asked"));
    }
    report::message(&format!("Type the cluster's name, {name}, to go on:"));
    let mut answer = String::new();
    std::io::stdout()
        .flush()
        .and_then(|()| std::io::stdin().read_line(&mut answer))
        .map_err(|error| refused(&error.to_string()))?;
    if answer.trim() == name { Ok(()) } else { Err(refused("the name was not typed")) }
}
