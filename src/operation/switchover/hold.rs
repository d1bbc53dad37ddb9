//! The clients of the poolers wait while the primary moves: their transactions end before, and the next ones begin on the new
//! primary.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::{
    deployment::RunningCluster,
    error::{Error, Result},
    fleet::FleetNode,
    model::EntryPoint,
    ssh::quoted,
};

/// How long a step may take on a machine, besides what it waits for.
const SCRIPT: Duration = Duration::from_secs(10);

/// The exit status of `timeout` for a command that it ended.
const TIMED_OUT: i32 = 124;

/// Poolers whose clients wait.
pub(super) struct Hold<'a> {
    cluster: &'a RunningCluster,
    port: u16,
    id: String,
    seconds: u32,
    since: Instant,
}

impl<'a> Hold<'a> {
    /// Holds the clients of all poolers back, if the cluster has poolers that can; none otherwise.
    ///
    /// # Errors
    /// When a pooler does not answer, or its clients have transactions that do not end in time. All clients go on then.
    pub(super) async fn begin(cluster: &'a RunningCluster) -> Result<Option<Self>> {
        let Some(entry) = &cluster.plan.endpoint else { return Ok(None) };
        if !entry.can_hold() {
            return Ok(None);
        }
        let id = format!("{:016x}", rand::random::<u64>());
        let seconds = EntryPoint::longest_hold(&cluster.plan.patroni.timers);
        let mut hold = Self { cluster, port: entry.port, id, seconds, since: Instant::now() };
        let armed = hold.each("arm").await;
        hold.since = Instant::now();
        let paused = match armed {
            Ok(()) => hold.each("pause").await,
            Err(error) => Err(error),
        };
        match paused {
            Ok(()) => Ok(Some(hold)),
            Err(error) => {
                hold.end().await;
                Err(error)
            }
        }
    }

    /// Lets the clients of each pooler go on as soon as its proxy leads to the successor of `old`. Gives the time that the
    /// clients of the last one waited, and the poolers whose proxy did not.
    pub(super) async fn until_moved(&self, old: &FleetNode) -> (Duration, Vec<Error>) {
        let program = include_bytes!("moved.py");
        let command = format!("python3 -I - {} {} {}", quoted(old.key().as_str()), self.port, self.seconds);
        let patience = Duration::from_secs(self.seconds.into()) + SCRIPT;
        let moved = self.nodes().map(async |node| {
            let done = self.cluster.access.connect(node).await?.run(&command, program, patience).await?;
            done.output().map(drop).map_err(|cause| failed(node).cause(cause))
        });
        let errors = join_all(moved).await.into_iter().filter_map(Result::err).collect();
        (self.since.elapsed(), errors)
    }

    /// Lets all clients go on, where they do not yet, and ends the timers. A machine that does not answer has its timer.
    pub(super) async fn end(&self) {
        join_all(self.nodes().map(async |node| self.run(node, "resume").await.is_ok())).await;
    }

    fn nodes(&self) -> impl Iterator<Item = &'a FleetNode> {
        self.cluster.fleet.data_nodes()
    }

    /// Takes a step on all machines. A failure waits for the others: a pooler must not be paused after it was resumed.
    async fn each(&self, step: &str) -> Result<()> {
        join_all(self.nodes().map(|node| self.run(node, step))).await.into_iter().collect()
    }

    async fn run(&self, node: &FleetNode, step: &str) -> Result<()> {
        let script = include_str!("hold.sh")
            .replace("@STEP@", step)
            .replace("@ID@", &self.id)
            .replace("@PORT@", &self.port.to_string())
            .replace("@PAUSE@", &EntryPoint::PAUSE_WITHIN.to_string())
            .replace("@SECONDS@", &self.seconds.to_string());
        let done = self.cluster.access.connect(node).await?.run("/bin/sh", script.as_bytes(), SCRIPT).await?;
        if step == "pause" && done.status == TIMED_OUT {
            let seconds = EntryPoint::PAUSE_WITHIN;
            return Err(failed(node)
                .cause(format!("transactions of its clients did not end within {seconds} s"))
                .hint("Run the same command again, or when fewer transactions are open"));
        }
        done.output().map(drop).map_err(|cause| failed(node).cause(cause))
    }
}

fn failed(node: &FleetNode) -> Error {
    Error::failed("switchover-refused", "hold back the clients of the pooler on", node.key())
}
