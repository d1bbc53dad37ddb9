use clap::{Args, ValueEnum};

use std::path::Path;

use super::{Session, arguments::ClusterArg};
use crate::{
    deployment::Deployment,
    error::{Error, Result},
    exec::Command,
    model::ClusterName,
    query,
    report::{self, Output, verify},
};

#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// The run: the name of its directory below .hactl/NAME/runs, or the start of that name; the last run by default
    pub(crate) run: Option<String>,
    /// Open the page in a browser
    #[arg(long, conflicts_with = "format")]
    pub(crate) open: bool,
    /// Write the record of RUN, or of the last run of any command, to an archive (.tar.gz) for sharing, without secrets
    /// and without the machines' journals
    #[arg(long, value_name = "FILE", conflicts_with_all = ["open", "format"])]
    pub(crate) bundle: Option<std::path::PathBuf>,
    /// Format of the report; text by default, or json with `--output json`
    #[arg(long, value_enum)]
    pub(crate) format: Option<ReportFormat>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For a terminal, with the paths of the report's files
    Text,
    /// Page with a timeline of every round
    Html,
    /// All numbers of the drills
    Json,
    /// For the test lists of CI systems
    Junit,
    /// For the summary pages of CI systems
    Markdown,
}

pub(crate) async fn run(session: &Session, args: &ReportArgs) -> Result<u8> {
    if let Some(file) = &args.bundle {
        return bundle(session, args, file).await;
    }
    let name = cluster(session, &args.name.name)?;
    let runs = session.dirs.cluster(&name).runs();
    let run = runs.join(find(&name, &verify::runs(&runs), args.run.as_deref())?);
    let verdict = verify::read(&run)?;
    let page = run.join(verify::HTML);
    if args.open {
        if !page.is_file() {
            verify::write_all(&run, &verdict, &run.join(verify::HISTORY))?;
        }
        return open(session, &page).await;
    }
    let format = args.format.unwrap_or(match session.output {
        Output::Text => ReportFormat::Text,
        Output::Json => ReportFormat::Json,
    });
    match format {
        ReportFormat::Text => {
            report::print(&format!("{}\n", verify::text(&verdict)));
            for path in verify::of_run(&run) {
                let shown = path.strip_prefix(&session.dirs.work).unwrap_or(&path);
                report::print(&format!("  {}", shown.display()));
            }
        }
        ReportFormat::Json => report::print_json(&verdict),
        ReportFormat::Junit => report::print(verify::junit(&verdict)?.trim_end()),
        ReportFormat::Markdown => report::print(verify::markdown(&verdict).trim_end()),
        ReportFormat::Html => report::print(verify::page(&verdict, &run.join(verify::HISTORY))?.trim_end()),
    }
    Ok(0)
}

/// Writes the record of a run of any command to an archive. The cluster must be found, because the archive masks its
/// secrets.
async fn bundle(session: &Session, args: &ReportArgs, file: &Path) -> Result<u8> {
    let mut deployment = Deployment::open(session.cluster(&args.name.name)?);
    let cluster = &deployment.cluster;
    let runs = session.dirs.cluster(cluster.name()).runs();
    let names = crate::context::runs(&runs);
    let run = match args.run.as_deref() {
        None if names.is_empty() => {
            return Err(Error::failed("record-none", "find a run record of", cluster.name())
                .cause("no command has changed or drilled the cluster from this directory")
                .hint("Run `hactl report` where the command ran: its record is there, below .hactl or HACTL_DIR"));
        }
        word => runs.join(find(cluster.name(), &names, word)?),
    };
    let file = session.dirs.work.join(file);
    let bundled = session.query(async |context| query::bundle(context, &mut deployment, &run, &file).await).await?;
    match session.output {
        Output::Json => report::print_json(&serde_json::json!({
            "file": file, "run": run, "files": bundled.files, "left_out": bundled.left_out, "masked": bundled.masked,
        })),
        Output::Text => report::print(&format!(
            "{}: {} files of {}; left out: {}; secrets masked: {}",
            file.display(),
            bundled.files,
            run.file_name().unwrap_or_default().display(),
            if bundled.left_out.is_empty() { "nothing".to_owned() } else { bundled.left_out.join(", ") },
            bundled.masked,
        )),
    }
    Ok(0)
}

