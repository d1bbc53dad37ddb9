//! What is embedded in the binary: roles, playbooks, inventory templates, Terraform modules and
//! stacks, and the built-in blueprints. One file installs hactl; `hactl eject` writes them out.

use std::{fs, io, path::Path};

use include_dir::{Dir, File, include_dir};
use sha2::{Digest, Sha256};

pub static ROLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/roles");
pub static PLAYBOOKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/playbooks");
pub static INVENTORY_TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/inventory-templates");
pub static TERRAFORM: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/terraform");
pub static BLUEPRINTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/spec/blueprints");

/// The trees that `eject` writes, by the name of their directory.
#[must_use]
pub fn all() -> [(&'static str, &'static Dir<'static>); 4] {
    [
        ("roles", &ROLES),
        ("playbooks", &PLAYBOOKS),
        ("inventory-templates", &INVENTORY_TEMPLATES),
        ("terraform", &TERRAFORM),
    ]
}

/// Writes `tree` under `target`, over what is there.
///
/// # Errors
/// When a directory or file cannot be written.
pub fn write(tree: &Dir<'_>, target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)?;
    for entry in tree.entries() {
        let path = target.join(entry.path().file_name().unwrap_or_default());
        if let Some(dir) = entry.as_dir() {
            write(dir, &path)?;
        } else if let Some(file) = entry.as_file() {
            // Unchanged files keep their time, so that tools which look at it see no change.
            if fs::read(&path).ok().as_deref() != Some(file.contents()) {
                fs::write(&path, file.contents())?;
            }
        }
    }
    Ok(())
}

/// Every file of `tree`, in a fixed order.
#[must_use]
pub fn files<'a>(tree: &'a Dir<'a>) -> Vec<&'a File<'a>> {
    let mut found: Vec<_> = tree.files().collect();
    found.extend(tree.dirs().flat_map(self::files));
    found.sort_by_key(|file| file.path());
    found
}

/// Feeds names and contents into `hash`, each with its length so that no two lists run into the same bytes.
pub fn hash<'a>(hash: &mut Sha256, files: impl IntoIterator<Item = &'a File<'a>>) {
    for file in files {
        for part in [file.path().as_os_str().as_encoded_bytes(), file.contents()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
}
