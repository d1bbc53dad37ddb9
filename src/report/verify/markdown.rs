//! The report for a CI system's summary page: GitHub's Markdown.

use std::fmt::Write;

use super::words::{bound, complaints, count, drill_outcome, headline, proof, span, span_or_dash, title};
use crate::verify::verdict::{DrillReport, Verdict};

/// The verdict as Markdown.
#[must_use]
pub fn markdown(verdict: &Verdict) -> String {
    let mut text = format!("## {}: {}\n\n{}\n", escape(&verdict.cluster), headline(verdict), proof(verdict));
    let mut facts = vec![verdict.platform.clone()];
    facts.extend(verdict.stamps.iter().cloned());
    if verdict.path != "direct" {
        facts.push(format!("clients through a {}", verdict.path));
    }
    facts.push(format!("durability {}", verdict.durability));
    facts.push(format!("fencing: {}", verdict.fencing));
    facts.push(format!("hactl {}", verdict.hactl));
    let _ = writeln!(text, "\n{}", escape(&facts.join("; ")));
    if !verdict.drills.is_empty() {
        text.push_str("\n| Drill | Outcome | Rounds | Write gap: median (min to max) | Bound | Acknowledged | Lost | In doubt | Split brain |\n");
        text.push_str("|---|---|--:|--:|--:|--:|--:|--:|--:|\n");
        verdict.drills.iter().for_each(|drill| text.push_str(&row(drill)));
    }
    let lines: Vec<String> = verdict
        .drills
        .iter()
        .flat_map(|drill| complaints(drill).into_iter().map(move |reason| (drill, reason)))
        .map(|(drill, reason)| {
            let outcome = drill_outcome(drill.outcome);
            format!("- **{}** ({outcome}): {}\n", escape(&title(drill)), escape(&reason))
        })
        .collect();
    if !lines.is_empty() {
        let _ = write!(text, "\n### Reasons\n\n{}", lines.concat());
    }
    text
}

fn row(drill: &DrillReport) -> String {
    let gap = drill
        .write_gap_ms
        .as_ref()
        .map_or_else(|| "-".to_owned(), |gap| format!("{} ({} to {})", span(gap.median), span(gap.min), span(gap.max)));
    let counts = &drill.counts;
    format!(
        "| {} | {} | {} | {gap} | {} | {} | {} | {} | {} |\n",
        escape(&title(drill)),
        drill_outcome(drill.outcome),
        drill.rounds.len(),
        span_or_dash(bound(drill)),
        count(counts.acknowledged),
        count(counts.lost),
        count(counts.in_doubt),
        count(counts.split_brain),
    )
}

/// Text that Markdown shows as it is: without markup, HTML, or the end of a cell or line.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' => escaped.extend(['\\', character]),
            '\n' | '\r' | '\t' => escaped.push(' '),
            _ if character.is_control() => {}
            _ => escaped.push(character),
        }
    }
    escaped
}
