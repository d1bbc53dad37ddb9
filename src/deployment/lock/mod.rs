//! The lock on the cluster itself: a key in its own etcd, held by whoever changes or drills it, so that runs on different
//! machines never meet.
//!
//! The key lives by a lease that is renewed while the run works; a run that died lets go of it by not renewing, and the next
//! run of its own directory, which holds that directory's lock, takes it over at once. Leases
//! outlive a quorum that is lost: nobody else can take the key then, and a new leader of etcd lets all of them begin again.
//! So a drill that stops etcd does not cost the lock. When it is lost all the same, because this machine slept or was cut
//! off, it is taken again if nobody has it, and otherwise the run ends.
//!
//! A cluster that is just being made has no etcd. So whoever lets Ansible work on the machines also holds [a file on the
//! first of them](super::machine), in the same way.

mod machine;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Cluster, look};
use crate::{
    access::Access,
    component::etcd::{self, Taken},
    context::{Context, RunContext},
    error::{Error, Result},
    event::Stage,
    file,
    fleet::{Fleet, FleetNode},
    model::{ClusterName, Role},
    secrets::Vault,
    ssh::Remote,
};

/// How long the lock of a run that died stays.
const TTL: Duration = Duration::from_secs(30);

/// How often it is renewed: several times may fail before it is gone.
const RENEWS_EVERY: Duration = Duration::from_secs(5);

/// How long giving it back may take.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(3);

/// Who holds a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    /// `USER@HOST`.
    owner: String,
    command: String,
    /// The run's record, and where CI shows it.
    run: String,
    since: Timestamp,
    /// Tells two runs apart that are the same in all the rest.
    token: Uuid,
}

impl Holder {
    fn new(env: &BTreeMap<String, String>, host: &str, command: String, record: &str, since: Timestamp) -> Self {
        let var = |name: &str| env.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
        let user = var("USER").map(str::to_owned).or(user).unwrap_or_else(|| "unknown".to_owned());
        let github = || {
            let (server, repository) = (var("GITHUB_SERVER_URL")?, var("GITHUB_REPOSITORY")?);
            Some(format!("{server}/{repository}/actions/runs/{}", var("GITHUB_RUN_ID")?))
        };
        let job = github().or_else(|| var("CI_JOB_URL").map(str::to_owned));
        let run = job.map_or_else(|| record.to_owned(), |job| format!("{record}, {job}"));
        Self { owner: format!("{user}@{}", host.trim()), command, run, since, token: Uuid::new_v4() }
    }

    fn words(&self) -> String {
        format!("`{}` of {} (run {}) holds it since {:.0}", self.command, self.owner, self.run, self.since)
    }
}

fn key(cluster: &ClusterName) -> String {
    format!("/hactl/{cluster}/lock")
}

/// The lock of one cluster, renewed until it is given back.
pub(crate) struct ClusterLock {
    keeper: Arc<Keeper>,
    done: CancellationToken,
    task: JoinHandle<()>,
}

struct Keeper {
    cluster: ClusterName,
    fleet: Fleet,
    access: Access,
    value: String,
    place: Place,
    /// Who has it, when it is no longer ours.
    lost: Mutex<Option<String>>,
}

/// Where a lock is.
enum Place {
    /// A key in the cluster's etcd, by this lease.
    Etcd(Mutex<u64>),
    /// A file on this machine, which the last run here may have held by this value.
    Machine { node: Box<FleetNode>, before: String },
}

/// Who asks for the locks, and of which cluster.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) run: &'a RunContext,
    pub(crate) cluster: &'a Cluster,
    /// The command, without the name.
    pub(crate) command: &'a str,
    pub(crate) fleet: &'a Fleet,
    pub(crate) access: &'a Access,
}

