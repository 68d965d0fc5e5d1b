//! Disjoint ranges in order, neighbours merged: what one owner holds of one kind.

use std::collections::BTreeMap;

use super::range::Range;

/// Ranges of which no two touch, by their start.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs(BTreeMap<u64, u64>);

/// How a set of runs would change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// How many runs go. More than three count as three: enough to tell whether the set grows.
    pub(super) goes: usize,
    /// How many come.
    pub(super) comes: usize,
}

impl Runs {
    pub(super) fn of(range: Range) -> Runs {
        Runs(BTreeMap::from([(range.start(), range.end())]))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Range> {
        self.0.iter().filter_map(|(&start, &end)| Range::new(start, end))
    }

    /// From the start of the first to the end of the last.
    pub(super) fn hull(&self) -> Option<Range> {
        let (&start, _) = self.0.first_key_value()?;
        let (_, &end) = self.0.last_key_value()?;
        Range::new(start, end)
    }

    /// The runs that touch `range`, lowest first.
    pub(super) fn touching(&self, range: Range) -> impl Iterator<Item = Range> {
        // Only the last run that starts before the range can reach into it.
        let before = self.0.range(..range.start()).next_back();
        let within = self.0.range(range.start()..=range.end());
        before
            .into_iter()
            .chain(within)
            .filter_map(|(&start, &end)| Range::new(start, end))
            .filter(move |run| run.touches(range))
    }

    /// The runs that have a byte of `range`, lowest first.
    pub(super) fn overlapping(&self, range: Range) -> impl Iterator<Item = Range> {
        self.touching(range).filter(move |run| run.overlaps(range))
    }

    /// The lowest run that touches `range`.
    pub(super) fn first_touching(&self, range: Range) -> Option<Range> {
        self.touching(range).next()
    }

    /// The lowest run that has a byte of `range`.
    pub(super) fn first_overlapping(&self, range: Range) -> Option<Range> {
        self.overlapping(range).next()
    }

    /// What taking `range` out would do.
    pub(super) fn carving(&self, range: Range) -> Change {
        let below = self.first_overlapping(range);
        // The last that starts before the end of the range is the last that can overlap it.
        let above = self.0.range(..range.end()).next_back();
        let comes = usize::from(below.is_some_and(|run| run.start() < range.start()))
            + usize::from(above.is_some_and(|(_, &end)| end > range.end()));
        Change {
            goes: self.overlapping(range).take(3).count(),
            comes,
        }
    }

    /// What putting `range` in would do.
    pub(super) fn uniting(&self, range: Range) -> Change {
        Change {
            goes: self.touching(range).take(3).count(),
            comes: 1,
        }
    }

    /// Adds a run that touches none.
    pub(super) fn put(&mut self, run: Range) {
        debug_assert!(self.first_touching(run).is_none());
        self.0.insert(run.start(), run.end());
    }

    /// Removes a run that is there.
    pub(super) fn take(&mut self, run: Range) {
        let end = self.0.remove(&run.start());
        debug_assert_eq!(end, Some(run.end()));
    }

    /// Adds the bytes of `range`.
    pub(super) fn unite(&mut self, range: Range) {
        let mut whole = range;
        while let Some(run) = self.first_touching(range) {
            self.take(run);
            whole = whole.hull(run);
        }
        self.put(whole);
    }

    /// Takes the bytes of `range` out.
    pub(super) fn carve(&mut self, range: Range) {
        while let Some(run) = self.first_overlapping(range) {
            self.take(run);
            // What is left lies outside the range, so this ends.
            for rest in run.minus(range).into_iter().flatten() {
                self.put(rest);
            }
        }
    }
}
