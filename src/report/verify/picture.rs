//! History -> what the timeline of a round shows: bins instead of attempts, so that its size is
//! bounded however long the history. Positions across are per cent, so that the page can be of any
//! width; positions down are pixels.

mod latency;
mod window;

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;

use self::{
    latency::{Decade, Latency, Scale, Symbols, Writes, stretches},
    window::{
        BAND, BINS, HEADING, LATENCY, LETTER, Layout, RATE, SPACE, SYMBOL, SYMBOLS, USUAL, Window, percent, short,
    },
};
use super::words::span;
use crate::verify::{
    history::{Attempt, History, Micros, Outcome, Sample},
    verdict::RoundReport,
};

/// The label of the moment of the fault.
const INJECTED: &str = "fault injected";

/// A drawing of one round.
#[derive(Debug, Serialize)]
pub(super) struct Picture {
    description: String,
    height: u32,
    /// The axis, and its labels.
    axis: u32,
    ticks: Vec<Tick>,
    marks: Vec<Mark>,
    gap: Option<Gap>,
    key: Key,
    rate: Rate,
    decades: Vec<Decade>,
    lanes: Vec<Lane>,
    bins: usize,
    rate_height: u32,
    latency_height: u32,
    band_height: u32,
    heading_height: u32,
}

#[derive(Debug, Serialize)]
struct Tick {
    x: String,
    label: String,
}

/// A moment.
#[derive(Debug, Serialize)]
struct Mark {
    class: &'static str,
    x: String,
    y: u32,
    anchor: &'static str,
    label: String,
}

/// The longest time without an acknowledged write.
#[derive(Debug, Serialize)]
struct Gap {
    x: String,
    width: String,
    y: u32,
    label_x: String,
    label_y: u32,
    anchor: &'static str,
    label: String,
}

/// The holder of the leader key.
#[derive(Debug, Serialize)]
struct Key {
    y: u32,
    bands: Vec<Band>,
}

/// Something that lasted.
#[derive(Debug, PartialEq, Serialize)]
struct Band {
    x: String,
    width: String,
    class: &'static str,
    label: String,
}

/// Acknowledged commits per second.
#[derive(Debug, Serialize)]
struct Rate {
    y: u32,
    path: String,
    most: String,
}

/// The writes through one node.
#[derive(Debug, Serialize)]
struct Lane {
    name: String,
    y: u32,
    bands: Vec<Band>,
    /// Where its latencies are; none where nothing was ever acknowledged.
    latency: Option<Latency>,
    doubt: Symbols,
    failed: Symbols,
}

/// The drawing of a round.
pub(super) fn picture(report: &RoundReport, history: &History) -> Picture {
    let gap = write_gap(report, history);
    let window = Window::of(history, gap);
    let mut layout = Layout::default();
    let marks = marks(history, window, &mut layout);
    layout.take(4);
    let key = Key { y: layout.take(HEADING + BAND + SPACE), bands: key_bands(history, window) };
    let rate = rate(history, window, layout.take(HEADING + RATE + SPACE));
    let gap_top = rate.y + HEADING;
    let writes = Writes::of(history, window);
    let scale = Scale::of(&writes);
    let lanes = lanes(history, &writes, &scale, window, &mut layout);
    let axis = layout.take(22);
    Picture {
        description: description(report, history),
        height: layout.height(),
        axis,
        ticks: ticks(history, window),
        marks,
        gap: gap.map(|gap| drawn_gap(gap, report, window, gap_top)),
        key,
        rate,
        decades: scale.lines(),
        lanes,
        bins: BINS,
        rate_height: RATE,
        latency_height: LATENCY,
        band_height: BAND,
        heading_height: HEADING,
    }
}

/// The picture in words, for people who cannot see it.
fn description(report: &RoundReport, history: &History) -> String {
    let mut text = format!("Writes by {} clients in round {}.", history.clients.len(), report.n);
    if let Some(gap) = report.write_gap_ms {
        let _ = write!(text, " The longest time without an acknowledged write is {}.", span(gap));
    }
    let _ = write!(text, " The primary is {}", report.primary_node);
    match &report.new_primary_node {
        Some(new) => text.push_str(&format!(", then {new}.")),
        None => text.push('.'),
    }
    for (what, at) in moments(history) {
        let _ = write!(text, " {what}: {}.", since(history, at));
    }
    text
}

