//! How many locks a user may hold, over all files.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;

use crate::types::Errno;

/// The most locks of one user on all files together.
pub const MAX_OF_USER: usize = 1 << 20;

type Pockets = DashMap<u32, Weak<Pocket>>;

/// Which users hold locks, and how many.
#[derive(Debug, Default)]
pub struct Purses(Arc<Pockets>);

/// What the locks of one user are counted in. It goes with the last of them, and with the last clone.
#[derive(Clone, Debug)]
pub struct Purse(Arc<Pocket>);

#[derive(Debug)]
struct Pocket {
    uid: u32,
    held: AtomicUsize,
    all: Arc<Pockets>,
}

impl Purses {
    /// Where nobody holds a lock.
    pub fn new() -> Purses {
        Purses::default()
    }

    /// The purse of a user.
    pub fn of(&self, uid: u32) -> Purse {
        let mut entry = self.0.entry(uid).or_default();
        if let Some(pocket) = entry.upgrade() {
            return Purse(pocket);
        }
        let pocket = Arc::new(Pocket {
            uid,
            held: AtomicUsize::new(0),
            all: Arc::clone(&self.0),
        });
        *entry = Arc::downgrade(&pocket);
        Purse(pocket)
    }

    /// How many users have a purse: those that hold a lock, or are about to.
    pub fn users(&self) -> usize {
        self.0.len()
    }
}

impl Purse {
    /// Whose it is.
    pub fn uid(&self) -> u32 {
        self.0.uid
    }

    /// How many locks are counted in it.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Counts `count` more, up to `most` altogether. Errors: ENOLCK; then none is counted.
    pub(super) fn take(&self, count: usize, most: usize) -> Result<(), Errno> {
        let more = |held: usize| held.checked_add(count).filter(|&sum| sum <= most);
        self.0
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map(drop)
            .map_err(|_| Errno::ENOLCK)
    }

    pub(super) fn give_back(&self, count: usize) {
        let before = self.0.held.fetch_sub(count, Ordering::Relaxed);
        debug_assert!(before >= count);
    }
}

impl Drop for Pocket {
    fn drop(&mut self) {
        debug_assert_eq!(*self.held.get_mut(), 0);
        // By now the user may have another one.
        self.all.remove_if(&self.uid, |_, pocket| pocket.strong_count() == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purse_goes_when_nothing_is_in_it() {
        let purses = Purses::new();
        let (one, two) = (purses.of(7), purses.of(7));
        assert_eq!(one.take(3, 4), Ok(()));
        assert_eq!(two.take(2, 4), Err(Errno::ENOLCK));
        assert_eq!((two.held(), purses.users()), (3, 1));
        drop(one);
        two.give_back(3);
        assert_eq!(purses.users(), 1);
        drop(two);
        assert_eq!(purses.users(), 0);
        assert_eq!(purses.of(7).held(), 0);
    }
}
