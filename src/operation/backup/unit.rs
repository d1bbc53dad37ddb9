//! A command on a machine as a unit of its own: it ends its work whatever becomes of hactl, and the same command waits for one
//! that runs already.

use std::time::{Duration, Instant};

use crate::{
    context::Context,
    deployment::RunningCluster,
    error::{Error, Result},
    event::Stage,
    fleet::FleetNode,
    ssh::Remote,
};

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a look may fail in a row, because the machine does not answer.
const SILENT_FOR: Duration = Duration::from_secs(120);

/// A unit to run.
pub(super) struct Unit<'a> {
    pub(super) name: &'a str,
    pub(super) user: &'a str,
    pub(super) command: &'a str,
    /// The most memory that it may use.
    pub(super) memory_mib: Option<u32>,
}

/// What a look shows.
struct Seen {
    active: String,
    result: String,
    /// The last lines of its log.
    lines: Vec<String>,
}

impl Unit<'_> {
    /// Starts it, unless it runs already, and waits for its end. Gives the last lines of its log.
    ///
    /// # Errors
    /// `failed` with its last lines when it fails, or when the machine stops answering.
    pub(super) async fn run(
        &self,
        context: &Context,
        cluster: &RunningCluster,
        node: &FleetNode,
        failed: impl Fn() -> Error,
    ) -> Result<Vec<String>> {
        let memory = self.memory_mib.map_or_else(|| "infinity".to_owned(), |mib| format!("{mib}M"));
        let script = include_str!("start.sh")
            .replace("@UNIT@", self.name)
            .replace("@USER@", self.user)
            .replace("@MEMORY@", &memory)
            .replace("@COMMAND@", self.command);
        let said = self.shell(cluster, node, &script, &failed).await?;
        let key = node.key();
        if said.trim() == "runs" {
            let words = format!("{} runs already: waiting for it", self.name);
            context.events.step(Stage::Backup, Some(key), words).await;
        }
        let watched = async {
            let (mut last, mut heard) = (String::new(), Instant::now());
            loop {
                let seen = match self.look(&cluster.access.connect(node).await).await {
                    Ok(seen) => seen,
                    Err(said) if heard.elapsed() > SILENT_FOR => {
                        let hint = format!("The unit {} continues on {key}; run the same command again", self.name);
                        return Err(failed().cause(said).hint(hint));
                    }
                    Err(_) => {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                };
                heard = Instant::now();
                match (seen.active.as_str(), seen.result.as_str()) {
                    ("active", _) => return Ok(seen.lines),
                    ("activating" | "deactivating" | "reloading", _) => {}
                    (state, result) => {
                        let error = failed().cause(ended(self.name, key.as_str(), state, result)).hint(format!(
                            "Run `hactl logs {} {key} --unit {}` for more lines",
                            cluster.plan.cluster, self.name
                        ));
                        return Err(seen.lines.iter().fold(error, |error, line| error.cause(line)));
                    }
                }
                if let Some(line) = seen.lines.last().filter(|line| **line != last) {
                    context.events.step(Stage::Backup, Some(key), line).await;
                    last.clone_from(line);
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let ended = context.interruptible("wait for the unit on", key, watched).await;
        if ended.is_ok() {
            let _ = self.shell(cluster, node, &format!("systemctl stop {}", self.name), &failed).await;
        }
        ended
    }

    async fn look(&self, remote: &Result<Remote>) -> Result<Seen, String> {
        let remote = remote.as_ref().map_err(ToString::to_string)?;
        let script = include_str!("look.sh").replace("@UNIT@", self.name);
        let done = remote.run("/bin/sh", script.as_bytes(), PATIENCE).await.map_err(|error| error.to_string())?;
        let said = done.output()?;
        let mut lines = said.lines();
        let mut next = || lines.next().unwrap_or_default().to_owned();
        let (active, result) = (next(), next());
        Ok(Seen { active, result, lines: lines.map(words).filter(|line| !line.is_empty()).collect() })
    }

    async fn shell(
        &self,
        cluster: &RunningCluster,
        node: &FleetNode,
        script: &str,
        failed: &impl Fn() -> Error,
    ) -> Result<String> {
        let done = cluster.access.connect(node).await?.run("/bin/sh", script.as_bytes(), PATIENCE).await?;
        done.output().map_err(|cause| failed().cause(cause))
    }
}

/// How a unit ended that did not end well.
fn ended(unit: &str, key: &str, state: &str, result: &str) -> String {
    match state {
        "lost" => format!("{unit} on {key} was stopped before it finished, by a user or by a restart of the machine"),
        _ => format!("{unit} on {key} ended with {result}"),
    }
}

/// A line of pgBackRest's log without its time, process and level.
fn words(line: &str) -> String {
    for level in [" INFO: ", " ERROR: ", " WARN: "] {
        if let Some((before, rest)) = line.split_once(level)
            && before.starts_with(|first: char| first.is_ascii_digit())
        {
            return rest.trim().to_owned();
        }
    }
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_pgbackrest_is_shown_without_time_and_level() {
        let line = "2026-11-30 02:20:17.471 P00   INFO: full backup size = 29.7MB, file total = 1270";
        assert_eq!(words(line), "full backup size = 29.7MB, file total = 1270");
        assert_eq!(words("  HINT: this is INFO: a hint "), "HINT: this is INFO: a hint");
    }

    #[test]
    fn unit_that_a_restart_ended_did_not_succeed() {
        let said = ended("hactl-backup-full.service", "node1", "lost", "success");
        assert!(said.contains("a restart of the machine") && !said.contains("success"), "{said}");
        assert_eq!(
            ended("hactl-backup-full.service", "node1", "failed", "signal"),
            "hactl-backup-full.service on node1 ended with signal"
        );
    }
}
