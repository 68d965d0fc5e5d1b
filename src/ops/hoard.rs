//! The data of writes that wait for a lock: it is kept here so that the worker can go on, and it is bounded, for each user and in
//! all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use crate::types::Errno;

/// The most bytes kept for one user.
pub(super) const MOST_OF_ONE: usize = 16 << 20;

/// The most bytes kept for all.
pub(super) const MOST: usize = 128 << 20;

/// What is kept now.
#[derive(Debug, Default)]
pub(super) struct Hoard {
    all: AtomicUsize,
    users: DashMap<u32, usize>,
}

/// Bytes that are kept for somebody, until dropped.
#[derive(Debug)]
pub struct Kept {
    bytes: Box<[u8]>,
    uid: u32,
    hoard: Arc<Hoard>,
}

impl Hoard {
    /// Keeps a copy of the bytes for the user. Errors: EAGAIN where that would be too many; ENOMEM.
    pub(super) fn keep(self: &Arc<Hoard>, uid: u32, bytes: &[u8]) -> Result<Kept, Errno> {
        self.take(uid, bytes.len())?;
        let mut copy = Vec::new();
        if copy.try_reserve_exact(bytes.len()).is_err() {
            self.give_back(uid, bytes.len());
            return Err(Errno::ENOMEM);
        }
        copy.extend_from_slice(bytes);
        Ok(Kept {
            bytes: copy.into_boxed_slice(),
            uid,
            hoard: Arc::clone(self),
        })
    }

    fn take(&self, uid: u32, count: usize) -> Result<(), Errno> {
        let fits = |held: usize, most: usize| held.checked_add(count).filter(|sum| *sum <= most).ok_or(Errno::EAGAIN);
        self.all
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| fits(held, MOST).ok())
            .map_err(|_| Errno::EAGAIN)?;
        let mut user = self.users.entry(uid).or_default();
        let sum = fits(*user, MOST_OF_ONE);
        match sum {
            Ok(sum) => *user = sum,
            Err(_) => drop(self.all.fetch_sub(count, Ordering::Relaxed)),
        }
        sum.map(drop)
    }

    fn give_back(&self, uid: u32, count: usize) {
        self.all.fetch_sub(count, Ordering::Relaxed);
        if let Some(mut user) = self.users.get_mut(&uid) {
            *user = user.saturating_sub(count);
        }
        self.users.remove_if(&uid, |_, held| *held == 0);
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.hoard.give_back(self.uid, self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_given_back() {
        let hoard = Arc::new(Hoard::default());
        let data = vec![7; 1 << 20];
        let mut kept: Vec<Kept> = (0..16).map(|_| hoard.keep(1000, &data).unwrap()).collect();
        assert_eq!(hoard.keep(1000, b"x").unwrap_err(), Errno::EAGAIN);
        kept.push(hoard.keep(1001, b"x").unwrap());
        assert_eq!(kept.last().unwrap().as_ref(), b"x");
        for uid in 1002..1100 {
            kept.extend((0..16).map_while(|_| hoard.keep(uid, &data).ok()));
        }
        assert!(hoard.all.load(Ordering::Relaxed) <= MOST);
        assert_eq!(hoard.keep(2000, &data).unwrap_err(), Errno::EAGAIN);
        drop(kept);
        assert_eq!(hoard.all.load(Ordering::Relaxed), 0);
        assert!(hoard.users.is_empty());
    }
}