impl Asking<'_> {
    /// The lock in the cluster's etcd; in words why there is none to ask.
    async fn etcd(self) -> Result<Result<ClusterLock, String>> {
        let note = self.run.context.dirs.cluster(self.cluster.name()).cluster_lock();
        let keeper = Keeper::new(self, Place::Etcd(Mutex::default()))?;
        let mut taken = keeper.take().await;
        if let Ok(Taken::Held { value, lease, .. }) = &taken
            && fs::read_to_string(&note).is_ok_and(|before| before == *value)
        {
            // The last run of this directory, whose own lock is ours: it is dead.
            taken = keeper.take_from_the_dead(*lease).await;
        }
        match taken {
            Ok(taken) => hold(self.run, keeper, taken, &note).map(Ok),
            Err(seen) => Ok(Err(seen)),
        }
    }

    /// The lock on the machines; none where no machine has a role.
    async fn machines(self) -> Result<Option<ClusterLock>> {
        let Self { run, cluster, fleet, .. } = self;
        let with_roles = fleet.nodes.values().find(|node| !node.node.roles.is_empty());
        let Some(node) = fleet.with_role(Role::Etcd).next().or(with_roles) else { return Ok(None) };
        let note = run.context.dirs.cluster(cluster.name()).machines_lock();
        let before = fs::read_to_string(&note).unwrap_or_default();
        let keeper = Keeper::new(self, Place::Machine { node: Box::new(node.clone()), before })?;
        let taken = keeper.take().await.map_err(|seen| {
            let error = Error::failed(SILENT, "lock the machines of", cluster.name());
            error.cause(format!("{}: {seen}", node.key())).hint("is the machine running? The same command carries on")
        })?;
        hold(run, keeper, taken, &note).map(Some)
    }
}

/// The code of a machine with a lock that does not answer.
const SILENT: &str = "machines-lock";

/// Holds what was taken, and notes by what.
fn hold(run: &RunContext, keeper: Keeper, taken: Taken, note: &Path) -> Result<ClusterLock> {
    match taken {
        Taken::Ours(lease) => keeper.keep_lease(lease),
        Taken::Held { value, seconds, .. } => {
            return Err(held(&keeper.cluster, &value, seconds, Timestamp::now()));
        }
    }
    file::replace(note, keeper.value.as_bytes()).map_err(|error| {
        Error::failed("cluster-lock", "write", note.display()).source(&error).hint("is the disk full?")
    })?;
    let (keeper, done) = (Arc::new(keeper), CancellationToken::new());
    let task = tokio::spawn(keep(Arc::clone(&keeper), done.clone(), run.context.clone()));
    Ok(ClusterLock { keeper, done, task })
}

/// Runs `work` while the cluster is locked.
///
/// # Errors
/// When another run holds a lock or gets it, and those of `work`.
pub(crate) async fn held_for<T>(asking: Asking<'_>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut locks = Locks::default();
    locks.take_machines(asking).await?;
    let result = async {
        locks.take_etcd(asking).await?;
        work.await
    };
    let result = result.await;
    locks.give_back(result).await
}

/// The locks of one run: a drill that takes etcd away keeps whoever comes by that on the machines. None is taken of an adopted
/// cluster, and each once.
#[derive(Default)]
pub(crate) struct Locks {
    /// In the cluster's etcd.
    pub(crate) etcd: Option<ClusterLock>,
    /// On its machines.
    pub(crate) machines: Option<ClusterLock>,
}

impl Locks {
    /// For whoever may not know the machines yet, or finds them gone: the lock in etcd; the one on the machines where that
    /// does not answer, or where `both` are wanted.
    pub(crate) async fn take_if_known(
        run: &RunContext,
        cluster: &Cluster,
        command: &str,
        vault: &Vault,
        both: bool,
    ) -> Result<Self> {
        let mut locks = Self::default();
        let Ok(fleet) = look::fleet(&run.context.dirs, cluster) else { return Ok(locks) };
        let access = look::access(&run.context, cluster, vault)?;
        let asking = Asking { run, cluster, command, fleet: &fleet, access: &access };
        if fleet.with_role(Role::Etcd).next().is_some() {
            locks.take_etcd(asking).await?;
        }
        if locks.etcd.is_some() && !both {
            return Ok(locks);
        }
        match locks.take_machines(asking).await {
            Err(error) if error.code != SILENT => locks.give_back(Err(error)).await,
            _ => Ok(locks),
        }
    }

    /// The lock on the machines.
    ///
    /// # Errors
    /// When another run holds it, or the machine does not answer.
    pub(crate) async fn take_machines(&mut self, asking: Asking<'_>) -> Result<()> {
        if self.machines.is_none() && asking.cluster.adopted().is_none() {
            self.machines = asking.machines().await?;
        }
        Ok(())
    }

