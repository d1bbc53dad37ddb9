use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::Session;
use crate::{
    cli,
    error::{Error, Result},
    operation::{self, Asked},
};

pub(super) async fn run(session: &Session, args: cli::Import) -> Result<u8> {
    let cli::Import { name, ids, from, pool, records } = args;
    let old = from.iter().map(|path| read(&session.dirs.work, path)).collect::<Result<Vec<_>>>()?;
    let asked = Asked { ids, old, pool, records };
    session
        .act(&operation::IMPORT, &name.name, async |run, deployment| operation::import(run, deployment, &asked).await)
        .await
}

/// A file's name and text; `-` is standard input.
fn read(work: &Path, path: &PathBuf) -> Result<(String, String)> {
    let (name, text) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), io::read_to_string(io::stdin()))
    } else {
        (path.display().to_string(), fs::read_to_string(work.join(path)))
    };
    let text = text.map_err(|error| {
        Error::usage("import-from", "read", &name)
            .source(&error)
            .hint("give the JSON of `terraform show -json` or `terraform output -json`, or a state file")
    })?;
    Ok((name, text))
}
