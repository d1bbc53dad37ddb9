//! The end of `hactl verify`, and `hactl report`, on a terminal.

use std::fmt::Write;

use super::words::{bound, complaints, count, drill_outcome, headline, printable, proof, span_or_dash, title};
use crate::verify::verdict::{DrillOutcome, DrillReport, Verdict};

/// The verdict for people.
#[must_use]
pub fn text(verdict: &Verdict) -> String {
    let mut text = format!("{}: {}\n", verdict.cluster, headline(verdict));
    let _ = writeln!(text, "  durability  {}", verdict.durability);
    let _ = writeln!(text, "  fencing     {}", verdict.fencing);
    let stamps: String = verdict.stamps.iter().map(|stamp| format!(", {stamp}")).collect();
    let _ = writeln!(text, "  machines    {}{stamps}", verdict.platform);
    if verdict.path != "direct" {
        let _ = writeln!(text, "  clients     {}: the primary rejected direct connections", verdict.path);
    }
    if !verdict.libpq.is_empty() {
        let _ = writeln!(text, "  libpq       {}", verdict.libpq);
    }
    if !verdict.drills.is_empty() {
        text.push_str(&table(&verdict.drills));
    }
    for outcome in [DrillOutcome::Failed, DrillOutcome::Passed, DrillOutcome::Refused, DrillOutcome::Skipped] {
        text.push_str(&reasons(&verdict.drills, outcome));
    }
    let _ = write!(text, "\n{}", proof(verdict));
    printable(text)
}

fn table(drills: &[DrillReport]) -> String {
    let width = drills.iter().map(|drill| title(drill).len()).max().unwrap_or_default().max(16);
    let mut text = format!(
        "\n  {:<width$} {:<8} {:>6} {:>8} {:>8} {:>8} {:>8} {:>11} {:>6} {:>8}\n",
        "DRILL", "OUTCOME", "ROUNDS", "GAP MIN", "MEDIAN", "MAX", "BOUND", "LAST CLIENT", "LOST", "IN DOUBT"
    );
    for drill in drills {
        let gap = drill.write_gap_ms.as_ref();
        let ran = !drill.rounds.is_empty();
        let number = |number: u64| if ran { count(number) } else { "-".to_owned() };
        let _ = writeln!(
            text,
            "  {:<width$} {:<8} {:>6} {:>8} {:>8} {:>8} {:>8} {:>11} {:>6} {:>8}",
            title(drill),
            drill_outcome(drill.outcome),
            number(drill.rounds.len() as u64),
            span_or_dash(gap.map(|gap| gap.min)),
            span_or_dash(gap.map(|gap| gap.median)),
            span_or_dash(gap.map(|gap| gap.max)),
            span_or_dash(bound(drill)),
            span_or_dash(drill.rounds.iter().filter_map(|round| round.recovered_ms.last).max()),
            number(drill.counts.lost),
            number(drill.counts.in_doubt),
        );
    }
    text
}

/// The reasons for drills of this outcome; a drill that passed may have void rounds.
fn reasons(drills: &[DrillReport], outcome: DrillOutcome) -> String {
    let mut text = String::new();
    for drill in drills.iter().filter(|drill| drill.outcome == outcome) {
        for reason in complaints(drill) {
            let _ = writeln!(text, "  {}: {}", title(drill), reason.replace('\n', "\n    "));
        }
    }
    let heading = match outcome {
        DrillOutcome::Failed => "Failed",
        DrillOutcome::Passed => "Passed, with remarks",
        DrillOutcome::Skipped => "Skipped",
        DrillOutcome::Refused => "Refused",
    };
    if text.is_empty() { text } else { format!("\n{heading}:\n{text}") }
}
