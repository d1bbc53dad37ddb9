//! One call for a tool that fetches or builds: its output goes to the run's record, its error says
//! what was being fetched and that a second run resumes.

use std::path::Path;

use crate::{
    context::Context,
    error::{Error, Kind, Result, codes},
    exec::{Command, Complaint, Finished, describe_end},
};

/// Bytes below which a file system counts as full: less than any download needs.
const LITTLE: u64 = 4 << 20;

/// Runs `command` to its end; `what` completes "cannot", as in `download Patroni's wheels`.
pub(super) async fn run(
    context: &Context,
    tool: &str,
    what: &str,
    object: &str,
    command: &Command,
) -> Result<Finished> {
    match command.record(context, tool).await {
        Ok(done) if done.status.success() => Ok(done),
        Ok(done) => {
            let (complaint, tail) = (Complaint::of(&done.tail), done.tail.join("\n"));
            if complaint == Complaint::ChecksumMismatch {
                return Err(Error::failed(codes::DOWNLOAD_CHANGED, what, object)
                    .cause(tail)
                    .hint("Find out why the file changed at its source: it does not have the pinned checksum"));
            }
            let said = complaint == Complaint::DiskFull;
            // Some tools do not pass on the output of their own children.
            let seen = [context.dirs.cache.clone(), std::env::temp_dir()].into_iter().find_map(|dir| no_room(&dir));
            let full = said || seen.is_some();
            let error = Error::failed(if full { "disk-full" } else { codes::FETCH }, what, object)
                .cause(format!("{tool}: {}", describe_end(done.status)))
                .cause(tail);
            let error = match seen {
                Some(seen) if !said => error.cause(seen),
                _ => error,
            };
            Err(error.hint(if full {
                "Free disk space, or set HACTL_CACHE_DIR and TMPDIR to other directories; then run the same command \
                 again"
            } else {
                "Check the network and its proxy settings, then run the same command again to resume"
            }))
        }
        Err(error) if error.kind == Kind::Failed => Err(Error::failed(codes::FETCH, what, object).source(&error)),
        Err(error) => Err(error),
    }
}

/// Says so when the file system of `dir` has no room for another file of any use.
fn no_room(dir: &Path) -> Option<String> {
    let found = nix::sys::statvfs::statvfs(dir).ok()?;
    let free = found.blocks_available().saturating_mul(found.fragment_size());
    // File systems that count no inodes say that they have none.
    let full = free < LITTLE || (found.files() > 0 && found.files_available() == 0);
    full.then(|| {
        format!(
            "No space left on device: {} KiB and {} files are free in {}",
            free >> 10,
            found.files_available(),
            dir.display()
        )
    })
}