/// The moments of a round, in their expected order.
fn moments(history: &History) -> impl Iterator<Item = (&'static str, Micros)> {
    let &History { struck, seen, healed, redundant, .. } = history;
    let all =
        [(INJECTED, struck), ("effect seen", seen), ("fault reverted", healed), ("all members stream", redundant)];
    all.into_iter().filter_map(|(what, at)| Some((what, at?)))
}

/// A moment, counted from the fault.
fn since(history: &History, at: Micros) -> String {
    let seconds = (at as f64 - history.struck.unwrap_or_default() as f64) / 1e6;
    if at == history.struck.unwrap_or_default() {
        "0 s".to_owned()
    } else {
        format!("{seconds:+.1} s").replace('-', "\u{2212}")
    }
}

fn marks(history: &History, window: Window, layout: &mut Layout) -> Vec<Mark> {
    moments(history)
        .map(|(what, at)| {
            let part = window.part(at);
            Mark {
                class: if what == INJECTED { "struck" } else { "moment" },
                x: percent(part),
                y: layout.take(15),
                anchor: if part > 0.5 { "end" } else { "start" },
                label: format!("{what} {}", since(history, at)),
            }
        })
        .collect()
}

/// Whether an attempt was made on the application's path.
fn on_path(history: &History) -> impl Fn(&Attempt) -> bool + '_ {
    let pinned: Vec<u16> =
        history.clients.iter().filter(|client| client.pinned.is_some()).map(|client| client.id).collect();
    move |attempt| !pinned.contains(&attempt.row.client)
}

/// The time without an acknowledged write on the application's path whose length is nearest to the report's, from the
/// fault on; without a length in the report, the longest.
fn write_gap(report: &RoundReport, history: &History) -> Option<(Micros, Micros)> {
    let on_path = on_path(history);
    let acknowledged = |attempt: &&Attempt| attempt.outcome == Outcome::Acknowledged && on_path(attempt);
    let mut times: Vec<Micros> = history.attempts.iter().filter(acknowledged).map(|attempt| attempt.done).collect();
    times.push(history.ended);
    times.sort_unstable();
    let struck = history.struck.unwrap_or_default();
    let meant = report.write_gap_ms.map_or(Micros::MAX, |gap| gap.saturating_mul(1000));
    let gaps = times.windows(2).map(|pair| (pair[0], pair[1])).filter(|gap| gap.1 >= struck);
    gaps.min_by_key(|gap| meant.abs_diff(gap.1 - gap.0))
}

fn drawn_gap(gap: (Micros, Micros), report: &RoundReport, window: Window, y: u32) -> Gap {
    let (from, to) = (window.part(gap.0), window.part(gap.1));
    let (label_x, anchor) = match (from, to) {
        _ if to - from > 0.25 => (f64::midpoint(from, to), "middle"),
        (_, to) if to < 0.7 => (to + 0.01, "start"),
        (from, _) => (from - 0.01, "end"),
    };
    let length = report.write_gap_ms.unwrap_or((gap.1 - gap.0) / 1000);
    Gap {
        x: percent(from),
        width: percent(to - from),
        y,
        label_x: percent(label_x),
        label_y: y + RATE / 2 + 4,
        anchor,
        label: format!("no write {}", span(length)),
    }
}

/// Stretches of equal value.
fn runs<T: Copy + PartialEq>(bins: &[Option<T>]) -> Vec<(usize, usize, T)> {
    let mut found = Vec::new();
    let mut start = 0;
    for part in bins.chunk_by(|a, b| a == b) {
        if let Some(value) = part[0] {
            found.push((start, part.len(), value));
        }
        start += part.len();
    }
    found
}

/// A band with the first of the labels that it has room for.
fn band((start, length, _): &(usize, usize, impl Copy), class: &'static str, labels: &[&str]) -> Band {
    let part = |bins: usize| bins as f64 / BINS as f64;
    let fits = |label: &&&str| (label.chars().count() as f64 + 1.0) * LETTER < part(*length) * USUAL;
    let label = labels.iter().find(fits).copied().unwrap_or_default().to_owned();
    Band { x: percent(part(*start)), width: percent(part(*length)), class, label }
}

