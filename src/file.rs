//! Files that a reader sees as they were or as they are, never half.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use serde::{Deserialize, de::DeserializeOwned};
use tempfile::NamedTempFile;

/// Writes `bytes` beside `path` and renames it, readable by the owner only; a file that holds them
/// already stays untouched. Directories above it are made.
///
/// # Errors
/// When a directory or the file cannot be written: what was at `path` is then still there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("the path has no directory"))?;
    fs::create_dir_all(dir)?;
    if fs::read(path).ok().as_deref() == Some(bytes) {
        return Ok(());
    }
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Why a record that exists cannot be read.
#[derive(Debug)]
pub(crate) enum RecordError {
    Io(io::Error),
    /// It is no JSON, or not such a record.
    Json(serde_json::Error),
    /// A newer hactl wrote it: in words.
    TooNew(String),
}

impl RecordError {
    /// What to do next: `restore`, unless a newer hactl can read the record.
    pub(crate) fn next_step(&self, restore: impl Into<String>) -> String {
        match self {
            Self::TooNew(_) => "Install the newer hactl".to_owned(),
            Self::Io(_) | Self::Json(_) => restore.into(),
        }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Json(error) => error.fmt(f),
            Self::TooNew(words) => f.write_str(words),
        }
    }
}

/// The record in JSON at `path`, by a hactl that knows versions up to `newest`; none where there is no file.
///
/// # Errors
/// When the file exists and cannot be read.
pub(crate) fn read_record<T: DeserializeOwned>(path: &Path, newest: u32) -> Result<Option<T>, RecordError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RecordError::Io(error)),
    };
    if let Some(words) = too_new(version(&text).map_err(RecordError::Json)?, newest) {
        return Err(RecordError::TooNew(words));
    }
    serde_json::from_slice(&text).map(Some).map_err(RecordError::Json)
}

/// The version of a record in JSON; one without `version` is of version 1, as the first release wrote it.
///
/// # Errors
/// When the text is no JSON object, or its version is no number.
fn version(text: &[u8]) -> serde_json::Result<u32> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(default = "first")]
        version: u32,
    }
    const fn first() -> u32 {
        1
    }
    serde_json::from_slice(text).map(|Header { version }| version)
}

/// Why a record of `version` cannot be read by a hactl that knows versions up to `newest`.
fn too_new(version: u32, newest: u32) -> Option<String> {
    (version > newest).then(|| format!("a newer hactl wrote it (version {version}; this one reads up to {newest})"))
}

/// Makes `dir` and its parents, for the owner only. An existing directory does not change.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// An empty file that only its owner may read, to be written bit by bit.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)
}
