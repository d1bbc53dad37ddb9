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

/// The version that this hactl writes, and the newest that it reads.
const VERSION: u32 = 1;

/// What was found last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdoptedRecord {
    pub plan: Plan,
    pub fleet: Fleet,
}

impl AdoptedRecord {
    /// What was found last, and kept at `path`; none where nothing was found yet.
    ///
    /// # Errors
    /// When the file exists and cannot be read: the host keys in it would be taken on trust again.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        file::read_record(path, VERSION).map_err(|cause| {
            let restore = "Restore the file from a backup, or move it away: hactl then asks the machines again and records \
                           their host keys as at the first contact";
            Error::failed("adopted-unreadable", "read the record of the adopted cluster in", path.display())
                .cause(&cause)
                .hint(cause.next_step(restore))
        })
    }

    /// Keeps what was found, and the host keys for `ssh` itself.
    pub(super) fn write(&self, dir: &ClusterDir) -> Result<()> {
        let path = dir.adopted();
        let write = || {
            file::private_dir(&dir.client())?;
            let mut written = serde_json::to_value(self)?;
            written["version"] = VERSION.into();
            file::replace(&path, &serde_json::to_vec_pretty(&written)?)?;
            file::replace(&dir.client().join(ClientFiles::KNOWN_HOSTS), secrets::known_hosts(&self.fleet).as_bytes())
        };
        write().map_err(|error: std::io::Error| {
            Error::failed("adopted", "write the record of the adopted cluster to", path.display())
                .source(&error)
                .hint("Check that the disk has free space and that the directory is writable")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn unreadable_adopted_record_is_an_error_and_not_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("adopted.json");
        assert!(AdoptedRecord::read(&path).unwrap().is_none());
        for (text, cause) in [("{", "EOF"), ("{}", "missing field"), (r#"{"version": 2}"#, "a newer hactl wrote it")] {
            fs::write(&path, text).unwrap();
            let error = AdoptedRecord::read(&path).unwrap_err();
            let said = error.to_string();
            assert!(
                error.code == "adopted-unreadable" && said.contains("adopted.json") && said.contains(cause),
                "{said}"
            );
        }
    }
}
