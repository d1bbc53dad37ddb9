//! The part of a round that is shown, and places in the picture: across in per cent, down in pixels.

use crate::verify::history::{History, Micros};

/// Steps that time is cut into, and those for the symbols, which need more room.
pub(super) const BINS: usize = 200;
pub(super) const SYMBOLS: usize = 100;

/// How many of their steps apart symbols are one stretch.
pub(super) const CLOSE: usize = 3;

/// The width of a letter of a label and of a usual picture, in pixels; on a narrower one it is cut.
pub(super) const LETTER: f64 = 6.0;
pub(super) const USUAL: f64 = 700.0;

/// What is shown before the fault, and after the last thing that happened.
pub(super) const BEFORE: Micros = 10_000_000;
pub(super) const AFTER: Micros = 5_000_000;

/// Heights, in pixels.
pub(super) const HEADING: u32 = 16;
pub(super) const BAND: u32 = 13;
pub(super) const RATE: u32 = 44;
pub(super) const LATENCY: u32 = 54;
pub(super) const SYMBOL: u32 = 11;
pub(super) const SPACE: u32 = 9;

/// The stretch of time that is shown.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) from: Micros,
    pub(super) to: Micros,
}

impl Window {
    pub(super) fn of(history: &History, gap: Option<(Micros, Micros)>) -> Self {
        let moments = [history.struck, history.seen, history.healed, history.redundant, gap.map(|gap| gap.1)];
        let last = moments.into_iter().flatten().max();
        let from = history.struck.map_or(0, |struck| struck.saturating_sub(BEFORE));
        let from = gap.map_or(from, |gap| from.min(gap.0));
        let to = last.map_or(history.ended, |last| history.ended.min(last + AFTER));
        Self { from, to: to.max(from + 1) }
    }

    pub(super) fn length(self) -> Micros {
        self.to - self.from
    }

    /// The bin of a moment; none outside.
    pub(super) fn bin(self, at: Micros, bins: usize) -> Option<usize> {
        let inside = (self.from..=self.to).contains(&at);
        inside.then(|| ((self.part(at) * bins as f64) as usize).min(bins - 1))
    }

    /// The bins that a stretch covers for the better part; at least one, if it is inside at all.
    pub(super) fn bins(self, from: Micros, to: Micros) -> std::ops::Range<usize> {
        if to <= self.from || from >= self.to {
            return 0..0;
        }
        let edge = |at: Micros| (self.part(at.clamp(self.from, self.to)) * BINS as f64).round() as usize;
        let first = edge(from).min(BINS - 1);
        first..edge(to).max(first + 1)
    }

    /// How far along a moment is, from 0 to 1.
    pub(super) fn part(self, at: Micros) -> f64 {
        at.saturating_sub(self.from) as f64 / self.length() as f64
    }
}

/// A place across.
pub(super) fn percent(part: f64) -> String {
    format!("{:.2}%", part * 100.0)
}

/// A number without needless digits.
pub(super) fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Gives out places from top to bottom.
#[derive(Default)]
pub(super) struct Layout(u32);

impl Layout {
    /// What was given out so far.
    pub(super) const fn height(&self) -> u32 {
        self.0
    }

    pub(super) fn take(&mut self, height: u32) -> u32 {
        let place = self.0;
        self.0 += height;
        place
    }
}
