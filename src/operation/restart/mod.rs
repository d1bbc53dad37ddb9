//! `hactl restart`: the PostgreSQL servers restart one after the other, and the primary hands over before its own does.
//!
//! Patroni restarts a server, and serves its REST API meanwhile: it still counts for failsafe mode, and starts the server
//! again whatever becomes of hactl.

mod seen;
mod task;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use jiff::Timestamp;

pub use self::task::RestartRequest;
use self::{seen::Look, task::Task};
use super::{
    frame::{LockUse, Operation, Outcome, Preflight, SecretsUse, perform},
    obstacle::{Obstacle, refuse},
    switchover::{self, Moved},
};
use crate::{
    component::{patroni, postgres},
    context::RunContext,
    deployment::{Deployment, RunningCluster},
    error::{Error, Result, codes},
    event::{Event, Stage, Summary},
    health::{self, Progress},
    model::InstanceKey,
    plan::{
        rolling::{Next, RestartStep, course, next_restart},
        safety::Hindrance,
        servers::Servers,
    },
};

pub const RESTART: Operation = Operation {
    command: "restart",
    on_adopted: false,
    reads_state: true,
    preflight: Preflight::Nothing,
    secrets: SecretsUse::Open,
    locks: LockUse::Cluster,
};

/// Patroni refuses a request within this time.
const REFUSAL: Duration = Duration::from_millis(2500);

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// How long what forbids a step may last if it can pass by itself and no step has caused it, or if it cannot.
const SETTLED_WITHIN: Duration = Duration::from_secs(15);

/// How long a server may take until it serves again, and longer while a replay or a copy of data advances.
const SERVES_WITHIN: Duration = Duration::from_secs(120);

/// Restarts servers, one at a time.
///
/// # Errors
/// When the cluster cannot bear it, which changes nothing; when a server does not serve again, or something forbids the next
/// step: then the other servers have not restarted.
pub async fn restart(run: &RunContext, deployment: Deployment, request: &RestartRequest) -> Result<Summary> {
    let done = perform(run, deployment, &RESTART, async |acting| {
        let cluster = acting.deployment.running(&run.context).await?;
        if let Some(key) = &request.member {
            is_data_node(&cluster, key)?;
        }
        let path = acting.deployment.cluster.dir().restart();
        let mut rolling = Rolling::begin(run, &cluster, request, path)?;
        rolling.run().await?;
        let message = rolling.message();
        let next = vec![format!("hactl status {}", cluster.plan.cluster)];
        Ok((Outcome { message, next, changed: !rolling.restarted.is_empty(), ..Outcome::default() }, ()))
    });
    Ok(done.await?.0)
}

fn is_data_node(cluster: &RunningCluster, key: &InstanceKey) -> Result<()> {
    let node = cluster.fleet.node(key.as_str())?;
    if node.node.is_data_node() {
        return Ok(());
    }
    let error = Error::usage("node-unknown", "restart", format!("{key} of {}", cluster.plan.cluster));
    Err(error.cause("it has no PostgreSQL").hint("Name a machine with PostgreSQL, or none to restart all"))
}

/// A rolling restart on its way.
struct Rolling<'a> {
    run: &'a RunContext,
    cluster: &'a RunningCluster,
    path: PathBuf,
    task: Task,
    /// Whether a run before this one began the task.
    continues: bool,
    /// The servers that have restarted in this run, in their order.
    restarted: Vec<InstanceKey>,
    moved: Option<Moved>,
}

impl<'a> Rolling<'a> {
    fn begin(
        run: &'a RunContext,
        cluster: &'a RunningCluster,
        request: &RestartRequest,
        path: PathBuf,
    ) -> Result<Self> {
        let now = Timestamp::now();
        let left = Task::left(&path, request, now)?;
        let continues = left.is_some();
        let task = left.unwrap_or_else(|| Task::new(request.clone(), now));
        Ok(Self { run, cluster, path, task, continues, restarted: Vec::new(), moved: None })
    }

