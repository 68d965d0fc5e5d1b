//! The table of held locks as [`super::report`] reads it: by owner, with users and times.

use super::held::{Held, Kind, Lock, Owner};
use super::index::Slot;
use super::range::Range;
use super::table::{Holder, KINDS, Table};

impl Table {
    /// The owners for which `test` holds, told their process and their user.
    pub(super) fn owners(&self, test: impl Fn(u32, u32) -> bool) -> impl Iterator<Item = Owner> {
        let named = self.names.iter().zip(0..);
        let wanted = named.filter(move |(named, _)| test(named.pid, named.uid));
        wanted
            // The slot may be nobody's by now.
            .filter(|(named, slot)| self.holders.get(&named.owner).is_some_and(|it| it.slot == Slot(*slot)))
            .map(|(named, _)| named.owner)
    }

    /// What `owner` holds, lowest reads first, then writes.
    pub(super) fn held_by(&self, owner: Owner) -> impl Iterator<Item = Held> {
        let holder = self.holders.get(&owner).into_iter();
        let runs = holder.flat_map(|holder| KINDS.map(|kind| (holder, kind)));
        runs.flat_map(move |(holder, kind)| {
            let runs = holder.runs[kind as usize].iter();
            runs.map(move |run| self.told(self.lock(run, kind, holder.slot), holder))
        })
    }

    /// How many locks `owner` holds.
    pub(super) fn count_of(&self, owner: Owner) -> usize {
        self.holders.get(&owner).map_or(0, Holder::count)
    }

    /// A lock that is held, with all that is known of it.
    pub(super) fn about(&self, lock: Lock) -> Option<Held> {
        let holder = self.holders.get(&lock.owner)?;
        Some(self.told(lock, holder))
    }

    fn told(&self, lock: Lock, holder: &Holder) -> Held {
        Held {
            lock,
            uid: holder.purse.uid(),
            since: holder.since,
        }
    }

    /// The locks of `owner` that have a byte of `range`, up to `most` of each kind; and the part of `range` that has these and no
    /// others. `None` where there are none.
    pub(super) fn piece(&self, owner: Owner, range: Range, most: usize) -> Option<(Vec<Held>, Range)> {
        let holder = self.holders.get(&owner)?;
        let mut end = range.end();
        for runs in &holder.runs {
            if let Some(next) = runs.overlapping(range).nth(most) {
                end = end.min(next.start().max(range.start() + 1));
            }
        }
        let piece = Range::new(range.start(), end)?;
        let of_kind = |kind: Kind| {
            let runs = holder.runs[kind as usize].overlapping(piece);
            runs.map(move |run| self.told(self.lock(run, kind, holder.slot), holder))
        };
        let found: Vec<Held> = KINDS.into_iter().flat_map(of_kind).collect();
        let is_there = !found.is_empty() || end < range.end();
        is_there.then_some((found, piece))
    }
}
