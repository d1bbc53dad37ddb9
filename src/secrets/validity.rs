//! When certificates begin and end. Pure: every date is an argument.

use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};
use rcgen::date_time_ymd;

/// How long an authority lives.
pub(super) const AUTHORITY_YEARS: i64 = 10;
/// How long a certificate that an authority signs lives at most.
pub(super) const LEAF_YEARS: i64 = 2;
/// The days between the ends of two nodes' certificates that are made on one day.
const DAYS_APART: usize = 3;
/// How many nodes have a day of their own; further nodes share the days of the first.
const DAYS: usize = 30;

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validity {
    /// From one midnight to another.
    Days(Date, Date),
    /// For a drill: from a midnight to a second.
    Until(Date, Timestamp),
}

impl Validity {
    /// An authority's own.
    pub(super) fn of_authority(now: Timestamp) -> Result<Self, jiff::Error> {
        Ok(Self::Days(begin(now)?, today(now).checked_add(Span::new().years(AUTHORITY_YEARS))?))
    }

    /// A leaf's: it ends `days_earlier` days before two years have passed, and never after its authority.
    pub(super) fn of_leaf(now: Timestamp, days_earlier: i64, authority_ends: Timestamp) -> Result<Self, jiff::Error> {
        let end = today(now).checked_add(Span::new().years(LEAF_YEARS))?.checked_sub(Span::new().days(days_earlier))?;
        Ok(Self::Days(begin(now)?, end.min(today(authority_ends))))
    }

    /// A leaf of a drill.
    pub(super) fn short(now: Timestamp, end: Timestamp) -> Result<Self, jiff::Error> {
        Ok(Self::Until(begin(now)?, end))
    }

    /// Whether a certificate with it would be of no use.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        matches!(self, Self::Days(_, end) if *end <= today(now))
    }

    pub(super) fn apply(&self, params: &mut rcgen::CertificateParams) {
        let midnight =
            |day: Date| date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs());
        match *self {
            Self::Days(begin, end) => (params.not_before, params.not_after) = (midnight(begin), midnight(end)),
            Self::Until(begin, end) => {
                let since =
                    end.as_second() - today(end).to_zoned(TimeZone::UTC).map_or(0, |day| day.timestamp().as_second());
                params.not_before = midnight(begin);
                params.not_after = midnight(today(end)) + std::time::Duration::from_secs(since.unsigned_abs());
            }
        }
    }
}

/// How many days earlier than others the certificates of a node end, by its position among the nodes: not all nodes lose
/// their certificates on one day.
pub(super) const fn days_earlier(position: usize) -> i64 {
    (DAYS_APART * (1 + position % DAYS)) as i64
}

/// A day back: clocks of fresh machines are often behind.
fn begin(now: Timestamp) -> Result<Date, jiff::Error> {
    today(now).checked_sub(Span::new().days(1))
}

fn today(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn leaf_ends_after_two_years_less_its_days_and_not_after_its_authority() {
        let table = [
            ("2026-11-29T18:37:00Z", 0, "2036-11-29T00:00:00Z", "2028-11-29"),
            ("2026-11-29T18:37:00Z", 3, "2036-11-29T00:00:00Z", "2028-11-26"),
            ("2026-11-29T18:37:00Z", 90, "2036-11-29T00:00:00Z", "2028-08-31"),
            ("2028-02-29T00:00:00Z", 0, "2036-11-29T00:00:00Z", "2030-02-28"),
            ("2035-01-01T00:00:00Z", 6, "2036-11-29T00:00:00Z", "2036-11-29"),
            ("2036-11-28T23:59:59Z", 3, "2036-11-29T00:00:00Z", "2036-11-29"),
        ];
        for (now, days, authority, end) in table {
            let validity = Validity::of_leaf(at(now), days, at(authority)).unwrap();
            let Validity::Days(begin, ends) = validity else { panic!("{validity:?}") };
            assert_eq!(ends.to_string(), end, "{now}, {days}");
            assert_eq!(begin, today(at(now)).yesterday().unwrap());
            assert!(!validity.is_over(at(now)), "{now}");
        }
    }

    #[test]
    fn leaf_of_an_authority_that_has_ended_is_over() {
        let now = at("2036-11-29T00:00:01Z");
        assert!(Validity::of_leaf(now, 3, at("2036-11-29T00:00:00Z")).unwrap().is_over(now));
    }

    #[test]
    fn days_of_nodes_differ_and_are_the_same_each_time() {
        let table = [(0, 3), (1, 6), (2, 9), (4, 15), (29, 90), (30, 3)];
        for (position, days) in table {
            assert_eq!(days_earlier(position), days, "{position}");
        }
        // The controller's own certificate ends on the day of none of them.
        let days: BTreeSet<i64> = (0..DAYS).map(days_earlier).chain([0]).collect();
        assert_eq!(days.len(), DAYS + 1);
    }
}
