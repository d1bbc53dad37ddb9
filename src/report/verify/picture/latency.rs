//! How long writes took, and those without an acknowledgement, in bins.

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;

use super::window::{BINS, CLOSE, LATENCY, SYMBOLS, Window, percent, short};
use crate::verify::history::{Attempt, History, Micros, Outcome};

/// Latencies: from the shortest to the longest, and the median.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    pub(super) y: u32,
    pub(super) range: String,
    pub(super) median: String,
}

/// Symbols in a row; those that follow each other closely are a line with a symbol at each end.
#[derive(Debug, Serialize)]
pub(super) struct Symbols {
    pub(super) y: u32,
    pub(super) stretches: Vec<Stretch>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Stretch {
    pub(super) from: String,
    /// Absent for a single symbol.
    pub(super) to: Option<String>,
}

/// A line of the latency's scale.
#[derive(Debug, Serialize)]
pub(super) struct Decade {
    pub(super) y: u32,
    pub(super) label: String,
}

/// The writes through every node, in bins. Attempts without a connection count for the node that
/// their client stays on; those of other clients have no node.
pub(super) struct Writes {
    /// Microseconds, per node and bin, ascending.
    pub(super) latencies: BTreeMap<Option<u16>, Vec<Vec<Micros>>>,
    pub(super) doubt: BTreeMap<Option<u16>, [bool; SYMBOLS]>,
    pub(super) failed: BTreeMap<Option<u16>, [bool; SYMBOLS]>,
}

impl Writes {
    pub(super) fn of(history: &History, window: Window) -> Self {
        let pinned: BTreeMap<u16, Option<u16>> =
            history.clients.iter().map(|client| (client.id, client.pinned)).collect();
        let mut writes = Self { latencies: BTreeMap::new(), doubt: BTreeMap::new(), failed: BTreeMap::new() };
        for attempt in &history.attempts {
            let node = attempt.server.map(|server| server.node).or(pinned.get(&attempt.row.client).copied().flatten());
            writes.take(attempt, node, window);
        }
        writes.latencies.values_mut().flatten().for_each(|bin| bin.sort_unstable());
        writes
    }

    pub(super) fn take(&mut self, attempt: &Attempt, node: Option<u16>, window: Window) {
        let symbols = match attempt.outcome {
            Outcome::Acknowledged => {
                if let Some(bin) = window.bin(attempt.done, BINS) {
                    let bins = self.latencies.entry(node).or_insert_with(|| vec![Vec::new(); BINS]);
                    bins[bin].push(attempt.done.saturating_sub(attempt.sent).max(1));
                }
                return;
            }
            Outcome::InDoubt => &mut self.doubt,
            Outcome::Failed => &mut self.failed,
        };
        if let Some(bin) = window.bin(attempt.done, SYMBOLS) {
            symbols.entry(node).or_insert([false; SYMBOLS])[bin] = true;
        }
    }
}

/// The scale of latencies: logarithmic, whole decades of microseconds.
pub(super) struct Scale {
    pub(super) lowest: i32,
    pub(super) highest: i32,
}

impl Scale {
    pub(super) fn of(writes: &Writes) -> Self {
        let all = || writes.latencies.values().flatten();
        let shortest = all().filter_map(|bin| bin.first()).min().copied().unwrap_or(1000);
        let longest = all().filter_map(|bin| bin.last()).max().copied().unwrap_or(1000);
        let lowest = (shortest as f64).log10().floor() as i32;
        Self { lowest, highest: ((longest as f64).log10().ceil() as i32).max(lowest + 1) }
    }

    /// How far down a latency is drawn.
    pub(super) fn y(&self, latency: f64) -> f64 {
        let part = (latency.log10() - f64::from(self.lowest)) / f64::from(self.highest - self.lowest);
        f64::from(LATENCY) * (1.0 - part)
    }

    pub(super) fn lines(&self) -> Vec<Decade> {
        let words = |power: i32| match power {
            ..3 => format!("{} µs", 10_u32.pow(power.max(0).unsigned_abs())),
            3..6 => format!("{} ms", 10_u32.pow((power - 3).unsigned_abs())),
            _ => format!("{} s", 10_u64.pow((power - 6).unsigned_abs())),
        };
        // More labels than fit would run into each other.
        let step = if self.highest - self.lowest > 4 { 2 } else { 1 };
        let powers = (self.lowest..=self.highest).rev().step_by(step);
        powers.map(|power| Decade { y: self.y(10_f64.powi(power)).round() as u32, label: words(power) }).collect()
    }

    pub(super) fn draw(&self, y: u32, bins: &[Vec<Micros>]) -> Latency {
        let (mut range, mut median) = (String::new(), String::new());
        for (index, bin) in bins.iter().enumerate() {
            let (Some(first), Some(last)) = (bin.first(), bin.last()) else { continue };
            let (top, bottom) = (self.y(*last as f64), self.y(*first as f64));
            let _ = write!(range, "M{index} {}h.8v{}h-.8z", short(top), short((bottom - top).max(1.0)));
            let middle = self.y(bin[bin.len() / 2] as f64);
            let _ = write!(median, "M{index} {}h.9v2.5h-.9z", short(middle - 1.2));
        }
        Latency { y, range, median }
    }
}

pub(super) fn stretches(bins: &[bool]) -> Vec<Stretch> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (bin, _) in bins.iter().enumerate().filter(|(_, any)| **any) {
        match found.last_mut() {
            Some((_, last)) if bin - *last <= CLOSE => *last = bin,
            _ => found.push((bin, bin)),
        }
    }
    let middle = |bin: usize| percent((bin as f64 + 0.5) / bins.len() as f64);
    let drawn = |(from, to): (usize, usize)| Stretch { from: middle(from), to: (to > from).then(|| middle(to)) };
    found.into_iter().map(drawn).collect()
}
