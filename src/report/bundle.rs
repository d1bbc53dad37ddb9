//! A run record as an archive to pass on: what a reader needs, without the machines' journals, and with every known
//! secret masked. hactl writes no secret into a record; the mask covers the output of tools and servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Seek, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};

/// The files of a record that go into the archive. Directories do not: journals can contain statements of applications.
const KINDS: [&str; 7] = ["html", "json", "jsonl", "log", "md", "txt", "xml"];

/// In place of a secret.
const MASK: &str = "***";

/// Shorter values are words that occur everywhere.
const SHORTEST: usize = 6;

/// What went into an archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bundled {
    pub files: usize,
    pub left_out: Vec<String>,
    /// How often a secret was found, and masked.
    pub masked: usize,
}

/// Texts to mask, longest first.
pub struct Mask(Vec<String>);

impl Mask {
    /// From secrets of any form: each line of a key of several lines, and each value also as JSON and addresses write it.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut texts = BTreeSet::new();
        for secret in secrets {
            for line in
                secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST && !line.starts_with("-----"))
            {
                let json = serde_json::to_string(line).unwrap_or_default();
                let json = json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(line);
                texts.extend([line.to_owned(), json.to_owned(), percent_encoded(line)]);
                texts
                    .extend(password_of_address(line).filter(|password| password.len() >= SHORTEST).map(str::to_owned));
            }
        }
        let mut texts: Vec<String> = texts.into_iter().collect();
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(texts)
    }

    fn apply(&self, line: &str) -> (String, usize) {
        let (mut line, mut found) = (line.to_owned(), 0);
        for text in &self.0 {
            let times = line.matches(text.as_str()).count();
            if times > 0 {
                line = line.replace(text.as_str(), MASK);
                found += times;
            }
        }
        (line, found)
    }
}

/// The values of variables that hold secrets, by their names.
pub fn secret_variables(env: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    const WORDS: [&str; 6] = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "CONN_STR"];
    const PLACES: [&str; 5] = ["_FILE", "_PATH", "_COMMAND", "_DIR", "_URL"];
    let is_secret = |name: &str| {
        let name = name.to_uppercase();
        let named = WORDS.iter().any(|word| name.contains(word)) || name.ends_with("_KEY");
        named && !PLACES.iter().any(|place| name.ends_with(place))
    };
    env.iter().filter(move |(name, _)| is_secret(name)).map(|(_, value)| value.as_str())
}

/// The text between `USER:` and `@` of an address.
fn password_of_address(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let login = rest.split('/').next()?.rsplit_once('@')?.0;
    login.split_once(':').map(|(_, password)| password)
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Writes the archive of the record `run` to `file`, whole or not at all.
///
/// # Errors
/// When the record cannot be read or the archive not written.
pub fn bundle(run: &Path, file: &Path, mask: &Mask) -> io::Result<Bundled> {
    let name = run.file_name().unwrap_or(OsStr::new("run"));
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir)?;
    let mut bundled = Bundled::default();
    let scratch = tempfile::NamedTempFile::new_in(dir)?;
    let mut archive = tar::Builder::new(GzEncoder::new(BufWriter::new(scratch), Compression::default()));
    let mut entries = fs::read_dir(run)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        if !entry.file_type()?.is_file() || !KINDS.contains(&kind) {
            bundled.left_out.push(entry.file_name().to_string_lossy().into_owned());
            continue;
        }
        let (mut masked, found) = masked(&path, mask)?;
        bundled.files += 1;
        bundled.masked += found;
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(masked.metadata()?.len());
        header.set_mtime(
            entry.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH).map_or(0, |at| at.as_secs()),
        );
        masked.rewind()?;
        archive.append_data(&mut header, Path::new(name).join(entry.file_name()), BufReader::new(masked))?;
    }
    let written = archive.into_inner()?.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    written.persist(file)?;
    Ok(bundled)
}

