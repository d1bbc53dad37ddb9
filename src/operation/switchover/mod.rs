//! `hactl switchover`: the primary moves to another member, without losing a commit.

mod hold;
mod preflight;
mod watch;
mod wish;

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use tokio_postgres::Client;

pub(super) use self::watch::Moved;
use self::{
    hold::Hold,
    preflight::{Seen, notes, obstacles},
    watch::watch,
};
use super::{
    frame::{LockUse, Operation, Outcome, Preflight, SecretsUse, perform},
    obstacle::{Obstacle, refuse},
};
use crate::{
    component::{
        Problem,
        patroni::Member,
        postgres::{self, Activity},
    },
    context::{Context, RunContext},
    deployment::{Deployment, RunningCluster},
    error::{Error, Result, codes},
    event::{Event, Stage, Summary},
    fleet::FleetNode,
    health::{self, Health},
    model::{ClusterName, InstanceKey},
};

pub const SWITCHOVER: Operation = Operation {
    command: "switchover",
    on_adopted: false,
    reads_state: true,
    preflight: Preflight::Nothing,
    secrets: SecretsUse::Open,
    locks: LockUse::Cluster,
};

/// A checkpoint that takes no longer leaves little to write for the one of the stop.
const SHORT: Duration = Duration::from_secs(1);

/// Checkpoints that are written at most before the stop.
const CHECKPOINTS: u32 = 3;

/// How long a standby may take to have what the primary has had on its disk.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(2);

/// How long a problem may last that passes by itself: Patroni's default `loop_wait` of 10 s, and a turn that is slow.
const SETTLED_WITHIN: Duration = Duration::from_secs(15);

/// How long the cluster may take to be healthy again: the old primary may have to be rewound.
const HEALTHY_WITHIN: Duration = Duration::from_secs(120);

/// Moves the primary, to `to` if the vote can have it.
///
/// # Errors
/// When the cluster is not fit for it, which changes nothing; when no member or another one than `to` has become the
/// primary.
pub async fn switchover(run: &RunContext, deployment: Deployment, to: Option<&InstanceKey>) -> Result<Summary> {
    let done = perform(run, deployment, &SWITCHOVER, async |acting| {
        let cluster = acting.deployment.running(&run.context).await?;
        if let Some(to) = to {
            cluster.fleet.node(to.as_str())?;
        }
        let name = &cluster.plan.cluster;
        let moved = run.stage(Stage::Switchover, switch(run, &cluster, to)).await?;
        let healthy = async {
            let patience = HEALTHY_WITHIN;
            let healthy =
                health::wait_until_healthy(&run.context, &cluster.plan, &cluster.fleet, &cluster.access, patience);
            Ok((healthy.await?, None))
        };
        run.stage(Stage::Health, healthy).await?;
        if let Some(to) = to.filter(|to| **to != moved.to) {
            return Err(Error::failed("switchover-elsewhere", "switch over to", to)
                .cause(format!("the members voted for {} instead of {to}, which did not have all of the WAL", moved.to))
                .hint(format!("Run `hactl switchover {name} --to {to}` again")));
        }
        let Moved { from, to, timeline, without } = moved;
        let (seconds, tenths) = (without.as_secs(), without.subsec_millis() / 100);
        let message = format!(
            "{name}: {to} is the primary instead of {from}, on timeline {timeline}; the cluster had no primary for \
             {seconds}.{tenths} s."
        );
        let next = vec![format!("hactl status {name}")];
        Ok((Outcome { message, next, changed: true, ..Outcome::default() }, ()))
    });
    Ok(done.await?.0)
}

/// Moves the primary before it restarts, so that the clients of the poolers wait instead of failing. A cluster that is not fit
/// for it keeps its primary, with a warning: the restart is agreed, and the role moves the primary where it can.
///
/// # Errors
/// When the run is interrupted.
pub(super) async fn before_restart(run: &RunContext, cluster: &RunningCluster) -> Result<()> {
    match run.stage(Stage::Switchover, switch(run, cluster, None)).await {
        Err(error) if error.code != codes::INTERRUPTED => {
            let words = format!("the poolers do not hold their clients back during the restart of the primary: {error}");
            run.context.events.warn("switchover-note", words, None).await;
            Ok(())
        }
        done => done.map(drop),
    }
}