    /// The lock in etcd; in words why there is none to ask: then nobody else can take it either.
    ///
    /// # Errors
    /// When another run holds it.
    pub(crate) async fn try_etcd(&mut self, asking: Asking<'_>) -> Result<Option<String>> {
        if self.etcd.is_some() || asking.cluster.adopted().is_some() {
            return Ok(None);
        }
        match asking.etcd().await? {
            Ok(lock) => self.etcd = Some(lock),
            Err(seen) => return Ok(Some(seen)),
        }
        Ok(None)
    }

    /// The same; whoever looks on is told why there is none.
    ///
    /// # Errors
    /// When another run holds it.
    pub(crate) async fn take_etcd(&mut self, asking: Asking<'_>) -> Result<()> {
        if let Some(seen) = self.try_etcd(asking).await? {
            let step = format!(
                "no lock on the cluster: {seen}; those of this directory, of the state and of the machines are held"
            );
            asking.run.context.events.step(Stage::Plan, None, step).await;
        }
        Ok(())
    }

    /// Gives them back after a work with this result; one that was lost is what went wrong then.
    pub(crate) async fn give_back<T>(self, result: Result<T>) -> Result<T> {
        let result = give_back(self.machines, result).await;
        give_back(self.etcd, result).await
    }

    /// The same where the cluster, and its etcd with it, may be gone.
    pub(crate) async fn drop_with_cluster<T>(self, mut result: Result<T>) -> Result<T> {
        for lock in [self.machines, self.etcd].into_iter().flatten() {
            let there = result.is_err();
            result = lock.end(there).await.and(result);
        }
        result
    }
}

/// Gives the lock back after a work with this result; a lock that was lost is what went wrong then.
///
/// # Errors
/// That of the work, or that another run has got the lock meanwhile.
pub(crate) async fn give_back<T>(lock: Option<ClusterLock>, result: Result<T>) -> Result<T> {
    match lock {
        Some(lock) => lock.end(true).await.and(result),
        None => result,
    }
}

impl ClusterLock {
    async fn end(self, there: bool) -> Result<()> {
        self.done.cancel();
        // It ends at its next await.
        let _ = self.task.await;
        let lost = self.keeper.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(holder) = lost {
            let cluster = &self.keeper.cluster;
            return Err(Error::failed("cluster-lock-lost", "keep the lock of", cluster)
                .cause(format!("this run did not reach it for longer than {} s", TTL.as_secs()))
                .cause(holder)
                .hint(format!("wait until that run has ended; then `hactl status {cluster}` shows what it left")));
        }
        if there {
            // One that cannot be given back goes by itself.
            let _ = tokio::time::timeout(GIVEN_BACK_WITHIN, self.keeper.give_up()).await;
        }
        Ok(())
    }
}

impl Keeper {
    fn new(asking: Asking<'_>, place: Place) -> Result<Self> {
        let Asking { run, cluster, command, fleet, access } = asking;
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let record = run.record().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let command = format!("hactl {command} {}", cluster.name());
        let holder = Holder::new(&run.context.env, &host, command, &record, Timestamp::now());
        Ok(Self {
            cluster: cluster.name().clone(),
            fleet: fleet.clone(),
            // What others wait for must not hold up a renewal.
            access: access.apart(),
            value: serde_json::to_string(&holder)
                .map_err(|error| Error::failed("cluster-lock", "lock", cluster.name()).source(&error))?,
            place,
            lost: Mutex::default(),
        })
    }

    async fn take(&self) -> Result<Taken, String> {
        match &self.place {
            Place::Etcd(_) => {
                etcd::take_key(&self.access, self.voter().await?, &key(&self.cluster), &self.value, TTL).await
            }
            Place::Machine { node, before } => {
                machine::take(&self.machine(node).await?, &self.value, before, TTL).await
            }
        }
    }

    async fn take_from_the_dead(&self, lease: u64) -> Result<Taken, String> {
        etcd::give_up(&self.access, self.voter().await?, lease).await?;
        self.take().await
    }

    fn keep_lease(&self, taken: u64) {
        if let Place::Etcd(lease) = &self.place {
            *lease.lock().unwrap_or_else(PoisonError::into_inner) = taken;
        }
    }

