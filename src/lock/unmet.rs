//! Locks that a search for circles has not come upon: it takes them out as it does, so that it comes upon each once, however
//! many waits lead to it.

use super::range::Range;
use crate::types::LockOwner;

/// Some locks, by their start, and above them a tree in which each node knows how far those below it reach.
///
/// ```text
/// reach  [1]             90
///        [2, 3]     90        70
///        [4 to 7] 30  90    0    70       0: taken, or none
/// locks           A   B     B    C
/// ```
#[derive(Debug)]
pub(super) struct Unmet {
    locks: Vec<(Range, LockOwner)>,
    reach: Vec<u64>,
}

impl Unmet {
    pub(super) fn new(mut locks: Vec<(Range, LockOwner)>) -> Unmet {
        locks.sort_unstable_by_key(|(range, _)| range.start());
        let leaves = locks.len().next_power_of_two();
        let mut reach = vec![0; 2 * leaves];
        for (leaf, (range, _)) in reach[leaves..].iter_mut().zip(&locks) {
            *leaf = range.end();
        }
        for node in (1..leaves).rev() {
            reach[node] = reach[2 * node].max(reach[2 * node + 1]);
        }
        Unmet { locks, reach }
    }

    /// Takes out a lock that has a byte of `range`: whose it was.
    pub(super) fn take(&mut self, range: Range) -> Option<LockOwner> {
        if self.reach[1] <= range.start() {
            return None;
        }
        // The first that ends behind the start of the range. If it begins too late, so do all that come after it.
        let leaves = self.reach.len() / 2;
        let mut node = 1;
        while node < leaves {
            node *= 2;
            if self.reach[node] <= range.start() {
                node += 1;
            }
        }
        let (first, owner) = *self.locks.get(node - leaves)?;
        if !first.overlaps(range) {
            return None;
        }
        self.reach[node] = 0;
        while node > 1 {
            node /= 2;
            self.reach[node] = self.reach[2 * node].max(self.reach[2 * node + 1]);
        }
        Some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_by_the_first_who_wants_a_byte_of_it() {
        let all: Vec<Range> = (0..6)
            .flat_map(|start| (start + 1..7).filter_map(move |end| Range::new(start, end)))
            .collect();
        // Each second, third and so on, in an order that is not theirs.
        for step in 1..all.len() {
            let some = all.iter().rev().step_by(step);
            let mut left: Vec<(Range, LockOwner)> = some.copied().zip((0..).map(LockOwner)).collect();
            let mut unmet = Unmet::new(left.clone());
            for &range in all.iter().skip(step).chain(&all) {
                let mut taken: Vec<LockOwner> = std::iter::from_fn(|| unmet.take(range)).collect();
                taken.sort_unstable_by_key(|owner| owner.0);
                let wanted = left.extract_if(.., |(lock, _)| lock.overlaps(range));
                assert!(wanted.map(|(_, owner)| owner).eq(taken), "{range:?} of {step}");
            }
            assert!(left.is_empty());
        }
        assert_eq!(Unmet::new(Vec::new()).take(Range::ALL), None);
    }
}
