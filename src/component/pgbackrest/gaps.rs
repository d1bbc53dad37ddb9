//! What lies in the archive -> the WAL that it misses, and the moments that the cluster cannot be restored to: pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Lsn;

/// Segments of 16 MiB in the part of the WAL that the middle of a segment's name numbers.
const PER_LOG: u64 = 256;

/// For so long a segment may be missing although a later one is there: two of them can be on their way at once.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(120);

/// WAL that the archive lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Gap {
    /// The first WAL segment that is missing.
    pub first: String,
    /// The last one.
    pub last: String,
    /// When the segment before the gap arrived: the cluster can be restored to times until shortly before.
    #[schemars(with = "String")]
    pub until: Timestamp,
    /// The earliest point in time after the gap: the second after the end of the first backup that began after it, or when a
    /// timeline that leaves the WAL before the gap had its first segment in the archive; null without either.
    #[schemars(with = "Option<String>")]
    pub from: Option<Timestamp>,
}

impl Gap {
    /// What is missing, for people.
    #[must_use]
    pub fn segments(&self) -> String {
        match self.first == self.last {
            true => format!("the WAL segment {}", self.first),
            false => format!("the WAL segments {} to {}", self.first, self.last),
        }
    }

    /// Whether the cluster cannot be restored to `at`.
    #[must_use]
    pub fn has(&self, at: Timestamp) -> bool {
        at > self.until && self.from.is_none_or(|from| at < from)
    }

    /// Whether no restore reaches `lsn`, with backups that end at `stops`.
    #[must_use]
    pub fn has_position(&self, lsn: Lsn, stops: impl IntoIterator<Item = Lsn>) -> bool {
        let number = |name: &str| Segment::named(name).map(|segment| segment.number);
        let (Some(first), Some(last)) = (number(&self.first), number(&self.last)) else { return false };
        let next = stops.into_iter().filter(|stop| stop.segment() > last).min();
        lsn.segment() >= first && next.is_none_or(|next| lsn < next)
    }
}

/// A segment of the WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    timeline: u32,
    /// Its place in the WAL, which goes on across timelines.
    number: u64,
}

impl Segment {
    fn named(name: &str) -> Option<Self> {
        let part = |range| u32::from_str_radix(name.get(range)?, 16).ok();
        let (timeline, log, segment) = (part(0..8)?, part(8..16)?, part(16..24)?);
        Some(Self { timeline, number: u64::from(log) * PER_LOG + u64::from(segment) })
    }

    /// The segment of a file in the archive, whose name has a digest behind it; none for other files.
    fn of_file(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?;
        name.as_bytes().get(24).filter(|sign| **sign == b'-')?;
        Self::named(name)
    }

    fn name(self) -> String {
        format!("{:08X}{:08X}{:08X}", self.timeline, self.number / PER_LOG, self.number % PER_LOG)
    }
}

/// A file in the repository, as pgBackRest lists it.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    #[serde(default)]
    time: Option<i64>,
}

/// A backup: the first segment that it needs, and the first moment that it restores to.
pub(super) struct Made {
    pub(super) start: String,
    pub(super) from: Timestamp,
}

