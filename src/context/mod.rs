//! What a run gets from outside: directories, environment, events and the stop signal.

mod record;
mod retention;
mod run_context;

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::{Path, PathBuf},
};

use tokio_util::sync::CancellationToken;

use crate::{
    env,
    error::{Error, Result},
    event::Events,
    model::ClusterName,
};

pub use record::Record;
pub use retention::runs;
pub use run_context::RunContext;

/// One run's context, cheap to clone. Code takes the environment from here and never reads it by itself.
#[derive(Clone, Debug)]
pub struct Context {
    pub dirs: Dirs,
    /// The environment as it was at start; children get a chosen part of it.
    pub env: BTreeMap<String, String>,
    pub events: Events,
    /// Cancelled by the first Ctrl-C or SIGTERM: finish cleanly, within seconds.
    pub stop: CancellationToken,
}

impl Context {
    /// A path with the home directory in place of a `~` at its start.
    #[must_use]
    pub fn at_home(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), self.env.get(env::HOME)) {
            (Ok(rest), Some(home)) => Path::new(home).join(rest),
            _ => path.to_owned(),
        }
    }
}

impl Context {
    /// Runs `work` until it ends or the run must stop, whichever comes first: a run that must stop begins nothing more.
    ///
    /// # Errors
    /// Those of the work, and that it was interrupted.
    pub async fn interruptible<T>(
        &self,
        what: &str,
        object: impl Display,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Error::interrupted(what, object)),
            done = work => done,
        }
    }
}

/// The directories that hactl writes to.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// Where the command was started; cluster files, `NAME.secrets.age` and `NAME.lock.json` lie here.
    pub work: PathBuf,
    /// `.hactl`, or `HACTL_DIR`.
    pub hactl: PathBuf,
    /// Downloads, the Python environment: `${XDG_CACHE_HOME:-~/.cache}/hactl`, or `HACTL_CACHE_DIR`.
    pub cache: PathBuf,
}

impl Dirs {
    /// From the environment as given, and the working directory.
    #[must_use]
    pub fn new(work: &Path, env: &BTreeMap<String, String>) -> Self {
        let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(|value| work.join(value));
        let home = set(env::HOME).unwrap_or_else(|| PathBuf::from("/"));
        Self {
            work: work.to_owned(),
            hactl: set(env::HACTL_DIR).unwrap_or_else(|| work.join(".hactl")),
            cache: set(env::HACTL_CACHE_DIR)
                .or_else(|| set(env::XDG_CACHE_HOME).map(|dir| dir.join("hactl")))
                .unwrap_or_else(|| home.join(".cache/hactl")),
        }
    }

    /// The directory of the cluster's files that belong in version control: that of the cluster file, or the working
    /// directory for a built-in blueprint.
    #[must_use]
    pub fn beside(&self, cluster_file: Option<&Path>) -> PathBuf {
        cluster_file.and_then(Path::parent).map_or_else(|| self.work.clone(), |dir| self.work.join(dir))
    }

    /// The paths of one cluster.
    #[must_use]
    pub fn cluster(&self, name: &ClusterName) -> ClusterDir {
        ClusterDir(self.hactl.join(name.as_str()))
    }
}

/// `.hactl/NAME`: its file names are defined here and nowhere else.
#[derive(Clone, Debug)]
pub struct ClusterDir(PathBuf);

impl ClusterDir {
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// Choices that later runs keep: voters, address indexes, the file that the cluster came from.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.0.join("cluster.json")
    }
    /// The machines of the last provisioning, for queries.
    #[must_use]
    pub fn fleet(&self) -> PathBuf {
        self.0.join("fleet.json")
    }
    /// What hactl found of a cluster that it did not make.
    #[must_use]
    pub fn adopted(&self) -> PathBuf {
        self.0.join("adopted.json")
    }
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
    /// What identifies the last run's lock on the cluster itself.
    #[must_use]
    pub fn cluster_lock(&self) -> PathBuf {
        self.0.join("cluster-lock")
    }
    /// What identifies the last run's lock on the machines.
    #[must_use]
    pub fn machines_lock(&self) -> PathBuf {
        self.0.join("machines-lock")
    }
    /// What a rolling restart that has begun has still to do.
    #[must_use]
    pub fn restart(&self) -> PathBuf {
        self.0.join("restart.json")
    }
    #[must_use]
    pub fn age_key(&self) -> PathBuf {
        self.0.join("age.key")
    }
    #[must_use]
    pub fn terraform(&self) -> PathBuf {
        self.0.join("terraform")
    }
    #[must_use]
    pub fn inventory(&self) -> PathBuf {
        self.0.join("inventory")
    }
    /// Certificates, keys and the passfile that clients on this machine use.
    #[must_use]
    pub fn client(&self) -> PathBuf {
        self.0.join("client")
    }
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.0.join("runs")
    }
}
