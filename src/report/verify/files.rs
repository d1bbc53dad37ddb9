//! The reports as files of the run record.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    html::{self, html},
    junit, markdown,
    picture::picture,
    words::title,
};
use crate::{
    error::{Error, Result},
    file,
    verify::{
        history_file,
        verdict::{RoundReport, Verdict},
    },
};

pub const JSON: &str = "report.json";
pub const HTML: &str = "report.html";
pub const JUNIT: &str = "junit.xml";
pub const MARKDOWN: &str = "report.md";
pub const HISTORY: &str = "history.jsonl";

/// Writes all forms of the report into `dir`, readable by their owner only. If `history` is incomplete, the HTML shows
/// its complete rounds.
///
/// # Errors
/// When a file cannot be written.
pub fn write_all(dir: &Path, verdict: &Verdict, history: &Path) -> Result<()> {
    let write = |name: &str, text: &str| {
        file::replace(&dir.join(name), text.as_bytes())
            .map_err(|error| Error::failed("report", "write", dir.join(name).display()).source(&error))
    };
    let mut json =
        serde_json::to_string_pretty(verdict).map_err(|error| Error::failed("report", "write", JSON).source(&error))?;
    json.push('\n');
    write(JSON, &json)?;
    write(JUNIT, &junit(verdict)?)?;
    write(MARKDOWN, &markdown(verdict))?;
    write(HTML, &page(verdict, history)?)
}

/// The HTML of a verdict with the history beside it.
///
/// # Errors
/// Only if the template does not fit the verdict.
pub fn page(verdict: &Verdict, history: &Path) -> Result<String> {
    let (pictures, note) = pictures(verdict, history);
    html(verdict, pictures, note)
}

/// A picture of every complete round of the history, with one round in memory at a time, and a note about missing
/// rounds.
fn pictures(verdict: &Verdict, history: &Path) -> (html::Pictures, Option<String>) {
    let reports: BTreeMap<(String, u32), &RoundReport> = verdict
        .drills
        .iter()
        .flat_map(|drill| drill.rounds.iter().map(move |round| ((title(drill), round.n), round)))
        .collect();
    let mut pictures = html::Pictures::new();
    let rounds = match history_file::read(history) {
        Ok(rounds) => rounds,
        Err(error) if error.kind() == io::ErrorKind::NotFound && reports.is_empty() => return (pictures, None),
        Err(error) => {
            return (
                pictures,
                Some(format!("The timelines are missing, because {HISTORY} could not be read: {error}.")),
            );
        }
    };
    for round in rounds {
        match round {
            Ok(round) => {
                let key = (round.drill, round.n);
                if let Some(report) = reports.get(&key) {
                    pictures.insert(key, picture(report, &round.history));
                }
            }
            Err(error) => {
                return (
                    pictures,
                    Some(format!("Some timelines are missing, because {HISTORY} could not be read: {error}.")),
                );
            }
        }
    }
    (pictures, None)
}

/// Reads the verdict of a run.
///
/// # Errors
/// If the file is missing, or this version of hactl cannot read it.
pub fn read(run: &Path) -> Result<Verdict> {
    let path = run.join(JSON);
    let failed = || Error::failed("report", "read", path.display());
    let bytes = fs::read(&path).map_err(|error| failed().source(&error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| failed().source(&error).hint("Use the version of hactl that wrote the report, or a newer one"))
}

/// The runs below `runs` that have a report, oldest first, by their names.
#[must_use]
pub fn runs(runs: &Path) -> Vec<String> {
    let entries = fs::read_dir(runs).into_iter().flatten().flatten();
    let with_report = entries.filter(|entry| {
        // `latest` is a second name of one of them.
        entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.path().join(JSON).is_file()
    });
    let mut names: Vec<String> = with_report.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// The paths of the files that a run's report has.
#[must_use]
pub fn of_run(run: &Path) -> Vec<PathBuf> {
    [HTML, JSON, JUNIT, MARKDOWN, HISTORY].iter().map(|name| run.join(name)).filter(|path| path.is_file()).collect()
}