fn key_bands(history: &History, window: Window) -> Vec<Band> {
    let mut bins: Vec<Option<Option<&str>>> = vec![None; BINS];
    for (index, key) in history.leader_keys.iter().enumerate() {
        let until = history.leader_keys.get(index + 1).map_or(history.ended, |next| next.at);
        bins[window.bins(key.at, until)].fill(Some(key.holder.as_deref()));
    }
    let drawn = |run: &(usize, usize, Option<&str>)| match run.2 {
        Some(holder) => band(run, "key", &[holder]),
        None => band(run, "unheld", &["no holder"]),
    };
    runs(&bins).iter().map(drawn).collect()
}

/// The role of a node; the greater takes precedence in a bin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Was {
    Replica,
    Primary(Option<u32>),
}

fn was(sample: &Sample) -> Option<Was> {
    Some(if sample.in_recovery? { Was::Replica } else { Was::Primary(sample.timeline) })
}

fn node_bands(history: &History, node: u16, window: Window) -> Vec<Band> {
    let samples: Vec<&Sample> = history.samples.iter().filter(|sample| sample.node == node).collect();
    let mut bins = vec![None; BINS];
    for (index, sample) in samples.iter().enumerate() {
        let until = samples.get(index + 1).map_or(history.ended, |next| next.at);
        for bin in &mut bins[window.bins(sample.at, until)] {
            *bin = (*bin).max(was(sample));
        }
    }
    let drawn = |run: &(usize, usize, Was)| match run.2 {
        Was::Replica => band(run, "replica", &["replica"]),
        Was::Primary(None) => band(run, "primary", &["primary"]),
        Was::Primary(Some(timeline)) => {
            let labels =
                [format!("primary, timeline {timeline}"), format!("timeline {timeline}"), timeline.to_string()];
            band(run, "primary", &labels.each_ref().map(String::as_str))
        }
    };
    runs(&bins).iter().map(drawn).collect()
}