/// The cluster's name. `down` keeps run records, so a cluster without a file may still have some.
fn cluster(session: &Session, word: &str) -> Result<ClusterName> {
    session.cluster(word).map(|cluster| cluster.name().clone()).or_else(|error| {
        let kept = ClusterName::new(word).ok().filter(|name| session.dirs.cluster(name).runs().is_dir());
        kept.ok_or(error)
    })
}

/// The run that `word` means, among those with a report, oldest first.
fn find<'a>(cluster: &ClusterName, runs: &'a [String], word: Option<&str>) -> Result<&'a str> {
    let Some(last) = runs.last() else {
        return Err(Error::failed("report-none", "find a report of", cluster)
            .cause("no drill has run on the cluster from this directory")
            .hint(format!("Run `hactl verify {cluster}` first")));
    };
    let Some(word) = word else { return Ok(last) };
    if let Some(run) = runs.iter().find(|run| *run == word) {
        return Ok(run);
    }
    let unknown = || Error::usage("run-unknown", "find run", word);
    let meant: Vec<&str> = runs.iter().map(String::as_str).filter(|run| run.starts_with(word)).collect();
    match meant[..] {
        [run] => Ok(run),
        [] => Err(unknown()
            .cause(format!("{cluster} has no such run to report"))
            .hint(format!("Use one of the nearest names: {}", nearest(word, runs).join(", ")))),
        _ => Err(unknown()
            .cause(format!("several runs match: {}", meant.join(", ")))
            .hint("Give more of the run's name")),
    }
}

/// The three runs whose names are most like `word`.
fn nearest<'a>(word: &str, runs: &'a [String]) -> Vec<&'a str> {
    let mut near: Vec<&str> = runs.iter().map(String::as_str).collect();
    near.sort_by_key(|run| strsim::damerau_levenshtein(word, run));
    near.truncate(3);
    near
}

/// Shows a page in the user's browser.
async fn open(session: &Session, page: &Path) -> Result<u8> {
    let by_hand = format!("Open the page yourself, on any machine: {}", page.display());
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let command = Command::new(opener).arg(page.display().to_string());
    let status = session.query(async |context| command.attach(context).await).await;
    match status.map_err(|error| error.hint(&by_hand))? {
        0 => Ok(0),
        status => Err(Error::failed("report-open", "open", page.display())
            .cause(format!("{opener} could not open a browser: exit status {status}"))
            .hint(by_hand)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(word: Option<&str>) -> Result<String, String> {
        let runs = ["20261120T101010-verify", "20261122T071739-up", "20261122T091739-verify"].map(str::to_owned);
        let cluster = ClusterName::new("pg").unwrap();
        find(&cluster, &runs, word).map(str::to_owned).map_err(|error| error.to_string())
    }

    #[test]
    fn run_is_found_by_default_by_name_or_by_prefix() {
        assert_eq!(found(None).unwrap(), "20261122T091739-verify");
        assert_eq!(found(Some("20261122T071739-up")).unwrap(), "20261122T071739-up");
        assert_eq!(found(Some("20261120")).unwrap(), "20261120T101010-verify");
    }

    #[test]
    fn unknown_run_error_names_the_nearest_runs() {
        let error = found(Some("20261122")).unwrap_err();
        assert!(error.contains("several runs match: 20261122T071739-up, 20261122T091739-verify"), "{error}");
        let error = found(Some("20261122T071738-up")).unwrap_err();
        assert!(error.contains("nearest names: 20261122T071739-up, "), "{error}");
        let error = find(&ClusterName::new("pg").unwrap(), &[], None).unwrap_err().to_string();
        assert!(error.contains("`hactl verify pg`"), "{error}");
    }
}
