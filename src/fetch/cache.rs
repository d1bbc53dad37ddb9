//! Directories of the cache: made once, checked at every use, safe between several hactl.
//!
//! A directory `NAME` has its manifest of SHA-256 sums in `NAME.json` and its lock in `NAME.lock`. It is
//! made as `.NAME.new` and renamed, so that it is there whole or not at all. At every use all of its
//! files are hashed: about 60 MB, some 0.1 s, for the certainty that what nodes get is what was checked.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::sum::Sum;
use crate::{
    context::Context,
    error::{Error, Result},
    event::Stage,
};

#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    /// Sums by file name.
    files: BTreeMap<String, Sum>,
}

/// The directory `dir`, made by `make` in a directory it is handed, unless it is there and whole.
pub(super) async fn obtain(
    context: &Context,
    dir: &Path,
    make: impl AsyncFnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    if is_whole(dir).await {
        return Ok(dir.to_owned());
    }
    let _lock = lock(context, dir).await?;
    if is_whole(dir).await {
        return Ok(dir.to_owned());
    }
    if dir.exists() {
        let message = format!("{} is damaged; hactl creates it again", dir.display());
        context.events.warn("cache-damaged", message, None).await;
    }
    let failed = |error: io::Error| {
        Error::failed("cache", "write to the cache", dir.display())
            .source(&error)
            .hint("Free disk space there, or set HACTL_CACHE_DIR to another directory")
    };
    let new = beside(dir, ".", ".new");
    // Left by a killed run: no other run works here while the lock is held.
    remove(&new).map_err(failed)?;
    fs::create_dir_all(&new).map_err(failed)?;
    if let Err(error) = make(&new).await {
        let _ = remove(&new);
        return Err(error);
    }
    let finish = |dir: &Path, new: &Path| -> io::Result<()> {
        let manifest = serde_json::to_vec_pretty(&Manifest { files: sums(new)? })?;
        remove(dir)?;
        fs::rename(new, dir)?;
        fs::write(beside(dir, "", ".json"), manifest)
    };
    finish(dir, &new).map_err(failed)?;
    Ok(dir.to_owned())
}

/// Waits for the lock of `dir`, which ends with the returned file or with this process.
pub(super) async fn lock(context: &Context, dir: &Path) -> Result<File> {
    let path = beside(dir, "", ".lock");
    let failed = |error: &io::Error| {
        Error::failed("cache", "take the lock", path.display())
            .source(error)
            .hint("Set HACTL_CACHE_DIR to a directory that you can write to")
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| failed(&error))?;
    }
    let file = File::create(&path).map_err(|error| failed(&error))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
            Err(TryLockError::WouldBlock) => {}
        }
        if !told {
            told = true;
            let step = format!("waiting for another task or another hactl to create {}", dir.display());
            context.events.step(Stage::Fetch, None, step).await;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
            () = context.stop.cancelled() => return Err(Error::interrupted("wait for the lock", path.display())),
        }
    }
}

fn beside(dir: &Path, before: &str, after: &str) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!("{before}{name}{after}"))
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether `dir` is there as it was made.
pub(super) async fn is_whole(dir: &Path) -> bool {
    let dir = dir.to_owned();
    let check = move || -> io::Result<bool> {
        let manifest: Manifest = serde_json::from_slice(&fs::read(beside(&dir, "", ".json"))?)?;
        Ok(!manifest.files.is_empty() && sums(&dir)? == manifest.files)
    };
    matches!(tokio::task::spawn_blocking(check).await, Ok(Ok(true)))
}

/// The sums of the files in `dir`, by name.
pub(super) fn sums(dir: &Path) -> io::Result<BTreeMap<String, Sum>> {
    let mut sums = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        sums.insert(entry.file_name().to_string_lossy().into_owned(), sha256(&entry.path())?);
    }
    Ok(sums)
}

pub(super) fn sha256(path: &Path) -> io::Result<Sum> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    Ok(Sum::from(&hash.finalize()[..]))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{context::Dirs, event::Events};

    fn context(dir: &Path) -> (Context, tokio::sync::mpsc::Receiver<crate::event::Event>) {
        let (events, receiver) = Events::channel();
        let env = BTreeMap::new();
        (Context { dirs: Dirs::new(dir, &env), env, events, stop: Default::default() }, receiver)
    }

    #[tokio::test]
    async fn concurrent_runs_make_a_cache_directory_once() {
        let temp = tempfile::tempdir().unwrap();
        let (context, _events) = context(temp.path());
        let dir = temp.path().join("etcd/3.6.16-amd64");
        let made = AtomicUsize::new(0);
        let make = async |new: &Path| {
            made.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(300)).await;
            fs::write(new.join("etcd"), "binary").unwrap();
            Ok(())
        };
        let (one, two) = tokio::join!(obtain(&context, &dir, make), obtain(&context, &dir, make));
        assert_eq!(one.unwrap(), two.unwrap());
        assert_eq!(made.load(Ordering::SeqCst), 1);

        for damage in ["other bytes", ""] {
            if damage.is_empty() {
                fs::remove_file(dir.join("etcd")).unwrap();
            } else {
                fs::write(dir.join("etcd"), damage).unwrap();
            }
            obtain(&context, &dir, make).await.unwrap();
            assert_eq!(fs::read(dir.join("etcd")).unwrap(), b"binary");
        }
        fs::write(dir.join("more"), "").unwrap();
        obtain(&context, &dir, make).await.unwrap();
        assert!(!dir.join("more").exists());
    }

    #[tokio::test]
    async fn failed_download_leaves_no_directory() {
        let temp = tempfile::tempdir().unwrap();
        let (context, _events) = context(temp.path());
        let dir = temp.path().join("x");
        let fail = async |new: &Path| {
            fs::write(new.join("half"), "").unwrap();
            Err(Error::failed("x", "make", "x"))
        };
        assert!(obtain(&context, &dir, fail).await.is_err());
        assert!(!dir.exists() && !temp.path().join(".x.new").exists());
    }
}
