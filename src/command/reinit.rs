use clap::Args;

use super::{Session, arguments::ClusterArg, prompt};
use crate::{
    error::{Error, Result},
    model::InstanceKey,
    operation::{self, ReinitRequest},
    report,
};

#[derive(Args, Debug)]
pub(crate) struct ReinitArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// The replica whose data to replace
    #[arg(value_name = "NODE")]
    pub(crate) node: InstanceKey,
    /// Allow hactl to remove this replica's old data if the disk has no space for both, and to leave the primary
    /// without a streaming replica until the copy is complete
    #[arg(long, value_name = "NODE")]
    pub(crate) allow_destroy: Vec<InstanceKey>,
    /// Skip the confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,
}

pub(crate) async fn run(session: &Session, args: ReinitArgs) -> Result<u8> {
    let ReinitArgs { name, node: key, allow_destroy, yes } = args;
    let allowed = allow_destroy.contains(&key);
    if !yes {
        let deployment = session.deployment_to_ask_about(&name.name, &operation::REINIT, Some(&key)).await?;
        let cluster = deployment.cluster.name().as_str();
        let fate = if allowed { "kept aside if there is space for it, or else removed" } else { "kept aside" };
        let restore =
            deployment.cluster.last_restore().map_or_else(String::new, |last| format!("\nIf both are lost: {last}."));
        report::message(&format!(
            "{cluster}: {key} stops and copies the primary's data; its own data is {fate}.{restore}"
        ));
        prompt::confirm(session, cluster, |cause| {
            let hint = format!("Run `hactl reinit {cluster} {key} --yes` to skip the confirmation");
            Error::failed("not-confirmed", "reinitialize", format!("{key} of {cluster}")).cause(cause).hint(hint)
        })
        .await?;
    }
    let request = ReinitRequest { key, allowed };
    session
        .act(&operation::REINIT, &name.name, async |run, deployment| operation::reinit(run, deployment, &request).await)
        .await
}