/// What is missing between the segments of the newest archive in `listed`, as far as a restore needs it.
pub(super) fn gaps(listed: &BTreeMap<String, Entry>, backups: &[Made], now: Timestamp) -> Vec<Gap> {
    let starts: Vec<(u64, Timestamp)> =
        backups.iter().filter_map(|made| Some((Segment::named(&made.start)?.number, made.from))).collect();
    let Some(oldest) = starts.iter().map(|(number, _)| *number).min() else { return Vec::new() };
    // "17-1/0000000100000000/000000010000000000000005-…": the last number counts the archives of a stanza.
    let archive = |path: &str| path.split('/').next()?.rsplit('-').next()?.parse::<u32>().ok();
    let newest = listed.keys().filter(|path| Segment::of_file(path).is_some()).filter_map(|path| archive(path)).max();
    let mut segments: Vec<(Segment, Timestamp)> = listed
        .iter()
        .filter(|(path, _)| archive(path) == newest)
        .filter_map(|(path, entry)| Some((Segment::of_file(path)?, Timestamp::from_second(entry.time?).ok()?)))
        .collect();
    segments.sort_unstable_by_key(|(segment, _)| (segment.timeline, segment.number));
    let mut found = Vec::new();
    for pair in segments.windows(2) {
        let [(before, until), (after, arrived)] = pair else { continue };
        // A later timeline begins in the segment in which the one before it ended, or earlier.
        if after.number <= before.number + 1 || after.number <= oldest || now.duration_since(*arrived) < ON_ITS_WAY {
            continue;
        }
        let missing = |number| Segment { number, ..*before }.name();
        let backups = starts.iter().filter(|(start, _)| *start >= after.number).map(|(_, from)| *from);
        // A recovery ends at missing WAL, and its timeline goes on from there.
        let leaves = |segment: &Segment| segment.timeline > before.timeline && segment.number <= before.number + 1;
        let timelines = segments.iter().filter(|(segment, _)| leaves(segment)).map(|(_, arrived)| *arrived);
        let from = backups.chain(timelines).min();
        found.push(Gap { first: missing(before.number + 1), last: missing(after.number - 1), until: *until, from });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_796_000_000 + minute * 60).unwrap()
    }

    /// Files of timeline, number and minute of arrival.
    fn listed(files: &[(u32, u64, i64)]) -> BTreeMap<String, Entry> {
        let file = |(timeline, number, minute): &(u32, u64, i64)| {
            let name = Segment { timeline: *timeline, number: *number }.name();
            let path = format!("17-1/{}/{name}-0123456789abcdef.zst", &name[..16]);
            (path, Entry { time: Some(at(*minute).as_second()) })
        };
        files.iter().map(file).collect()
    }

    fn made(number: u64, minute: i64) -> Made {
        Made { start: Segment { timeline: 1, number }.name(), from: at(minute) }
    }

    #[test]
    fn missing_segments_are_a_gap_until_the_end_of_the_next_backup() {
        let files = [(1, 254, 1), (1, 255, 2), (1, 258, 5), (1, 259, 6)];
        let found = gaps(&listed(&files), &[made(254, 1), made(259, 7)], at(60));
        let expected = Gap {
            first: "000000010000000100000000".to_owned(),
            last: "000000010000000100000001".to_owned(),
            until: at(2),
            from: Some(at(7)),
        };
        assert_eq!(found, [expected]);
        assert!(found[0].has(at(3)) && found[0].has(at(6)) && !found[0].has(at(2)) && !found[0].has(at(7)));
        let none = gaps(&listed(&files), &[made(254, 1)], at(60));
        assert_eq!(none[0].from, None);
        assert!(none[0].has(at(1000)));
        let lsn = |text: &str| text.parse::<Lsn>().unwrap();
        assert!(!found[0].has_position(lsn("0/FFFFFFFF"), []) && found[0].has_position(lsn("1/0"), []));
        let stops = || [lsn("0/FE000100"), lsn("1/3000100")];
        assert!(found[0].has_position(lsn("1/30000FF"), stops()) && !found[0].has_position(lsn("1/3000100"), stops()));
    }

    #[test]
    fn wal_that_the_old_primary_did_not_archive_before_a_failover_is_a_gap() {
        // The new timeline begins in segment 7.
        let backups = [made(1, 1)];
        let seen =
            |last: u64| gaps(&listed(&[(1, 1, 1), (1, 2, 2), (1, last, 3), (2, 7, 4), (2, 8, 5)]), &backups, at(60));
        assert_eq!(seen(3).iter().map(|gap| gap.first.as_str()).collect::<Vec<_>>(), ["000000010000000000000004"]);
        assert_eq!(seen(3)[0].last, "000000010000000000000006");
        // All was archived, and the last segment as well, whose end the new timeline does not have.
        let whole: Vec<_> = (1..=7).map(|number| (1, number, 3)).chain([(2, 7, 4)]).collect();
        assert_eq!(gaps(&listed(&whole), &backups, at(60)), []);
    }

    #[test]
    fn gap_ends_where_a_recovery_that_ended_at_it_began_a_timeline() {
        let files = [(1, 5, 1), (1, 8, 2), (1, 9, 3), (2, 6, 20), (2, 7, 21)];
        let found = gaps(&listed(&files), &[made(5, 1)], at(60));
        assert_eq!((found.len(), found[0].until, found[0].from), (1, at(1), Some(at(20))));
        // A timeline that begins behind the gap needs it.
        let found = gaps(&listed(&[(1, 5, 1), (1, 8, 2), (2, 8, 20)]), &[made(5, 1)], at(60));
        assert_eq!(found[0].from, None);
    }

    #[test]
    fn what_no_restore_needs_or_is_on_its_way_is_no_gap() {
        // Before the oldest backup.
        assert_eq!(gaps(&listed(&[(1, 1, 1), (1, 5, 2), (1, 6, 3)]), &[made(5, 3)], at(60)), []);
        assert_eq!(gaps(&listed(&[(1, 1, 1), (1, 5, 2)]), &[], at(60)), []);
        let two = listed(&[(1, 5, 1), (1, 7, 10)]);
        assert_eq!(gaps(&two, &[made(5, 1)], at(11)), []);
        assert_eq!(gaps(&two, &[made(5, 1)], at(12)).len(), 1);
        // Other files, and the archive of another database of the stanza.
        let mut files = listed(&[(1, 5, 1), (1, 6, 2)]);
        for name in
            ["17-1/00000002.history-ab", "17-1/0000000100000000/000000010000000000000009.partial-ab.zst", "16-0/x"]
        {
            files.insert(name.to_owned(), Entry { time: Some(at(3).as_second()) });
        }
        files.insert("16-0/0000000100000000/000000010000000000000001-ab.zst".to_owned(), Entry { time: Some(0) });
        assert_eq!(gaps(&files, &[made(5, 1)], at(60)), []);
    }
}
