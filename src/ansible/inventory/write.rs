//! Inventory -> files: the readable inventory, and the secrets beside it, each written anew and renamed.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{Inventory, Vars, render};
use crate::error::{Error, Result};

/// Where the inventory lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What `ansible-playbook -i` is given.
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
    write().map_err(|error| Error::failed("inventory-write", "write inventory", dir.display()).source(&error))?;
    Ok(written)
}

/// JSON is YAML, and Ansible tries JSON first: no value can be taken for another type.
fn secrets(dir: &Path, vars: &Vars) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(vars)?;
    text.push(b'\n');
    file(&dir.join("secrets.yml"), &text)
}

/// Everything here has mode 0600, in directories of mode 0700: one rule is easier to keep than two.
fn file(path: &Path, text: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("the path has no directory"))?;
    crate::file::private_dir(dir)?;
    // An older directory may be wider.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    // Temporary files are made with mode 0600.
    let mut beside = tempfile::NamedTempFile::new_in(dir)?;
    beside.write_all(text)?;
    beside.as_file().sync_all()?;
    beside.persist(path)?;
    Ok(())
}

/// A host that is gone leaves no key behind.
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
