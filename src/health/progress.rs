//! What moves while a cluster is waited for: a copy of the data, and replay on members that do not stream yet. As long as
//! something moves, a wait goes on beyond its patience. What stands still for [`STALL`] ends it. Pure.

use std::{collections::BTreeMap, time::Duration};

use crate::component::Observations;

/// How long everything may stand still once the patience has run out: more than a checkpoint before a copy, which moves
/// nothing.
pub(super) const STALL: Duration = Duration::from_secs(60);

/// A member within so many bytes of the primary has nothing to catch up: it does not stream for another reason, and moves with
/// each write all the same.
const NEAR: u64 = 16 << 20;

/// How far each thing is, in bytes.
pub(crate) type Marks = BTreeMap<String, u64>;

/// The positions of all that may still move. A member that streams counts for nothing: its position moves with each write.
pub(crate) fn marks(seen: &Observations) -> Marks {
    let mut marks = Marks::new();
    let told = || seen.values().filter_map(|view| view.patroni.as_ref()?.as_ref().ok());
    let written = told().filter_map(|patroni| patroni.itself.xlog.location).max();
    for (key, view) in seen {
        if let Some(Ok(postgres)) = &view.postgres {
            let copies = postgres.copies.iter();
            marks.extend(copies.map(|(to, bytes)| (format!("the copy of the data to {to}"), *bytes)));
        }
        if let Some(Ok(patroni)) = &view.patroni {
            let follows = patroni.itself.replication_state.as_deref() == Some("streaming");
            let replayed =
                patroni.itself.xlog.replayed_location.filter(|replayed| {
                    !follows && written.is_none_or(|written| replayed.saturating_add(NEAR) < written)
                });
            marks.extend(replayed.map(|position| (format!("replay on {key}"), position)));
        }
    }
    marks
}

/// The farthest position of each thing, and when one of them last moved.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    best: Marks,
    moved: Duration,
}

impl Progress {
    /// Notes the positions at a time. Only what gets farther than ever moves: a copy that starts again and again does not.
    pub(crate) fn note(&mut self, marks: Marks, at: Duration) {
        for (thing, position) in marks {
            let best = self.best.entry(thing).or_default();
            if position > *best {
                (*best, self.moved) = (position, at);
            }
        }
    }

    /// Whether the wait is over: its patience has run out, and nothing has moved for [`STALL`].
    pub(crate) fn is_over(&self, at: Duration, patience: Duration) -> bool {
        at > patience && (self.best.is_empty() || at.saturating_sub(self.moved) > STALL)
    }

    /// What stood still, and since when, for an error.
    pub(crate) fn stood_still(&self, at: Duration) -> Option<String> {
        let things: Vec<String> =
            self.best.iter().map(|(thing, position)| format!("{thing} at {} MiB", position >> 20)).collect();
        let still = at.saturating_sub(self.moved).as_secs();
        (!things.is_empty()).then(|| format!("nothing moved for {still} s: {}", things.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::component::{NodeView, patroni::PatroniView, postgres::PostgresView};

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn at(position: u64) -> Marks {
        Marks::from([("the copy of the data to node3".to_owned(), position)])
    }

    #[test]
    fn wait_goes_on_beyond_its_patience_while_something_gets_farther() {
        let patience = seconds(180);
        let ends = |looks: &[(u64, u64)]| {
            let mut progress = Progress::default();
            let mut looks = looks.iter().copied().peekable();
            (0..2000).find(|now| {
                while let Some((_, position)) = looks.next_if(|(time, _)| time <= now) {
                    progress.note(at(position), seconds(*now));
                }
                progress.is_over(seconds(*now), patience)
            })
        };
        let table: [(&[(u64, u64)], u64); 5] = [
            // Nothing to copy, and nothing that replays.
            (&[], 181),
            (&[(10, 1)], 181),
            (&[(10, 1), (150, 2)], 211),
            (&[(10, 1), (150, 2), (200, 3), (250, 4), (310, 5)], 371),
            // It starts again, and never gets as far as it was.
            (&[(100, 9), (150, 1), (200, 8), (250, 9)], 181),
        ];
        for (looks, end) in table {
            assert_eq!(ends(looks), Some(end), "{looks:?}");
        }
        let mut progress = Progress::default();
        assert_eq!(progress.stood_still(seconds(5)), None);
        progress.note(at(5 << 20), seconds(7));
        let said = progress.stood_still(seconds(70));
        assert_eq!(said.as_deref(), Some("nothing moved for 63 s: the copy of the data to node3 at 5 MiB"));
    }

    #[test]
    fn member_that_streams_does_not_count_as_movement() {
        let replica = |state: Option<&str>, replayed: u64| {
            let mut view = NodeView::new(BTreeSet::new(), Ok(()));
            let mut told = PatroniView::default();
            told.itself.replication_state = state.map(str::to_owned);
            told.itself.xlog.replayed_location = Some(replayed);
            view.patroni = Some(Ok(told));
            view
        };
        let member = |state| replica(state, 7);
        let mut primary = NodeView::new(BTreeSet::new(), Ok(()));
        let copies = BTreeMap::from([("node4".to_owned(), 9)]);
        primary.postgres = Some(Ok(PostgresView { copies, ..PostgresView::default() }));
        let views = [primary, member(Some("streaming")), member(Some("in archive recovery")), member(None)];
        let keys = ["node1", "node2", "node3", "node5"].map(|key| key.parse().unwrap());
        let seen: Observations = keys.into_iter().zip(views).collect();
        let expected = [("the copy of the data to node4", 9), ("replay on node3", 7), ("replay on node5", 7)];
        assert_eq!(marks(&seen), expected.map(|(thing, position)| (thing.to_owned(), position)).into());

        // A replica whose connection ends again and again has all that the primary has written, and one that catches up has not.
        let mut leads = NodeView::new(BTreeSet::new(), Ok(()));
        let mut told = PatroniView::default();
        told.itself.xlog.location = Some(1 << 30);
        leads.patroni = Some(Ok(told));
        let views = [leads, replica(None, (1 << 30) - 4096), replica(None, 1 << 29)];
        let keys = ["node1", "node2", "node3"].map(|key| key.parse().unwrap());
        let seen: Observations = keys.into_iter().zip(views).collect();
        assert_eq!(marks(&seen), Marks::from([("replay on node3".to_owned(), 1 << 29)]));
    }
}
