//! One lock on a cluster: a key in its etcd or a file on a machine, renewed until it is given back.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    holder::{Holder, RENEWS_EVERY, TTL, held, words},
    machine,
};
use crate::{
    access::Access,
    component::etcd::{self, Taken},
    context::{Context, RunContext},
    deployment::Cluster,
    error::{Error, Result, codes},
    file,
    fleet::{Fleet, FleetNode},
    model::ClusterName,
    ssh::Remote,
};

/// How long giving it back may take.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(3);

fn key(cluster: &ClusterName) -> String {
    format!("/hactl/{cluster}/lock")
}

/// The lock of one cluster, renewed until it is given back.
pub(crate) struct ClusterLock {
    keeper: Arc<Keeper>,
    done: CancellationToken,
    /// Renews it; none once it was given back.
    task: Option<JoinHandle<()>>,
}

struct Keeper {
    cluster: ClusterName,
    fleet: Fleet,
    access: Access,
    value: String,
    kind: LockKind,
    /// Who has it, when it is no longer ours.
    lost: Mutex<Option<String>>,
}

/// Where a lock is.
enum LockKind {
    /// A key in the cluster's etcd, by this lease.
    Etcd(Mutex<u64>),
    /// A file on this machine, which the last run here may have held by this value.
    Machine { node: Box<FleetNode>, before: String },
}

/// Who asks for the locks, and of which cluster.
#[derive(Clone, Copy)]
pub(crate) struct LockRequest<'a> {
    pub(crate) run: &'a RunContext,
    pub(crate) cluster: &'a Cluster,
    /// The command, without the name.
    pub(crate) command: &'a str,
    pub(crate) fleet: &'a Fleet,
    pub(crate) access: &'a Access,
}

impl LockRequest<'_> {
    /// The lock in the cluster's etcd, or the reason why no etcd can be asked.
    pub(super) async fn etcd(self) -> Result<Result<ClusterLock, String>> {
        let note = self.cluster.dir().cluster_lock();
        let keeper = Keeper::new(self, LockKind::Etcd(Mutex::default()))?;
        if let Err(seen) = self.connect(async { keeper.voter().await.map(drop) }).await? {
            return Ok(Err(seen));
        }
        let mut taken = keeper.take().await;
        if let Ok(Taken::Held { value, lease, .. }) = &taken
            && fs::read_to_string(&note).is_ok_and(|before| before == *value)
        {
            // The holder is the last run of this directory. This run has the directory lock, so that run is dead.
            taken = keeper.take_from_the_dead(*lease).await;
        }
        match taken {
            Ok(taken) => hold(self.run, keeper, taken, &note).map(Ok),
            Err(seen) => Ok(Err(seen)),
        }
    }

    /// The lock on the machines; none where no machine has a role.
    pub(super) async fn machines(self) -> Result<Option<ClusterLock>> {
        let Self { run, cluster, fleet, .. } = self;
        let with_roles = fleet.nodes.values().find(|node| !node.node.roles.is_empty());
        let Some(node) = fleet.voters().next().or(with_roles) else { return Ok(None) };
        let note = cluster.dir().machines_lock();
        let before = fs::read_to_string(&note).unwrap_or_default();
        let keeper = Keeper::new(self, LockKind::Machine { node: Box::new(node.clone()), before })?;
        let taken = match self.connect(async { keeper.machine(node).await.map(drop) }).await? {
            Ok(()) => keeper.take().await,
            Err(seen) => Err(seen),
        };
        let taken = taken.map_err(|seen| {
            let error = Error::failed(codes::MACHINES_LOCK, "lock the machines of", cluster.name());
            error
                .cause(format!("{}: {seen}", node.key()))
                .hint("Check that the machine is running, then run the same command again")
        })?;
        hold(run, keeper, taken, &note).map(Some)
    }

    /// Connects to what holds the lock, unless the run is stopped first. What follows is not interrupted: a lock that was
    /// asked for may have been taken.
    async fn connect(self, connected: impl Future<Output = Result<(), String>>) -> Result<Result<(), String>> {
        let context = &self.run.context;
        context.interruptible("lock", self.cluster.name(), async { Ok(connected.await) }).await
    }
}

/// Holds what was taken, and notes by what.
fn hold(run: &RunContext, keeper: Keeper, taken: Taken, note: &Path) -> Result<ClusterLock> {
    match taken {
        Taken::Ours(lease) => keeper.keep_lease(lease),
        Taken::Held { value, seconds, .. } => {
            return Err(held(&keeper.cluster, &value, seconds, Timestamp::now()));
        }
    }
    file::replace(note, keeper.value.as_bytes()).map_err(|error| {
        Error::failed("cluster-lock", "write", note.display()).source(&error).hint("Check that the disk has free space")
    })?;
    let (keeper, done) = (Arc::new(keeper), CancellationToken::new());
    let task = tokio::spawn(keep(Arc::clone(&keeper), done.clone(), run.context.clone()));
    Ok(ClusterLock { keeper, done, task: Some(task) })
}

