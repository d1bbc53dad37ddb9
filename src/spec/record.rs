//! `.hactl/NAME/cluster.json`: the path of the cluster file, and choices that later runs keep.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    file::{self, RecordError},
    model::{Choices, ProvedRestore},
};

/// The version that this hactl writes, and the newest that it reads.
const VERSION: u32 = 1;

/// What to do about a file that is there and that hactl cannot read.
pub(super) const READABLE: &str = "Check that it is a file, and that you may read it";

/// What hactl records about a cluster, apart from its machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The cluster file; none for a built-in blueprint.
    #[serde(default)]
    pub source: Option<PathBuf>,
    /// The blueprint, when the cluster has no file.
    #[serde(default)]
    pub blueprint: Option<String>,
    #[serde(default)]
    pub uuid: Option<Uuid>,
    #[serde(default)]
    pub choices: Choices,
    /// When the backups were last proved to restore; none where they never were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<ProvedRestore>,
}

impl Record {
    /// Reads the record at `path`; none when there is no such file.
    ///
    /// # Errors
    /// When the file cannot be read or is not a record.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let failed = || Error::failed("record", "read the record of the cluster", path.display());
        file::read_record(path, VERSION).map_err(|error| {
            let failed = failed().cause(&error);
            match &error {
                RecordError::Io(_) => failed.hint(READABLE),
                RecordError::Json(_) | RecordError::TooNew(_) => failed.hint(error.next_step(
                    "Move the file away; `hactl up` then writes a new one, but may choose other etcd voters",
                )),
            }
        })
    }

    /// Writes the record beside `path` and renames it: readers see the old one or the new one.
    ///
    /// # Errors
    /// When the directory or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.try_write(path)
            .map_err(|error| Error::failed("record", "write the record of the cluster", path.display()).source(&error))
            .map_err(|error| error.hint("Free disk space or grant write access there, then run the same command again"))
    }

    fn try_write(&self, path: &Path) -> io::Result<()> {
        let mut written = serde_json::to_value(self)?;
        written["version"] = VERSION.into();
        let mut text = serde_json::to_vec_pretty(&written)?;
        text.push(b'\n');
        file::replace(path, &text)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn record_read_back_equals_the_written_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/cluster.json");
        assert_eq!(Record::read(&path).unwrap(), None);
        let record = Record { source: Some("/x/pg.yaml".into()), uuid: Some(Uuid::nil()), ..Record::default() };
        record.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), Some(record));
        fs::write(&path, "{").unwrap();
        assert!(Record::read(&path).unwrap_err().to_string().contains("cluster.json"));
        fs::write(&path, r#"{"version": 2}"#).unwrap();
        assert!(Record::read(&path).unwrap_err().to_string().contains("a newer hactl wrote it"));
        // As the first release wrote it.
        fs::write(&path, "{}").unwrap();
        assert_eq!(Record::read(&path).unwrap(), Some(Record::default()));
    }
}
