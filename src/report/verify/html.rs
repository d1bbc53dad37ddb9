//! The page for people: all of a verification in one file, without script, network or fonts of its own.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    picture::Picture,
    template,
    words::{
        Totals, bound, complaints, count, drill_outcome, headline, proof, round_outcome, span, span_or_dash, title,
    },
};
use crate::{
    error::Result,
    verify::verdict::{
        Counts, DrillOutcome, DrillReport, Phases, PooledClients, Recovery, RoundOutcome, RoundReport, Spread, Verdict,
    },
};

/// Pictures of rounds, by the drill's title and the round's number.
pub(super) type Pictures = BTreeMap<(String, u32), Picture>;

#[derive(Serialize)]
struct Page<'a> {
    cluster: &'a str,
    started: String,
    hactl: &'a str,
    class: &'static str,
    headline: String,
    proof: String,
    facts: Vec<Fact>,
    drills: Vec<Drill>,
    note: Option<String>,
    pictured: bool,
}

/// A label and its value.
#[derive(Serialize)]
struct Fact {
    label: &'static str,
    value: String,
}

#[derive(Serialize)]
struct Drill {
    title: String,
    anchor: String,
    outcome: &'static str,
    class: &'static str,
    reasons: Vec<String>,
    gap: Option<Gap>,
    counts: Option<Numbers>,
    rounds: Vec<RoundView>,
}

/// Write gaps against their bound, across a bar whose parts are per cent.
#[derive(Serialize)]
struct Gap {
    text: String,
    bound: String,
    from: f64,
    width: f64,
    median: f64,
    limit: Option<f64>,
    over: bool,
}

#[derive(Serialize)]
struct Numbers {
    rounds: usize,
    acknowledged: String,
    in_doubt: String,
    lost: String,
    split_brain: String,
    /// Other wrong rows, as text.
    wrong: Vec<String>,
    any_lost: bool,
    any_split: bool,
}

#[derive(Serialize)]
struct RoundView {
    n: u32,
    outcome: &'static str,
    class: &'static str,
    reasons: Vec<String>,
    facts: Vec<Fact>,
    phases: Vec<Fact>,
    picture: Option<Picture>,
}

/// The verdict as a page, with the available timelines and a note about missing ones.
///
/// # Errors
/// Only if the template does not fit the verdict.
pub(super) fn html(verdict: &Verdict, mut pictures: Pictures, note: Option<String>) -> Result<String> {
    let class = match Totals::of(verdict) {
        Totals { ran: 0, .. } => "skipped",
        Totals { failed: 0, .. } => "passed",
        _ => "failed",
    };
    let page = Page {
        cluster: &verdict.cluster,
        started: verdict.started.replace('T', " ").replace('Z', " UTC"),
        hactl: &verdict.hactl,
        class,
        headline: headline(verdict),
        proof: proof(verdict),
        facts: facts(verdict),
        note,
        pictured: !pictures.is_empty(),
        drills: (0..).zip(&verdict.drills).map(|(index, report)| drill(index, report, &mut pictures)).collect(),
    };
    template::render("report.html", include_str!("report.html.tera"), &page)
}

fn facts(verdict: &Verdict) -> Vec<Fact> {
    let stamps: String = verdict.stamps.iter().map(|stamp| format!(", {stamp}")).collect();
    let timers: Vec<String> =
        verdict.timers.iter().map(|(name, seconds)| format!("{name}\u{a0}{seconds}\u{a0}s")).collect();
    vec![
        Fact { label: "Machines", value: format!("{}{stamps}", verdict.platform) },
        Fact { label: "Durability", value: verdict.durability.clone() },
        Fact { label: "Fencing", value: verdict.fencing.clone() },
        Fact { label: "Timers", value: timers.join(", ") },
        Fact { label: "Clients’ path", value: verdict.path.clone() },
        Fact { label: "libpq", value: verdict.libpq.clone() },
        Fact { label: "Seed", value: verdict.seed.to_string() },
    ]
}

fn drill(index: usize, report: &DrillReport, pictures: &mut Pictures) -> Drill {
    let title = title(report);
    let rounds = report.rounds.iter().map(|of| round(of, pictures.remove(&(title.clone(), of.n)))).collect();
    Drill {
        anchor: format!("drill-{index}"),
        outcome: drill_outcome(report.outcome),
        class: match report.outcome {
            DrillOutcome::Passed => "passed",
            DrillOutcome::Failed => "failed",
            DrillOutcome::Skipped | DrillOutcome::Refused => "skipped",
        },
        reasons: complaints(report),
        gap: report.write_gap_ms.as_ref().map(|gaps| gap(gaps, bound(report))),
        counts: (!report.rounds.is_empty()).then(|| numbers(report)),
        rounds,
        title,
    }
}

fn gap(gaps: &Spread, bound: Option<u64>) -> Gap {
    // The bound ends the bar, unless it was exceeded.
    let whole = gaps.max.max(bound.unwrap_or_default()).max(1) as f64;
    let part = |ms: u64| (ms as f64 / whole * 1000.0).round() / 10.0;
    let range = if gaps.min == gaps.max {
        span(gaps.max)
    } else {
        format!("{} ({} to {})", span(gaps.median), span(gaps.min), span(gaps.max))
    };
    let tail = gaps.p95.map(|p95| format!(", 95 % within {}", span(p95))).unwrap_or_default();
    Gap {
        text: format!("{range}{tail}"),
        bound: span_or_dash(bound),
        from: part(gaps.min),
        width: part(gaps.max - gaps.min),
        median: part(gaps.median),
        limit: bound.map(part),
        over: bound.is_some_and(|bound| gaps.max > bound),
    }
}