impl ClusterLock {
    /// Gives `lock` back after a work with this result; a lock that was lost is what went wrong then.
    ///
    /// # Errors
    /// That of the work, or that another run has got the lock meanwhile.
    pub(crate) async fn give_back<T>(lock: Option<Self>, result: Result<T>) -> Result<T> {
        match lock {
            Some(lock) => lock.end(true).await.and(result),
            None => result,
        }
    }

    /// Stops the renewal, and gives the lock back where what it is on is still `there`.
    pub(super) async fn end(mut self, there: bool) -> Result<()> {
        self.done.cancel();
        if let Some(task) = self.task.take() {
            // The task ends at its next await.
            let _ = task.await;
        }
        let lost = self.keeper.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(holder) = lost {
            let cluster = &self.keeper.cluster;
            return Err(Error::failed("cluster-lock-lost", "keep the lock of", cluster)
                .cause(format!("this run could not renew the lock for more than {} s", TTL.as_secs()))
                .cause(holder)
                .hint(format!(
                    "Wait until that run has ended, then run `hactl status {cluster}` to see what it left"
                )));
        }
        if there {
            // A lock that cannot be given back expires by itself.
            let _ = tokio::time::timeout(GIVEN_BACK_WITHIN, self.keeper.give_up()).await;
        }
        Ok(())
    }
}

/// A run that ends early gives its lock back while the runtime still works; otherwise the lock expires by itself.
impl Drop for ClusterLock {
    fn drop(&mut self) {
        self.done.cancel();
        if self.task.is_some()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let keeper = Arc::clone(&self.keeper);
            runtime.spawn(async move { tokio::time::timeout(GIVEN_BACK_WITHIN, keeper.give_up()).await });
        }
    }
}

impl Keeper {
    fn new(request: LockRequest<'_>, kind: LockKind) -> Result<Self> {
        let LockRequest { run, cluster, command, fleet, access } = request;
        let holder = Holder::of(run, format!("hactl {command} {}", cluster.name()));
        Ok(Self {
            cluster: cluster.name().clone(),
            fleet: fleet.clone(),
            // A renewal must not wait for other uses of the sessions.
            access: access.apart(),
            value: serde_json::to_string(&holder)
                .map_err(|error| Error::failed("cluster-lock", "lock", cluster.name()).source(&error))?,
            kind,
            lost: Mutex::default(),
        })
    }

    async fn take(&self) -> Result<Taken, String> {
        match &self.kind {
            LockKind::Etcd(_) => {
                etcd::take_key(&self.access, self.voter().await?, &key(&self.cluster), &self.value, TTL).await
            }
            LockKind::Machine { node, before } => {
                machine::take(&self.machine(node).await?, &self.value, before, TTL).await
            }
        }
    }

    async fn take_from_the_dead(&self, lease: u64) -> Result<Taken, String> {
        etcd::give_up(&self.access, self.voter().await?, lease).await?;
        self.take().await
    }

    fn keep_lease(&self, taken: u64) {
        if let LockKind::Etcd(lease) = &self.kind {
            *lease.lock().unwrap_or_else(PoisonError::into_inner) = taken;
        }
    }

    async fn voter(&self) -> Result<&FleetNode, String> {
        etcd::serving_voter(&self.access, &self.fleet).await.ok_or_else(|| "etcd does not answer".to_owned())
    }

    async fn machine(&self, node: &FleetNode) -> Result<Remote, String> {
        self.access.connect(node).await.map_err(|error| error.causes.join("; "))
    }

    async fn renew(&self) -> Result<bool, String> {
        match &self.kind {
            LockKind::Etcd(lease) => {
                let lease = *lease.lock().unwrap_or_else(PoisonError::into_inner);
                etcd::renew(&self.access, self.voter().await?, lease).await
            }
            LockKind::Machine { .. } => Ok(matches!(self.take().await?, Taken::Ours(_))),
        }
    }

    async fn give_up(&self) -> Result<(), String> {
        match &self.kind {
            LockKind::Etcd(lease) => {
                let lease = *lease.lock().unwrap_or_else(PoisonError::into_inner);
                etcd::give_up(&self.access, self.voter().await?, lease).await
            }
            LockKind::Machine { node, .. } => machine::give_up(&self.machine(node).await?, &self.value).await,
        }
    }
}

/// Renews the lock until it is given back. A renewal that fails is tried again: a drill may have stopped etcd.
async fn keep(keeper: Arc<Keeper>, done: CancellationToken, context: Context) {
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            () = tokio::time::sleep(RENEWS_EVERY) => {}
        }
        let gone = tokio::select! {
            () = done.cancelled() => return,
            renewed = keeper.renew() => renewed == Ok(false),
        };
        if !gone {
            continue;
        }
        match keeper.take().await {
            Ok(Taken::Ours(lease)) => keeper.keep_lease(lease),
            Ok(Taken::Held { value, .. }) => {
                *keeper.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(words(&value));
                // As by the first Ctrl-C: faults are taken back, tools end by themselves.
                context.stop.cancel();
                return;
            }
            Err(_) => {}
        }
    }
}
