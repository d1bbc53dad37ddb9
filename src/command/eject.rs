use clap::Args;

use super::Session;
use crate::{
    assets::{Assets, TREES},
    error::{Error, Result},
    report,
};

#[derive(Args, Debug)]
pub(crate) struct EjectArgs {
    /// The directory to write to; must be new or empty
    pub(crate) dir: std::path::PathBuf,
}

pub(crate) fn run(session: &Session, args: &EjectArgs) -> Result<u8> {
    let dir = session.dirs.work.join(&args.dir);
    let failed = |error: std::io::Error| {
        Error::failed("eject", "write the embedded files to", dir.display())
            .source(&error)
            .hint("Free disk space or grant write access there, or name another directory")
    };
    let taken = match std::fs::read_dir(&dir) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed(error)),
    };
    if taken {
        return Err(Error::failed("eject", "write the embedded files to", dir.display())
            .cause("the directory is not empty")
            .hint("Name a new directory: `hactl eject` never overwrites files"));
    }
    for name in TREES {
        Assets::embedded().write(name, &dir.join(name)).map_err(failed)?;
        report::print(&format!("wrote {}", args.dir.join(name).display()));
    }
    Ok(0)
}
