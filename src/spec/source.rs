//! The word on the command line -> the text of a cluster file: a path, `NAME.yaml` in the working
//! directory, a recorded cluster with its own file, or a built-in blueprint, in this order.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    FileProblem, Record, Spec, blueprint, load,
    problem::Collector,
    record::READABLE,
    yaml::{self, Position},
};
use crate::{
    context::Dirs,
    error::{Error, Result},
    model::{ClusterName, nearest},
};

/// Where a cluster file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file, by its absolute path.
    File(PathBuf),
    /// A built-in blueprint, by its name.
    Blueprint(String),
}

/// A cluster file that was found but not checked yet.
#[derive(Clone, Debug)]
pub struct Source {
    pub origin: Origin,
    /// The name that messages use: the path as the user would type it, or the blueprint's.
    pub file: String,
    text: Vec<u8>,
    /// The cluster's name when the text has none.
    fallback: String,
}

impl Source {
    /// Checks the text.
    ///
    /// # Errors
    /// All problems of the text; see [`super::Problems`].
    pub fn load(&self) -> Result<Spec, super::Problems> {
        let dir = match &self.origin {
            Origin::File(path) => path.parent().unwrap_or(Path::new("/")),
            Origin::Blueprint(_) => Path::new(""),
        };
        load::load_from(dir, &self.file, &self.text, &self.fallback)
    }

    /// A problem of a field that shows only on the machines, at its place in the file. A field that is not in the file has
    /// the place of the nearest section above it.
    #[must_use]
    pub fn problem(&self, path: &[&str], message: &str, suggestion: Option<String>) -> FileProblem {
        let root = std::str::from_utf8(&self.text).ok().and_then(|text| yaml::parse(text).0);
        let at = root.map_or(Position::START, |root| root.position(path));
        let mut problems = Collector { file: &self.file, dir: Path::new(""), found: Vec::new() };
        problems.add(at, path, message, suggestion);
        problems.found.remove(0)
    }

    /// The directory of the cluster's files: that of the cluster file, or the working directory.
    #[must_use]
    pub fn dir<'a>(&'a self, dirs: &'a Dirs) -> &'a Path {
        match &self.origin {
            Origin::File(path) => path.parent().unwrap_or(&dirs.work),
            Origin::Blueprint(_) => &dirs.work,
        }
    }

    /// The cluster file's text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

/// Finds the cluster file that `word` means.
///
/// # Errors
/// When nothing has this name, with similar names; when a file cannot be read.
pub fn resolve(word: &str, dirs: &Dirs) -> Result<Source> {
    if word.is_empty() {
        return Err(Error::usage("cluster-unknown", "find cluster", "with an empty name").hint(KNOWN));
    }
    // A directory of the cluster's name is no cluster file.
    let path = dirs.work.join(word);
    if path.is_file() || looks_like_path(word) {
        return read(&path, word);
    }
    let beside = dirs.work.join(format!("{word}.yaml"));
    if beside.is_file() {
        return read(&beside, &format!("{word}.yaml"));
    }
    let recorded = match ClusterName::new(word) {
        Ok(name) => Record::read(&dirs.cluster(&name).record())?,
        Err(_) => None,
    };
    match recorded {
        Some(Record { source: Some(path), .. }) => {
            let shown = path.strip_prefix(&dirs.work).unwrap_or(&path).display().to_string();
            return read(&path, &shown).map_err(|error| error.hint("Restore the file: the cluster was made from it"));
        }
        Some(Record { blueprint: Some(name), .. }) => {
            if let Some(source) = built_in(&name) {
                return Ok(source);
            }
        }
        _ => {}
    }
    built_in(word).ok_or_else(|| unknown(word, dirs))
}

const KNOWN: &str = "Give a path, the NAME of a NAME.yaml in this directory, or one of the blueprints patroni-1node, \
                     patroni-3node, patroni-5node";

fn looks_like_path(word: &str) -> bool {
    word.contains('/') || word.ends_with(".yaml") || word.ends_with(".yml")
}

fn built_in(name: &str) -> Option<Source> {
    let text = blueprint::text(name)?;
    Some(Source {
        origin: Origin::Blueprint(name.to_owned()),
        file: format!("blueprint {name}"),
        text: text.as_bytes().to_vec(),
        fallback: name.to_owned(),
    })
}

fn read(path: &Path, shown: &str) -> Result<Source> {
    let text = fs::read(path).map_err(|error| {
        let wrong = Error::usage("cluster-file", "read cluster file", shown).source(&error);
        if error.kind() == io::ErrorKind::NotFound {
            wrong.hint("Run `hactl init NAME` to write a cluster file")
        } else {
            wrong.hint(READABLE)
        }
    })?;
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let fallback = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Source { origin: Origin::File(path), file: shown.to_owned(), text, fallback })
}

fn unknown(word: &str, dirs: &Dirs) -> Error {
    let mut names: Vec<String> = blueprint_names();
    let here = fs::read_dir(&dirs.work).into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_suffix(".yaml")?.to_owned())
    });
    names.extend(here);
    let recorded = fs::read_dir(&dirs.hactl).into_iter().flatten().flatten();
    names.extend(recorded.filter_map(|entry| entry.file_name().into_string().ok()));
    let error = Error::usage("cluster-unknown", "find cluster", word)
        .cause("no file, no cluster recorded here and no built-in blueprint has this name");
    let other_end = format!("{word}.yml");
    if dirs.work.join(&other_end).is_file() {
        return error.hint(format!("Rename {other_end} to {word}.yaml, or give its path: `{other_end}`"));
    }
    // Nothing usable has the word itself as its name.
    match nearest(word, names.iter().map(String::as_str).filter(|name| *name != word)) {
        Some(name) => error.hint(format!("{KNOWN}; did you mean {name}?")),
        None if ClusterName::new(word).is_ok() => error.hint(format!("{KNOWN}; `hactl init {word}` writes a new file")),
        None => error.hint(KNOWN),
    }
}

fn blueprint_names() -> Vec<String> {
    super::blueprints().map(|(name, _)| name.to_owned()).collect()
}
