//! Files that readers see old or new, never half: written beside their target, synced, then renamed.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tempfile::NamedTempFile;

/// What to do when the target is there already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Existing {
    Replace,
    /// Fail with [`io::ErrorKind::AlreadyExists`]: another process may have made it meanwhile.
    Keep,
}

/// Writes `bytes` to `path` with permission bits `mode`. On any error the old file stays as it was.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The temporary file is made with mode 0600, so a secret is at no moment readable by others.
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    match existing {
        Existing::Replace => file.persist(path).map_err(|error| error.error)?,
        Existing::Keep => file.persist_noclobber(path).map_err(|error| error.error)?,
    };
    // Without this a power cut may bring back the old name, or none.
    File::open(dir)?.sync_all()
}

/// As [`write`] with replacing, but leaves a file alone that has these bytes and this mode already.
pub(super) fn update(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let same_mode = fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o7777 == mode);
    if same_mode && fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    write(path, bytes, mode, Existing::Replace)
}

/// Makes `dir` and what lies above it, for this user only; an existing directory is closed to others.
pub(super) fn private_dir(dir: &Path) -> io::Result<()> {
    crate::file::private_dir(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o700))
}
