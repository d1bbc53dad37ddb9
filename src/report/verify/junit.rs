//! The report for CI systems: a suite per drill, a case per round; and one of a restore that proves the backups.

use serde::Serialize;

use super::{
    template,
    words::{complaints, count, drill_outcome, span_or_dash, title},
};
use crate::{
    error::{Error, Result, codes},
    verify::verdict::{DrillOutcome, DrillReport, RoundOutcome, RoundReport, Verdict},
};

#[derive(Serialize)]
struct Page<'a> {
    /// The command.
    command: &'a str,
    cluster: &'a str,
    all: Sums,
    suites: Vec<Suite<'a>>,
}

#[derive(Serialize)]
struct Suite<'a> {
    name: String,
    /// RFC 3339 without the zone, as the schema wants it; UTC.
    timestamp: &'a str,
    sums: Sums,
    cases: Vec<Case>,
}

#[derive(Default, Serialize)]
struct Sums {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    time: String,
}

#[derive(Serialize)]
struct Case {
    name: String,
    milliseconds: u64,
    time: String,
    /// `failure`, `error` or `skipped`; none for what passed.
    element: Option<&'static str>,
    outcome: &'static str,
    reasons: Vec<String>,
    output: String,
}

/// The verdict as JUnit's XML.
///
/// # Errors
/// Only if the template does not fit the verdict.
pub fn junit(verdict: &Verdict) -> Result<String> {
    let timestamp = verdict.started.get(..19).unwrap_or(&verdict.started);
    let suites: Vec<_> = verdict
        .drills
        .iter()
        .map(|drill| {
            let cases = cases(drill);
            Suite { name: title(drill), timestamp, sums: sums(&cases), cases }
        })
        .collect();
    let all = sums(suites.iter().flat_map(|suite| &suite.cases));
    let cluster = &verdict.cluster;
    template::render("junit.xml", include_str!("junit.xml.tera"), &Page { command: "verify", cluster, all, suites })
}

/// What one step of a restore that proves the backups has shown.
pub struct RestoreCase {
    pub name: &'static str,
    pub seconds: u64,
    pub output: String,
}

/// A restore that proves the backups as JUnit's XML: the steps that passed, or why it did not prove them. `started` is RFC
/// 3339.
///
/// # Errors
/// Only if the template does not fit.
pub fn junit_of_restore(cluster: &str, started: &str, outcome: Result<Vec<RestoreCase>, &Error>) -> Result<String> {
    let case = |name: &str, milliseconds| Case {
        name: name.to_owned(),
        milliseconds,
        time: seconds(milliseconds),
        element: None,
        outcome: "passed",
        reasons: Vec::new(),
        output: String::new(),
    };
    let cases: Vec<Case> = match outcome {
        Ok(passed) => passed
            .into_iter()
            .map(|step| Case { output: step.output, ..case(step.name, step.seconds * 1000) })
            .collect(),
        Err(error) => {
            // A test that could not begin proves nothing, neither well nor badly.
            let (element, outcome) = match error.code {
                codes::RESTORE_TEST_FAILED => ("failure", "failed"),
                _ => ("error", error.code),
            };
            let reasons =
                std::iter::once(format!("cannot {} {}", error.what, error.object)).chain(error.causes.clone());
            vec![Case { element: Some(element), outcome, reasons: reasons.collect(), ..case("restore", 0) }]
        }
    };
    let timestamp = started.get(..19).unwrap_or(started);
    let suite = Suite { name: "backup verify".to_owned(), timestamp, sums: sums(&cases), cases };
    let all = sums(&suite.cases);
    let page = Page { command: "backup verify", cluster, all, suites: vec![suite] };
    template::render("junit.xml", include_str!("junit.xml.tera"), &page)
}

fn cases(drill: &DrillReport) -> Vec<Case> {
    let mut cases: Vec<Case> = drill.rounds.iter().map(of_round).collect();
    let failed_as_a_whole =
        drill.outcome == DrillOutcome::Failed && cases.iter().all(|case| case.element != Some("failure"));
    if cases.is_empty() || failed_as_a_whole {
        cases.push(as_a_whole(drill));
    }
    cases
}

/// A case without a round: a drill that did not run, or that failed as a whole.
fn as_a_whole(drill: &DrillReport) -> Case {
    Case {
        name: title(drill),
        milliseconds: 0,
        time: seconds(0),
        element: match drill.outcome {
            DrillOutcome::Passed => None,
            DrillOutcome::Failed => Some("failure"),
            DrillOutcome::Skipped => Some("skipped"),
            DrillOutcome::Refused => Some("error"),
        },
        outcome: drill_outcome(drill.outcome),
        reasons: complaints(drill),
        output: String::new(),
    }
}

fn of_round(round: &RoundReport) -> Case {
    let phases = &round.phases_ms;
    let milliseconds = [phases.first_write, phases.healed, phases.redundant].into_iter().flatten().max();
    let milliseconds = milliseconds.or(round.write_gap_ms).unwrap_or_default();
    let (element, outcome) = match round.outcome {
        RoundOutcome::Passed => (None, "passed"),
        RoundOutcome::Failed => (Some("failure"), "failed"),
        RoundOutcome::Void => (Some("skipped"), "void"),
    };
    let output = format!(
        "write gap {}, bound {}; {} acknowledged, {} lost, {} in doubt",
        span_or_dash(round.write_gap_ms),
        span_or_dash(round.bound_ms),
        count(round.counts.acknowledged),
        count(round.counts.lost),
        count(round.counts.in_doubt),
    );
    let name = format!("round {}", round.n);
    Case { name, milliseconds, time: seconds(milliseconds), element, outcome, reasons: round.reasons.clone(), output }
}

fn sums<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Sums {
    let (mut sums, mut milliseconds) = (Sums::default(), 0);
    for case in cases {
        sums.tests += 1;
        milliseconds += case.milliseconds;
        match case.element {
            Some("failure") => sums.failures += 1,
            Some("error") => sums.errors += 1,
            Some(_) => sums.skipped += 1,
            None => {}
        }
    }
    Sums { time: seconds(milliseconds), ..sums }
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}
