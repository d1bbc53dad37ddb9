//! A release archive from a file or a mirror: checked against its SHA-256 before anything is unpacked.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use flate2::read::GzDecoder;

use super::{cache, http, sum::Sum};
use crate::{
    context::Context,
    error::{Error, Result, codes},
    event::Stage,
};

/// A `.tar.gz` and the sum it must have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Archive {
    /// A path, relative to the working directory, or an `http://` or `https://` address.
    pub(super) location: String,
    pub(super) sum: Sum,
}

impl Archive {
    /// The archive that a cluster file names.
    ///
    /// # Errors
    /// When `sha256` is not 64 hexadecimal digits.
    pub(super) fn new(location: &str, sha256: &str) -> Result<Self> {
        let sum = sha256.parse().map_err(|cause: String| {
            Error::usage("archive-sum", "check the archive", location)
                .cause(cause)
                .hint("Copy the SHA-256 from the release's SHA256SUMS, from a source that you trust")
        })?;
        Ok(Self { location: location.to_owned(), sum })
    }
}

/// Unpacks the programs of `archive` into `target`: files of these names in any directory of it.
pub(super) async fn unpack(
    context: &Context,
    archive: &Archive,
    programs: &[&'static str],
    target: &Path,
) -> Result<()> {
    let failed = |what: &'static str| Error::failed(codes::FETCH, what, &archive.location);
    let location = archive.location.as_str();
    let mut downloaded = None;
    let path = if location.starts_with("https://") || location.starts_with("http://") {
        context.events.step(Stage::Fetch, None, format!("downloading {location}")).await;
        downloaded.insert(http::download(context, location).await?).path().to_owned()
    } else {
        context.dirs.work.join(location)
    };
    let (archive, programs, target) = (archive.clone(), programs.to_vec(), target.to_owned());
    let work = move || -> Result<(), Error> {
        let failed = |what: &'static str| Error::failed(codes::FETCH, what, &archive.location);
        let found = cache::sha256(&path).map_err(|error| failed("read the archive").source(&error))?;
        if found != archive.sum {
            let cause = format!("its SHA-256 is {found}, not {}", archive.sum);
            return Err(Error::failed(codes::DOWNLOAD_CHANGED, "use the archive", &archive.location)
                .cause(cause)
                .hint("Download the archive again, or correct the SHA-256 if you know that the new one is right"));
        }
        let missing =
            extract(&path, &programs, &target).map_err(|error| failed("unpack the archive").source(&error))?;
        if missing.is_empty() {
            return Ok(());
        }
        Err(failed("use the archive").cause(format!("it does not contain {}", missing.join(", "))))
    };
    let result =
        tokio::task::spawn_blocking(work).await.map_err(|error| failed("unpack the archive").source(&error))?;
    drop(downloaded);
    result
}

/// The programs that were not there.
fn extract(path: &Path, programs: &[&'static str], target: &Path) -> io::Result<Vec<&'static str>> {
    let mut missing = programs.to_vec();
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(path)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.file_name().map(|name| name.to_string_lossy().into_owned());
        let wanted = missing.iter().position(|program| Some(*program) == name.as_deref());
        // The name comes from our list, so no entry can point out of the directory.
        if let Some(position) = wanted.filter(|_| entry.header().entry_type().is_file()) {
            let path = target.join(missing.swap_remove(position));
            io::copy(&mut entry, &mut File::create(&path)?)?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{context::Dirs, event::Events};

    fn archive() -> Vec<u8> {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for name in ["etcd", "etcdctl", "README.md"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(4);
            header.set_mode(0o600);
            header.set_cksum();
            tar.append_data(&mut header, format!("etcd-v3.6.16-linux-amd64/{name}"), &b"text"[..]).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[tokio::test]
    async fn archive_with_a_wrong_checksum_is_not_unpacked() {
        let temp = tempfile::tempdir().unwrap();
        let env = BTreeMap::new();
        let (events, _receiver) = Events::channel();
        let context = Context { dirs: Dirs::new(temp.path(), &env), env, events, stop: Default::default() };
        let bytes = archive();
        fs::write(temp.path().join("a.tar.gz"), &bytes).unwrap();
        let sum = cache::sha256(&temp.path().join("a.tar.gz")).unwrap().to_string();
        let target = temp.path().join("out");
        fs::create_dir(&target).unwrap();

        let wrong = Archive::new("a.tar.gz", &"0".repeat(64)).unwrap();
        let error = unpack(&context, &wrong, &["etcd"], &target).await.unwrap_err();
        assert!(error.to_string().contains(&sum) && fs::read_dir(&target).unwrap().count() == 0, "{error}");
        assert!(Archive::new("a.tar.gz", "12").is_err());

        let right = Archive::new("a.tar.gz", &sum).unwrap();
        unpack(&context, &right, &["etcd", "etcdctl"], &target).await.unwrap();
        assert_eq!(fs::metadata(target.join("etcd")).unwrap().permissions().mode() & 0o777, 0o755);
        let error = unpack(&context, &right, &["etcd", "etcdutl"], &target).await.unwrap_err();
        assert!(error.to_string().contains("does not contain etcdutl"), "{error}");

        // The same through a mirror.
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/a.tar.gz", server.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", bytes.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        });
        let target = temp.path().join("mirrored");
        fs::create_dir(&target).unwrap();
        unpack(&context, &Archive::new(&url, &sum).unwrap(), &["etcd"], &target).await.unwrap();
        assert_eq!(fs::read(target.join("etcd")).unwrap(), b"text");
    }
}