/// The cluster before the move.
struct Before {
    leader: InstanceKey,
    members: Vec<Member>,
    problems: Vec<Problem>,
}

/// Moves the primary, to `to` if the vote can have it. Gives a note on how it came about, too.
///
/// # Errors
/// When the cluster is not fit for it, or no other member has become the primary.
pub(super) async fn switch(
    run: &RunContext,
    cluster: &RunningCluster,
    to: Option<&InstanceKey>,
) -> Result<(Moved, Option<String>)> {
    let context = &run.context;
    let name = &cluster.plan.cluster;
    let say = async |words: String| context.events.step(Stage::Switchover, None, words).await;
    wish::settle(cluster).await;
    let looked = async { Ok(settled(cluster, to).await) };
    let health = context.interruptible("inspect the machines of", name, looked).await?;
    run.keep("health", &health)?;
    let Some(leader) = health.leader else {
        let causes = health.problems.iter().map(|problem| format!("[{}] {}", problem.code, problem.message));
        let error = causes.fold(refused(name), Error::cause);
        return Err(error.hint(format!("Run `hactl status {name}`")));
    };
    let before = Before { leader, members: health.members, problems: health.problems };
    let primary = cluster.fleet.node(before.leader.as_str())?;
    let client = connect(cluster, primary).await?;
    let activity = fit(cluster, &before, &client, to).await?;
    for note in notes(&activity, cluster.plan.patroni.slots.as_ref()) {
        context.events.warn("switchover-note", note, None).await;
    }
    let pooled = if cluster.plan.endpoint.is_some() { "; the clients of poolers in transaction mode wait" } else { "" };
    say(format!(
        "{} hands over: {} client connections there end, and writes fail until another member is the primary{pooled}",
        before.leader, activity.sessions
    ))
    .await;
    for _ in 0..CHECKPOINTS {
        let started = Instant::now();
        let written = async { postgres::checkpoint(&client).await.map_err(|said| refused(name).cause(said)) };
        context.interruptible("write a checkpoint on", &before.leader, written).await?;
        let took = started.elapsed();
        say(format!("{} has written a checkpoint in {:.1} s", before.leader, took.as_secs_f64())).await;
        if took < SHORT {
            break;
        }
    }
    // The checkpoint took its time.
    fit(cluster, &before, &client, to).await?;
    let moved = async {
        if let Some(to) = to {
            wish::prefer(context, &cluster.access, cluster.fleet.node(to.as_str())?).await?;
            say(format!("{to} is preferred among members with the same WAL")).await;
        }
        caught_up(cluster, &before, &client).await?;
        match Hold::begin(cluster).await? {
            None => watch(context, cluster, primary).await,
            Some(hold) => {
                let moved = under_hold(context, cluster, &before, (&client, primary), &hold).await;
                hold.end().await;
                moved
            }
        }
    };
    let moved = moved.await;
    if to.is_some() {
        wish::settle(cluster).await;
    }
    let moved = moved?;
    let event = Event::SwitchedOver {
        from: moved.from.to_string(),
        to: moved.to.to_string(),
        timeline: moved.timeline,
        without_primary_ms: u64::try_from(moved.without.as_millis()).unwrap_or(u64::MAX),
    };
    context.events.emit(event).await;
    let detail = format!("{} leads instead of {}", moved.to, moved.from);
    Ok((moved, Some(detail)))
}

/// Moves the primary while the clients of the poolers wait.
async fn under_hold(
    context: &Context,
    cluster: &RunningCluster,
    before: &Before,
    (client, primary): (&Client, &FleetNode),
    hold: &Hold<'_>,
) -> Result<Moved> {
    let say = async |words: String| context.events.step(Stage::Switchover, None, words).await;
    // What the clients wrote last.
    caught_up(cluster, before, client).await?;
    let mut released = pin!(hold.until_moved(primary));
    let mut moved = pin!(watch(context, cluster, primary));
    let (moved, (waited, errors)) = tokio::select! {
        // Without a new primary nothing is waited for.
        moved = &mut moved => (moved?, released.await),
        done = &mut released => ((&mut moved).await?, done),
    };
    for error in errors {
        context.events.warn("switchover-note", error.to_string(), None).await;
    }
    say(format!("the clients of the poolers have waited for {:.1} s at most", waited.as_secs_f64())).await;
    Ok(moved)
}

