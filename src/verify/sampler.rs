//! Asks every node for its state several times a second, and etcd for the holder of the leader key. A node that does
//! not answer is also a sample.

use std::{sync::Arc, time::Instant};

use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Duration, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::history::{LeaderKey, Micros, Sample};
use crate::{
    access::Access,
    component::{etcd, patroni, postgres},
    fleet::{Fleet, FleetNode},
    plan::{Dcs, Plan},
};

/// PostgreSQL is asked this often, Patroni every second time: each of its answers costs a TLS handshake.
const PERIOD: Duration = Duration::from_millis(200);

/// What a question may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// A running sampler.
pub(super) struct Sampler {
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) samples: Vec<Sample>,
    pub(super) leader_keys: Vec<LeaderKey>,
}

impl Sampler {
    /// Starts asking. Times count from `began`.
    pub(super) fn start(plan: &Plan, fleet: &Fleet, access: &Access, began: Instant) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        // Queries are independent: one that hangs on a failed node does not delay the others.
        let access = Arc::new(access.apart());
        for (index, node) in (0_u16..).zip(fleet.data_nodes()) {
            let asking = watch_node(node.clone(), index, Arc::clone(&access), Arc::clone(&seen), began);
            tasks.spawn(until(stop.clone(), asking));
        }
        let watching = Watching::new(plan, fleet.clone());
        let asking = watch_key(watching, Arc::clone(&access), Arc::clone(&seen), began);
        tasks.spawn(until(stop.clone(), asking));
        Self { seen, stop, tasks }
    }

    /// The member that the leader key named last.
    pub(super) async fn holder(&self) -> Option<String> {
        self.seen.lock().await.leader_keys.last()?.holder.clone()
    }

    /// Ends it, and gives all that was seen, in the order of time.
    pub(super) async fn finish(mut self) -> Seen {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        let mut seen = std::mem::take(&mut *self.seen.lock().await);
        seen.samples.sort_by_key(|sample| sample.at);
        seen
    }
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

fn now(began: Instant) -> Micros {
    Micros::try_from(began.elapsed().as_micros()).unwrap_or(Micros::MAX)
}

async fn watch_node(node: FleetNode, index: u16, access: Arc<Access>, seen: Arc<Mutex<Seen>>, began: Instant) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client: Option<tokio_postgres::Client> = None;
    let mut patroni = None;
    for count in 0_u64.. {
        ticks.tick().await;
        if client.is_none() {
            let opened = tokio::time::timeout(PATIENCE * 2, postgres::superuser(&access, &node, "postgres")).await;
            client = opened.ok().and_then(Result::ok);
        }
        let mut sample = Sample { at: now(began), node: index, ..Sample::default() };
        if let Some(open) = &client {
            let asked = tokio::time::timeout(PATIENCE, postgres::recovery(open)).await;
            match asked {
                Ok(Ok((in_recovery, timeline))) => {
                    (sample.in_recovery, sample.timeline) = (Some(in_recovery), timeline);
                }
                _ => client = None,
            }
        }
        if count % 2 == 0 {
            let asked = tokio::time::timeout(PATIENCE, patroni::itself(&access, &node)).await;
            patroni = asked.ok().and_then(Result::ok);
        }
        if let Some(itself) = &patroni {
            sample.role = Some(itself.role.clone());
            sample.state = Some(itself.state.clone());
            sample.failsafe = Some(itself.failsafe_mode_is_active);
        }
        seen.lock().await.samples.push(sample);
    }
}

/// Where the holder of the leader key is queried.
struct Watching {
    fleet: Fleet,
    nodes: Vec<FleetNode>,
    /// The key in etcd; without one the members of Patroni are asked, who read it for us.
    key: Option<String>,
}

impl Watching {
    fn new(plan: &Plan, fleet: Fleet) -> Self {
        let voters: Vec<FleetNode> = fleet.voters().cloned().collect();
        let key = match &plan.dcs {
            Dcs::Etcd { leader_key, .. } if !voters.is_empty() => leader_key.clone(),
            _ => None,
        };
        let nodes = if key.is_some() { voters } else { fleet.data_nodes().cloned().collect() };
        Self { fleet, nodes, key }
    }

    async fn ask(&self, access: &Access, node: &FleetNode) -> Result<Option<String>, String> {
        let holder = match &self.key {
            Some(key) => etcd::value(access, node, key).await?,
            None => patroni::leader(access, node).await?,
        };
        Ok(holder.map(|member| self.fleet.key_of(&member)))
    }
}

async fn watch_key(watching: Watching, access: Arc<Access>, seen: Arc<Mutex<Seen>>, began: Instant) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut first = 0;
    let nodes = &watching.nodes;
    loop {
        ticks.tick().await;
        // The one that answered last is asked first; a voter without a quorum does not answer.
        for offset in 0..nodes.len() {
            let index = (first + offset) % nodes.len();
            let asked = tokio::time::timeout(PATIENCE, watching.ask(&access, &nodes[index])).await;
            if let Ok(Ok(holder)) = asked {
                first = index;
                seen.lock().await.leader_keys.push(LeaderKey { at: now(began), holder });
                break;
            }
        }
    }
}
