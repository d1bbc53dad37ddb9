//! What every command starts from: directories, environment, output, and the stop signal. And the frame of a command
//! that acts: record, reporters, lock, work, summary.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::arguments::{GlobalArgs, OutputFormat};
use crate::{
    context::{Context, Dirs, Record, RunContext},
    deployment::{Cluster, Deployment},
    error::{Error, Result},
    event::{Event, Events, Summary},
    exec::Lock,
    model::InstanceKey,
    operation::Operation,
    report::{self, Github, Output, Reporters},
};

/// One invocation of hactl.
pub(crate) struct Session {
    pub(crate) dirs: Dirs,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) output: Output,
    /// Where progress and errors go in a GitHub workflow; results stay text.
    pub(crate) github: Option<Github>,
    pub(crate) verbose: bool,
    pub(crate) stop: CancellationToken,
}

impl Session {
    pub(crate) fn new(
        global: &GlobalArgs,
        work: PathBuf,
        env: BTreeMap<String, String>,
        stop: CancellationToken,
    ) -> Self {
        let output = if global.output == OutputFormat::Json { Output::Json } else { Output::Text };
        let github = (global.output == OutputFormat::Github).then(|| Github::new(&work, &env));
        Self { dirs: Dirs::new(&work, &env), env, output, github, verbose: global.verbose, stop }
    }

    /// The cluster that `name` means, checked and planned.
    pub(crate) fn cluster(&self, name: &str) -> Result<Cluster> {
        let dir = &self.dirs.hactl;
        if dir.exists() && !dir.is_dir() {
            return Err(Error::failed("hactl-dir", "use the directory for the files of clusters", dir.display())
                .cause("it is not a directory")
                .hint("Move it away, or set HACTL_DIR to a directory"));
        }
        Cluster::open(name, &self.dirs)
    }

    /// The same, as the last run on any machine left it: for queries about machines.
    pub(crate) async fn deployment(&self, name: &str) -> Result<Deployment> {
        let mut deployment = Deployment::open(self.cluster(name)?);
        // A run that holds the lock has newer data here than what this query could have read before that run wrote.
        if !Lock::is_held(&deployment.cluster.dir().lock()) {
            self.query(async |context| deployment.pull(context).await).await?;
        }
        Ok(deployment)
    }

    /// The same, for a command that asks for confirmation before it acts on the machines: it fails before its question if
    /// the cluster has no machines, or no machine `node`.
    pub(crate) async fn deployment_to_ask_about(
        &self,
        name: &str,
        operation: &Operation,
        node: Option<&InstanceKey>,
    ) -> Result<Deployment> {
        self.cluster(name)?.must_be_made_here(operation.command)?;
        let deployment = self.deployment(name).await?;
        let fleet = deployment.known.fleet(&deployment.cluster)?;
        if let Some(node) = node {
            fleet.node(node.as_str())?;
        }
        Ok(deployment)
    }

    pub(crate) fn context(&self, events: Events) -> Context {
        Context { dirs: self.dirs.clone(), env: self.env.clone(), events, stop: self.stop.clone() }
    }

    /// Runs a query: shows its events as they come, and records nothing.
    pub(crate) async fn query<T>(&self, work: impl AsyncFnOnce(&Context) -> Result<T>) -> Result<T> {
        let (reporters, events) = Reporters::start(Output::Text, self.github.as_ref(), self.verbose, None);
        let context = self.context(events);
        let result = work(&context).await;
        drop(context);
        reporters.finish().await;
        result
    }

    /// What an acting command needs before it may act: the cluster, alone, and a record.
    async fn begin(&self, operation: &Operation, name: &str) -> Result<(Cluster, Lock, Record)> {
        let command = operation.command;
        let cluster = self.cluster(name)?;
        if !operation.on_adopted {
            cluster.must_be_made_here(command)?;
        }
        let dir = cluster.dir();
        let lock = self.lock(command, &cluster).await?;
        let record = Record::create(&dir, command, Timestamp::now()).map_err(|error| {
            Error::failed("record", "make the run record in", dir.runs().display())
                .source(&error)
                .hint("Check that the disk has free space and that you own the directory")
        })?;
        Ok((cluster, lock, record))
    }