fn rate(history: &History, window: Window, y: u32) -> Rate {
    let on_path = on_path(history);
    let mut counts = vec![0_u32; BINS];
    for attempt in
        history.attempts.iter().filter(|attempt| attempt.outcome == Outcome::Acknowledged && on_path(attempt))
    {
        if let Some(bin) = window.bin(attempt.done, BINS) {
            counts[bin] += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or_default().max(1);
    let mut path = format!("M0 {RATE}");
    for count in counts {
        let height = f64::from(RATE) * (1.0 - f64::from(count) / f64::from(most));
        let _ = write!(path, "V{}h1", short(height));
    }
    let _ = write!(path, "V{RATE}z");
    let per_second = f64::from(most) * BINS as f64 * 1e6 / window.length() as f64;
    Rate { y, path, most: super::words::count(per_second.round() as u64) }
}

fn lanes(history: &History, writes: &Writes, scale: &Scale, window: Window, layout: &mut Layout) -> Vec<Lane> {
    let nodes = (0..).zip(&history.nodes).map(|(index, key)| (Some(index), key.to_string()));
    // Attempts that never had a connection, if there were any.
    let nowhere = (writes.failed.contains_key(&None) || writes.doubt.contains_key(&None))
        .then(|| (None, "no connection to any machine".to_owned()));
    nodes.chain(nowhere).map(|(node, name)| lane(node, name, history, writes, scale, window, layout)).collect()
}

fn lane(
    node: Option<u16>,
    name: String,
    history: &History,
    writes: &Writes,
    scale: &Scale,
    window: Window,
    layout: &mut Layout,
) -> Lane {
    let y = layout.take(HEADING);
    let bands = node.map(|node| node_bands(history, node, window)).unwrap_or_default();
    if node.is_some() {
        layout.take(BAND + 3);
    }
    let latency = writes.latencies.get(&node).map(|bins| scale.draw(layout.take(LATENCY + 2), bins));
    let mut symbols = |of: &BTreeMap<Option<u16>, [bool; SYMBOLS]>| {
        let stretches = of.get(&node).map(|bins| stretches(bins)).unwrap_or_default();
        let y = if stretches.is_empty() { 0 } else { layout.take(SYMBOL) + SYMBOL / 2 + 1 };
        Symbols { y, stretches }
    };
    let (doubt, failed) = (symbols(&writes.doubt), symbols(&writes.failed));
    layout.take(SPACE);
    Lane { name, y, bands, latency, doubt, failed }
}

/// Whole numbers of seconds around the fault, few enough for a narrow page.
fn ticks(history: &History, window: Window) -> Vec<Tick> {
    const STEPS: [i64; 11] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800];
    let struck = history.struck.unwrap_or_default() as i64;
    let (from, to) = (window.from as i64 - struck, window.to as i64 - struck);
    let step = STEPS.into_iter().find(|step| (to - from) / (step * 1_000_000) < 8).unwrap_or(3600);
    let first = from.div_euclid(step * 1_000_000);
    let seconds = (first..).map(|number| number * step).skip_while(|seconds| seconds * 1_000_000 < from);
    seconds
        .take_while(|seconds| seconds * 1_000_000 <= to)
        .map(|seconds| Tick {
            x: percent((seconds * 1_000_000 - from) as f64 / window.length() as f64),
            label: if seconds == 0 { "0 s".to_owned() } else { format!("{seconds:+}").replace('-', "\u{2212}") },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{latency::Stretch, *};

    #[test]
    fn stretches_become_bins_without_overlap() {
        let window = Window { from: 0, to: 200_000_000 };
        assert_eq!(window.bins(0, 10_400_000), 0..10);
        assert_eq!(window.bins(10_400_000, 10_500_000), 10..11, "what is short is still there");
        assert_eq!(window.bins(300_000_000, 400_000_000), 0..0);
        assert_eq!(window.bin(200_000_000, BINS), Some(199));
        assert_eq!(window.bin(200_000_001, BINS), None);
    }

    #[test]
    fn adjacent_symbols_are_merged_into_a_stretch() {
        let mut bins = [false; SYMBOLS];
        for bin in [0, 50, 53, 56, 99] {
            bins[bin] = true;
        }
        let stretch = |from: &str, to: Option<&str>| Stretch { from: from.into(), to: to.map(str::to_owned) };
        let expected = [stretch("0.50%", None), stretch("50.50%", Some("56.50%")), stretch("99.50%", None)];
        assert_eq!(stretches(&bins), expected);
    }

    #[test]
    fn drawn_gap_equals_the_reported_gap() {
        let row = crate::verify::history::RowId { client: 1, seq: 1 };
        let at =
            |done| Attempt { row, sent: done - 1, done, server: None, outcome: Outcome::Acknowledged, reason: None };
        let attempts = [1_000_000, 2_000_000, 5_000_000, 6_000_000].map(at).to_vec();
        // The time after the last write is not a gap: the clients had ended.
        let history = History { attempts, struck: Some(2_000_000), ended: 60_000_000, ..History::default() };
        assert_eq!(write_gap(&reported(Some(3_000)), &history), Some((2_000_000, 5_000_000)));
        assert_eq!(write_gap(&reported(None), &history), Some((6_000_000, 60_000_000)));
        assert_eq!(write_gap(&reported(Some(3_000)), &History::default()), None);
    }

    fn reported(write_gap_ms: Option<u64>) -> RoundReport {
        let value = serde_json::json!({
            "n": 1, "outcome": "passed", "reasons": [], "write_gap_ms": write_gap_ms, "primary_node": "node1",
            "timeline": [null, null], "phases_ms": {}, "rate": 0.0, "attempted": 0, "acknowledged": 0, "in_doubt": 0,
            "recovered": 0, "lost": 0, "duplicated": 0, "unexpected": 0, "split_brain": 0, "differing": 0,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn empty_history_gives_a_picture_without_lanes() {
        assert!(picture(&reported(None), &History::default()).lanes.is_empty());
    }

    #[test]
    fn latency_scale_has_whole_decades() {
        let writes = Writes {
            latencies: BTreeMap::from([(Some(0), vec![vec![900, 1000, 20_000], vec![2_500_000]])]),
            doubt: BTreeMap::new(),
            failed: BTreeMap::new(),
        };
        let scale = Scale::of(&writes);
        let labels: Vec<String> = scale.lines().into_iter().map(|line| line.label).collect();
        assert_eq!(labels, ["10 s", "100 ms", "1 ms"]);
        assert!((scale.y(1e7) - 0.0).abs() < 1e-9);
    }
}
