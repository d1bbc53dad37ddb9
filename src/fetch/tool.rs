//! One call for a tool that fetches or builds: its output goes to the run's record, its failure says
//! what was being fetched and that a second run carries on.

use crate::{
    context::Context,
    error::{Error, Kind, Result},
    event::Event,
    exec::{Command, Finished, ended},
};

/// Runs `command` to its end; `what` completes "cannot", as in `download Patroni's wheels`.
pub(super) async fn run(
    context: &Context,
    tool: &str,
    what: &str,
    object: &str,
    command: &Command,
) -> Result<Finished> {
    let mut lines = Vec::new();
    let result = command.run(context, |line| lines.push(line.clone())).await;
    for line in lines {
        let stream = match line.stream {
            crate::exec::Stream::Stdout => "stdout",
            crate::exec::Stream::Stderr => "stderr",
        };
        context.events.emit(Event::Output { tool: tool.to_owned(), stream, line: line.text }).await;
    }
    match result {
        Ok(done) if done.status.success() => Ok(done),
        Ok(done) => {
            let tail = done.tail.join("\n");
            let full = tail.to_lowercase().contains("no space left on device");
            let error = Error::failed(if full { "disk-full" } else { "fetch" }, what, object)
                .cause(format!("{tool}: {}", ended(done.status)))
                .cause(tail);
            Err(error.hint(if full {
                "make room, or set HACTL_CACHE_DIR and TMPDIR to directories elsewhere; then run the same command again"
            } else {
                "check the network and its proxy settings, then run the same command again: it carries on"
            }))
        }
        Err(error) if error.kind == Kind::Failed => Err(Error::failed("fetch", what, object).source(&error)),
        Err(error) => Err(error),
    }
}
