//! `.hactl/NAME/fleet.json`: the machines of the last run.

use std::path::Path;

use serde::Serialize;

use super::known::Recorded;
use crate::{
    error::{Error, Result},
    file,
    fleet::Fleet,
    model::ClusterName,
};

/// The version that this hactl writes, and the newest that it reads.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    fleet: &'a Fleet,
}

/// Reads the file at `path`, of the cluster `name`.
pub(super) fn read(path: &Path, name: &ClusterName) -> Recorded<Fleet> {
    match file::read_record(path, VERSION) {
        Ok(None) => Recorded::Absent,
        Ok(Some(fleet)) => Recorded::Known(fleet),
        Err(cause) => {
            let restore = format!(
                "Restore the file from a backup. If you have no backup, make sure that no other run works on {name}, move \
                 the file away and run the same command again; `hactl up {name}` asks Terraform for the machines and \
                 writes the file"
            );
            let error = Error::failed("fleet-unreadable", "read the machines of", name);
            let error = error.cause(format!("{}: {cause}", path.display()));
            Recorded::Unreadable(error.hint(cause.next_step(restore)))
        }
    }
}

/// Writes the file at `path`.
///
/// # Errors
/// When it cannot be written: the former one is then still there.
pub(crate) fn write(path: &Path, fleet: &Fleet) -> Result<()> {
    let written = Written { version: VERSION, fleet };
    let write = || file::replace(path, &serde_json::to_vec_pretty(&written)?);
    write().map_err(|error| {
        Error::failed("fleet", "write", path.display()).source(&error).hint("Check that the disk has free space")
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    #[test]
    fn fleet_file_read_back_equals_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let (path, name) = (dir.path().join("fleet.json"), ClusterName::new("pg").unwrap());
        assert!(read(&path, &name).is_absent());
        let fleet = Fleet { cluster: name.clone(), nodes: BTreeMap::new() };
        write(&path, &fleet).unwrap();
        assert_eq!(read(&path, &name).if_any().unwrap(), Some(&fleet));
        // As the release before wrote it.
        fs::write(&path, r#"{"cluster": "pg", "nodes": {}}"#).unwrap();
        assert_eq!(read(&path, &name).if_any().unwrap(), Some(&fleet));
    }

    #[test]
    fn unreadable_fleet_file_is_an_error_and_not_absent() {
        let dir = tempfile::tempdir().unwrap();
        let (path, name) = (dir.path().join("fleet.json"), ClusterName::new("pg").unwrap());
        for (text, cause) in [("{", "EOF"), ("{}", "missing field"), (r#"{"version": 2}"#, "a newer hactl wrote it")] {
            fs::write(&path, text).unwrap();
            let error = read(&path, &name).if_any().unwrap_err();
            let said = error.to_string();
            assert!(error.code == "fleet-unreadable" && said.contains("fleet.json") && said.contains(cause), "{said}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(read(&path, &name).if_any().is_err());
    }
}
