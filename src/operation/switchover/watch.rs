//! The time from the request until another member is the primary.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use crate::{
    component::patroni,
    context::Context,
    deployment::RunningCluster,
    error::{Error, Result, codes},
    fleet::FleetNode,
    model::InstanceKey,
};

/// Patroni refuses a request within this time.
const REFUSAL: Duration = Duration::from_millis(2500);

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// How long an answer about a member counts: one that stops does not answer.
const ANSWER: Duration = Duration::from_secs(1);

/// What the members may take beyond the stop of the old primary.
const BEYOND_STOP: Duration = Duration::from_secs(60);

/// A primary that has moved.
pub(in crate::operation) struct Moved {
    pub(in crate::operation) from: InstanceKey,
    pub(in crate::operation) to: InstanceKey,
    pub(in crate::operation) timeline: u64,
    /// How long no member was the primary.
    pub(in crate::operation) without: Duration,
}

/// Asks `primary` to hand over, and looks for its successor.
pub(super) async fn watch(context: &Context, cluster: &RunningCluster, primary: &FleetNode) -> Result<Moved> {
    let name = &cluster.plan.cluster;
    let stop = Duration::from_secs(cluster.plan.patroni.timers.primary_stop_timeout.into());
    let deadline = Instant::now() + stop + BEYOND_STOP;
    let mut last = Instant::now();
    let mut asked = pin!(ask(cluster, primary));
    let mut answered = false;
    loop {
        let seen = tokio::select! {
            biased;
            () = context.stop.cancelled() => {
                let error = Error::interrupted("switch over", name);
                return Err(error.cause("Patroni continues without hactl").hint(format!("Run `hactl status {name}`")));
            }
            answer = &mut asked, if !answered => {
                answer?;
                answered = true;
                continue;
            }
            seen = primaries(cluster) => seen,
        };
        if let Some((to, timeline)) = seen.iter().find(|(key, _)| key != primary.key()) {
            let (from, to) = (primary.key().clone(), to.clone());
            return Ok(Moved { from, to, timeline: *timeline, without: last.elapsed() });
        }
        if !seen.is_empty() {
            last = Instant::now();
        }
        if Instant::now() > deadline {
            return Err(Error::failed(codes::SWITCHOVER_UNFINISHED, "switch over", name)
                .cause(format!("no other member became the primary within {} s", (stop + BEYOND_STOP).as_secs()))
                .hint(format!("Run `hactl status {name}`: Patroni continues without hactl")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The members that are primaries, with their timelines.
async fn primaries(cluster: &RunningCluster) -> Vec<(InstanceKey, u64)> {
    let asked = cluster.fleet.data_nodes().map(async |node| {
        let itself = tokio::time::timeout(ANSWER, patroni::itself(&cluster.access, node)).await.ok()?.ok()?;
        let leads = itself.role == "primary" && itself.state == "running";
        leads.then(|| (node.key().clone(), itself.timeline.unwrap_or_default()))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Asks the primary to hand over.
async fn ask(cluster: &RunningCluster, primary: &FleetNode) -> Result<()> {
    let name = &cluster.plan.cluster;
    patroni::switchover(&cluster.access, primary, REFUSAL).await.map_err(|said| {
        Error::failed("switchover-refused", "switch over", name)
            .cause(said)
            .hint(format!("Run `hactl status {name}` to see whether a replica can take over"))
    })
}
