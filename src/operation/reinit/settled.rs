//! The state in which a member may be stopped: etcd is whole and has not just elected a leader, and the primary asks
//! exactly the members that answer before it runs on without etcd.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use crate::{
    component::patroni,
    context::Context,
    deployment::RunningCluster,
    error::{Error, Result},
    event::Stage,
    fleet::FleetNode,
    health,
};

/// The pause between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// The wait for that state is given up after this many times ttl.
const GIVEN_UP_AFTER: u32 = 4;

/// Waits until the leader of etcd has led for ttl, then for the primary's list. Gives the names in that list.
pub(super) async fn wait(context: &Context, cluster: &RunningCluster, primary: &FleetNode) -> Result<BTreeSet<String>> {
    let ttl = Duration::from_secs(cluster.plan.patroni.timers.ttl.into());
    let words = format!("waiting until etcd has kept its leader for {} s", ttl.as_secs());
    context.events.step(Stage::Reinit, None, words).await;
    let kept = async {
        let started = Instant::now();
        let mut led = (String::new(), Instant::now());
        loop {
            let etcd = health::diagnose(&cluster.plan, &health::observe(&cluster.fleet, &cluster.access).await).etcd;
            match etcd.leader.filter(|_| etcd.healthy) {
                Some(leader) if leader == led.0 && led.1.elapsed() >= ttl => return Ok(()),
                Some(leader) if leader == led.0 => {}
                other => led = (other.unwrap_or_default(), Instant::now()),
            }
            if started.elapsed() > ttl * GIVEN_UP_AFTER {
                return Err(Error::failed("reinit-refused", "stop a member of", &cluster.plan.cluster)
                    .cause("etcd is not healthy, or changes its leader again and again")
                    .hint(format!("Run `hactl status {}`", cluster.plan.cluster)));
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    context.interruptible("wait for etcd of", &cluster.plan.cluster, kept).await?;
    let answering = join_all(cluster.fleet.data_nodes().map(async |node| {
        let answers = patroni::itself(&cluster.access, node).await.is_ok();
        answers.then(|| node.member().to_owned())
    }));
    let members = answering.await.into_iter().flatten().collect();
    named(context, cluster, primary, &members).await?;
    Ok(members)
}

/// Waits until the primary names exactly these members in the list that it asks without etcd. Without failsafe mode it
/// has none.
pub(super) async fn named(
    context: &Context,
    cluster: &RunningCluster,
    primary: &FleetNode,
    members: &BTreeSet<String>,
) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(cluster.plan.patroni.timers.ttl.into()) * GIVEN_UP_AFTER;
    let named = async {
        loop {
            let seen = patroni::failsafe(&cluster.access, primary).await;
            let words = match seen {
                Ok(None) => return Ok(()),
                Ok(Some(seen)) if seen == *members => return Ok(()),
                Ok(Some(seen)) => format!("it names {}", seen.into_iter().collect::<Vec<_>>().join(", ")),
                Err(said) => said.to_string(),
            };
            if Instant::now() > deadline {
                let wanted = members.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                return Err(Error::failed("reinit-refused", "read the members of failsafe mode from", primary.key())
                    .cause(format!("{words} instead of the members that answer: {wanted}"))
                    .hint(format!("Run `hactl status {}`", cluster.plan.cluster)));
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    context.interruptible("wait for the members of", &cluster.plan.cluster, named).await
}