    async fn run(&mut self) -> Result<()> {
        let run = self.run;
        let mut next = run.stage(Stage::Health, self.preflight()).await?;
        while let Next::Take(step) = next {
            if self.restarted.contains(step.member()) {
                let error = self.failed().cause(format!("Patroni did not restart {} in its time", step.member()));
                return Err(self.left(error));
            }
            let stage = match step {
                RestartStep::HandOver(_) => Stage::Switchover,
                RestartStep::Replica(_) | RestartStep::Alone(_) => Stage::Restart,
            };
            let started = Instant::now();
            // It begins nothing more after Ctrl-C.
            next = run.stage(stage, self.take(&step, stage)).await.map_err(|error| self.left(error))?;
            let event = Event::Restarted {
                node: step.member().to_string(),
                handed_over: stage == Stage::Switchover,
                duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            };
            run.context.events.emit(event).await;
        }
        task::end(&self.path)
    }

    /// Whether the first step may be taken, and what speaks against it or a later one.
    async fn preflight(&mut self) -> Result<(Next, Option<String>)> {
        let (run, cluster) = (self.run, self.cluster);
        let name = &cluster.plan.cluster;
        let mut patience = SETTLED_WITHIN;
        if self.continues {
            patience = SERVES_WITHIN;
            let words = format!("continuing the restart that began at {}", self.task.began.strftime("%H:%M:%SZ"));
            self.say(Stage::Health, None, words).await;
        }
        let (look, _) = self.settle(Stage::Health, patience).await?;
        run.keep("health", &look.health)?;
        let servers = self.servers(&look);
        let (steps, found) = course(&servers);
        let mut found: Vec<Obstacle> = found.iter().map(|hindrance| self.obstacle(hindrance)).collect();
        // Also where something forbids an earlier step: all causes are told at once.
        if let Some(leader) = servers.hands_over() {
            let asked = switchover::obstacles_on(cluster, leader, &look.health.members);
            match run.context.interruptible("look at the primary of", name, asked).await {
                Err(error) if found.is_empty() || error.code == codes::INTERRUPTED => return Err(error),
                asked => found.extend(asked.unwrap_or_default()),
            }
        }
        refuse(found, || self.failed(), name)?;
        let listed = steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Ok((next_restart(&servers), Some(listed).filter(|listed| !listed.is_empty())))
    }

    /// Takes a step, and waits until its server serves again. Gives what comes next.
    async fn take(&mut self, step: &RestartStep, stage: Stage) -> Result<(Next, Option<String>)> {
        let key = step.member();
        self.task.ask(&self.path, key, Timestamp::now())?;
        let asked = match step {
            RestartStep::HandOver(_) => {
                let moved = switchover::switch(self.run, self.cluster, None).await;
                moved.map(|(moved, _)| self.moved = Some(moved))
            }
            RestartStep::Replica(_) | RestartStep::Alone(_) => {
                self.say(stage, Some(key), "restarting PostgreSQL".to_owned()).await;
                let (node, leads) = (self.cluster.fleet.node(key.as_str())?, matches!(step, RestartStep::Alone(_)));
                let asked = patroni::restart(&self.cluster.access, node, leads, REFUSAL).await;
                asked.map_err(|said| self.failed().cause(format!("{key}: {said}")))
            }
        };
        if let Err(error) = asked {
            // After these two, Patroni continues without hactl.
            if ![codes::INTERRUPTED, codes::SWITCHOVER_UNFINISHED].contains(&error.code) {
                self.task.refused(&self.path)?;
            }
            return Err(error);
        }
        self.restarted.push(key.clone());
        let (_, next) = self.settle(stage, SERVES_WITHIN).await?;
        if let Next::Wait(found) | Next::Refuse(found) = &next {
            let found = found.iter().map(|hindrance| self.obstacle(hindrance)).collect();
            refuse(found, || self.failed(), &self.cluster.plan.cluster)?;
        }
        let detail = match &self.moved {
            Some(moved) if moved.from == *key => format!("{} leads instead of {key}, which streams again", moved.to),
            _ => format!("{key} serves again"),
        };
        Ok((next, Some(detail)))
    }