fn numbers(report: &DrillReport) -> Numbers {
    let counts = &report.counts;
    Numbers {
        rounds: report.rounds.len(),
        acknowledged: count(counts.acknowledged),
        in_doubt: count(counts.in_doubt),
        lost: count(counts.lost),
        split_brain: count(counts.split_brain),
        wrong: wrong(counts),
        any_lost: counts.lost > 0,
        any_split: counts.split_brain > 0,
    }
}

/// Counts of rows that should not exist.
fn wrong(counts: &Counts) -> Vec<String> {
    [("duplicated", counts.duplicated), ("unexpected", counts.unexpected), ("differing", counts.differing)]
        .into_iter()
        .filter(|(_, number)| *number > 0)
        .map(|(what, number)| format!("{} {what}", count(number)))
        .collect()
}

fn round(report: &RoundReport, picture: Option<Picture>) -> RoundView {
    RoundView {
        n: report.n,
        outcome: round_outcome(report.outcome),
        class: match report.outcome {
            RoundOutcome::Passed => "passed",
            RoundOutcome::Failed => "failed",
            RoundOutcome::Void => "skipped",
        },
        reasons: report.reasons.clone(),
        facts: round_facts(report),
        phases: phases(&report.phases_ms),
        picture,
    }
}

fn round_facts(report: &RoundReport) -> Vec<Fact> {
    let counts = &report.counts;
    let primary = match &report.new_primary_node {
        Some(new) => format!("{} → {new}", report.primary_node),
        None => report.primary_node.clone(),
    };
    let timeline = match report.timeline {
        [Some(before), Some(after)] if before != after => format!(", timeline {before} → {after}"),
        [before, after] => after.or(before).map(|timeline| format!(", timeline {timeline}")).unwrap_or_default(),
    };
    let mut commits = vec![
        format!("{} acknowledged", count(counts.acknowledged)),
        format!("{} lost", count(counts.lost)),
        format!("{} in doubt, {} of them found", count(counts.in_doubt), count(counts.recovered)),
    ];
    if counts.split_brain > 0 {
        commits.push(format!("{} in split brain", count(counts.split_brain)));
    }
    commits.extend(wrong(counts));
    let limit = report.limit_ms.map(|limit| format!(", limit {}", span_or_dash(Some(limit)))).unwrap_or_default();
    let gap = format!("{}, bound {}{limit}", span_or_dash(report.write_gap_ms), span_or_dash(report.bound_ms));
    let Recovery { last, libpq, idle, pooled } = &report.recovered_ms;
    let pooled = pooled.map(|pooled| format!(", {} for psql through the poolers", span_or_dash(Some(pooled))));
    let clients = format!(
        "{} for the last client, {} for psql, {} for an idle psql{}",
        span_or_dash(*last),
        span_or_dash(*libpq),
        span_or_dash(*idle),
        pooled.unwrap_or_default()
    );
    let or_dash = |node: &Option<String>| node.clone().unwrap_or_else(|| "-".to_owned());
    let mut facts = vec![
        Fact { label: "Write gap", value: gap },
        Fact { label: "Clients wrote again", value: clients },
        Fact { label: "Target", value: or_dash(&report.target) },
        Fact { label: "Primary", value: primary + &timeline },
        Fact { label: "etcd’s leader", value: or_dash(&report.etcd_leader_node) },
        Fact { label: "Commits", value: commits.join(", ") },
        Fact {
            label: "Rate before the fault",
            value: format!("{} commits/s", count(report.rate.max(0.0).round() as u64)),
        },
    ];
    facts.extend(
        report.pooled.iter().map(|pooled| Fact { label: "Through the poolers", value: through_poolers(pooled) }),
    );
    facts.extend(report.journals.iter().map(|place| Fact { label: "Journals", value: place.clone() }));
    facts
}

fn through_poolers(pooled: &PooledClients) -> String {
    let PooledClients { attempted, failed, lost, gap_ms, bound_ms } = pooled;
    let lost = lost.map(|lost| format!(", {} lost", count(lost))).unwrap_or_default();
    let bound = bound_ms.map(|bound| format!(", bound {}", span_or_dash(Some(bound)))).unwrap_or_default();
    let wait = span_or_dash(Some(*gap_ms));
    format!("{} of {} transactions failed{lost}; longest wait {wait}{bound}", count(*failed), count(*attempted))
}

fn phases(phases: &Phases) -> Vec<Fact> {
    let all = [
        ("effect seen", phases.effect),
        ("leader key lost", phases.lock_lost),
        ("promoted", phases.promoted),
        ("first write", phases.first_write),
        ("fault reverted", phases.healed),
        ("all members stream", phases.redundant),
    ];
    all.into_iter().map(|(label, at)| Fact { label, value: span_or_dash(at) }).collect()
}
