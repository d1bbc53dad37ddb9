//! The member that should win the vote. Patroni promotes a candidate that a request names without a vote, so hactl never
//! names one: it raises the member's `failover_priority`, which decides among members with the same WAL and no other way.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::{
    access::Access,
    component::patroni,
    context::Context,
    deployment::RunningCluster,
    error::{Error, Result},
    fleet::FleetNode,
};

/// The priority of members without one is 1.
const PRIORITY: i64 = 1000;

/// After this many seconds the timer on the node takes the priority back, whatever has become of hactl.
const TAKEN_BACK_AFTER: u32 = 180;

/// How long Patroni may take to read its file again.
const READ_WITHIN: Duration = Duration::from_secs(15);

/// How long a script may take.
const SCRIPT: Duration = Duration::from_secs(20);

/// Raises the priority of `node`, and waits until its Patroni tells it to the other members.
pub(super) async fn prefer(context: &Context, access: &Access, node: &FleetNode) -> Result<()> {
    let script = include_str!("prefer.sh")
        .replace("@SECONDS@", &TAKEN_BACK_AFTER.to_string())
        .replace("@PRIORITY@", &PRIORITY.to_string());
    run(access, node, &script).await?;
    let deadline = Instant::now() + READ_WITHIN;
    let told = async {
        loop {
            let seen = patroni::itself(access, node).await;
            let priority = seen.as_ref().ok().and_then(|itself| itself.tags.get("failover_priority")?.as_i64());
            if priority == Some(PRIORITY) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seen = match seen {
                    Ok(_) => format!("Patroni did not read its file again within {} s", READ_WITHIN.as_secs()),
                    Err(said) => said.to_string(),
                };
                return Err(failed(node).cause(seen));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    context.interruptible("switch over to", node.key(), told).await
}

/// Takes the priority back on every machine that answers, also one that a run that was killed has left. The timer does it
/// on the others.
pub(super) async fn settle(cluster: &RunningCluster) {
    let nodes = cluster.fleet.data_nodes();
    let settled = nodes.map(async |node| run(&cluster.access, node, include_str!("settle.sh")).await.is_ok());
    join_all(settled).await;
}

fn failed(node: &FleetNode) -> Error {
    Error::failed("switchover-refused", "raise the priority of", node.key())
}

async fn run(access: &Access, node: &FleetNode, script: &str) -> Result<()> {
    let done = access.connect(node).await?.run("/bin/sh", script.as_bytes(), SCRIPT).await?;
    done.output().map(drop).map_err(|cause| failed(node).cause(cause))
}