    async fn voter(&self) -> Result<&FleetNode, String> {
        etcd::serving_voter(&self.access, &self.fleet).await.ok_or_else(|| "its etcd does not answer".to_owned())
    }

    async fn machine(&self, node: &FleetNode) -> Result<Remote, String> {
        self.access.connect(node).await.map_err(|error| error.causes.join("; "))
    }

    async fn renew(&self) -> Result<bool, String> {
        match &self.place {
            Place::Etcd(lease) => {
                let lease = *lease.lock().unwrap_or_else(PoisonError::into_inner);
                etcd::renew(&self.access, self.voter().await?, lease).await
            }
            Place::Machine { .. } => Ok(matches!(self.take().await?, Taken::Ours(_))),
        }
    }

    async fn give_up(&self) -> Result<(), String> {
        match &self.place {
            Place::Etcd(lease) => {
                let lease = *lease.lock().unwrap_or_else(PoisonError::into_inner);
                etcd::give_up(&self.access, self.voter().await?, lease).await
            }
            Place::Machine { node, .. } => machine::give_up(&self.machine(node).await?, &self.value).await,
        }
    }
}

/// Renews the lock until it is given back. What cannot be asked is asked again: a drill may have taken etcd away.
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

fn words(value: &str) -> String {
    let holder = serde_json::from_str::<Holder>(value);
    holder.map_or_else(|_| "a run of another version of hactl holds it".to_owned(), |holder| holder.words())
}

/// The error of a cluster that another run works on.
fn held(cluster: &ClusterName, value: &str, seconds: u64, now: Timestamp) -> Error {
    let seconds = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or_default());
    let until = now.checked_add(seconds).unwrap_or(now);
    Error::failed("cluster-locked", "lock", cluster)
        .cause(format!("{}, until {until:.0} and for as long as it works", words(value)))
        .hint(format!(
            "wait until that run has ended, then run the same command again; of a run that died the lock goes by itself, {} s \
             after its last sign of life",
            TTL.as_secs()
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_holder_is_told_with_its_job_in_ci() {
        let since = Timestamp::UNIX_EPOCH;
        let told = |pairs: &[(&str, &str)]| {
            Holder::new(&env(pairs), "box\n", "hactl up pg".to_owned(), "19700101T000000-up", since).words()
        };
        assert_eq!(
            told(&[("USER", "me")]),
            "`hactl up pg` of me@box (run 19700101T000000-up) holds it since 1970-01-01T00:00:00Z"
        );
        let github = [
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "me/db"),
            ("GITHUB_RUN_ID", "7"),
            ("USER", "runner"),
        ];
        assert!(told(&github).contains("runner@box (run 19700101T000000-up, https://github.com/me/db/actions/runs/7)"));
        assert!(told(&[("CI_JOB_URL", "https://git/j/1")]).contains("@box (run 19700101T000000-up, https://git/j/1)"));
    }

    #[test]
    fn a_held_lock_says_who_since_when_until_when_and_what_to_do() {
        let holder =
            Holder::new(&env(&[("USER", "me")]), "box", "hactl verify pg".to_owned(), "r", Timestamp::UNIX_EPOCH);
        let value = serde_json::to_string(&holder).unwrap();
        let error = held(&"pg".parse().unwrap(), &value, 27, Timestamp::UNIX_EPOCH);
        assert_eq!((error.kind.exit_code(), error.code), (1, "cluster-locked"));
        let text = error.to_string();
        for word in
            ["`hactl verify pg` of me@box (run r)", "since 1970-01-01T00:00:00Z", "until 1970-01-01T00:00:27Z", "30 s"]
        {
            assert!(text.contains(word), "no {word} in {text}");
        }
        assert!(held(&"pg".parse().unwrap(), "{}", 1, Timestamp::UNIX_EPOCH).to_string().contains("another version"));
    }

    #[test]
    fn two_runs_that_are_the_same_in_all_the_rest_are_two() {
        let holder = || Holder::new(&env(&[]), "box", "hactl up pg".to_owned(), "r", Timestamp::UNIX_EPOCH);
        assert_ne!(holder(), holder());
        assert!(RENEWS_EVERY * 4 < TTL, "several renewals may fail");
    }
}
