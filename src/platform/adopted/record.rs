//! What was found last, in `.hactl/NAME/adopted.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    context::ClusterDir,
    error::{Error, Result},
    file,
    fleet::Fleet,
    plan::Plan,
    secrets::{self, ClientFiles},
};

/// What was found last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdoptedRecord {
    pub plan: Plan,
    pub fleet: Fleet,
}

impl AdoptedRecord {
    /// What was found last, and kept at `path`. A file that is broken or of another version is none.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Keeps what was found, and the host keys for `ssh` itself.
    pub(super) fn write(&self, dir: &ClusterDir) -> Result<()> {
        let path = dir.adopted();
        let write = || {
            file::private_dir(&dir.client())?;
            file::replace(&path, &serde_json::to_vec_pretty(self)?)?;
            file::replace(&dir.client().join(ClientFiles::KNOWN_HOSTS), secrets::known_hosts(&self.fleet).as_bytes())
        };
        write().map_err(|error: std::io::Error| {
            Error::failed("adopted", "write what was found to", path.display()).source(&error).hint("is the disk full?")
        })
    }
}
