use clap::Args;

use super::{Session, arguments::ClusterArg, prompt};
use crate::{
    error::{Error, Result},
    model::InstanceKey,
    operation, report,
};

#[derive(Args, Debug)]
pub(crate) struct SwitchoverArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// The replica that should become the primary. It becomes the primary only if it has all of the WAL; by default the
    /// members choose
    #[arg(long, value_name = "NODE")]
    pub(crate) to: Option<InstanceKey>,
    /// Skip the confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,
}

pub(crate) async fn run(session: &Session, args: SwitchoverArgs) -> Result<u8> {
    let SwitchoverArgs { name, to, yes } = args;
    if !yes {
        let deployment = session.deployment_to_ask_about(&name.name, &operation::SWITCHOVER, to.as_ref()).await?;
        let cluster = deployment.cluster.name().as_str();
        let text = format!(
            "{cluster}: another member becomes the primary. Connections to the primary end, and writes fail for some \
             seconds."
        );
        report::message(&text);
        prompt::confirm(session, cluster, |cause| {
            let hint = format!("Run `hactl switchover {cluster} --yes` to skip the confirmation");
            Error::failed("not-confirmed", "switch over", cluster).cause(cause).hint(hint)
        })
        .await?;
    }
    session
        .act(&operation::SWITCHOVER, &name.name, async |run, deployment| {
            operation::switchover(run, deployment, to.as_ref()).await
        })
        .await
}
