//! The encrypted file: its bytes, its recipients, and the versions of what is in it.

use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    contents::{Contents, VERSION},
    identity::{Identity, KEY_COMMAND, KEY_FILE},
    version1::Contents1,
};
use crate::error::{Error, Result};

/// The bytes of the file; none where there is no file.
pub(super) fn read(file: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::failed("secrets-open", "read the secrets file", file.display()).source(&error)),
    }
}

/// `plain`, encrypted for all `recipients`.
pub(super) fn encrypt<'a>(
    recipients: impl Iterator<Item = &'a dyn age::Recipient>,
    plain: &[u8],
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let encryptor = age::Encryptor::with_recipients(recipients)?;
    let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?)?;
    writer.write_all(plain)?;
    Ok(writer.finish()?.finish()?)
}

/// What `identity` reads in the encrypted `bytes`.
pub(super) fn open(identity: &Identity, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, age::DecryptError> {
    let mut plain = Zeroizing::new(Vec::new());
    age::Decryptor::new(ArmoredReader::new(bytes))?.decrypt(identity.keys())?.read_to_end(&mut plain)?;
    Ok(plain)
}

/// Why [`open`] failed, for users.
pub(super) fn not_opened(file: &Path, identity: &Identity, error: &age::DecryptError) -> Error {
    let result = Error::failed("secrets-open", "open the secrets file", file.display());
    match error {
        age::DecryptError::NoMatchingKeys => {
            result.cause(format!("the file is not encrypted for the key in {}", identity.origin)).hint(format!(
                "Copy age.key from the machine where the cluster was created, or set {KEY_FILE} or {KEY_COMMAND} to \
                 the right key"
            ))
        }
        error => result.cause(format!("the file is damaged: {}", damage(error))).hint(
            "Restore the last good version (`git checkout`, a backup); hactl never overwrites a damaged secrets file",
        ),
    }
}

/// What is wrong with a file that is not as [`encrypt`] writes it.
fn damage(error: &age::DecryptError) -> String {
    match error {
        age::DecryptError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "it is empty, or ends too early".to_owned()
        }
        error => error.to_string(),
    }
}

/// The contents, of whatever version they were written.
pub(super) fn parse(plain: &[u8], file: &Path) -> Result<Contents> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let broken = |error: &serde_json::Error| {
        // Position only: the library's text may quote what it read.
        Error::failed("secrets-open", "read the secrets file", file.display())
            .cause(format!("unexpected contents at line {}, column {}", error.line(), error.column()))
            .hint("Restore the last good version (`git checkout`, a backup)")
    };
    let Version { version } = serde_json::from_slice(plain).map_err(|error| broken(&error))?;
    if version == 1 {
        let old: Contents1 = serde_json::from_slice(plain).map_err(|error| broken(&error))?;
        return Ok(old.into());
    }
    if version > VERSION {
        return Err(Error::failed("secrets-version", "read the secrets file", file.display())
            .cause(format!("a newer hactl wrote it (format {version}; this one reads up to {VERSION})"))
            .hint("Install the newer hactl"));
    }
    serde_json::from_slice(plain).map_err(|error| broken(&error))
}

/// How many recipients the header of an age file names.
pub(super) fn count_recipients(bytes: &[u8]) -> usize {
    let mut plain = Vec::new();
    let mut reader = ArmoredReader::new(bytes);
    // The header is text and ends at the line that starts with `---`; the rest is of no interest here.
    if reader.read_to_end(&mut plain).is_err() {
        return 0;
    }
    plain
        .split(|byte| *byte == b'\n')
        .take_while(|line| !line.starts_with(b"---"))
        // Grease is a made-up recipient that age puts in so that readers learn to skip unknown ones.
        .filter(|line| line.starts_with(b"-> ") && !is_grease(line))
        .count()
}

fn is_grease(line: &[u8]) -> bool {
    line.split(|byte| *byte == b' ').nth(1).is_some_and(|tag| tag.ends_with(b"-grease"))
}
