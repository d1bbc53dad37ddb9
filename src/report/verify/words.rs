//! The words and numbers that all forms of the report share.

use crate::verify::verdict::{DrillOutcome, DrillReport, RoundOutcome, Verdict};

/// `name` or `name/variant`, as `--drill` takes it.
pub(super) fn title(drill: &DrillReport) -> String {
    drill.variant.as_ref().map_or_else(|| drill.name.clone(), |variant| format!("{}/{variant}", drill.name))
}

pub(super) const fn drill_outcome(outcome: DrillOutcome) -> &'static str {
    match outcome {
        DrillOutcome::Passed => "passed",
        DrillOutcome::Failed => "FAILED",
        DrillOutcome::Skipped => "skipped",
        DrillOutcome::Refused => "refused",
    }
}

pub(super) const fn round_outcome(outcome: RoundOutcome) -> &'static str {
    match outcome {
        RoundOutcome::Passed => "passed",
        RoundOutcome::Failed => "FAILED",
        RoundOutcome::Void => "void",
    }
}

/// A duration that is compared with others: seconds, or milliseconds where there is no whole second.
pub(super) fn span(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1000, ms % 1000 / 100) }
}

/// The same where it may be absent.
pub(super) fn span_or_dash(ms: Option<u64>) -> String {
    ms.map_or_else(|| "-".to_owned(), span)
}

/// Text without control characters, which messages of servers may contain: XML and HTML cannot
/// represent them, and a terminal acts on them.
pub(super) fn printable(mut text: String) -> String {
    text.retain(|character| !character.is_control() || character == '\n');
    text
}

/// A count with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with what is counted.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// The bound that a drill's rounds were held to: the widest, where they differ.
pub(super) fn bound(drill: &DrillReport) -> Option<u64> {
    drill.rounds.iter().filter_map(|round| round.bound_ms).max()
}

/// Why a drill did not pass, one reason per line; empty if it passed.
pub(super) fn complaints(drill: &DrillReport) -> Vec<String> {
    let of_rounds = drill.rounds.iter().flat_map(|round| {
        round.reasons.iter().map(|reason| format!("round {} {}: {reason}", round.n, round_outcome(round.outcome)))
    });
    let mut found: Vec<String> = of_rounds.collect();
    // The reason of a drill with a failed round repeats that round's reasons.
    if let Some(reason) = &drill.reason
        && !drill.rounds.iter().any(|round| *reason == round.complaint())
    {
        found.insert(0, reason.clone());
    }
    found
}

/// Drills, rounds and commits of a whole verification.
pub(super) struct Totals {
    pub(super) failed: u64,
    /// Drills that ran.
    pub(super) ran: u64,
    /// Drills that did not run, refused or skipped.
    pub(super) left_out: u64,
    /// Rounds that are not void.
    pub(super) rounds: u64,
    pub(super) void: u64,
    pub(super) acknowledged: u64,
    pub(super) lost: u64,
}

impl Totals {
    pub(super) fn of(verdict: &Verdict) -> Self {
        let drills = |wanted: &[DrillOutcome]| {
            verdict.drills.iter().filter(|drill| wanted.contains(&drill.outcome)).count() as u64
        };
        let rounds = || verdict.drills.iter().flat_map(|drill| &drill.rounds);
        let void = rounds().filter(|round| round.outcome == RoundOutcome::Void).count() as u64;
        let sum = |of: fn(&DrillReport) -> u64| verdict.drills.iter().map(of).sum();
        Self {
            failed: drills(&[DrillOutcome::Failed]),
            ran: drills(&[DrillOutcome::Passed, DrillOutcome::Failed]),
            left_out: drills(&[DrillOutcome::Skipped, DrillOutcome::Refused]),
            rounds: rounds().count() as u64 - void,
            void,
            acknowledged: sum(|drill| drill.counts.acknowledged),
            lost: sum(|drill| drill.counts.lost),
        }
    }
}

/// Passed or not, in a few words.
#[must_use]
pub fn headline(verdict: &Verdict) -> String {
    let totals = Totals::of(verdict);
    let left_out = if totals.left_out == 0 { String::new() } else { format!(", {} not run", totals.left_out) };
    match totals {
        Totals { ran: 0, .. } => format!("nothing proved: no drill ran{left_out}"),
        Totals { failed: 0, ran, .. } => format!("proved: {} passed{left_out}", counted(ran, "drill", "drills")),
        Totals { failed, ran, .. } => {
            format!("NOT PROVED: {failed} of {} failed{left_out}", counted(ran, "drill", "drills"))
        }
    }
}

/// The number of lost commits, and what the number of rounds allows you to conclude.
#[must_use]
pub fn proof(verdict: &Verdict) -> String {
    let Totals { rounds, void, acknowledged, lost, .. } = Totals::of(verdict);
    if rounds == 0 {
        return "No round ran that could show lost commits.".to_owned();
    }
    let void =
        if void == 0 { String::new() } else { format!(" ({} void)", counted(void, "more round", "more rounds")) };
    let found = format!(
        "{} of {} lost in {}{void}.",
        count(lost),
        counted(acknowledged, "acknowledged commit", "acknowledged commits"),
        counted(rounds, "round", "rounds"),
    );
    if lost > 0 { found } else { format!("{found} {}", confidence(rounds)) }
}

/// The 95 % upper bound of the probability of a loss, after `rounds` rounds without one.
fn confidence(rounds: u64) -> String {
    let upper = 100.0 * (1.0 - 0.05_f64.powf(1.0 / rounds as f64));
    let digits = if upper < 10.0 { 1 } else { 0 };
    format!("At 95 % confidence, the chance that a round loses one is at most {upper:.digits$} %.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_are_formatted() {
        assert_eq!([0, 999, 1000, 412_345, 1_000_000].map(count), ["0", "999", "1,000", "412,345", "1,000,000"]);
        assert_eq!([0, 412, 1000, 21_349, 75_000].map(span), ["0 ms", "412 ms", "1.0 s", "21.3 s", "75.0 s"]);
    }

    #[test]
    fn loss_chance_bound_is_exact() {
        // 1 - 0.05^(1/N); three divided by N is near it from about ten rounds up.
        for (rounds, text) in [(1, "at most 95 %"), (9, "at most 28 %"), (20, "at most 14 %"), (59, "at most 5.0 %")] {
            assert!(confidence(rounds).contains(text), "{}", confidence(rounds));
        }
    }
}