/// The state of the cluster, once nothing speaks against a switchover to `to` or some time has passed: a replica that has just
/// followed a new primary shows its old timeline for a moment, and its acknowledgement does not count at once.
async fn settled(cluster: &RunningCluster, to: Option<&InstanceKey>) -> Health {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let health = health::diagnose(&cluster.plan, &health::observe(&cluster.fleet, &cluster.access).await);
        let durability = cluster.plan.patroni.durability;
        if preflight::is_settled(&health.problems, &health.members, durability, to) || Instant::now() > deadline {
            return health;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn refused(name: &ClusterName) -> Error {
    Error::failed("switchover-refused", "switch over", name)
}

async fn connect(cluster: &RunningCluster, primary: &FleetNode) -> Result<Client> {
    let client = postgres::superuser(&cluster.access, primary, "postgres").await;
    client.map_err(|said| refused(&cluster.plan.cluster).cause(format!("{}: {said}", primary.key())))
}

/// What happens on the primary and its standbys, if nothing of it speaks against a switchover.
async fn fit(cluster: &RunningCluster, before: &Before, client: &Client, to: Option<&InstanceKey>) -> Result<Activity> {
    let name = &cluster.plan.cluster;
    let Before { leader, members, problems } = before;
    let activity = activity(cluster, leader, client).await?;
    let durability = cluster.plan.patroni.durability;
    let found = obstacles(&Seen { leader, members, problems, durability, activity: &activity }, to);
    refuse(found, || refused(name), name)?;
    Ok(activity)
}

async fn activity(cluster: &RunningCluster, leader: &InstanceKey, client: &Client) -> Result<Activity> {
    let standbys = cluster.fleet.data_nodes().filter(|node| node.key() != leader);
    let (activity, readers) =
        tokio::join!(postgres::activity(client, &cluster.fleet), postgres::readers(&cluster.access, standbys));
    Ok(Activity { readers, ..activity.map_err(|said| refused(&cluster.plan.cluster).cause(said))? })
}

/// What speaks against a switchover on the primary and its standbys now, beside the problems of the cluster.
///
/// # Errors
/// When the primary does not answer.
pub(super) async fn obstacles_on(
    cluster: &RunningCluster,
    leader: &InstanceKey,
    members: &[Member],
) -> Result<Vec<Obstacle>> {
    let client = connect(cluster, cluster.fleet.node(leader.as_str())?).await?;
    let activity = activity(cluster, leader, &client).await?;
    let durability = cluster.plan.patroni.durability;
    Ok(obstacles(&Seen { leader, members, problems: &[], durability, activity: &activity }, None))
}

/// Waits until every standby has on its disk what the primary has there now. One whose receiving is held up never has:
/// the stop of the primary would wait for it.
async fn caught_up(cluster: &RunningCluster, before: &Before, client: &Client) -> Result<()> {
    let name = &cluster.plan.cluster;
    let other = |said| refused(name).cause(said);
    let wanted = postgres::flushed(client).await.map_err(other)?;
    let standbys =
        before.members.iter().map(|member| member.name.as_str()).filter(|key| *key != before.leader.as_str());
    let standbys: Vec<&str> = standbys.collect();
    let deadline = Instant::now() + CAUGHT_UP_WITHIN;
    loop {
        let flushed = postgres::flushed_by(client, &cluster.fleet).await.map_err(other)?;
        let late = standbys.iter().find(|key| flushed.get(**key).is_none_or(|flushed| *flushed < wanted));
        let Some(late) = late else { return Ok(()) };
        if Instant::now() > deadline {
            let seconds = CAUGHT_UP_WITHIN.as_secs();
            let cause = format!("{late} did not receive within {seconds} s what {} has written", before.leader);
            let hint = format!("Run `hactl logs {name} {late}` to see why it does not receive WAL");
            return Err(refused(name).cause(cause).hint(hint));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