    /// Looks until a step may be taken or none is left, or what forbids it has lasted too long: for `patience` if it can pass by
    /// itself, and longer while a replay or a copy advances.
    async fn settle(&mut self, stage: Stage, patience: Duration) -> Result<(Look, Next)> {
        let (context, name) = (&self.run.context, &self.cluster.plan.cluster);
        let (started, mut progress, mut said) = (Instant::now(), Progress::default(), String::new());
        let mut refused: Option<Instant> = None;
        loop {
            let looked = async { Ok(look(self.cluster).await) };
            let look = context.interruptible("restart the PostgreSQL servers of", name, looked).await?;
            self.task.note(look.seen.keys().filter_map(|key| Some((key, look.started(key)?))));
            progress.note(health::marks(&look.seen), started.elapsed());
            let next = next_restart(&self.servers(&look));
            let (found, over) = match &next {
                Next::Done | Next::Take(_) => return Ok((look, next)),
                Next::Wait(found) => {
                    refused = None;
                    (found, progress.is_over(started.elapsed(), patience))
                }
                Next::Refuse(found) => {
                    (found, refused.get_or_insert_with(Instant::now).elapsed() > SETTLED_WITHIN.min(patience))
                }
            };
            if over {
                return Ok((look, next));
            }
            let now = found.first().map(ToString::to_string).unwrap_or_default();
            if now != said {
                self.say(stage, None, format!("waiting: {now}")).await;
                said = now;
            }
            let pause = async {
                tokio::time::sleep(LOOK).await;
                Ok(())
            };
            context.interruptible("restart the PostgreSQL servers of", name, pause).await?;
        }
    }

    fn servers(&self, look: &Look) -> Servers {
        look.servers(&self.cluster.plan, &self.task, Timestamp::now())
    }

    fn obstacle(&self, hindrance: &Hindrance) -> Obstacle {
        Obstacle::new(hindrance.to_string(), hindrance.hint(&self.cluster.plan.cluster))
    }

    /// An error before the first step, or after one.
    fn failed(&self) -> Error {
        let code = if self.restarted.is_empty() { "restart-refused" } else { "restart-unfinished" };
        Error::failed(code, "restart the PostgreSQL servers of", &self.cluster.plan.cluster)
    }

    /// What a run that ends early leaves.
    fn left(&self, error: Error) -> Error {
        if self.restarted.is_empty() {
            return error;
        }
        let restarted = self.restarted.iter().map(InstanceKey::as_str).collect::<Vec<_>>().join(", ");
        let hint = "Run the same command again within an hour to restart the others";
        error.cause(format!("Patroni has restarted {restarted}, or does it without hactl")).hint(hint)
    }

    fn message(&self) -> String {
        let name = &self.cluster.plan.cluster;
        if self.restarted.is_empty() {
            let why =
                if self.task.request.pending { "no setting waits for a restart" } else { "every server has restarted" };
            return format!("{name}: nothing to do, {why}.");
        }
        let restarted = self.restarted.iter().map(InstanceKey::as_str).collect::<Vec<_>>().join(", ");
        let moved = self.moved.as_ref().map(|moved| {
            let seconds = moved.without.as_secs_f64();
            format!(
                "; {} is the primary instead of {}, and the cluster had no primary for {seconds:.1} s",
                moved.to, moved.from
            )
        });
        format!("{name}: PostgreSQL has restarted on {restarted}{}.", moved.unwrap_or_default())
    }

    async fn say(&self, stage: Stage, key: Option<&InstanceKey>, words: String) {
        self.run.context.events.step(stage, key, words).await;
    }
}

/// Asks all machines, and all servers for backups that are copied from them.
async fn look(cluster: &RunningCluster) -> Look {
    let backups = cluster.fleet.data_nodes().map(async |node| {
        let pid = postgres::backup(&cluster.access, node).await.ok()??;
        Some((node.key().clone(), pid))
    });
    let (seen, backups) = tokio::join!(health::observe(&cluster.fleet, &cluster.access), join_all(backups));
    let backups: BTreeMap<InstanceKey, i32> = backups.into_iter().flatten().collect();
    let health = health::diagnose(&cluster.plan, &seen);
    Look { seen, health, backups }
}