    /// Keeps other runs out of the cluster's directory.
    pub(super) async fn lock(&self, command: &str, cluster: &Cluster) -> Result<Lock> {
        let name = cluster.name();
        Lock::acquire(&cluster.dir().lock(), &format!("hactl {command} {name}")).await
    }

    /// Whether errors reach their reader as events.
    pub(super) fn by_events(&self) -> bool {
        self.output == Output::Json || self.github.is_some()
    }

    /// Shows the error with which a command ended.
    pub(crate) fn show_error(&self, error: &Error) {
        match &self.github {
            Some(github) => github.error(error),
            None => report::print_error(self.output, error),
        }
    }

    /// Emits the error and the summary of a command that could not begin, for readers of event lines.
    pub(super) async fn not_begun(&self, command: &str, name: &str, error: Error) -> u8 {
        let code = error.kind.exit_code();
        let (reporters, events) = Reporters::start(self.output, self.github.as_ref(), self.verbose, None);
        let summary = Summary {
            command: command.to_owned(),
            cluster: name.to_owned(),
            message: error.to_string(),
            ..Summary::default()
        };
        events.emit(Event::Error { error }).await;
        events.emit(Event::Summary(Box::new(summary))).await;
        drop(events);
        reporters.finish().await;
        code
    }

    /// Runs an acting command on a cluster, alone and recorded, and shows its end.
    pub(crate) async fn act(
        &self,
        operation: &Operation,
        name: &str,
        work: impl AsyncFnOnce(&RunContext, Deployment) -> Result<Summary>,
    ) -> Result<u8> {
        let command = operation.command;
        let (cluster, lock, record) = match self.begin(operation, name).await {
            Ok(begun) => begun,
            Err(error) if self.by_events() => return Ok(self.not_begun(command, name, error).await),
            Err(error) => return Err(error),
        };
        let kept = record.dir().to_owned();
        if let Some(github) = &self.github {
            // A run that is cut short still leaves its record.
            github.set(&[("cluster", cluster.name().to_string()), ("record", kept.display().to_string())]);
        }
        let (reporters, events) = Reporters::start(self.output, self.github.as_ref(), self.verbose, Some(record));
        // The run may have to end without a signal from the user: see the lock on the cluster.
        let context = Context { stop: self.stop.child_token(), ..self.context(events) };
        let started = Event::RunStarted {
            command: command.into(),
            cluster: cluster.name().to_string(),
            version: env!("CARGO_PKG_VERSION"),
        };
        context.events.emit(started).await;
        for orphan in &lock.ended {
            let message = format!("ended process {orphan}, which a killed run had left behind");
            context.events.warn("orphan-ended", message, None).await;
        }
        let run = RunContext::new(context, kept.clone());
        let name = cluster.name().clone();
        let result = work(&run, Deployment::open(cluster)).await;
        let summary = match &result {
            Ok(summary) => Summary { record: Some(kept.display().to_string()), ..summary.clone() },
            Err(error) => {
                run.context.events.emit(Event::Error { error: error.clone() }).await;
                Summary {
                    command: command.to_owned(),
                    cluster: name.to_string(),
                    message: error.to_string(),
                    stages: run.times(),
                    record: Some(kept.display().to_string()),
                    ..Summary::default()
                }
            }
        };
        run.context.events.emit(Event::Summary(Box::new(summary.clone()))).await;
        drop(run);
        reporters.finish().await;
        drop(lock);
        match result {
            Ok(_) => {
                if self.output == Output::Text {
                    report::print(report::summary_text(&summary).trim_end());
                }
                Ok(0)
            }
            Err(error) => {
                if !self.by_events() {
                    report::print_error(self.output, &error);
                    report::message(&format!("  record: {}", kept.display()));
                }
                Ok(error.kind.exit_code())
            }
        }
    }
}