/// A copy with the secrets masked: line by line, since histories are long.
fn masked(path: &Path, mask: &Mask) -> io::Result<(File, usize)> {
    let (mut lines, mut copy) = (BufReader::new(File::open(path)?), BufWriter::new(tempfile::tempfile()?));
    let (mut line, mut found) = (Vec::new(), 0);
    while lines.read_until(b'\n', &mut line)? > 0 {
        let (text, times) = mask.apply(&String::from_utf8_lossy(&line));
        copy.write_all(text.as_bytes())?;
        found += times;
        line.clear();
    }
    Ok((copy.into_inner().map_err(io::IntoInnerError::into_error)?, found))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn bundle_has_the_expected_files_without_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("20261122T071739-up");
        fs::create_dir_all(run.join("journals")).unwrap();
        fs::write(run.join("journals/node1.log"), "SELECT 'a customer'").unwrap();
        fs::write(run.join("plan"), "no known kind").unwrap();
        fs::write(run.join("events.jsonl"), "{\"a\":\"say \\\"hunter22\\\"\"}\n{\"b\":\"p%40ss/w0rd\"}\n").unwrap();
        let key = "-----BEGIN KEY-----\nMC4CAQAwBQYDK2Vw\nBCIEIHhoaGho\n-----END KEY-----\n";
        fs::write(run.join("ansible.log"), format!("{key}\nfine\nhttps://u:hunter22@pve p%2540ss%2Fw0rd\n")).unwrap();
        let file = dir.path().join("new/record.tar.gz");
        let mask = Mask::new(["say \"hunter22\"", "hunter22", key, "p%40ss/w0rd", "short", ""]);
        let bundled = bundle(&run, &file, &mask).unwrap();
        let left_out = vec!["journals".to_owned(), "plan".to_owned()];
        assert_eq!(bundled, Bundled { files: 2, left_out, masked: 6 });
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(flate2::read::GzDecoder::new(File::open(&file).unwrap())).entries().unwrap() {
            let mut entry = entry.unwrap();
            let (path, mut text) = (entry.path().unwrap().display().to_string(), String::new());
            entry.read_to_string(&mut text).unwrap();
            found.insert(path, text);
        }
        let events = "{\"a\":\"***\"}\n{\"b\":\"***\"}\n";
        let log = "-----BEGIN KEY-----\n***\n***\n-----END KEY-----\n\nfine\nhttps://u:***@pve ***\n";
        let expected = [("20261122T071739-up/ansible.log", log), ("20261122T071739-up/events.jsonl", events)];
        assert_eq!(found, expected.map(|(path, text)| (path.to_owned(), text.to_owned())).into());
    }

    #[test]
    fn secret_variables_are_recognised_by_their_names() {
        let names = [
            "PROXMOX_VE_API_TOKEN",
            "TF_VAR_dns_key_secret",
            "HACTL_SECRET_SUPERUSER",
            "PG_CONN_STR",
            "PGPASSWORD",
            "AWS_SECRET_ACCESS_KEY",
            "HACTL_AGE_KEY",
        ];
        let others = ["HOME", "HACTL_AGE_KEY_FILE", "HACTL_AGE_KEY_COMMAND", "ACTIONS_ID_TOKEN_REQUEST_URL", "PATH"];
        let env = names.iter().chain(&others).map(|name| ((*name).to_owned(), (*name).to_owned())).collect();
        let mut found: Vec<&str> = secret_variables(&env).collect();
        let mut expected = names.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn password_in_a_connection_address_is_masked_separately() {
        assert_eq!(password_of_address("postgres://hactl:s3cret@db/state?sslmode=require"), Some("s3cret"));
        assert_eq!(password_of_address("postgres://hactl@db/state"), None);
        let (line, found) = Mask::new(["postgres://hactl:s3cret@db/state"]).apply("password s3cret is wrong");
        assert_eq!((line.as_str(), found), ("password *** is wrong", 1));
    }
}
