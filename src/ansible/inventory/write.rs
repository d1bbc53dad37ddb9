//! Inventory -> files: the readable inventory, and the secrets beside it. Each file is written under another name and
//! renamed.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{Inventory, Vars, render};
use crate::error::{Error, Result};

/// The files of the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The argument of `ansible-playbook -i`.
    pub ini: PathBuf,
    /// The same in YAML.
    pub yaml: PathBuf,
}

/// Writes `inventory` under `dir`. Files of hosts that are gone are removed.
///
/// # Errors
/// When a template does not fit or a file cannot be written.
pub fn write(dir: &Path, inventory: &Inventory) -> Result<Written> {
    let written = Written { ini: dir.join("patroni-cluster.ini"), yaml: dir.join("patroni-cluster.yml") };
    let (ini, yaml) = (render::ini(inventory)?, render::yaml(inventory)?);
    let write = || -> io::Result<()> {
        file(&written.ini, ini.as_bytes())?;
        file(&written.yaml, yaml.as_bytes())?;
        secrets(&dir.join("group_vars/all"), inventory.secrets())?;
        let host_vars = dir.join("host_vars");
        for (host, vars) in inventory.host_secrets() {
            secrets(&host_vars.join(host.as_str()), vars)?;
        }
        remove_others(&host_vars, &inventory.host_secrets().keys().map(|host| host.as_str()).collect())
    };
    write()
        .map_err(|error| Error::failed("inventory-write", "write the inventory to", dir.display()).source(&error))?;
    Ok(written)
}

/// Writes JSON, which is YAML and which Ansible tries first, so that no value is read as another type.
fn secrets(dir: &Path, vars: &Vars) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(vars)?;
    text.push(b'\n');
    file(&dir.join("secrets.yml"), &text)
}

/// Writes a file with mode 0600 in a directory with mode 0700, whether it has secrets or not.
fn file(path: &Path, text: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("the path has no directory"))?;
    crate::file::private_dir(dir)?;
    // A directory of an older version may be open to others.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    // Temporary files have mode 0600.
    let mut beside = tempfile::NamedTempFile::new_in(dir)?;
    beside.write_all(text)?;
    beside.as_file().sync_all()?;
    beside.persist(path)?;
    Ok(())
}

/// Removes the keys of hosts that are gone.
fn remove_others(host_vars: &Path, kept: &BTreeSet<&str>) -> io::Result<()> {
    let entries = match fs::read_dir(host_vars) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| !kept.contains(name)) && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
