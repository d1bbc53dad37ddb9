use clap::Args;

use super::{Session, arguments::ClusterArg, prompt};
use crate::{
    error::{Error, Result},
    model::InstanceKey,
    operation::{self, RestartRequest},
    report,
};

#[derive(Args, Debug)]
pub(crate) struct RestartArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// The member whose PostgreSQL restarts; by default that of every member, one at a time
    #[arg(value_name = "NODE")]
    pub(crate) node: Option<InstanceKey>,
    /// Restart only members for which a changed setting waits
    #[arg(long)]
    pub(crate) pending: bool,
    /// Skip the confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,
}

pub(crate) async fn run(session: &Session, args: RestartArgs) -> Result<u8> {
    let RestartArgs { name, node, pending, yes } = args;
    if !yes {
        let deployment = session.deployment_to_ask_about(&name.name, &operation::RESTART, node.as_ref()).await?;
        let cluster = deployment.cluster.name().as_str();
        let which = match (&node, pending) {
            (Some(node), false) => format!("PostgreSQL restarts on {node}"),
            (Some(node), true) => format!("PostgreSQL restarts on {node} if a setting waits for it"),
            (None, false) => "PostgreSQL restarts on every member, one at a time, on the primary last".to_owned(),
            (None, true) => {
                "PostgreSQL restarts on each member for which a setting waits, one at a time, on the primary last"
                    .to_owned()
            }
        };
        report::message(&format!(
            "{cluster}: {which}. Connections to a server that restarts end. The primary hands over to another member first, \
             and writes fail for some seconds; a primary without a replica restarts in place."
        ));
        let options = node.as_ref().map(|node| format!(" {node}")).unwrap_or_default();
        let options = options + if pending { " --pending" } else { "" };
        prompt::confirm(session, cluster, |cause| {
            let hint = format!("Run `hactl restart {cluster}{options} --yes` to skip the confirmation");
            Error::failed("not-confirmed", "restart the PostgreSQL servers of", cluster).cause(cause).hint(hint)
        })
        .await?;
    }
    let request = RestartRequest { member: node, pending };
    session
        .act(&operation::RESTART, &name.name, async |run, deployment| {
            operation::restart(run, deployment, &request).await
        })
        .await
}
